"""Verdicts, findings and what a judge returns.

Known debt: `Finding.details` is free-form; a check that needs more than a sentence there should grow a type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """PASS < INCONCLUSIVE < FAIL; NOT_TESTED stands beside them and takes no part in the worst-of."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    NOT_TESTED = "not_tested"


_RANK = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the tested verdicts; INCONCLUSIVE when none was tested, for nothing measured is not a pass."""
    tested = [verdict for verdict in verdicts if verdict is not Verdict.NOT_TESTED]
    return max(tested, key=_RANK.__getitem__) if tested else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval in the finding's unit."""

    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class Bound:
    """What the observed value is held against: `observed op value` must be true."""

    op: str
    value: float

    def __post_init__(self) -> None:
        if self.op not in ("<", "<=", ">", ">="):
            raise ValueError(f"a bound compares with <, <=, > or >=, not {self.op!r}")

    def judge(self, interval: Interval) -> Verdict:
        """PASS when the whole interval lies on the good side, FAIL when all of it lies on the bad one."""
        ends = [self._holds(interval.lo), self._holds(interval.hi)]
        if all(ends):
            return Verdict.PASS
        return Verdict.INCONCLUSIVE if any(ends) else Verdict.FAIL

    def _holds(self, value: float) -> bool:
        match self.op:
            case "<":
                return value < self.value
            case "<=":
                return value <= self.value
            case ">":
                return value > self.value
            case _:
                return value >= self.value


@dataclass(frozen=True, slots=True)
class KnownIssueCount:
    """How many observations a declared known issue explains in one finding."""

    id: str
    n: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One judged claim about one subject, with the evidence that it rests on.

    `evidence` names journal events (`journal:17`) and sample ranges (`samples:requests[45000..165000ms]`). `n` counts
    observations. `gate_verdict` leaves out exactly what declared known issues explain; `verdict` counts everything.
    A PASS or FAIL without evidence cannot be constructed. `fail_touched` marks a finding that would fail if no incident
    had touched its evidence.
    """

    check: str
    subject: str
    verdict: Verdict
    gate_verdict: Verdict
    reason: str
    observed: float | None = None
    unit: str | None = None
    ci: Interval | None = None
    bound: Bound | None = None
    n: int = 0
    evidence: tuple[str, ...] = ()
    known_issues: tuple[KnownIssueCount, ...] = ()
    fail_touched: bool = False

    def __post_init__(self) -> None:
        decided = {Verdict.PASS, Verdict.FAIL} & {self.verdict, self.gate_verdict}
        if decided and (not self.evidence or self.n <= 0):
            raise ValueError(f"{self.check}/{self.subject}: a decided finding needs evidence and n > 0")
        not_tested = Verdict.NOT_TESTED in (self.verdict, self.gate_verdict)
        if not_tested and self.verdict is not self.gate_verdict:
            raise ValueError(f"{self.check}/{self.subject}: NOT_TESTED holds for verdict and gate alike")


def undecided(
    check: str, subject: str, reason: str, *, evidence: tuple[str, ...] = (), n: int = 0
) -> Finding:
    """An INCONCLUSIVE finding: the run should have decided this and could not."""
    return Finding(check, subject, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, reason, n=n, evidence=evidence)


def not_tested(check: str, subject: str, reason: str) -> Finding:
    """A NOT_TESTED finding: said beforehand, with its reason."""
    return Finding(check, subject, Verdict.NOT_TESTED, Verdict.NOT_TESTED, reason)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that judging a run produced; `tables` holds the descriptive parts of `report.json` by key."""

    verdict: Verdict
    gate: Verdict
    coverage: float
    interrupted: bool
    findings: tuple[Finding, ...]
    tables: Mapping[str, object] = field(default_factory=dict)
