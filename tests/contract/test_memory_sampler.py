"""Memory is read only from processes that are in the container's cgroup, whatever the process numbers say."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.model.samples import Memory
from lab.observe import memory
from lab.observe.memory import MemorySampler
from tests.contract.fakes import FakeClock, FakeContainers

CHILD = "import sys; sys.stdin.read()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{CHILD}"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process and its child."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        yield parent.pid, int(parent.stdout.readline())
        parent.communicate("\n")


def read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pid: int, in_cgroup: Iterable[int]
) -> tuple[list[Memory], int]:
    """The rows of one reading of a container whose first process is `pid`, and how many readings failed."""
    (tmp_path / "memory.stat").write_text("anon 4096\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1\nnr_periods 0\nnr_throttled 0\n")
    containers, rows = FakeContainers(), list[Any]()
    container_id = containers.state("mcp").id
    containers.states["mcp"] = replace(containers.states["mcp"], pid=pid)
    inside = set(in_cgroup)
    monkeypatch.setattr(memory, "cgroup_dir", lambda pid, controller: tmp_path)
    monkeypatch.setattr(memory, "belongs", lambda pid, of: pid in inside and of == container_id)
    sink: Any = type("Sink", (), {"add": lambda self, more: rows.extend(more)})()
    sampler = MemorySampler(("mcp",), containers, FakeClock(), sink, lambda: 0.0)
    sampler.read()
    return [row for row in rows if isinstance(row, Memory)], sampler.reads_failed["mcp"]


def test_the_processes_of_the_container_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: tuple[int, int]
) -> None:
    rows, failed = read(monkeypatch, tmp_path, family[0], family)
    assert {row.pid for row in rows if row.process} == set(family)
    assert [row.bytes for row in rows if row.process is None] == [4096]
    assert failed == 0


def test_a_child_in_another_cgroup_is_not_the_containers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: tuple[int, int]
) -> None:
    rows, failed = read(monkeypatch, tmp_path, family[0], family[:1])
    assert {row.pid for row in rows if row.process} == {family[0]}
    assert failed == 0


def test_a_process_that_only_has_the_number_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with an engine elsewhere, whose process numbers mean other processes here."""
    rows, failed = read(monkeypatch, tmp_path, os.getpid(), ())
    assert rows == []
    assert failed == 1
