"""The load of the steady phases, for the checks of latency and errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import lt

import numpy as np

from lab.judge.stats.intervals import Flags, Floats
from lab.judge.windows import host_cpu, references
from lab.judge.windows.known_issues import UNSETTLED, counted, declared, explains_request
from lab.judge.windows.planned_load import due_at_least
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import described, excused, judged_apart
from lab.judge.windows.window import Window, within, without
from lab.model.evidence import Evidence
from lab.model.samples import REQUEST_TIMEOUT, Request
from lab.model.verdict import Finding, KnownIssueCount, Verdict, undecided

SUBJECT = "steady"


@dataclass(frozen=True, slots=True)
class SteadyLoad:
    """Requests due in the steady windows, in order of time, each with the id of the known issue that explains it.

    `missing` counts the requests that were due according to the plan but have no row.
    """

    requests: tuple[Request, ...]
    issues: tuple[str | None, ...]
    missing: int
    evidence: tuple[str, ...]

    def unexplained(self) -> tuple[Request, ...]:
        """The requests that no known issue explains."""
        pairs = zip(self.requests, self.issues, strict=True)
        return tuple(request for request, issue in pairs if issue is None)

    def counts(self) -> tuple[KnownIssueCount, ...]:
        """How many requests each known issue explains."""
        return counted(self.issues)


def steady_load(evidence: Evidence, windows: Windows, check: str, spans: Sequence[Window]) -> SteadyLoad:
    """The load of these steady windows under one check's known issues."""
    issues = declared(evidence.plan, check)
    due = in_order(within(evidence.samples.requests, spans))
    expected = sum(due_at_least(evidence, window) for window in spans)
    return SteadyLoad(
        requests=tuple(due),
        issues=tuple(explains_request(issues, check, r, windows.kinds_at(r.scheduled_ms)) for r in due),
        missing=max(0, expected - len(due)),
        evidence=tuple(references.samples("requests", w.from_ms, w.to_ms) for w in spans),
    )


def judged_load(
    evidence: Evidence, windows: Windows, check: str, judge: Callable[[SteadyLoad], Finding]
) -> list[Finding]:
    """One finding of a check about the load of all steady phases together; undecided where no request was due."""

    def find(spans: Sequence[Window]) -> Finding:
        load = steady_load(evidence, windows, check, spans)
        if not load.requests:
            return undecided(check, SUBJECT, "no request was due in a steady phase", evidence=load.evidence)
        return judge(load)

    return [judged_steady(windows, find)]


def judged_steady(windows: Windows, find: Callable[[Sequence[Window]], Finding]) -> Finding:
    """A finding about the load of all steady windows, without the time in which the generator was silent.

    What another incident touched is left out too. Then the finding passes only if it also passes with that part.
    """
    touched = windows.touching("requests", *windows.steady)
    silent = [incident for incident in touched if incident.event is None]
    loaded = without(windows.steady, [incident.hole for incident in silent])
    recorded = [incident for incident in touched if incident.event is not None]
    finding = judged_apart(lambda holes: find(without(loaded, holes)), recorded)
    if silent:
        seconds = sum(w.seconds for w in windows.steady) - sum(w.seconds for w in loaded)
        reason = f"{finding.reason}; left out are {seconds:.3g} s in which {described(silent)}"
        finding = replace(finding, reason=reason)
    return finding


def unless_starved(
    evidence: Evidence,
    load: SteadyLoad,
    finding: Finding,
    judge: Callable[[host_cpu.Starvation, Sequence[Request]], Verdict],
) -> Finding:
    """The finding; INCONCLUSIVE if it fails and might not, had all else on the machine taken no CPU time.

    `judge` gives the verdict on requests without what others may have taken.
    """
    if Verdict.FAIL not in (finding.verdict, finding.gate_verdict):
        return finding
    times = [request.scheduled_ms for request in load.requests]
    from_ms, to_ms = min(times), max(times) + evidence.plan.target.request_timeout_ms
    starved = host_cpu.starvation(evidence, from_ms, to_ms)
    if starved is None:
        return finding
    rest = load.unexplained()
    shorter = judge(starved, load.requests), judge(starved, rest) if rest else finding.gate_verdict
    return excused(finding, shorter, host_cpu.blame(evidence, from_ms, to_ms))


def in_order(requests: Sequence[Request]) -> list[Request]:
    """Requests sorted by time and then by their other fields, so that the order of rows has no effect."""
    times_ms = [request.scheduled_ms for request in requests]
    if all(map(lt, times_ms, times_ms[1:])):
        # Ties are rare, and the sort by all fields costs much more than this look at the times.
        return list(requests)
    return sorted(
        requests, key=lambda r: (r.scheduled_ms, r.source, r.op, r.layer.value, r.done_ms or 0.0, r.message)
    )


def succeeded(request: Request) -> bool:
    """Whether a request was answered, and rightly."""
    return request.ok and request.done_ms is not None


def unsettled(request: Request) -> bool:
    """Whether the end of a request is unknown: it was never sent, or its generator was cut off."""
    return not request.ok and request.layer in UNSETTLED


def latency_ms(request: Request) -> float:
    """From the intended sending time to the answer; infinite if there was no right answer.

    If the request was sent before its intended time, the latency counts from the real sending time.
    """
    if not succeeded(request) or request.done_ms is None:
        return float("inf")
    began_ms = request.scheduled_ms if request.sent_ms is None else min(request.scheduled_ms, request.sent_ms)
    return request.done_ms - began_ms


def latencies(requests: Sequence[Request]) -> Floats:
    """Latencies in ms, float64[n]; infinite for requests whose end is unknown."""
    return np.array([latency_ms(request) for request in requests])


def least_latencies(requests: Sequence[Request]) -> Floats:
    """The lowest possible latencies in ms, float64[n], from the real sending time; 0 for requests whose end is unknown.

    k6 never queues a request: it drops one for which it has no free user. So if a request was sent late, k6 itself was
    late, and that delay may not be the target's.
    """
    return np.array([_least_ms(request) for request in requests])


def _least_ms(request: Request) -> float:
    if unsettled(request):
        return 0.0
    late_ms = 0.0 if request.sent_ms is None else max(0.0, request.sent_ms - request.scheduled_ms)
    return latency_ms(request) - late_ms


def failures(requests: Sequence[Request], *, unknown: bool) -> Flags:
    """Which requests failed, bool[n]; `unknown` is the value for requests whose end is unknown."""
    return np.array([unknown if unsettled(r) else not succeeded(r) for r in requests], dtype=np.bool_)


def waited_ms(requests: Sequence[Request], timeout_ms: float) -> Floats:
    """How long in ms each request was under way, float64[n]: until its answer, or until it was given up.

    It is 0 for one that ended without an answer and was not given up, such as a refused connection: it waited for
    nothing.
    """

    def waited(request: Request) -> float:
        if request.done_ms is not None:
            return request.done_ms - request.scheduled_ms
        return timeout_ms if request.message.startswith(REQUEST_TIMEOUT) else 0.0

    return np.array([waited(request) for request in requests])


def tally(requests: Sequence[Request], missing: int, limit_ms: float) -> str:
    """In words: how many requests were late, failed, never sent or lost."""
    slow = sum(limit_ms <= latency_ms(request) < float("inf") for request in requests)
    unknown = sum(unsettled(request) for request in requests)
    failed = sum(not succeeded(request) for request in requests) - unknown
    parts = [f"{slow} late", f"{failed} failed"]
    if unknown or missing:
        parts.append(f"{unknown + missing} that the generator could not send or lost")
    return f"{', '.join(parts)} of {len(requests) + missing}"
