"""The calls to the target, whoever made them: requests of the load, canary probes and truth queries.

Left out is what says nothing about the target: a call that was never sent, or whose end is unknown; a probe that was
late because the lab stood still; a request that the load generator began late; one that began or ended while the wall
clock stepped, by which the generator goes; and a failure that a declared known issue explains, because it happens on a
healthy target as well.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lab.judge.windows.incidents import CLOCK_STEP_MS, SMALL_STEP_MS
from lab.judge.windows.known_issues import UNSETTLED, declared, explains_request
from lab.model.evidence import Evidence
from lab.model.journal import CLOCK_STEPPED
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, Plan
from lab.model.samples import STALLED, WRONG, Layer, Request

# A request that the generator began later than this is no evidence: what delays the generator, such as a busy machine,
# delays the answer too.
LATE_START_MAX_MS = 100.0
_NO_EVIDENCE = (Layer.UNSENT.value, STALLED)


class Call(NamedTuple):
    """One call to the target.

    `from_ms` is when it counts as sent: when it was due for a request of the load, else when it was sent. `over_ms` is
    when it was over at the latest: answered, or given up. `took_ms` is the time from its sending to the answer,
    infinite without one. `answered` says that the target claimed success, `right` that the answer was also right.
    `found` is the share of the right documents that a search of the truth found, None for any other call.
    """

    from_ms: float
    over_ms: float
    took_ms: float
    operation: str
    answered: bool
    right: bool
    found: float | None


def calls_between(evidence: Evidence, from_ms: float, to_ms: float) -> list[Call]:
    """The calls of the plan's witnesses that count as sent from one time up to another, in order."""
    readers = {BY_CANARY: _canary, BY_LOAD: _load, BY_TRUTH: _truth}
    witnesses = [readers[name] for name in evidence.plan.observer.witnesses]
    found = [call for read in witnesses for call in read(evidence, from_ms, to_ms)]
    return sorted(found, key=lambda call: (*call[:6], -1.0 if call.found is None else call.found))


def request_timeout_ms(plan: Plan) -> float:
    """The longest time that the load waits for an answer."""
    timeouts_ms = (load.request_timeout_ms for load in plan.loads())
    return float(max(timeouts_ms, default=plan.target.request_timeout_ms))


def _load(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[Call]:
    plan, timeout_ms = evidence.plan, request_timeout_ms(evidence.plan)
    steps = _clock_steps(evidence)
    issues = [(check, declared(plan, check)) for check in ("errors", "latency")]
    for request in evidence.samples.requests.between(from_ms, to_ms):
        if request.sent_ms is None or request.layer in UNSETTLED:
            continue
        if request.sent_ms - request.scheduled_ms > LATE_START_MAX_MS:
            continue
        if any(_within(steps, at_ms) for at_ms in (request.sent_ms, request.done_ms)):
            continue
        if any(explains_request(known, check, request, ()) for check, known in issues):
            continue
        yield Call(
            request.scheduled_ms,
            _over_ms(request.sent_ms, request.done_ms, timeout_ms),
            _took_ms(request.sent_ms, request.done_ms),
            request.op,
            answered=request.done_ms is not None and (request.ok or request.hits is not None),
            right=request.done_ms is not None and request.ok,
            found=_found(plan, request),
        )


def _clock_steps(evidence: Evidence) -> list[tuple[float, float]]:
    """From when to when (ms) a time of the load is uncertain by a small step of the wall clock, in order.

    A span ends no earlier than those before it: one that lies within a longer one reaches to the end of both.
    """
    spans = []
    for event in evidence.journal.of(CLOCK_STEPPED):
        from_ms, by_ms = event.data.get("from_ms"), abs(float(event.data.get("by_ms", math.inf)))
        if isinstance(from_ms, int | float) and CLOCK_STEP_MS < by_ms <= SMALL_STEP_MS:
            spans.append((from_ms - by_ms, event.at_ms + by_ms))
    latest_ms, in_order = -math.inf, []
    for from_ms, to_ms in sorted(spans):
        latest_ms = max(latest_ms, to_ms)
        in_order.append((from_ms, latest_ms))
    return in_order


def _within(spans: Sequence[tuple[float, float]], at_ms: float | None) -> bool:
    """Whether a time lies in one of these spans, which are in order by their begin and by their end."""
    if at_ms is None:
        return False
    place = bisect_right(spans, (at_ms, math.inf))
    return place > 0 and at_ms <= spans[place - 1][1]


def _found(plan: Plan, request: Request) -> float | None:
    """A failed search of the truth found nothing."""
    if request.op != plan.target.recall or (request.ok and request.hits is None):
        return None
    return 0.0 if request.hits is None or not request.k else request.hits / request.k


def _truth(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[Call]:
    target = evidence.plan.target
    for query in evidence.samples.recall.between(from_ms, to_ms):
        if query.layer in UNSETTLED:
            continue
        yield Call(
            query.sent_ms,
            _over_ms(query.sent_ms, query.done_ms, target.request_timeout_ms),
            _took_ms(query.sent_ms, query.done_ms),
            target.recall,
            answered=query.answered,
            right=query.answered and query.layer is Layer.OK,
            found=query.hits / query.k if query.answered else 0.0,
        )


def _canary(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[Call]:
    plan = evidence.plan
    name, names = plan.target.canary, ("sent_ms", "done_ms", "outcome")
    searches = bool(plan.target.operations[name].document_ids)
    for sent_ms, done_ms, outcome in evidence.samples.probes.fields(names, from_ms, to_ms, probe=name):
        if outcome in _NO_EVIDENCE:
            continue
        right = outcome == Layer.OK.value and done_ms is not None
        yield Call(
            sent_ms,
            _over_ms(sent_ms, done_ms, plan.observer.canary_deadline_ms),
            _took_ms(sent_ms, done_ms),
            name,
            answered=right or outcome == WRONG,
            right=right,
            found=float(right) if searches else None,
        )


def _over_ms(sent_ms: float, done_ms: float | None, timeout_ms: float) -> float:
    return sent_ms + timeout_ms if done_ms is None else done_ms


def _took_ms(sent_ms: float, done_ms: float | None) -> float:
    return math.inf if done_ms is None else done_ms - sent_ms
