"""The worked example of docs/how-to/add-a-check.md: its blocks, put where the page says, are a check as any other."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lab.judge.checks
from lab import judge
from lab.errors import ScenarioError
from lab.judge.checks import default_bounds, discover_bounds
from lab.model.evidence import Evidence
from lab.model.samples import Rows
from lab.model.verdict import Finding, Verdict
from lab.read.campaigns import load_campaign
from tests.contract.how_to_pages import blocks_of, write_files
from tests.pure.evidence_factory import make
from tests.tidy.generated import bounds

BLOCKS = blocks_of("add-a-check.md")
CHECK, BOUND = "memory_peak", "memory_peak_mb"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that holds the page's files at their places, seen by discovery beside the lab's own."""
    write_files(BLOCKS, tmp_path)
    folder = str(tmp_path / "lab" / "judge" / "checks")
    monkeypatch.setattr(lab.judge.checks, "__path__", [*lab.judge.checks.__path__, folder])
    yield tmp_path
    sys.modules.pop("lab.judge.checks.memory_peak", None)
    vars(lab.judge.checks).pop("memory_peak", None)


def judged(run: Evidence) -> list[Finding]:
    """What the whole judge, with the check of the page among the others, finds about the peak."""
    return [finding for finding in judge.judge(run).findings if finding.check == CHECK]


def limited(mb: float) -> Evidence:
    run = make()
    return replace(run, plan=replace(run.plan, bounds={**run.plan.bounds, BOUND: mb}))


def test_the_page_has_a_block_for_each_file_of_a_check() -> None:
    assert sorted(BLOCKS) == [
        "chaos/memory.yaml",
        "lab/judge/checks/memory_peak.py",
        "tests/pure/test_memory_peak.py",
    ]
    assert CHECK not in judge.discover(), "the example must not exist already"
    assert BOUND not in default_bounds()
    assert judged(make()) == []


def test_the_judge_finds_it_and_judges_by_the_bound_of_the_campaign(checkout: Path) -> None:
    assert CHECK in judge.discover()
    (good,), (bad,) = judged(limited(281)), judged(limited(279))
    assert (good.verdict, good.observed, good.subject) == (Verdict.PASS, 280.0, "mcp")
    assert (bad.verdict, bad.gate_verdict) == (Verdict.FAIL, Verdict.FAIL)


def test_a_plan_from_before_the_check_has_its_default(checkout: Path) -> None:
    run = make()
    old = {name: value for name, value in run.plan.bounds.items() if name != BOUND}
    (finding,) = judged(replace(run, plan=replace(run.plan, bounds=old)))
    assert finding.bound is not None and finding.bound.value == 2000.0


def test_without_its_evidence_it_decides_nothing(checkout: Path) -> None:
    run = limited(281)
    (finding,) = judged(replace(run, samples=replace(run.samples, memory=Rows())))
    assert finding.verdict is Verdict.INCONCLUSIVE


def test_campaigns_and_documents_know_the_bound(checkout: Path) -> None:
    scenario = load_campaign(checkout / "chaos" / "memory.yaml")
    assert scenario.bounds[BOUND] == 500 and scenario.required[-1] == CHECK
    assert f"| `{BOUND}` | < 2000 MB | more than 0, 1e+06 at most |" in bounds()
    bad = checkout / "bad.yaml"
    bad.write_text((checkout / "chaos" / "memory.yaml").read_text().replace("500", "-1"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"bounds\.memory_peak_mb"):
        load_campaign(bad)


def test_the_tests_of_the_page_pass(checkout: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(BLOCKS["tests/pure/test_memory_peak.py"], "page", "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_two_checks_that_state_one_bound_differently_are_refused(checkout: Path) -> None:
    text = BLOCKS["lab/judge/checks/memory_peak.py"].replace('"memory_peak_mb"', '"recovery_s"')
    (checkout / "lab" / "judge" / "checks" / "memory_peak.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="'recovery_s' differently"):
        discover_bounds()
