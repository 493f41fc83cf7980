"""P95 of the latency in the steady phases, from the intended sending time.

A request without a right answer counts as infinitely late. So P95 < limit means that less than 5 % of the due requests
are late, failed or missing. k6's own p95 leaves out requests that failed or that it dropped; this one does not. If the
generator itself sent a request late, the interval is wider, because its delay may or may not be the target's.
"""

from collections.abc import Sequence

import numpy as np

from lab.judge.stats.intervals import percentile, percentile_interval
from lab.judge.windows.host_cpu import Starvation
from lab.judge.windows.steady_load import (
    SUBJECT,
    SteadyLoad,
    judged_load,
    latencies,
    least_latencies,
    tally,
    unless_starved,
)
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.samples import Request
from lab.model.scenario import BoundSpec
from lab.model.verdict import Bound, Finding, Interval, Verdict

CHECK = "latency"
P95_MAX = BoundSpec(
    "latency_p95_ms", "<", "ms", 200.0, "P95 of the requests in the steady phases", above=0, at_most=5000
)
BOUNDS = (P95_MAX,)
SHARE = 0.95


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding about all steady phases together."""
    return judged_load(evidence, windows, CHECK, lambda load: _finding(evidence, load))


def _finding(evidence: Evidence, load: SteadyLoad) -> Finding:
    bound = P95_MAX.of(evidence.plan.bounds)
    rest = load.unexplained()
    interval = _interval(load.requests, load.missing)
    finding = Finding(
        CHECK,
        SUBJECT,
        bound.judge(interval),
        bound.judge(_interval(rest, load.missing)) if rest else Verdict.INCONCLUSIVE,
        _reason(load.requests, rest, load.missing, bound.value),
        observed=percentile(latencies(load.requests), SHARE),
        unit="ms (P95)",
        ci=interval,
        bound=bound,
        n=len(load.requests),
        evidence=load.evidence,
        known_issues=load.counts(),
    )
    return _without_starvation(evidence, load, bound, finding)


def _without_starvation(evidence: Evidence, load: SteadyLoad, bound: Bound, finding: Finding) -> Finding:
    """The finding; INCONCLUSIVE if it fails and might not, had all else on the machine taken no CPU time."""

    def judged(starved: Starvation, requests: Sequence[Request]) -> Verdict:
        began = np.array([request.scheduled_ms for request in requests])
        least = starved.shortened(began, least_latencies(requests))
        return bound.judge(percentile_interval(least, latencies(requests), SHARE, load.missing))

    return unless_starved(evidence, load, finding, judged)


def _interval(requests: Sequence[Request], missing: int) -> Interval:
    return percentile_interval(least_latencies(requests), latencies(requests), SHARE, missing)


def _reason(requests: Sequence[Request], rest: Sequence[Request], missing: int, limit_ms: float) -> str:
    whole = f"{tally(requests, missing, limit_ms)} requests; less than 5 % are allowed"
    if len(rest) == len(requests):
        return whole
    unexplained = (
        f"P95 {percentile(latencies(rest), SHARE):.4g} ms, {tally(rest, missing, limit_ms)}"
        if rest
        else "nothing"
    )
    return f"{whole}; without known issues: {unexplained}"
