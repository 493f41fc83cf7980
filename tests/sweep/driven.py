"""A run that is meant to be killed: `lab.run.loop.execute` with a real world and guardian, as a process of its own.

`python -m tests.sweep.driven` is a small server: it reads one order a line, forks a process that leads a group of its
own, and says its id and what became of it. Forking saves each of some hundred runs the second that the imports take.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker

from lab.evidence.journal_file import JournalFile
from lab.faults import discover
from lab.guard.fence import fenced_audit
from lab.guard.guardian_client import GuardianClient
from lab.guard.state_files import guard_files, undo_files
from lab.host.labels import RUN, owned
from lab.host.processes.process_handle import own_process
from lab.host.world import world_of
from lab.model.journal import Event
from lab.model.load import LoadProfile
from lab.model.plan import FAULT, STEADY, Plan, PlannedFault, Step
from lab.model.samples import Probe, Rows, Samples
from lab.model.scenario import Abort
from lab.observe.clock import RunClock
from lab.observe.watchdog import AbortWatch
from lab.ports import Guard, Watchdog
from lab.provision.stack import stack
from lab.read.campaigns import build_fault
from lab.run.loop import RunContext, execute
from tests.contract.run_fakes import FakeTraffic, FakeWatchdog, plan

HOLDER = (
    "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[2]))); time.sleep(600)"
)


@dataclass(frozen=True)
class Order:
    """What to run: steps of faults (kind, params), killed by itself right after journal line `die_at`, if any.

    `stop_at` is the kind of event after which it stops itself (SIGSTOP). With `dark_s` a real watchdog ends it when no
    probe was answered for so long, and none ever is.
    """

    run_id: str
    project: str
    directory: str
    steps: list[list[tuple[str, dict[str, Any]]]]
    die_at: int | None = None
    stop_at: str = ""
    hold_s: float = 0.3
    recovery_max_s: float = 0.6
    lease_s: float = 60.0
    guarded: bool = True
    dark_s: float | None = None


@dataclass
class Absent:
    """A guard that is not there: what the negative control runs with."""

    process: tuple[int, float] = (0, 0.0)

    def lease(self, fault_id: str, seconds: float) -> float:
        return 0.0

    def check(self) -> None: ...
    def lost(self) -> str | None: ...
    def release(self, fault_id: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class Belongings:
    """In place of load and observer: one labelled container, and one process of the lab's that holds a socket."""

    client: docker.DockerClient
    spec: stack.StackSpec
    run_id: str
    container: Any = None
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, load: LoadProfile | None = None) -> None:
        token = f"lab-fault={self.run_id}.demand-1"
        command = [sys.executable, "-c", HOLDER, token, str(self.spec.ports["toxiproxy"])]
        self.process = subprocess.Popen(command, start_new_session=True)
        self.container = self.client.containers.create(
            self.spec.images["mcp"].ref,
            entrypoint=["sleep", "600"],
            name=f"{self.spec.project}-k6-{self.run_id}",
            labels={**owned(self.spec.project), RUN: self.run_id},
            network_mode="none",
        )
        self.container.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.container is not None:
            self.container.remove(force=True)

    def change_to(self, load: LoadProfile | None) -> float:
        return 0.0

    def died(self) -> list[tuple[str, str]]:
        return []

    def watch_closely(self, closely: bool) -> None: ...

    def since(self, from_ms: float) -> Samples:
        """The probes of a canary that is dark all the time, one a second for as long as the watchdog looks back."""
        sent = [from_ms + 1000 * n for n in range(62)]
        return Samples(probes=Rows(Probe(at, at + 10, "search", "transport", "") for at in sent))


@dataclass
class Nothing(Belongings):
    """The other of the two."""

    def start(self, load: LoadProfile | None = None) -> None: ...
    def stop(self) -> None: ...


def planned(order: Order) -> Plan:
    """The plan of an order, with as little waiting as can be."""
    steps = []
    for number, together in enumerate(order.steps, 1):
        faults = tuple(
            PlannedFault(
                f"f{number}-{kind}",
                kind,
                params["target"],
                {key: value for key, value in params.items() if key != "target"},
                order.hold_s,
                order.recovery_max_s,
                order.lease_s,
            )
            for kind, params in together
        )
        steps.append(Step(f"s{number}", FAULT, 0, faults))
    base = plan([])
    return Plan(
        **{
            **{name: getattr(base, name) for name in base.__slots__},
            "steps": (Step("calm", STEADY, 0), *steps),
        }
    )


def carry_out(order: Order) -> None:
    """Run one order to its end, or to the line at which it dies."""
    directory = Path(order.directory)
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    clock = RunClock()

    def die(event: Event) -> None:
        if event.seq == order.die_at:
            os.killpg(0, signal.SIGKILL)
            time.sleep(60)
        if event.kind == order.stop_at:
            os.killpg(0, signal.SIGSTOP)

    guard: Guard = Absent()
    if order.guarded:
        guard = GuardianClient(
            run_id=order.run_id, project=order.project, directory=directory, clock=clock, files=guard_files()
        )
    spec = stack.load(order.project)
    assert spec is not None
    client = docker.from_env()
    recorder = JournalFile(directory / "journal.jsonl", clock, die)
    observer = Nothing(client, spec, order.run_id)
    watchdog: Watchdog = FakeWatchdog()
    if order.dark_s is not None:
        abort = Abort(free_disk_bytes=1, host_memory_bytes=1, canary_dark_s=order.dark_s)
        watchdog = AbortWatch(abort, clock, observer, observer, [directory])
    context = RunContext(
        run_id=order.run_id,
        project=order.project,
        process=own_process(),
        world=world_of(
            client, spec.topology, clock, run_id=order.run_id, audit=fenced_audit(guard, recorder)
        ),
        recorder=recorder,
        undos=undo_files(),
        guard=guard,
        watchdog=watchdog,
        load=Belongings(client, spec, order.run_id),
        observer=observer,
        recent=observer,
        traffic=FakeTraffic(),
        build=lambda fault: build_fault(
            fault.kind, {"target": fault.target, **fault.params}, where="sweep", faults=discover()
        ),
        deaths=list,
        clock_jumps=list,
    )
    try:
        execute(planned(order), context)
    finally:
        guard.close()


def serve() -> None:
    """Read orders from stdin until it ends; says `{"pid": …}` for each, and reaps what has ended."""
    for line in sys.stdin:
        order = Order(**json.loads(line))
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                carry_out(order)
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(json.dumps({"pid": child}) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"status": status}) + "\n")
        sys.stdout.flush()


class Driver:
    """The server's other end."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.sweep.driven"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[2],
        )

    def begin(self, order: Order) -> int:
        """Start a run; returns its process id, which is that of its group, too."""
        return int(self._ask(json.dumps(asdict(order)))["pid"])

    def end(self) -> int:
        """Wait for its end; returns its wait status."""
        return int(self._ask("")["status"])

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()
        self._log.close()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


if __name__ == "__main__":
    serve()
