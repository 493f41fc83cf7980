"""Judges a run: takes its evidence and returns the verdict. It does no I/O, so a kept run keeps the same verdict.

Every module of `checks` with a `CHECK` is one check and is found by discovery; `findings(evidence, windows)` returns
its findings. If a check raises an error, its finding is INCONCLUSIVE with the error's text; it is never left out.

Known weakness: the intervals correct for the dependence between requests that follow each other, but treat the answers
to truth queries as independent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lab.boundary import Caught, attempt
from lab.judge import checks, tables
from lab.judge.windows.segments import find_segments
from lab.judge.windows.timeline import Windows, find_windows
from lab.model.evidence import Evidence
from lab.model.plan import Decision, Plan
from lab.model.quantities import format_duration
from lab.model.verdict import Finding, Judgement, Verdict, not_tested, undecided, worst

ALWAYS_REQUIRED = ("integrity",)
_DECIDED = (Verdict.PASS, Verdict.FAIL)

Check = Callable[[Evidence, Windows], list[Finding]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Broken:
    """A part of judging that raised an error, with the error's text."""

    error: str


def discover() -> dict[str, Check]:
    """Every check by its name, sorted; raises ValueError where two carry one name."""
    found: dict[str, Check] = {}
    for module in checks.modules():
        if module.CHECK in found:
            raise ValueError(f"two checks are called {module.CHECK!r}; one of them is {module.__name__}")
        found[module.CHECK] = module.findings
    return dict(sorted(found.items()))


def judge(evidence: Evidence) -> Judgement:
    """Judge a run by every check. The order of checks, samples and findings has no effect."""
    return judge_by(evidence, discover())


def judge_by(evidence: Evidence, checks: Mapping[str, Check]) -> Judgement:
    """Judge a run by these checks. If a required check is not among them, the gate is INCONCLUSIVE."""
    windows = _attempt(lambda: find_windows(evidence))
    if isinstance(windows, _Broken):
        reason = f"the journal cannot be understood: {windows.error}"
        broken = [undecided(name, "run", reason) for name in checks]
        return conclude(evidence.plan, broken, {}, interrupted=_interrupted(evidence))
    found: list[Finding] = []
    for name, check in checks.items():
        found += _findings(name, check, evidence, windows)
    described: dict[str, object] = {}
    for key, describe in tables.discover().items():
        rows = _attempt(lambda describe=describe: describe(evidence, windows, found))  # type: ignore[misc]
        described[key] = [] if isinstance(rows, _Broken) else rows
        if isinstance(rows, _Broken):
            found.append(undecided("tables", key, f"this table could not be made: {rows.error}"))
    return conclude(evidence.plan, found, described, interrupted=_interrupted(evidence))


def conclude(
    plan: Plan, found: Iterable[Finding], tables: Mapping[str, object], *, interrupted: bool
) -> Judgement:
    """The verdict on a run: the worst of its findings, after the plan's decisions and requirements are applied."""
    planned = [_as_planned(finding, plan) for finding in found]
    planned += _promised(plan.decisions, planned)
    planned += _required(plan.required, planned)
    planned.sort(key=lambda finding: (finding.check, finding.subject))
    decided = sum(finding.verdict in _DECIDED for finding in planned)
    return Judgement(
        verdict=worst(finding.verdict for finding in planned),
        gate=worst(finding.gate_verdict for finding in planned),
        # Integrity is always required, so there is a finding at least.
        coverage=decided / len(planned),
        interrupted=interrupted,
        findings=tuple(planned),
        tables=tables,
    )


def _findings(name: str, check: Check, evidence: Evidence, windows: Windows) -> list[Finding]:
    found = _attempt(lambda: check(evidence, windows))
    if isinstance(found, _Broken):
        return [undecided(name, "run", f"the check raised an error on this evidence: {found.error}")]
    return found


def _attempt(work: Callable[[], T]) -> T | _Broken:
    result = attempt(work)
    # The place of the error is left out, because it differs between versions of the lab.
    return _Broken(f"{result.type_name}: {result.error}") if isinstance(result, Caught) else result


def _as_planned(finding: Finding, plan: Plan) -> Finding:
    """The finding, or NOT_TESTED if the plan announced that this run cannot decide it.

    A FAIL is kept, because it is beyond doubt. A finding that is INCONCLUSIVE only because of an incident, and would
    have failed otherwise, is kept too: an incident must not take a failure out of the gate. Where the plan announced
    that the machine is unfit for this finding, not even a failure is kept, for it may be the machine's.
    """
    decision = plan.decision(finding.check, finding.subject)
    fails = finding.gate_verdict is Verdict.FAIL or finding.fail_touched
    if decision is None or decision.decidable or (fails and not decision.unfit):
        return finding
    untested = Verdict.NOT_TESTED
    return replace(
        finding, verdict=untested, gate_verdict=untested, reason=_not_decidable(decision, finding.reason)
    )


def _not_decidable(decision: Decision, observed: str = "") -> str:
    needs = f"; needs {format_duration(round(decision.needs_s))}" if decision.needs_s is not None else ""
    return f"{decision.reason}{needs}" + (f" (observed: {observed})" if observed else "")


def _promised(decisions: Iterable[Decision], found: Sequence[Finding]) -> list[Finding]:
    """A finding for each of the plan's decisions that no check has judged.

    It is NOT_TESTED if the plan announced that, and INCONCLUSIVE if the plan promised a decision.
    """
    judged = {(finding.check, finding.subject) for finding in found}
    missing = [decision for decision in decisions if (decision.check, decision.subject) not in judged]
    return [
        undecided(d.check, d.subject, "the plan promised to decide this, and no check has judged it")
        if d.decidable
        else not_tested(d.check, d.subject, _not_decidable(d))
        for d in missing
    ]


def _required(required: Iterable[str], found: Sequence[Finding]) -> list[Finding]:
    """An INCONCLUSIVE finding for each required check that was not tested for some subject, so the gate cannot pass."""
    untested = {finding for finding in found if finding.verdict is Verdict.NOT_TESTED}
    tested = {finding.check for finding in found} - {finding.check for finding in untested}
    missing = sorted({*required, *ALWAYS_REQUIRED} - tested)
    return [undecided("required", name, _untested(name, untested)) for name in missing]


def _untested(name: str, untested: Iterable[Finding]) -> str:
    subjects = sorted(finding.subject for finding in untested if finding.check == name)
    what = f" for {', '.join(subjects)}" if subjects else ""
    return f"the required check {name!r} was not tested in this run{what}"


def _interrupted(evidence: Evidence) -> bool:
    """Whether the run's last segment was stopped, or has no end."""
    last = find_segments(evidence.journal)[-1]
    kinds = {event.kind for event in last.events}
    return bool(kinds & {"interrupted", "lab_failed"}) or "run_ended" not in kinds
