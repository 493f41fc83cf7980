"""The CPU time of the load generator is counted over all of its containers, and a missing one costs no sampler."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import DockerException

from lab.errors import FaultError, WorldError
from lab.load import cpu_time
from lab.load.cpu_time import LoadCpu
from lab.model.samples import LOAD_CPU
from lab.observe.memory import LOAD, MemorySampler
from tests.contract.fakes import fake_world


@dataclass
class Engine:
    """An engine whose containers have used some CPU time, in microseconds; None for one that has just ended."""

    used_us: dict[str, int | None] = field(default_factory=dict)
    silent: bool = False
    inspected: list[str] = field(default_factory=list)

    def containers(self, filters: dict[str, Any]) -> list[dict[str, str]]:
        if self.silent:
            raise DockerException("gone")
        assert len(filters["label"]) == 3
        return [{"Id": name} for name in self.used_us]

    def inspect_container(self, name: str) -> dict[str, Any]:
        self.inspected.append(name)
        return {"State": {"Pid": 1 + sorted(self.used_us).index(name)}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()

    def read(cpu: Path, cpuacct: Path, at_ms: float) -> SimpleNamespace:
        used_us = engine.used_us[sorted(engine.used_us)[int(cpu.name) - 1]]
        if used_us is None:
            raise FaultError("gone")
        return SimpleNamespace(usage_us=used_us)

    monkeypatch.setattr(cpu_time, "cgroup_dir", lambda pid, controller: Path("/cgroup", str(pid)))
    monkeypatch.setattr(cpu_time, "read_usage", read)
    return engine


def load_cpu(engine: Engine) -> LoadCpu:
    client: Any = SimpleNamespace(api=engine)
    return LoadCpu(client, "project")


def test_chunks_add_up_and_what_has_ended_still_counts(engine: Engine) -> None:
    load = load_cpu(engine)
    assert load.read_s() == 0.0
    engine.used_us = {"a": 1_500_000}
    assert load.read_s() == 1.5
    engine.used_us = {"a": 2_000_000, "b": 250_000}
    assert load.read_s() == 2.25
    engine.used_us = {"a": None, "b": 500_000}
    assert load.read_s() == 2.5
    engine.used_us = {}
    assert load.read_s() == 2.5
    assert engine.inspected == ["a", "b"], "asked once per chunk"


def test_an_engine_that_does_not_answer_leaves_a_reading_out_and_ends_no_sampler(engine: Engine) -> None:
    load = load_cpu(engine)
    world, rows = fake_world(), list[Any]()
    sampler = MemorySampler((), world.containers, world.clock, SimpleNamespace(add=rows.extend), load.read_s)
    sampler.read()
    engine.silent = True
    sampler.read()
    with pytest.raises(WorldError):
        load.read_s()
    assert [row.value for row in rows if row.metric == LOAD_CPU] == [0.0]
    assert sampler.reads_failed == {LOAD: 1}
