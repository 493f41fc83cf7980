"""Whatever the kernel, a program or the engine's library does, an adapter raises an error of the lab's own.

Each has what, where and what was seen. The negative control is the last test: what is a bug, and no refusal, passes.
"""

import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import ReadTimeout
from urllib3.exceptions import ProtocolError

from lab.errors import FaultError, GoneError, LabError, WorldError
from lab.guard.fence import GuardFiles
from lab.guard.undo_store import UndoFiles
from lab.host import storage as storage_module
from lab.host.cgroups import cgroups as cgroups_module
from lab.host.cgroups.cgroups import HostCgroups
from lab.host.containers import DockerContainers
from lab.host.engine_log import EngineLog
from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.host.links import link_clients, link_probe
from lab.host.links.toxiproxy import Toxiproxy
from lab.host.machine import state
from lab.host.network import namespaces, net_probes, netfilter
from lab.host.processes import process_handle, processes
from lab.host.processes.processes import HostProcesses
from lab.host.storage import HostStorage
from lab.host.system_errors import as_fault_error, as_world_error
from lab.ports.netns import Rules
from lab.ports.processes import OpenFiles
from lab.ports.proxies import Exchange
from lab.provision.machine.engine import Engine
from lab.provision.stack import owned
from tests.contract.fakes import FakeClock, FakeContainers

DEAD = OSError(19, "No such device")
REFUSALS = [
    DEAD,
    FileNotFoundError(2, "No such file"),
    PermissionError(13, "Permission denied"),
    subprocess.TimeoutExpired(["program"], 10),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ValueError("invalid literal for int(): ''"),
    KeyError("nr_periods"),
]
ENGINE_REFUSALS = [
    DockerException("no engine"),
    APIError("500 Server Error", explanation="no space left on device"),
    ReadTimeout("read timed out"),
    ProtocolError("Connection broken"),
    ConnectionResetError(104, "reset"),
]


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*args: object, **named: object) -> Any:
        raise error

    return fail


def assert_said(error: LabError) -> None:
    assert error.what and error.where and error.last_state and error.try_, str(error)


@pytest.fixture
def containers() -> FakeContainers:
    return FakeContainers()


@pytest.fixture
def cgroup(tmp_path: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cgroup directory of `mcp`, which is empty: as after the death of the container, when its files are gone."""
    directory = tmp_path / containers.state("mcp").id
    directory.mkdir()
    monkeypatch.setattr(cgroups_module, "cgroup_dir", lambda pid, controller: directory)
    monkeypatch.setattr(processes, "cgroup_dir", lambda pid, controller: directory)
    monkeypatch.setattr(processes, "belongs", lambda pid, container_id: True)
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    return directory


CGROUP_CALLS: dict[str, Callable[[HostCgroups], Any]] = {
    "cpu_quota": lambda cgroups: cgroups.cpu_quota("mcp"),
    "cpu_usage": lambda cgroups: cgroups.cpu_usage("mcp"),
    "anonymous_bytes": lambda cgroups: cgroups.anonymous_bytes("mcp"),
    "memory": lambda cgroups: cgroups.memory("mcp"),
}


@pytest.mark.parametrize("name", CGROUP_CALLS)
def test_a_cgroup_whose_container_died_is_a_fault_error(
    name: str, cgroup: Path, containers: FakeContainers
) -> None:
    with pytest.raises(FaultError) as raised:
        CGROUP_CALLS[name](HostCgroups(containers, FakeClock()))
    assert_said(raised.value)
    assert raised.value.where == str(cgroup)


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_job_in_a_cgroup_that_does_not_end_well_is_a_fault_error(
    error: Exception, cgroup: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups = HostCgroups(containers, FakeClock())
    monkeypatch.setattr(subprocess, "run", raising(error))
    monkeypatch.setattr(subprocess, "Popen", raising(error))
    for call in (
        lambda: cgroups.burn("mcp", 0.1),
        lambda: cgroups.limit_hits("mcp", 1, 0.1),
        lambda: cgroups.try_forks("mcp", 1),
        lambda: cgroups.start_hog("mcp", containers.state("mcp").id, "t", 1),
        lambda: cgroups.exhaust("mcp", containers.state("mcp").id, "t", 1),
    ):
        with pytest.raises(FaultError) as raised:
            call()
        assert_said(raised.value)


def test_a_memory_limit_that_the_kernel_refuses_is_a_fault_error(
    cgroup: Path, containers: FakeContainers
) -> None:
    (cgroup / "memory.high").mkdir()
    with pytest.raises(FaultError) as raised:
        HostCgroups(containers, FakeClock()).set_memory_high("mcp", containers.state("mcp").id, 1)
    assert_said(raised.value)


def test_a_job_that_says_no_number_is_a_fault_error(
    cgroup: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups_module, "run_job", lambda *args: "")
    with pytest.raises(FaultError):
        HostCgroups(containers, FakeClock()).try_forks("mcp", 3)


def storage_calls(storage: HostStorage, container_id: str) -> Iterator[Callable[[], Any]]:
    yield lambda: storage.free_bytes("mcp")
    yield lambda: storage.device("mcp")
    yield lambda: storage.throttle("mcp", "7:0")
    yield lambda: storage.io_seconds("mcp", "read", 4096, 1)
    yield lambda: storage.can_allocate("mcp", 1)
    yield lambda: storage.fill("mcp", container_id, f"{storage_module.FILLER}x", 1)


def test_a_data_folder_whose_container_died_is_a_fault_error(
    cgroup: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = HostStorage(containers, {"mcp": "/no/such/folder"})
    monkeypatch.setattr(storage_module, "run_job", raising(DEAD))
    for call in storage_calls(storage, containers.state("mcp").id):
        with pytest.raises(FaultError) as raised:
            call()
        assert_said(raised.value)


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_filler_that_cannot_be_removed_from_the_device_is_a_fault_error(
    error: Exception, tmp_path: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "volume.ext4"
    image.write_bytes(b"")
    containers.kill("mcp", containers.state("mcp").id)
    monkeypatch.setattr(subprocess, "run", raising(error))
    storage = HostStorage(containers, {"mcp": "/data"}, {"mcp": image})
    with pytest.raises(FaultError) as raised:
        storage.remove_filler("mcp", "id", f"{storage_module.FILLER}x")
    assert_said(raised.value)


def test_processes_that_die_while_they_are_measured_are_a_fault_error(
    cgroup: Path, containers: FakeContainers
) -> None:
    host, state_of = HostProcesses("run"), containers.state("mcp")
    for call in (
        lambda: host.cpu_load(containers, state_of),
        lambda: host.connection_count(containers, state_of),
        lambda: host.open_files(containers, state_of),
        lambda: host.connect(containers, state_of, "t", 1, 1.0),
    ):
        with pytest.raises(FaultError) as raised:
            call()
        assert_said(raised.value)


def test_a_process_that_cannot_be_started_is_a_fault_error(
    cgroup: Path, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", raising(OSError(12, "Cannot allocate memory")))
    with pytest.raises(FaultError) as raised:
        HostProcesses("run").burn(containers, containers.state("mcp"), "t", 1, 1.0)
    assert_said(raised.value)


def test_a_limit_of_open_files_that_the_kernel_refuses_is_a_fault_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pid, started = process_handle.own_process()
    monkeypatch.setattr(processes, "belongs", lambda pid, container_id: True)
    for error in (PermissionError(1, "not permitted"), ValueError("not allowed to raise maximum limit")):
        monkeypatch.setattr(resource, "prlimit", raising(error))
        with pytest.raises(FaultError) as raised:
            HostProcesses("run").limit_open_files("id", OpenFiles(pid, started, 1, 10, 10))
        assert_said(raised.value)


@pytest.mark.parametrize("text", ["", "1 (a) ", "1 (a) S 1 1"])
def test_a_process_whose_status_is_cut_short_has_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, **named: text)
    assert process_handle.started_ticks(1) is None


@pytest.mark.parametrize("error", [PermissionError(1, "not permitted"), OSError(24, "Too many open files")])
def test_a_process_that_cannot_be_opened_is_a_world_error(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pidfd_open", raising(error))
    with pytest.raises(WorldError) as raised:
        process_handle.open_process(1, 1.0)
    assert_said(raised.value)


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_program_in_a_network_that_does_not_end_well_is_a_fault_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", raising(error))
    for call in (
        lambda: netfilter.packets(0, "LAB-"),
        lambda: netfilter.qdisc_kind(0, "eth0"),
        lambda: netfilter.add_chain(0, Rules("filter", "LAB-x", (), ())),
    ):
        with pytest.raises(FaultError) as raised:
            call()
        assert_said(raised.value)


def test_a_program_that_says_something_else_is_read_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfilter, "run", lambda *args, **named: "[x:y] -A LAB-x -j DROP\nqdisc root\n")
    assert netfilter.packets(0, "LAB-") == 0
    assert netfilter.qdisc_kind(0, "eth0") == ("noqueue", "0:")


def test_sockets_that_cannot_be_made_are_a_fault_error_and_none_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []
    real = socket.socket

    def limited(*args: Any, **named: Any) -> socket.socket:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(real(*args, **named))
        return made[-1]

    monkeypatch.setattr(namespaces, "inside", lambda namespace, act: act())
    monkeypatch.setattr(socket, "socket", limited)
    with pytest.raises(FaultError) as raised:
        namespaces.sockets(0, 3, socket.SOCK_DGRAM)
    assert_said(raised.value)
    assert [each.fileno() for each in made] == [-1, -1]


def test_a_short_answer_to_a_question_for_a_name_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(net_probes, "RESOLVER", server.getsockname())
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        monkeypatch.setattr(namespaces, "sockets", lambda *args: [client])

        def answer() -> None:
            _, asker = server.recvfrom(4096)
            server.sendto(b"\x00\x01", asker)

        thread = threading.Thread(target=answer)
        thread.start()
        assert net_probes.resolve(0, "name", 5.0) == "failed"
        thread.join()


class BrokenSocket(socket.socket):
    """Connects to nobody, and fails as the kernel does when it gives up on a connection."""

    def connect(self, address: Any) -> None:
        return None

    def send(self, *args: Any) -> int:
        raise TimeoutError(110, "Connection timed out")

    def recv(self, *args: Any) -> bytes:
        raise TimeoutError(110, "Connection timed out")


def test_a_connection_that_the_kernel_gives_up_is_silent() -> None:
    broken = BrokenSocket(socket.AF_INET, socket.SOCK_STREAM)
    assert link_probe.converse(broken, ("127.0.0.1", 1), "/", Exchange(timeout_s=1.0)).end == "silent"
    with BrokenSocket(socket.AF_INET, socket.SOCK_STREAM) as kept:
        assert link_clients._end_of(kept) == "silent"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"{}", b'{"toxics": [3], "listen": "x", "enabled": true}', b"\xff\xfe"],
)
def test_whatever_answers_in_toxiproxys_place_is_a_fault_error(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    toxiproxy = Toxiproxy("http://127.0.0.1:1", {})
    monkeypatch.setattr(toxiproxy, "_call", lambda *args: (200, body))
    for call in (toxiproxy.is_enabled, toxiproxy.toxics, toxiproxy._port):
        with pytest.raises(FaultError) as raised:
            call("qdrant")
        assert_said(raised.value)


class Api:
    """An engine's API that refuses everything in one way."""

    base_url, api_version, timeout = "http://engine", "1.43", 1

    def __init__(self, error: Exception) -> None:
        self.kill = self.start = self.pause = self.post = raising(error)

    def inspect_container(self, container_id: str) -> dict[str, Any]:
        labels = {OWNER: OWNER_VALUE, STACK: "p", SERVICE: "mcp"}
        return {"Config": {"Labels": labels}, "Name": "/mcp", "State": {}}


class Client:
    """A client of such an engine."""

    def __init__(self, error: Exception) -> None:
        self.api, self.containers = Api(error), self
        self.list = self.events = self.close = raising(error)


@pytest.mark.parametrize("error", ENGINE_REFUSALS, ids=repr)
def test_an_engine_that_refuses_is_an_error_of_the_lab(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client: Any = Client(error)
    containers = DockerContainers(client, "p")
    with pytest.raises(WorldError) as raised:
        containers.state("mcp")
    assert_said(raised.value)
    with pytest.raises(WorldError):
        containers.logs("mcp")
    with pytest.raises(WorldError) as raised:
        EngineLog(client, "p", None, tmp_path)  # type: ignore[arg-type]
    assert_said(raised.value)
    engine = Engine("unix:///x", "1", "1", "/")
    monkeypatch.setattr(Engine, "client", raising(error))
    with pytest.raises(WorldError) as raised:
        owned.container_ids(engine, "p")
    assert_said(raised.value)
    monkeypatch.setattr(client.api, "inspect_container", raising(error))
    with pytest.raises(WorldError) as raised:
        containers.inspect("mcp", "id")
    assert_said(raised.value)


@pytest.mark.parametrize("error", ENGINE_REFUSALS[:4], ids=repr)
def test_an_act_that_the_engine_refuses_is_a_fault_error(error: Exception) -> None:
    client: Any = Client(error)
    with pytest.raises(FaultError) as raised:
        DockerContainers(client, "p").kill("mcp", "id")
    assert_said(raised.value)


def test_a_container_that_is_gone_is_a_gone_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Client(NotFound("no such container"))
    monkeypatch.setattr(client, "list", lambda **named: [])
    monkeypatch.setattr(client.api, "inspect_container", raising(NotFound("no such container")))
    with pytest.raises(GoneError):
        DockerContainers(client, "p").inspect("mcp", "id")


class Stream:
    """An engine's stream of events that ends as it is told."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        yield "no event at all"
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'close'")


@pytest.mark.parametrize("error", [*ENGINE_REFUSALS, ValueError("bad JSON"), None], ids=repr)
def test_a_stream_of_events_that_ends_is_told_as_a_death(error: Exception | None, tmp_path: Path) -> None:
    client: Any = Client(DockerException("no engine"))
    client.events = lambda **named: Stream(error)
    log = EngineLog(client, "p", None, tmp_path)  # type: ignore[arg-type]
    log.start()
    log._thread.join(5)
    assert [sampler for sampler, _ in log.died()] == ["engine_log"]
    log.stop(("mcp",))
    assert b"gave no log" in (tmp_path / "mcp.log").read_bytes()


def test_logs_that_cannot_be_kept_are_a_world_error(tmp_path: Path) -> None:
    client: Any = Client(DockerException("no engine"))
    client.events = lambda **named: Stream(None)
    log = EngineLog(client, "p", None, tmp_path)  # type: ignore[arg-type]
    for service in ("a", "b"):
        (tmp_path / f"{service}.log").mkdir()
    with pytest.raises(WorldError) as raised:
        log.stop(("a", "b"))
    assert_said(raised.value)
    assert "a.log" in raised.value.last_state and "b.log" in raised.value.last_state


def test_directories_that_cannot_be_made_are_a_world_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    (tmp_path / "cache").write_text("")
    (tmp_path / "x.lock").mkdir()
    for make in (
        lambda: UndoFiles(blocked / "undo"),
        lambda: GuardFiles(blocked / "guards"),
        lambda: state.cache_directory("go"),
        lambda: state.machine_lock("x").__enter__(),
    ):
        with pytest.raises(WorldError) as raised:
            make()
        assert_said(raised.value)


@pytest.mark.parametrize("error", [AssertionError("a bug"), AttributeError("a bug"), TypeError("a bug")])
def test_a_bug_is_not_translated(error: Exception) -> None:
    """It goes on to the boundary, which journals its type and place."""
    for translate in (as_fault_error, as_world_error):
        with pytest.raises(type(error)), translate("something"):
            raise error
    with pytest.raises(GoneError), as_fault_error("something"):
        raise GoneError("the lab's own error passes")
    with pytest.raises(InterruptedError), as_world_error("something"):
        raise InterruptedError("cancelled")
    with suppress(FaultError), as_fault_error("something"):
        raise OSError
