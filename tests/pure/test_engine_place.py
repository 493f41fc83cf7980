"""An engine that is not on this machine is recognised, and what the lab then cannot test is said."""

from dataclasses import replace

import pytest

from lab.faults import discover
from lab.host.network import sock_diag
from lab.provision.machine import doctor
from lab.provision.machine.doctor import Capability
from lab.provision.machine.engine import Engine
from lab.provision.machine.engine_place import EngineFacts, EnginePlace, _peer, judge_place

HERE = EngineFacts(
    host="unix:///var/run/docker.sock",
    operating_system="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    root_directory="/var/lib/docker",
    peer=812,
    visible=(True, True),
    own_kernel="6.1.0",
    root_is_here=True,
)
MOUNTED = replace(HERE, peer=0, visible=(False,), root_is_here=False)
DESKTOP = replace(
    HERE, operating_system="Docker Desktop", kernel="6.10.14-linuxkit", visible=(), root_is_here=False
)


@pytest.mark.parametrize(
    "facts",
    [
        HERE,
        replace(HERE, visible=()),
        # A container that ended while it was looked at.
        replace(HERE, visible=(True, False)),
        # An engine of the user's own, and one whose socket systemd holds.
        replace(HERE, root_directory="/home/me/.local/share/docker", visible=(), peer=1),
        replace(HERE, peer=None, visible=()),
    ],
)
def test_an_engine_of_this_machine_is_accepted(facts: EngineFacts) -> None:
    assert judge_place(facts) == EnginePlace("", "")


@pytest.mark.parametrize(
    ("facts", "processes", "paths"),
    [
        (MOUNTED, "mounted into this container", "mounted into this container"),
        (replace(MOUNTED, visible=()), "mounted into this container", "mounted into this container"),
        (DESKTOP, "virtual machine (Docker Desktop)", "virtual machine"),
        (
            replace(DESKTOP, operating_system="Alpine"),
            "another kernel (6.10.14-linuxkit, not 6.1.0)",
            "kernel",
        ),
        (
            replace(HERE, host="tcp://10.0.0.1:2375"),
            "another machine (tcp://10.0.0.1:2375)",
            "another machine",
        ),
        (replace(HERE, visible=(False, False)), "not visible here", "not visible here"),
        (replace(HERE, root_directory="/var/snap/docker/common/var-lib-docker"), "", "is a snap"),
        (replace(HERE, root_is_here=False), "", "/var/lib/docker is not on this machine"),
    ],
)
def test_an_engine_elsewhere_is_recognised(facts: EngineFacts, processes: str, paths: str) -> None:
    place = judge_place(facts)
    assert processes in place.processes and bool(place.processes) is bool(processes)
    assert paths in place.paths


def test_a_socket_whose_process_cannot_be_asked_is_no_evidence() -> None:
    assert _peer("tcp://10.0.0.1:2375") is None
    assert _peer("unix:///nowhere/docker.sock") is None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that can do everything, with an engine that answers."""
    engine = Engine("unix:///x", "1", "1", "/")
    monkeypatch.setattr(doctor, "find_engine", lambda runner: engine)
    monkeypatch.setattr(doctor, "compose_version", lambda engine, runner: "2.0.0")
    monkeypatch.setattr(doctor, "is_root", lambda: True)
    monkeypatch.setattr(
        doctor, "_store", lambda engine, runner: Capability("store_ext4", ok=True, detail="yes")
    )
    monkeypatch.setattr(doctor, "_ports", lambda engine: Capability("ports", ok=True, detail="free"))
    return monkeypatch


def found_with(machine: pytest.MonkeyPatch, place: EnginePlace) -> dict[str, Capability]:
    machine.setattr(doctor, "place_of", lambda engine: place)
    return {capability.name: capability for capability in doctor.check_machine()}


def test_doctor_says_where_the_engine_is_and_what_is_not_tested(machine: pytest.MonkeyPatch) -> None:
    here = found_with(machine, EnginePlace("", ""))
    assert here["engine_processes"].ok and here["engine_paths"].ok and here["root"].ok
    elsewhere = found_with(machine, EnginePlace("it is in a virtual machine", "it is in a virtual machine"))
    for name in ("engine_processes", "engine_paths", "root", "cgroup_cpu", "nsenter", "store_ext4"):
        assert not elsewhere[name].ok, name
        assert "it is in a virtual machine" in elsewhere[name].detail or not here[name].ok
        assert elsewhere[name].fix
    needing = {kind for kind, fault in discover().items() if "root" in fault.needs}
    said = elsewhere["engine_processes"].detail
    assert "NOT_TESTED" in said and "memory" in said
    assert all(kind in said for kind in needing) and "cpu_cap" in needing
    assert "freeze" not in said, "the engine itself freezes"


@pytest.mark.parametrize(
    ("why", "root", "fix"),
    [("", True, ""), ("No such file or directory", True, "modprobe tcp_diag"), ("", False, "as root")],
)
def test_doctor_says_whether_connections_can_be_read_and_what_is_not_tested_without(
    why: str, root: bool, fix: str, machine: pytest.MonkeyPatch
) -> None:
    machine.setattr(sock_diag, "why_unreadable", lambda: why)
    machine.setattr(doctor, "is_root", lambda: root)
    found = found_with(machine, EnginePlace("", ""))["sock_diag"]
    assert found.ok == (not fix) and fix in found.fix and why in found.detail
    assert ("NOT_TESTED here: the check traffic" in found.detail) == (not found.ok)


def test_a_snap_keeps_what_needs_processes_alone(machine: pytest.MonkeyPatch) -> None:
    found = found_with(machine, EnginePlace("", "the engine is a snap"))
    assert found["root"].ok and found["engine_processes"].ok
    assert not found["engine_paths"].ok and not found["store_ext4"].ok
    assert "disk_full" in found["engine_paths"].detail and "cpu_cap" not in found["engine_paths"].detail


def test_what_every_fault_needs_is_known_to_be_the_engines_or_the_machines() -> None:
    """A new capability must be put on one of the two lists, or an engine elsewhere would seem able to do it."""
    needs = {need for fault in discover().values() for need in fault.needs}
    assert needs <= {*doctor.OF_PROCESSES, *doctor.OF_PATHS}
