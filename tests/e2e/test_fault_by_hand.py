"""One fault by hand on a warm stack, as a user calls it: brief, and proven all the same.

`tests/bench/fault_by_hand.py` shows where its time goes; here only the order of things is held, and no time.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.provision.stack import stack
from tests.bench.fault_by_hand import call, parts
from tests.e2e.soaking import finding
from tests.e2e.stacks import TARGET

HOLD_S, STAYS_WELL_S = 5.0, 8.0


@pytest.fixture(scope="module")
def run(real_stack: stack.StackSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `lab fault run freeze target=qdrant --hold 5s`."""
    runs = tmp_path_factory.mktemp("by-hand") / "runs"
    call(["freeze", "target=qdrant", "--hold", f"{HOLD_S:g}s"], real_stack.project, TARGET, runs)
    return runs / "latest"


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))


def test_the_fault_is_proven_and_the_recovery_says_how_long_it_held(run: Path) -> None:
    report = read(run, "report.json")
    assert finding(report, "in_force", "f1-freeze")["verdict"] == "pass"
    assert finding(report, "traffic", "steady")["verdict"] == "pass"
    recovery = finding(report, "recovery", "f1-freeze")
    assert recovery["verdict"] == "pass", recovery["reason"]
    assert f"stayed well for the {STAYS_WELL_S:g} s" in recovery["reason"]
    assert recovery["n"] >= 20


def test_nothing_is_done_that_a_fault_by_hand_does_not_need(
    run: Path, record_property: Callable[[str, object], None]
) -> None:
    plan, found = read(run, "plan.json"), dict(parts(run))
    for name, seconds in found.items():
        record_property(name, round(seconds, 1))
    assert [step["name"] for step in plan["steps"]] == ["warm-up", "baseline", "f1-freeze"]
    assert plan["capacity"]["short"] is True and plan["stays_well_s"] == STAYS_WELL_S
    # It was watched for as long as it must hold, and k6 did not wait for requests that were settled already.
    assert found["recover, and stay well"] >= STAYS_WELL_S
    assert found["end the load"] < plan["steps"][0]["load"]["request_timeout_ms"] / 1000
