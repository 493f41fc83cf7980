"""The Docker engine goes away with faults in force and comes back: an engine of the test's own, not the machine's.

All services are Toxiproxy, the smallest image there is: nothing here looks at what a target does.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container

from lab.faults import discover
from lab.guard.guardian_client import GuardianClient
from lab.guard.leftovers import heal_leftovers
from lab.guard.state_files import guard_files, undo_files
from lab.host.labels import SERVICE, owned
from lab.host.machine.shell import Subprocesses
from lab.host.processes.process_handle import own_process
from lab.host.world import docker_client, world_of
from lab.model.undo import EndRun, UndoRecord
from lab.observe.clock import RunClock
from lab.ports import Guard
from lab.provision.machine.engine import find_engine, require_engine
from lab.provision.stack import stack_spec, store_volume
from lab.provision.stack.ports import free_ports
from lab.provision.stack.stack_spec import StackSpec
from lab.read.campaigns import build_fault
from lab.read.compose_file import default_ports
from tests.e2e import stacks
from tests.e2e.soaking import lab
from tests.sweep.driven import Absent
from tests.sweep.machine import Machine, look

pytestmark = [pytest.mark.sweep, pytest.mark.docker, pytest.mark.timeout(300)]

HOME = Path(__file__).resolve().parents[2]
PROJECT = "lab-test-restarted"
# In the order of injection; a frozen service comes last. A toxic is gone with its container; of the rest, that is seen.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "latency": ({"target": "qdrant", "latency_ms": 200}, "gone"),
    "partition": ({"target": "mcp"}, "healed"),
    "cpu_cap": ({"target": "mcp", "cores": 0.5}, "healed"),
    "disk_full": ({"target": "qdrant"}, "healed"),
    "freeze": ({"target": "qdrant"}, "healed"),
}
OUTCOMES = {f"f-{kind}": outcome for kind, (_, outcome) in FAULTS.items()}


@dataclass
class Engine:
    """A Docker engine with everything of its own: data, containerd, socket; it sets no rules on the host."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"unix://{self.folder / 'docker.sock'}"

    def start(self) -> None:
        command = [
            *("dockerd", "--host", self.host, "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
            *("--ip-masq=false", "--default-address-pool", "base=10.213.0.0/16,size=24"),
        ]
        end = time.monotonic() + 120
        while not _answers(self.folder / "docker.sock"):
            assert time.monotonic() < end, self.folder / "dockerd.log"
            # As its supervisor does: after a SIGKILL the first start may find the old containerd in the way, and end.
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "dockerd.log").open("ab") as log:
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            time.sleep(0.05)

    def stop(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=60)

    def unmount(self) -> None:
        """What a SIGKILL left mounted."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        for point in sorted((line.split()[4] for line in lines if str(self.folder) in line), reverse=True):
            subprocess.run(["umount", point], check=False)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(2)
        try:
            asking.connect(str(path))
            asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in asking.recv(64)
        except OSError:
            return False


@dataclass
class Stack:
    """What stands for the stack, on the second engine."""

    engine: Engine
    client: docker.DockerClient
    spec: StackSpec
    before: Machine

    def begin(self) -> None:
        """Start whatever stands still, and give Toxiproxy its proxy, which it keeps in memory alone."""
        for service in ("qdrant-net", "mcp-net", "qdrant", "mcp", "toxiproxy"):
            self.container(service).start()
        proxy = {"name": "qdrant", "listen": "0.0.0.0:6333", "upstream": "qdrant:9000", "enabled": True}
        end = time.monotonic() + 20
        while True:
            try:
                httpx.post(self.spec.topology.address("toxiproxy", "/proxies"), json=proxy, timeout=2)
                return
            except httpx.HTTPError:
                assert time.monotonic() < end
                time.sleep(0.05)

    def container(self, service: str) -> Container:
        return self.client.containers.get(f"{PROJECT}-{service}-1")

    def differs(self) -> dict[str, Any]:
        return self.before.differences(look(self.client, self.spec, PROJECT))


@pytest.fixture
def restartable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A second engine with a stack, and a state directory, of their own."""
    image = stacks.images()["toxiproxy"]
    with closing(docker.from_env()) as client:
        data = b"".join(client.images.get(image.ref).save(named=True))
    engine = Engine(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    engine.start()
    runner = Subprocesses()
    ports = free_ports(default_ports(), set(default_ports().values()))
    used = dict.fromkeys(("qdrant", "mcp", "toxiproxy"), image)
    spec = StackSpec(PROJECT, ports, used, stacks.TARGET, f"{PROJECT}_store", "ext4", grafana=False)
    client = docker.DockerClient(base_url=engine.host)
    try:
        client.images.load(data)
        stack_spec.save(spec)
        store_volume.ensure(spec.volume, require_engine(runner), runner)
        _create(client, spec)
        made = Stack(engine, client, spec, Machine(*[None] * 12))
        made.begin()
        yield replace(made, before=look(client, spec, PROJECT))
    finally:
        if engine.process is not None and engine.process.poll() is not None:
            engine.start()
        for container in client.containers.list(all=True):
            container.remove(force=True)
        client.networks.prune()
        store_volume.remove(spec.volume, require_engine(runner), runner)
        client.close()
        engine.stop(signal.SIGTERM)
        engine.unmount()
        monkeypatch.undo()
        find_engine(runner)


def _create(client: docker.DockerClient, spec: StackSpec) -> None:
    client.networks.create(PROJECT, driver="bridge", labels=owned(PROJECT))
    published = {"8474/tcp": ("127.0.0.1", spec.ports["toxiproxy"])}
    options: dict[str, dict[str, Any]] = {
        "qdrant-net": {"network": PROJECT},
        "mcp-net": {"network": PROJECT},
        "qdrant": {
            "network_mode": f"container:{PROJECT}-qdrant-net-1",
            "volumes": {spec.store_volume: {"bind": "/qdrant/storage", "mode": "rw"}},
        },
        "mcp": {"network_mode": f"container:{PROJECT}-mcp-net-1"},
        "toxiproxy": {"network": PROJECT, "ports": published},
    }
    for service, more in options.items():
        port = "8474" if service == "toxiproxy" else "9001" if service.endswith("-net") else "9000"
        client.containers.create(
            spec.images["toxiproxy"].ref,
            ["-host", "0.0.0.0", "-port", port],
            name=f"{PROJECT}-{service}-1",
            labels={**owned(PROJECT), SERVICE: service},
            **more,
        )


def hurt(run_id: str, directory: Path, *, guarded: bool) -> None:
    """What a run does: every undo on disk, then its fault in force. Then it waits to be killed."""
    clock = RunClock()
    link: Guard = (
        GuardianClient(run_id=run_id, project=PROJECT, directory=directory, clock=clock, files=guard_files())
        if guarded
        else Absent()
    )
    spec = stack_spec.load(PROJECT)
    assert spec is not None
    world = world_of(docker_client(), spec.topology, clock, run_id=run_id)
    undos = undo_files()
    for kind, (params, _) in FAULTS.items():
        fault = build_fault(kind, params, where="test", faults=discover())
        undo, until_s = fault.prepare(world), link.lease(f"f-{kind}", 600)
        undos.record(
            UndoRecord(run_id, f"f-{kind}", kind, PROJECT, *own_process(), undo, *link.process, until_s)
        )
        fault.inject(world, undo)
    undos.record(UndoRecord(run_id, "run", "", PROJECT, *own_process(), EndRun(run_id, PROJECT)))
    print("hurt", flush=True)
    time.sleep(600)


def begin_run(folder: Path, *, guarded: bool) -> "subprocess.Popen[str]":
    """A run in a process of its own, with all faults in force."""
    command = [
        sys.executable,
        "-m",
        "tests.sweep.test_engine_restarted",
        str(folder),
        *(["guarded"] * guarded),
    ]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOME)
    assert run.stdout is not None
    assert run.stdout.readline() == "hurt\n"
    return run


def killed(run: "subprocess.Popen[str]") -> None:
    run.kill()
    run.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_lab_heal_waits_for_the_engine_and_tells_gone_from_healed(
    restartable: Stack, tmp_path: Path, number: signal.Signals
) -> None:
    run = begin_run(tmp_path / "run", guarded=False)
    assert {"containers", "toxics", "rules", "limits", "store_files", "undos"} <= set(restartable.differs())
    restartable.engine.stop(number)
    killed(run)
    away = lab("heal")
    assert away.returncode == 12 and away.stdout.count("failed") == len(FAULTS) + 1, away
    assert "no Docker engine answers" in away.stdout
    assert len(undo_files().pending()) == len(FAULTS) + 1
    restartable.engine.start()
    back = lab("heal")
    assert back.returncode == 0, back
    told = {line.split()[1]: line.split()[0] for line in back.stdout.splitlines()}
    assert told == {**OUTCOMES, "what": "healed"}, back.stdout
    assert lab("heal").stdout == "nothing to heal\n"
    restartable.begin()
    assert restartable.differs() == {}


def test_a_guardian_waits_for_the_engine(restartable: Stack, tmp_path: Path) -> None:
    """The run dies while the engine is away; a later look finds it back."""
    directory = tmp_path / "run"
    run = begin_run(directory, guarded=True)
    restartable.engine.stop(signal.SIGTERM)
    killed(run)
    time.sleep(1.5)
    assert len(undo_files().pending()) == len(FAULTS) + 1
    restartable.engine.start()
    end = time.monotonic() + 30
    while undo_files().pending():
        assert time.monotonic() < end, (directory / "guardian.jsonl").read_text()
        time.sleep(0.1)
    events = [json.loads(line) for line in (directory / "guardian.jsonl").read_text().splitlines()]
    outcomes = {event["fault"]: event["outcome"] for event in events if event["kind"] == "healed"}
    assert outcomes == {**OUTCOMES, "run": "healed"}
    assert heal_leftovers(RunClock()) == []
    restartable.begin()
    assert restartable.differs() == {}


def test_nothing_of_the_machine_s_own_engine_was_touched() -> None:
    with closing(docker.from_env()) as client:
        names = [name for one in client.api.containers(all=True) for name in one["Names"]]
    assert not [name for name in names if PROJECT in name]
    assert "10.213." not in subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert PROJECT not in Path("/proc/self/mountinfo").read_text()


if __name__ == "__main__":
    hurt(f"{PROJECT}-1", Path(sys.argv[1]), guarded=len(sys.argv) > 2)
