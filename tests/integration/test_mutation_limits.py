"""A mutant is ended at its time limit, and no other program that has got its number meanwhile."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sweep.mutation_limits import TimeLimits, safe_time_limits

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
LATER = float("inf")


@contextmanager
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """A program that does nothing for a minute."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_is_ended_at_its_limit_and_not_before() -> None:
    limits = TimeLimits()
    with sleeping() as process:
        limits.add(process.pid, 3600)
        limits.end_those_due(0.0)
        assert process.poll() is None
        limits.end_those_due(LATER)
        assert process.wait(5) == -signal.SIGXCPU


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a process number given out again")
def test_another_process_with_the_same_number_lives_on() -> None:
    limits = TimeLimits()
    with sleeping() as process:
        limits.add(process.pid, 3600)
    # The kernel gives the start of a process in hundredths of a second, so two of the same hundredth look alike.
    time.sleep(0.05)
    for _ in range(200):
        LAST_PID.write_text(str(process.pid - 1), encoding="ascii")
        with sleeping() as other:
            if other.pid != process.pid:
                continue
            limits.end_those_due(LATER)
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.5)
            return
    pytest.skip("the process number was not given out again")


def test_a_process_that_has_ended_has_no_limit() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    TimeLimits().add(process.pid, 0.0)


def test_a_tool_that_ends_its_mutants_in_another_way_is_refused() -> None:
    with pytest.raises(SystemExit, match="register_timeout"):
        safe_time_limits({})
