"""A run that was kept from before the evidence had streams and segments is judged as it was judged then.

The fixture is a default soak of 12 minutes on a slow machine, of November 2026: its findings hold every verdict there
is. Beside it lie the findings that the code of that day wrote. Everything is compared but the wording of the reasons.
One rule has changed since: an observer that takes too much of the target is the lab's own doing, and INCONCLUSIVE.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab.run.session import judge_run

FIXTURES = Path(__file__).with_name("fixtures")
KEPT = "run-of-2026-11-27"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / f"{KEPT}.findings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("runs") / KEPT
    directory.mkdir()
    with tarfile.open(FIXTURES / f"{KEPT}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    judge_run(directory)
    written: dict[str, Any] = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    return written


def by_todays_rules(finding: dict[str, Any]) -> dict[str, Any]:
    if finding["check"] != "observer_share":
        return finding
    assert finding["verdict"] == finding["gate_verdict"] == "fail"
    return {**finding, "verdict": "inconclusive", "gate_verdict": "inconclusive"}


def without_words(finding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in finding.items() if key != "reason"}


def test_the_fixture_holds_every_verdict() -> None:
    verdicts = {finding["verdict"] for finding in EXPECTED["findings"]}
    assert verdicts == {"pass", "fail", "inconclusive", "not_tested"}


@pytest.mark.parametrize("key", ["verdict", "gate", "interrupted"])
def test_a_kept_run_has_the_same_outcome(report: dict[str, Any], key: str) -> None:
    assert report[key] == EXPECTED[key]


@pytest.mark.parametrize("number", range(len(EXPECTED["findings"])))
def test_a_kept_run_has_the_same_findings(report: dict[str, Any], number: int) -> None:
    assert without_words(report["findings"][number]) == without_words(
        by_todays_rules(EXPECTED["findings"][number])
    )


def test_a_kept_run_has_one_decided_finding_less(report: dict[str, Any]) -> None:
    share = 1 / len(EXPECTED["findings"])
    assert report["coverage"] == pytest.approx(EXPECTED["coverage"] - share, abs=1e-6), "observer_share"


def test_a_kept_run_has_no_other_findings(report: dict[str, Any]) -> None:
    assert len(report["findings"]) == len(EXPECTED["findings"])
