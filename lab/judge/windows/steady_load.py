"""The load of the steady phases, as latency and errors both look at it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.judge.stats.intervals import Flags, Floats
from lab.judge.windows import references
from lab.judge.windows.known_issues import UNSETTLED, counted, declared, explains_request
from lab.judge.windows.planned_load import due_at_least
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import judged_apart, named
from lab.judge.windows.window import Window, within, without
from lab.model.evidence import Evidence
from lab.model.samples import Request
from lab.model.verdict import Finding, KnownIssueCount, undecided

SUBJECT = "steady"


@dataclass(frozen=True, slots=True)
class SteadyLoad:
    """Requests due in the steady windows, in order of time, each with the id of the known issue that explains
    it.

    `missing` were due by the plan's load and left no row at all.
    """

    requests: tuple[Request, ...]
    issues: tuple[str | None, ...]
    missing: int
    evidence: tuple[str, ...]

    def unexplained(self) -> tuple[Request, ...]:
        """All but exactly those that known issues explain."""
        pairs = zip(self.requests, self.issues, strict=True)
        return tuple(request for request, issue in pairs if issue is None)

    def counts(self) -> tuple[KnownIssueCount, ...]:
        """What the known issues explain."""
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

    What another incident touched is left out too, but then nothing passes that would not pass with it.
    """
    touched = windows.touching("requests", *windows.steady)
    silent = [incident for incident in touched if incident.event is None]
    loaded = without(windows.steady, [incident.hole for incident in silent])
    told = [incident for incident in touched if incident.event is not None]
    finding = judged_apart(lambda holes: find(without(loaded, holes)), told)
    if silent:
        seconds = sum(w.seconds for w in windows.steady) - sum(w.seconds for w in loaded)
        reason = f"{finding.reason}; left out are {seconds:.3g} s in which {named(silent)}"
        finding = replace(finding, reason=reason)
    return finding


def in_order(requests: Sequence[Request]) -> list[Request]:
    """Requests by time, ties broken by their other fields, so that the order of rows decides nothing."""
    return sorted(
        requests, key=lambda r: (r.scheduled_ms, r.source, r.op, r.layer.value, r.done_ms or 0.0, r.message)
    )


def succeeded(request: Request) -> bool:
    """Whether a request was answered, and rightly."""
    return request.ok and request.done_ms is not None


def unsettled(request: Request) -> bool:
    """Whether nobody knows how a request ended, or would have: never sent, or its generator was cut off."""
    return not request.ok and request.layer in UNSETTLED


def latency_ms(request: Request) -> float:
    """From the intended sending time to the answer, infinite where no right answer came.

    A request cannot have been faster than from its real sending time, whatever the schedule says.
    """
    if not succeeded(request) or request.done_ms is None:
        return float("inf")
    began_ms = request.scheduled_ms if request.sent_ms is None else min(request.scheduled_ms, request.sent_ms)
    return request.done_ms - began_ms


def latencies(requests: Sequence[Request]) -> Floats:
    """Latencies in ms, float64[n], infinite for requests of which nobody knows the end."""
    return np.array([float("inf") if unsettled(r) else latency_ms(r) for r in requests], dtype=np.float64)


def least_latencies(requests: Sequence[Request]) -> Floats:
    """The same at best, float64[n]: 0 where nobody knows the end, and from the real sending time.

    k6 drops what finds no free user, and never queues it: what it sends late it was itself too late for.
    """
    return np.array([_least_ms(r) for r in requests], dtype=np.float64)


def _least_ms(request: Request) -> float:
    if unsettled(request):
        return 0.0
    late_ms = 0.0 if request.sent_ms is None else max(0.0, request.sent_ms - request.scheduled_ms)
    return latency_ms(request) - late_ms


def failures(requests: Sequence[Request], *, unknown: bool) -> Flags:
    """Which requests failed, bool[n], with `unknown` for requests of which nobody knows the end."""
    return np.array([unknown if unsettled(r) else not succeeded(r) for r in requests], dtype=np.bool_)


def tally(requests: Sequence[Request], missing: int, limit_ms: float) -> str:
    """In words: how many requests were late, failed, never sent or lost."""
    slow = sum(limit_ms <= latency_ms(request) < float("inf") for request in requests)
    unknown = sum(unsettled(request) for request in requests)
    failed = sum(not succeeded(request) for request in requests) - unknown
    parts = [f"{slow} late", f"{failed} failed"]
    if unknown or missing:
        parts.append(f"{unknown + missing} that the generator could not send or lost")
    return f"{', '.join(parts)} of {len(requests) + missing}"
