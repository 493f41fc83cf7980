"""The lab's own processes: found by their token alone, ended by it, and never mistaken for another's."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import FaultError, GoneError
from lab.host.processes.marks import MARK, end_processes, marked
from lab.host.processes.process_handle import started_ticks
from lab.host.processes.processes import HostProcesses
from lab.ports import ContainerState
from lab.ports.processes import OpenFiles
from tests.contract.fakes import FakeContainers

SLEEPER = "import time; time.sleep(60)"


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """What a test started ends with it."""
    with ExitStack() as stack:
        yield stack


def sleeper(ended: ExitStack, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, *arguments])
    ended.callback(process.wait)
    ended.callback(process.kill)
    # The kernel says that it has begun a little before it shows the arguments.
    end = time.monotonic() + 10
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes() and time.monotonic() < end:
        time.sleep(0.005)
    return process


def test_only_the_processes_of_a_token_end(ended: ExitStack) -> None:
    processes = HostProcesses("run-a")
    token, other = processes.new_token("burn"), processes.new_token("burn")
    mine, theirs = sleeper(ended, MARK + token), sleeper(ended, MARK + other)
    assert processes.running(token) == [mine.pid]
    assert HostProcesses("another process").end(token) == [mine.pid]
    assert processes.running(token) == [] and processes.end(token) == []
    assert theirs.poll() is None


def test_a_run_is_a_prefix_and_not_the_beginning_of_another_runs_name(ended: ExitStack) -> None:
    mine, theirs = sleeper(ended, f"{MARK}run-a.1"), sleeper(ended, f"{MARK}run-ab.1")
    assert end_processes("run-a.", prefix=True) == [mine.pid]
    assert marked("run-ab.", prefix=True) == [theirs.pid]


def limits_of(process: subprocess.Popen[bytes]) -> OpenFiles:
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    began = started_ticks(process.pid)
    assert began is not None
    return OpenFiles(process.pid, began, 0, soft, hard)


def test_limits_of_a_process_that_got_a_used_id_are_left_alone(ended: ExitStack) -> None:
    process = sleeper(ended)
    files = limits_of(process)
    reused = replace(files, pid_started=files.pid_started - 1, soft=64)
    assert not HostProcesses("run").limit_open_files("any", reused)
    assert limits_of(process) == files


def test_limits_of_a_process_outside_the_container_are_left_alone(ended: ExitStack) -> None:
    process = sleeper(ended)
    files = limits_of(process)
    with pytest.raises(FaultError, match="not in container"):
        HostProcesses("run").limit_open_files("f" * 64, replace(files, soft=64))
    assert limits_of(process) == files


def test_nothing_is_entered_but_the_container_that_was_seen() -> None:
    containers = FakeContainers()
    seen = containers.state("mcp")
    processes = HostProcesses("run")
    with pytest.raises(GoneError, match="no longer the same"):
        processes.burn(containers, replace(seen, id="another"), "run.t", 1, 1.0)
    containers.states["mcp"] = own_process(seen)
    for enter in (processes.cpu_load, processes.connection_count, processes.open_files):
        with pytest.raises(FaultError, match="does not run"):
            enter(containers, containers.states["mcp"])
    assert marked("run.t") == []


def own_process(state: ContainerState) -> ContainerState:
    """A container whose process id belongs to somebody else by now."""
    return replace(state, id="f" * 64, pid=os.getpid())


def test_demand_that_cannot_begin_says_why(ended: ExitStack, tmp_path: Path) -> None:
    asked = [
        sys.executable,
        "-m",
        "lab.host.processes.demand",
        f"{MARK}run.t",
        "burn",
        str(tmp_path / "no" / "entry"),
    ]
    done = subprocess.run(
        [*asked, str(tmp_path / "no"), "1", "1"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0 and "ready" not in done.stdout and "FileNotFoundError" in done.stderr
