"""Probes and hogs in real cgroups of a test's own (version 1), without any container."""

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import FaultError
from lab.host.cgroups.cgroups import ROOT, HostCgroups
from lab.host.processes.marks import end_processes, marked
from lab.observe.clock import RunClock
from tests.contract.fakes import FakeContainers

MIB = 1 << 20
CONTROLLERS = ("memory", "pids")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (ROOT / "memory" / "memory.limit_in_bytes").exists(),
    reason="needs root and cgroup v1; version 2 is tested on recorded trees only",
)


@pytest.fixture
def named() -> Iterator[str]:
    """The name of a memory and a pids cgroup in which one process sleeps."""
    name = f"lab-test-{secrets.token_hex(8)}"
    directories = [ROOT / controller / name for controller in CONTROLLERS]
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        for directory in directories:
            directory.mkdir()
            (directory / "cgroup.procs").write_text(str(sleeper.pid), encoding="ascii")
        yield f"{name}/{sleeper.pid}"
    finally:
        sleeper.kill()
        sleeper.wait()
        for directory in directories:
            _remove(directory)


def _remove(directory: Path) -> None:
    give_up = time.monotonic() + 5
    while directory.exists():
        try:
            directory.rmdir()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


@pytest.fixture
def cgroups(named: str) -> HostCgroups:
    name, pid = named.split("/")
    containers = FakeContainers()
    containers.states["mcp"] = replace(containers.states["mcp"], id=name, pid=int(pid))
    containers.states["qdrant"] = replace(containers.states["qdrant"], id=name, pid=os.getpid())
    return HostCgroups(containers, RunClock())


def limit(named: str, size: int) -> None:
    file = ROOT / "memory" / named.split("/")[0] / "memory.limit_in_bytes"
    file.write_text(str(size), encoding="ascii")


def test_a_demand_hits_a_limit_and_nothing_without_one(named: str, cgroups: HostCgroups) -> None:
    assert cgroups.limit_hits("mcp", 32, 0.0) == 0
    limit(named, 16 * MIB)
    assert cgroups.limit_hits("mcp", 32, 0.0) > 0
    assert cgroups.memory("mcp").oom_kills == 0, "the demand can be taken back"
    limit(named, -1)
    assert cgroups.limit_hits("mcp", 32, 0.0) == 0
    assert cgroups.memory("mcp").limit.memory_bytes == -1


def test_a_hog_holds_its_memory_until_it_is_ended(named: str, cgroups: HostCgroups) -> None:
    token = f"test.{secrets.token_hex(6)}"
    try:
        cgroups.start_hog("mcp", named.split("/")[0], token, 32)
        assert marked(token) and cgroups.memory("mcp").usage_bytes >= 32 * MIB
        limit(named, cgroups.memory("mcp").usage_bytes + 4 * MIB)
        time.sleep(0.5)
        assert cgroups.limit_hits("mcp", 0, 0.5) > 0
    finally:
        end_processes(token)
    assert not marked(token)


def test_forks_are_refused_at_the_limit(named: str, cgroups: HostCgroups) -> None:
    assert cgroups.try_forks("mcp", 8) == 8
    (ROOT / "pids" / named.split("/")[0] / "pids.max").write_text("4", encoding="ascii")
    # The sleeper and the process that forks are two of the four.
    assert cgroups.try_forks("mcp", 8) == 2
    assert cgroups.pids("mcp").limit == 4


def test_a_process_outside_the_containers_cgroup_is_refused(cgroups: HostCgroups) -> None:
    """As when a process id was given to somebody else: this test's own process is not the container's."""
    with pytest.raises(FaultError, match="is not that of"):
        cgroups.limit_hits("qdrant", 1, 0.0)
