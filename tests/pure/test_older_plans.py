"""The plan of a run that an older lab made is read as if its steps had always named their load."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.errors import ScenarioError
from lab.evidence.run_directory import read_plan, write_plan
from lab.model.load import ConstantArrivalRate
from lab.model.plan import Plan
from tests.pure.evidence_factory import LOAD, make

PLAN = make().plan


def older() -> dict[str, Any]:
    """The plan as the lab wrote it before steps had loads."""
    value: dict[str, Any] = TypeAdapter(Plan).dump_python(PLAN, mode="json")
    for step in value["steps"]:
        del step["load"]
    load = {"rate_per_s": 4.0, "chunk_s": 60.0, "mix": dict(LOAD.mix), "request_timeout_ms": 10_000}
    return {**value, "load": load}


def written(folder: Path, value: object) -> Path:
    (folder / "plan.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_each_step_has_the_load_that_the_whole_plan_had(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, older()))
    expected = replace(LOAD, script="mix.js")
    assert [step.load for step in plan.steps] == [expected] * len(PLAN.steps)
    assert replace(plan, steps=PLAN.steps) == PLAN
    assert plan.loads() == (expected,)
    assert plan.loads()[0].schedule == ConstantArrivalRate(4.0)


def test_reading_leaves_the_file_and_its_hash_alone(tmp_path: Path) -> None:
    before = (written(tmp_path, older()) / "plan.json").read_bytes()
    read_plan(tmp_path)
    assert (tmp_path / "plan.json").read_bytes() == before


def test_a_plan_of_today_is_read_as_it_was_written(tmp_path: Path) -> None:
    digest = write_plan(tmp_path, PLAN)
    assert read_plan(tmp_path) == PLAN
    assert digest == hashlib.sha256((tmp_path / "plan.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "load", [None, 4, [], {}, {"rate_per_s": 4.0}, {"rate_per_s": "fast", "chunk_s": 60, "mix": {}}]
)
def test_an_older_load_that_cannot_be_read_is_refused_or_none(tmp_path: Path, load: object) -> None:
    written(tmp_path, {**older(), "load": load})
    if isinstance(load, dict):
        with pytest.raises(ScenarioError, match="no readable plan"):
            read_plan(tmp_path)
    else:
        assert read_plan(tmp_path).loads() == ()


@pytest.mark.parametrize("text", [b"", b"\xff", b"[" * 100_000, b"null", b'{"load": {}, "steps": 4}'])
def test_what_is_no_plan_is_refused_in_words(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(text)
    with pytest.raises(ScenarioError, match="no readable plan"):
        read_plan(tmp_path)


def test_two_loads_of_one_name_are_no_plan() -> None:
    faster = replace(LOAD, schedule=ConstantArrivalRate(40.0))
    first, *rest = PLAN.steps
    with pytest.raises(ValueError, match="two different loads"):
        replace(PLAN, steps=(replace(first, load=faster), *rest))
