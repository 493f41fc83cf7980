"""Share of the requests in the steady phases that had no right answer, whatever the layer at which they failed.

A request that failed only because it took too long is an error like any other, unless others took so much of the
machine that the target had less time for it than an answer may take.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lab.judge.checks.latency import P95_MAX
from lab.judge.stats.intervals import Flags, share_interval
from lab.judge.windows.host_cpu import Starvation
from lab.judge.windows.steady_load import (
    SUBJECT,
    SteadyLoad,
    failures,
    judged_load,
    tally,
    unless_starved,
    waited_ms,
)
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.samples import Request
from lab.model.scenario import BoundSpec
from lab.model.verdict import Bound, Finding, Interval, Verdict

CHECK = "errors"
ERROR_RATE_MAX = BoundSpec(
    "error_rate", "<", "share", 0.01, "share of failed requests in the steady phases", at_least=1e-6, below=1
)
BOUNDS = (ERROR_RATE_MAX,)


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding about all steady phases together."""
    return judged_load(evidence, windows, CHECK, lambda load: _finding(evidence, load))


def _finding(evidence: Evidence, load: SteadyLoad) -> Finding:
    bound = ERROR_RATE_MAX.of(evidence.plan.bounds)
    rest = load.unexplained()
    interval = _interval(load.requests, load.missing)
    bad = failures(load.requests, unknown=True)
    finding = Finding(
        CHECK,
        SUBJECT,
        bound.judge(interval),
        bound.judge(_interval(rest, load.missing)) if rest else Verdict.INCONCLUSIVE,
        _reason(load.requests, rest, load.missing, P95_MAX.value_of(evidence.plan.bounds)),
        observed=float(bad.mean()),
        unit="share",
        ci=interval,
        bound=bound,
        n=len(load.requests),
        evidence=load.evidence,
        known_issues=load.counts(),
    )
    return _without_starvation(evidence, load, bound, finding)


def _without_starvation(evidence: Evidence, load: SteadyLoad, bound: Bound, finding: Finding) -> Finding:
    """The finding; INCONCLUSIVE if it fails by requests that may have been answered, had others taken no CPU time."""
    timeout_ms, in_time_ms = evidence.plan.target.request_timeout_ms, P95_MAX.value_of(evidence.plan.bounds)

    def judged(starved: Starvation, requests: Sequence[Request]) -> Verdict:
        began, took = np.array([r.scheduled_ms for r in requests]), waited_ms(requests, timeout_ms)
        may_be_right = (took >= in_time_ms) & (starved.shortened(began, took) < in_time_ms)
        surely: Flags = failures(requests, unknown=False) & ~may_be_right
        return bound.judge(share_interval(surely, failures(requests, unknown=True), load.missing))

    return unless_starved(evidence, load, finding, judged)


def _interval(requests: Sequence[Request], missing: int) -> Interval:
    return share_interval(failures(requests, unknown=False), failures(requests, unknown=True), missing)


def _reason(requests: Sequence[Request], rest: Sequence[Request], missing: int, limit_ms: float) -> str:
    whole = f"{tally(requests, missing, limit_ms)} requests{_most_frequent(requests)}"
    if len(rest) == len(requests):
        return whole
    return f"{whole}; without known issues: {tally(rest, missing, limit_ms)}{_most_frequent(rest)}"


def _most_frequent(requests: Sequence[Request]) -> str:
    """The most frequent failure in words, with its message; empty if nothing failed."""
    kinds = Counter((r.op, r.layer.value, r.message) for r in requests if not r.ok)
    if not kinds:
        return ""
    (op, layer, message), n = min(kinds.items(), key=lambda item: (-item[1], item[0]))
    return f" (most often {op}, {layer}, {n} times: {message[:120]!r})"
