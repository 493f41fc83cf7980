"""The floors of this machine, and what other tools take for the faults that they share with the lab.

A peer's time counts only where somebody else than the peer saw the effect: the engine, Toxiproxy or the cgroup. Exit
codes do not tell. The Chaos Toolkit ends with 0 and "completed" although its action failed, and pumba ends with 0 where
no container has the name that it was given.
"""

import http.client
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

from lab.errors import FaultError, LabError
from lab.faults import discover
from lab.ports import World
from lab.provision.stack.stack import StackSpec
from lab.read.campaigns import build_fault
from tests.contract.examples import EXAMPLES

# What a fault is made of, for the floor that it is held against.
MECHANISM = {
    **dict.fromkeys(
        ("latency", "bandwidth", "slow_close", "timeout", "slicer", "limit_data", "link_down"), "toxic"
    ),
    "reset_peer": "toxic",
    **dict.fromkeys(("partition", "reject", "packet_loss", "dns_failure"), "netfilter rule"),
    "freeze": "pause by API",
    "cpu_cap": "CPU quota by API",
    "kill": "kill by API",
    "terminate": "kill by API",
}
# The most that one command of a peer may take, and a service until it answers again.
COMMAND_S, BACK_S = 60.0, 30.0
# What peers do is what the lab's own examples do, to the same service.
FROZEN, CAPPED, KILLED, SLOWED = (
    str(EXAMPLES[kind]["target"]) for kind in ("freeze", "cpu_cap", "kill", "latency")
)
PERIOD_US = 100_000
QUOTA_US = round(EXAMPLES["cpu_cap"]["cores"] * PERIOD_US)
LATENCY_MS = int(EXAMPLES["latency"]["latency_ms"])
PAUSED_MS = 1000
TOXIC = "peer"
# Of a peer that is no fault but the start of a program.
NO_KIND = ""
# What says that a peer did not do its work; anything else ends the bench.
FAILED = (LabError, DockerException, OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True)
class Life:
    """Milliseconds from the call until the fault was in force, and for all of its life."""

    in_force: float
    whole: float


@dataclass(slots=True)
class Peer:
    """Does one of the lab's faults by other means; `live` raises where its effect was not seen."""

    kind: str
    name: str
    live: Callable[[], Life]
    restore: Callable[[], None] = lambda: None
    lives: list[Life] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def once(self) -> None:
        """One life more, or why it does not count; the stack is whole afterwards, else this raises."""
        try:
            self.lives.append(self.live())
        except FAILED as error:
            self.failures.append(" ".join(f"{type(error).__name__}: {error}".split()))
        finally:
            self.restore()


def floors(client: docker.DockerClient, spec: StackSpec, world: World, repeats: int) -> dict[str, float]:
    """Median milliseconds of the barest call that does the same, nothing observed and nothing recorded."""
    frozen, capped, killed = (world.containers.state(name).id for name in (FROZEN, CAPPED, KILLED))
    pid = str(world.containers.state("mcp-net").pid)
    raw = client.api
    rule = ["OUTPUT", "-d", "192.0.2.1", "-j", "DROP"]

    def iptables(act: str) -> None:
        subprocess.run(["nsenter", "-t", pid, "-n", "iptables", act, *rule], check=True)

    def quota(value: int) -> None:
        raw.update_container(capped, cpu_period=PERIOD_US, cpu_quota=value)

    return {
        "toxic": _median(repeats * 3, lambda: _toxic(spec), lambda: _untoxic(spec)),
        "pause by API": _median(repeats, lambda: raw.pause(frozen), lambda: raw.unpause(frozen)),
        "CPU quota by API": _median(repeats, lambda: quota(QUOTA_US), lambda: quota(-1)),
        "netfilter rule": _median(repeats, lambda: iptables("-I"), lambda: iptables("-D")),
        "kill by API": _median(min(repeats, 5), lambda: raw.kill(killed), lambda: _restore(world, KILLED)),
    }


def at_hand(
    client: docker.DockerClient,
    spec: StackSpec,
    world: World,
    *,
    chaos: Path | None,
    pumba: Path | None,
    folder: Path,
) -> list[Peer]:
    """The peers that can be asked here; `folder` is theirs to write in."""
    found = [
        _freeze_by_commands(world),
        _cap_by_commands(world),
        _kill_by("docker", ["docker", "kill"], world),
        _start_of("docker", "docker", folder),
    ]
    if pumba is not None:
        path = str(pumba.resolve())
        found += [
            _freeze_by_pumba(path, client, world),
            _kill_by("pumba", [path, "kill"], world),
            _start_of("pumba", path, folder),
        ]
    if chaos is not None:
        # Not `resolve`: a virtual environment is found by the path by which its program is called.
        path = str(chaos.absolute())
        found += [_slow_by_chaos_toolkit(path, spec, world, folder), _start_of("chaos", path, folder)]
    return found


def table(peers: list[Peer], floors_ms: dict[str, float], lab: dict[str, dict[str, list[Life]]]) -> list[str]:
    """Each fault by the lab and by peers, then what merely starting their programs takes, then the floors."""
    lines = [
        "Lab rows are calls in a process that runs already; those of peers include the start of their programs.",
        "The lab proves each effect within its time; peers prove nothing, and were checked outside of theirs.",
        "",
        "| fault | by | n | in force ms | worst | whole ms | worst |",
        "|---|---|---|---|---|---|---|",
    ]
    shared = {peer.kind for peer in peers}
    for kind in [*(kind for kind in lab if kind in shared), NO_KIND]:
        rows: list[tuple[str, list[Life], list[str]]]
        rows = [(f"lab: {name}", lives, []) for name, lives in lab.get(kind, {}).items()]
        rows += [(peer.name, peer.lives, peer.failures) for peer in peers if peer.kind == kind]
        lines += [f"| {kind or 'none'} | {_row(*row)}" for row in rows]
    lines += ["", "| floor | median ms |", "|---|---|"]
    return lines + [f"| {name} | {value:.1f} |" for name, value in floors_ms.items()]


def _row(name: str, lives: list[Life], failures: list[str]) -> str:
    turns = len(lives) + len(failures)
    why = f"; {len(failures)} of {turns} do not count: {failures[-1]}".replace("|", "/") if failures else ""
    if not lives:
        return f"{name}{why} | 0 | | | | |"
    in_force, whole = [life.in_force for life in lives], [life.whole for life in lives]
    cells = [statistics.median(in_force), max(in_force), statistics.median(whole), max(whole)]
    return f"{name}{why} | {len(lives)} | {' | '.join(f'{cell:.0f}' for cell in cells)} |"


def _freeze_by_commands(world: World) -> Peer:
    name = world.containers.state(FROZEN).name

    def live() -> Life:
        in_force = _run("docker", "pause", name)
        _require(world.containers.state(FROZEN).paused, "the engine does not call it paused")
        healed = _run("docker", "unpause", name)
        _require(not world.containers.state(FROZEN).paused, "the engine still calls it paused")
        return Life(in_force, in_force + healed)

    return Peer("freeze", "docker pause + unpause", live, lambda: _restore(world, FROZEN))


def _cap_by_commands(world: World) -> Peer:
    name = world.containers.state(CAPPED).name

    def quota(value: int) -> float:
        taken = _run("docker", "update", f"--cpu-period={PERIOD_US}", f"--cpu-quota={value}", name)
        found = world.cgroups.cpu_quota(CAPPED).quota_us
        _require(found == value, f"the quota in the cgroup is {found}, not {value}")
        return taken

    def live() -> Life:
        in_force = quota(QUOTA_US)
        return Life(in_force, in_force + quota(-1))

    def restore() -> None:
        if world.cgroups.cpu_quota(CAPPED).quota_us != -1:
            quota(-1)
        _restore(world, CAPPED)

    return Peer("cpu_cap", "docker update --cpu-quota, and back", live, restore)


def _kill_by(tool: str, command: list[str], world: World) -> Peer:
    name = world.containers.state(KILLED).name

    def live() -> Life:
        before = world.containers.state(KILLED)
        in_force = _run(*command, name)
        dead = world.containers.state(KILLED)
        _require(
            before.running and not dead.running and dead.exit_code == 137,
            "the engine does not call it killed",
        )
        healed = _run("docker", "start", name)
        _require(world.containers.state(KILLED).running, "the engine does not call it running")
        return Life(in_force, in_force + healed)

    return Peer("kill", f"{tool} kill + docker start", live, lambda: _restore(world, KILLED))


def _freeze_by_pumba(program: str, client: docker.DockerClient, world: World) -> Peer:
    state = world.containers.state(FROZEN)
    # Its types know whole seconds only; the engine takes fractions.
    api: Any = client.api

    def live() -> Life:
        began = time.time()
        taken = _run(program, "pause", "--duration", f"{PAUSED_MS}ms", state.name)
        heard = api.events(
            since=f"{began:.9f}",
            until=f"{time.time():.9f}",
            filters={"container": state.id, "event": ["pause", "unpause"]},
            decode=True,
        )
        events = [(one["Action"], one["timeNano"] / 1e6 - began * 1000) for one in heard]
        _require([act for act, _ in events] == ["pause", "unpause"], f"the engine's events are {events}")
        (_, paused), (_, thawed) = events
        _require(
            thawed - paused >= PAUSED_MS, f"it was paused for {thawed - paused:.0f} ms, not for {PAUSED_MS}"
        )
        return Life(paused, taken - PAUSED_MS)

    name = f"pumba pause --duration {PAUSED_MS}ms (whole: less these)"
    return Peer("freeze", name, live, lambda: _restore(world, FROZEN))


def _slow_by_chaos_toolkit(program: str, spec: StackSpec, world: World, folder: Path) -> Peer:
    experiment, journal = folder / "experiment.json", folder / "journal.json"
    # It would ask the internet for newer versions; that is no part of the fault.
    command = (program, "--no-version-check", "run", "--journal-path", str(journal), str(experiment))
    witnessed: list[bool] = []

    def live() -> Life:
        if not witnessed:
            experiment.write_text(json.dumps(_experiment(spec, hold_s=3)), encoding="utf-8")
            _witness(command, world, folder)
            witnessed.append(True)
        experiment.write_text(json.dumps(_experiment(spec)), encoding="utf-8")
        journal.unlink(missing_ok=True)
        _require(TOXIC not in world.proxies.toxics(SLOWED), "its toxic was there before")
        began = time.time()
        taken = _run(*command, cwd=folder)
        return Life((_added_at(journal, began) - began) * 1000, taken)

    def restore() -> None:
        if TOXIC in world.proxies.toxics(SLOWED):
            world.proxies.remove_toxic(SLOWED, name=TOXIC)

    return Peer("latency", "chaos run: one toxic, rolled back", live, restore)


def _witness(command: tuple[str, ...], world: World, folder: Path) -> None:
    """One untimed run that holds its toxic for a while: Toxiproxy lists it, and the lab's own proof sees its effect."""
    fault = build_fault("latency", EXAMPLES["latency"], where="bench", faults=discover())
    before = fault.observe(world, None)
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            end = time.monotonic() + COMMAND_S
            while TOXIC not in world.proxies.toxics(SLOWED):
                _require(run.poll() is None and time.monotonic() < end, "Toxiproxy never listed its toxic")
                time.sleep(0.02)
            seen = fault.observe(world, before)
            _require(seen.holds, f"its toxic does not slow the link: {seen.detail}")
            run.wait(COMMAND_S)
        finally:
            run.kill()
    _require(TOXIC not in world.proxies.toxics(SLOWED), "its toxic is still there after its end")
    seen = fault.observe(world, before)
    _require(seen.absent, f"the link is still slow after its end: {seen.detail}")


def _added_at(journal: Path, began: float) -> float:
    """When the toxic was in force, by the journal; raises where it does not say that Toxiproxy took both calls.

    Toxiproxy answers a removal with 404 where there is no such toxic, so that a removal that went well proves that
    the toxic was there.
    """
    said = json.loads(journal.read_text(encoding="utf-8"))
    steps = [*said["run"], *said["rollbacks"]]
    ends = [(step["activity"]["name"], step["status"], step["output"]) for step in steps]
    good = [("add", "succeeded", True), ("remove", "succeeded", True)]
    _require(said["status"] == "completed" and not said["deviated"], f"its journal says {said['status']}")
    _require(ends == good, f"its journal says {ends}")
    added = datetime.fromisoformat(steps[0]["end"]).timestamp()
    _require(began < added < time.time(), "its journal is of another time")
    return added


def _start_of(name: str, program: str, folder: Path) -> Peer:
    def live() -> Life:
        taken = _run(program, "--version", cwd=folder, says="version")
        return Life(taken, taken)

    return Peer(NO_KIND, f"{name} --version", live)


def _run(*command: str, cwd: Path | None = None, says: str = "") -> float:
    """Milliseconds of a command that ends well and says what it should; raises with its last words otherwise."""
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    taken = (time.perf_counter() - began) * 1000
    _require(done.returncode == 0, f"exit code {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    _require(says in done.stdout, f"it does not say {says!r}: {done.stdout[-300:]}")
    return taken


def _require(seen: bool, otherwise: str) -> None:
    if not seen:
        raise FaultError(otherwise)


def _restore(world: World, service: str) -> None:
    """Thaw it, start it, and wait until it answers; raises where it does not, for what follows would be worthless."""
    end = time.monotonic() + BACK_S
    while True:
        # Looked at in each turn: what a peer did by halves may end the service only now.
        state = world.containers.state(service)
        if state.paused:
            world.containers.unpause(service, state.id)
        if not state.running:
            world.containers.start(service, state.id)
        elif world.reach.answers(service, timeout_s=1):
            return
        _require(time.monotonic() < end, f"{service} does not answer again")
        time.sleep(0.05)


def _median(repeats: int, act: Callable[[], object], undo: Callable[[], object]) -> float:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
        undo()
    return statistics.median(taken)


def _ask(spec: StackSpec, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", spec.ports["toxiproxy"], timeout=5)
    connection.request(method, path, json.dumps(body) if body else None)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    _require(200 <= answer.status < 300, f"Toxiproxy: HTTP {answer.status} {text[:200]!r}")


def _toxic(spec: StackSpec) -> None:
    body = {
        "name": "floor",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
        "attributes": {"latency": LATENCY_MS, "jitter": 0},
    }
    _ask(spec, "POST", f"/proxies/{SLOWED}/toxics", body)


def _untoxic(spec: StackSpec) -> None:
    _ask(spec, "DELETE", f"/proxies/{SLOWED}/toxics/floor")


def _experiment(spec: StackSpec, *, hold_s: int = 0) -> dict[str, Any]:
    """An experiment of the Chaos Toolkit: one latency toxic, and its removal as rollback."""

    def action(name: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {
            "type": "python",
            "module": "chaostoxi.toxic.actions",
            "func": function,
            "arguments": {"for_proxy": SLOWED, "toxic_name": TOXIC, **arguments},
        }
        return {"type": "action", "name": name, "provider": provider}

    add = action("add", "create_latency_toxic", latency=LATENCY_MS, jitter=0)
    return {
        "version": "1.0.0",
        "title": "latency",
        "description": "one toxic",
        "configuration": {"toxiproxy_url": spec.topology.address("toxiproxy")},
        "method": [{**add, "pauses": {"after": hold_s}} if hold_s else add],
        "rollbacks": [action("remove", "delete_toxic")],
    }
