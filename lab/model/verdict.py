"""Verdicts, findings, and the judgement of a whole run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """PASS < INCONCLUSIVE < FAIL. NOT_TESTED has no rank: it is ignored when the worst verdict is chosen."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    NOT_TESTED = "not_tested"


_RANK = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the tested verdicts; INCONCLUSIVE if none was tested, because that is no pass."""
    tested = [verdict for verdict in verdicts if verdict is not Verdict.NOT_TESTED]
    return max(tested, key=_RANK.__getitem__) if tested else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval in the finding's unit."""

    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on the observed value: `observed op value` must be true."""

    op: str
    value: float

    def __post_init__(self) -> None:
        if self.op not in ("<", "<=", ">", ">="):
            raise ValueError(f"a bound compares with <, <=, > or >=, not {self.op!r}")

    def judge(self, interval: Interval) -> Verdict:
        """PASS where the whole interval is within the bound, FAIL where all of it is beyond, else INCONCLUSIVE."""
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
    """How many observations of one finding a declared known issue explains."""

    id: str
    n: int


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one claim about one subject, with its evidence.

    `evidence` names journal events (`journal:17`) and ranges of samples (`samples:requests[45000..165000ms]`). `n` is
    the number of observations. `verdict` counts every observation; `gate_verdict` leaves out exactly those that
    declared known issues explain. A PASS or FAIL without evidence cannot be constructed.
    `fail_touched` marks a finding that would be FAIL if no incident had touched its evidence.
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
    """An INCONCLUSIVE finding: the run was meant to decide this and could not."""
    return Finding(check, subject, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, reason, n=n, evidence=evidence)


def not_tested(check: str, subject: str, reason: str) -> Finding:
    """A NOT_TESTED finding, with the reason why it was not planned or not possible to test."""
    return Finding(check, subject, Verdict.NOT_TESTED, Verdict.NOT_TESTED, reason)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of judging a run; `tables` holds the descriptive parts of `report.json` by key."""

    verdict: Verdict
    gate: Verdict
    coverage: float
    interrupted: bool
    findings: tuple[Finding, ...]
    tables: Mapping[str, object] = field(default_factory=dict)
