"""What the judge makes of the findings of its checks: the plan's decisions, what is required, and errors of a check."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from lab import judge as judging
from lab.judge import checks, conclude, judge_by, tables
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import Decision, Plan
from lab.model.samples import Samples
from lab.model.scenario import BoundSpec
from lab.model.verdict import Finding, Judgement, Verdict, not_tested, undecided
from tests.pure.evidence_factory import Recipe, make

PASS, FAIL, INCONCLUSIVE, NOT_TESTED = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED
PLAN = replace(make(Recipe(faults=(), warm_up_s=5, baseline_s=10)).plan, required=(), decisions=())
INTEGRITY = Finding("integrity", "run", PASS, PASS, "complete", n=1, evidence=("journal:0",))


def some(check: str, subject: str, verdict: Verdict, gate: Verdict | None = None) -> Finding:
    return Finding(check, subject, verdict, gate or verdict, "as seen", n=1, evidence=("journal:0",))


def concluded(*found: Finding, plan: Plan = PLAN) -> Judgement:
    return conclude(plan, found, {}, interrupted=False)


def decided(decision: Decision, *found: Finding) -> Finding:
    """The finding of the decision's subject, if the plan says this of it."""
    judgement = concluded(INTEGRITY, *found, plan=replace(PLAN, decisions=(decision,)))
    (finding,) = (f for f in judgement.findings if (f.check, f.subject) == (decision.check, decision.subject))
    return finding


UNDECIDABLE = Decision("latency", "steady", decidable=False, reason="too short", needs_s=600.4)


def test_verdict_and_gate_are_each_the_worst_of_their_own() -> None:
    judgement = concluded(INTEGRITY, some("errors", "steady", FAIL, PASS))
    assert (judgement.verdict, judgement.gate) == (FAIL, PASS)
    assert judgement.findings == (some("errors", "steady", FAIL, PASS), INTEGRITY)
    assert (judgement.interrupted, judgement.tables) == (False, {})
    stopped = conclude(PLAN, [INTEGRITY], {"a": 1}, interrupted=True)
    assert (stopped.interrupted, stopped.tables) == (True, {"a": 1})


def test_findings_are_sorted_by_check_and_then_by_subject() -> None:
    found = [some("b", "1", PASS), some("a", "2", PASS), some("a", "1", PASS)]
    judgement = concluded(INTEGRITY, *found)
    assert [(f.check, f.subject) for f in judgement.findings] == [
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
        ("integrity", "run"),
    ]


def test_coverage_is_the_share_of_the_decided_findings() -> None:
    rest = (undecided("c", "x", ""), not_tested("d", "x", ""))
    assert concluded(INTEGRITY, some("a", "x", FAIL), *rest).coverage == 0.5
    assert concluded(INTEGRITY).coverage == 1.0
    alone = concluded()
    assert (alone.coverage, alone.gate) == (0.0, INCONCLUSIVE)
    assert [(f.check, f.subject) for f in alone.findings] == [("required", "integrity")]


@pytest.mark.parametrize("verdict", [PASS, INCONCLUSIVE])
def test_what_the_plan_announced_as_undecidable_is_not_tested(verdict: Verdict) -> None:
    finding = decided(UNDECIDABLE, some("latency", "steady", verdict))
    assert (finding.verdict, finding.gate_verdict) == (NOT_TESTED, NOT_TESTED)
    assert finding.reason == "too short; needs 10 min (observed: as seen)"
    shortly = decided(replace(UNDECIDABLE, needs_s=None), some("latency", "steady", verdict))
    assert shortly.reason == "too short (observed: as seen)"


def test_a_failure_stands_against_the_plan_unless_the_machine_is_unfit() -> None:
    failed = some("latency", "steady", FAIL)
    touched = replace(some("latency", "steady", INCONCLUSIVE), fail_touched=True)
    for finding in (failed, touched):
        assert decided(UNDECIDABLE, finding) == finding
        assert decided(replace(UNDECIDABLE, unfit=True), finding).verdict is NOT_TESTED
    # A failure that known issues explain is none of the gate.
    assert decided(UNDECIDABLE, some("latency", "steady", FAIL, PASS)).verdict is NOT_TESTED


def test_a_decision_holds_for_its_own_check_and_subject_alone() -> None:
    other = some("latency", "elsewhere", PASS)
    judgement = concluded(INTEGRITY, other, plan=replace(PLAN, decisions=(UNDECIDABLE,)))
    assert other in judgement.findings
    decidable = replace(UNDECIDABLE, decidable=True)
    assert decided(decidable, some("latency", "steady", PASS)).verdict is PASS


def test_what_no_check_has_judged_is_untested_or_a_broken_promise() -> None:
    announced = decided(UNDECIDABLE)
    assert (announced.verdict, announced.reason) == (NOT_TESTED, "too short; needs 10 min")
    promised = decided(replace(UNDECIDABLE, decidable=True))
    assert (promised.verdict, promised.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert promised.reason == "the plan promised to decide this, and no check has judged it"


def test_a_required_check_must_be_tested_for_every_subject() -> None:
    plan = replace(PLAN, required=("errors", "accuracy", "latency"))
    found = (
        some("errors", "steady", PASS),
        some("accuracy", "steady", PASS),
        not_tested("accuracy", "kill", ""),
        not_tested("accuracy", "cpu", ""),
    )
    judgement = concluded(INTEGRITY, *found, plan=plan)
    missing = {f.subject: f for f in judgement.findings if f.check == "required"}
    assert {f.gate_verdict for f in missing.values()} == {INCONCLUSIVE} and judgement.gate is INCONCLUSIVE
    assert {subject: f.reason for subject, f in missing.items()} == {
        "accuracy": "the required check 'accuracy' was not tested in this run for cpu, kill",
        "latency": "the required check 'latency' was not tested in this run",
    }
    assert concluded(*found[:2]).gate is INCONCLUSIVE, "integrity is always required"
    assert concluded(INTEGRITY, not_tested("score", "run", "")).gate is PASS


STARTED = Event(0, "run", 0.0, "", "run_started", {})
ENDED = Event(1, "run", 9.0, "", "run_ended", {"rows": {}, "last_seq": 1})
EMPTY = Evidence(PLAN, Journal((STARTED, ENDED)), Samples())


def passing(evidence: Evidence, windows: Windows) -> list[Finding]:
    return [INTEGRITY]


def broken(evidence: Evidence, windows: Windows) -> list[Finding]:
    raise KeyError("rows")


def test_a_broken_check_is_undecided_with_its_error_and_the_others_are_judged() -> None:
    judgement = judge_by(EMPTY, {"integrity": passing, "errors": broken})
    (finding,) = (f for f in judgement.findings if f.check == "errors")
    assert (finding.subject, finding.verdict, finding.gate_verdict) == ("run", INCONCLUSIVE, INCONCLUSIVE)
    assert finding.reason == "the check raised an error on this evidence: KeyError: 'rows'"
    assert INTEGRITY in judgement.findings and judgement.gate is INCONCLUSIVE
    assert judge_by(EMPTY, {"integrity": passing}).gate is PASS


def test_a_journal_that_cannot_be_understood_leaves_every_check_undecided() -> None:
    bad = Event(1, "run", 5.0, "", "phase_started", {})
    evidence = replace(EMPTY, journal=Journal((STARTED, bad)))
    judgement = judge_by(evidence, {"integrity": passing, "errors": passing})
    assert [(f.check, f.subject, f.verdict) for f in judgement.findings] == [
        ("errors", "run", INCONCLUSIVE),
        ("integrity", "run", INCONCLUSIVE),
    ]
    assert judgement.findings[0].reason == "the journal cannot be understood: KeyError: 'step'"
    assert (judgement.interrupted, judgement.tables) == (True, {})
    ended = judge_by(replace(evidence, journal=Journal((STARTED, bad, replace(ENDED, seq=2)))), {})
    assert ended.interrupted is False


def test_a_table_that_cannot_be_made_is_empty_and_takes_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
        return [{"findings": len(found), "from_ms": windows.from_ms, "plan": evidence.plan.campaign}]

    def fails(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
        raise ValueError("no rows")

    def made(found: dict[str, Callable[..., list[dict[str, object]]]]) -> Judgement:
        monkeypatch.setattr(tables, "discover", lambda: found)
        return judge_by(EMPTY, {"integrity": passing})

    whole = made({"load": describe})
    assert whole.gate is PASS
    assert whole.tables == {"load": [{"findings": 1, "from_ms": 0.0, "plan": PLAN.campaign}]}
    judgement = made({"faults": fails, "load": describe})
    (finding,) = (f for f in judgement.findings if f.check == "tables")
    assert (finding.subject, finding.verdict) == ("faults", INCONCLUSIVE)
    assert finding.reason == "this table could not be made: ValueError: no rows"
    assert judgement.tables["faults"] == [] and judgement.tables["load"]


@pytest.mark.parametrize(
    ("events", "interrupted"),
    [
        ((STARTED, ENDED), False),
        ((STARTED,), True),
        ((), True),
        ((STARTED, Event(1, "run", 1.0, "", "interrupted", {}), replace(ENDED, seq=2)), True),
        ((STARTED, Event(1, "run", 1.0, "", "lab_failed", {}), replace(ENDED, seq=2)), True),
        ((STARTED, replace(STARTED, kind="segment_started", segment=1), replace(ENDED, segment=1)), False),
        ((STARTED, ENDED, replace(STARTED, kind="segment_started", segment=1)), True),
    ],
)
def test_a_run_is_interrupted_where_its_last_segment_was_stopped(
    events: tuple[Event, ...], interrupted: bool
) -> None:
    judgement = judge_by(replace(EMPTY, journal=Journal(events)), {})
    assert judgement.interrupted is interrupted


def test_every_check_and_every_bound_is_discovered_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judging.discover()
    assert list(found) == sorted(found)
    assert {module.CHECK: module.findings for module in checks.modules()} == found
    assert [m.__name__.rpartition(".")[2] for m in checks.modules()] == sorted(
        m.__name__.rpartition(".")[2] for m in checks.modules()
    )
    assert checks.default_bounds() == {
        "accuracy": 0.9,
        "error_rate": 0.01,
        "latency_p95_ms": 200.0,
        "recovery_s": 30.0,
    }
    from lab.judge.checks import errors, latency

    other = BoundSpec("latency_p95_ms", "<", "ms", 100.0, "another")
    monkeypatch.setattr(errors, "BOUNDS", (other,))
    message = r"^two checks state the bound 'latency_p95_ms' differently; one is lab\.judge\.checks\.latency$"
    with pytest.raises(ValueError, match=message):
        checks.discover_bounds()
    monkeypatch.setattr(latency, "CHECK", "errors")
    with pytest.raises(
        ValueError, match=r"^two checks are called 'errors'; one of them is lab\.judge\.checks\.latency$"
    ):
        judging.discover()


def test_two_tables_of_one_key_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.judge.tables import gaps, load

    assert list(tables.discover()) == sorted(tables.discover())
    assert tables.discover()["load"] is load.describe
    monkeypatch.setattr(gaps, "KEY", "load")
    message = r"^two tables have the key 'load'; one of them is lab/judge/tables/load\.py$"
    with pytest.raises(ValueError, match=message):
        tables.discover()
