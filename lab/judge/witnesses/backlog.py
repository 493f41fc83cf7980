"""The calls that waited in the target when a fault was healed: what it had to work off before it could recover.

Every call counts here, also one that a known issue explains, because it waits like the others. A call that its sender
gave up before the heal is counted apart: the server may still hold it and answer it to nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lab.judge.windows.fault_window import FaultWindow
from lab.judge.witnesses.calls import request_timeout_ms
from lab.model.evidence import Evidence
from lab.model.samples import STALLED, Layer

_NEVER_SENT = (Layer.UNSENT.value, STALLED)
_TRANSPORT = Layer.TRANSPORT.value
# How k6 and the lab's own client say that they gave up waiting.
_GAVE_UP = ("timeout", "no answer within")


class _Sent(NamedTuple):
    """One call: when it was sent, when it was over, whether it was answered, and whether its sender gave up."""

    sent_ms: float
    over_ms: float
    answered: bool
    gave_up: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """The calls that waited at the heal, and those that were given up since the injection; the load's and the lab's.

    `drained_s` is how long after the heal the last call that had waited was answered, `unanswered` how many never were.
    `answered_per_s` is how many calls the target answered a second in that time, new ones included. Both are None where
    no waiting call was answered.
    """

    waiting_load: int
    waiting_lab: int
    given_up_load: int
    given_up_lab: int
    unanswered: int
    drained_s: float | None
    answered_per_s: float | None

    @property
    def waiting(self) -> int:
        """All calls that waited at the heal."""
        return self.waiting_load + self.waiting_lab

    def in_words(self) -> str:
        """The backlog in one clause."""
        words = (
            f"at the heal {self.waiting} calls waited for an answer"
            f" ({self.waiting_load} of the load, {self.waiting_lab} of the lab)"
        )
        if given_up := self.given_up_load + self.given_up_lab:
            words += f", and {given_up} had been given up ({self.given_up_lab} of the lab)"
        if self.drained_s is not None and self.answered_per_s is not None:
            words += f"; the last of them was answered after {self.drained_s:.3g} s"
            words += f", at {self.answered_per_s:.3g} calls/s"
        return words


def backlog_of(evidence: Evidence, fault: FaultWindow) -> Backlog | None:
    """The backlog at the heal of a fault; None where it was never injected or its heal is not confirmed."""
    span, cleared_ms = fault.span, fault.cleared_ms
    if span is None or cleared_ms is None:
        return None
    load = list(_load(evidence, span.from_ms - request_timeout_ms(evidence.plan), span.to_ms))
    lab = list(_lab(evidence, span.from_ms - evidence.plan.target.request_timeout_ms, span.to_ms))
    waiting_load, waiting_lab = _waiting(load, cleared_ms), _waiting(lab, cleared_ms)
    waiting = waiting_load + waiting_lab
    drained_ms = max((call.over_ms for call in waiting if call.answered), default=cleared_ms)
    drained_s = (drained_ms - cleared_ms) / 1000
    answered = sum(cleared_ms < call.over_ms <= drained_ms for call in load + lab if call.answered)
    return Backlog(
        waiting_load=len(waiting_load),
        waiting_lab=len(waiting_lab),
        given_up_load=_given_up(load, span.from_ms, cleared_ms),
        given_up_lab=_given_up(lab, span.from_ms, cleared_ms),
        unanswered=sum(not call.answered for call in waiting),
        drained_s=drained_s or None,
        answered_per_s=answered / drained_s if drained_s else None,
    )


def remark(evidence: Evidence, fault: FaultWindow, quick_s: float) -> str:
    """The backlog in words for a recovery that took longer than `quick_s`; else empty."""
    hi_s = None if fault.recovery is None else fault.recovery[0].hi_s
    backlog = None if hi_s is not None and hi_s <= quick_s else backlog_of(evidence, fault)
    return "" if backlog is None else f"; {backlog.in_words()}"


def _waiting(calls: list[_Sent], at_ms: float) -> list[_Sent]:
    return [call for call in calls if call.sent_ms <= at_ms < call.over_ms]


def _given_up(calls: list[_Sent], from_ms: float, to_ms: float) -> int:
    return sum(call.gave_up and from_ms <= call.over_ms <= to_ms for call in calls)


def _load(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[_Sent]:
    timeout_ms = request_timeout_ms(evidence.plan)
    for request in evidence.samples.requests.between(from_ms, to_ms):
        if request.sent_ms is not None and request.layer is not Layer.LOST:
            gave_up = _gave_up(request.layer.value, request.message)
            # A request that failed in another way has no time of its end, and waited for nothing.
            end_ms = request.sent_ms + timeout_ms if gave_up else request.sent_ms
            over_ms = end_ms if request.done_ms is None else request.done_ms
            yield _Sent(request.sent_ms, over_ms, request.done_ms is not None, gave_up)


def _lab(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[_Sent]:
    names, canary = ("sent_ms", "done_ms", "outcome", "detail"), evidence.plan.target.canary
    for sent_ms, done_ms, outcome, detail in evidence.samples.probes.fields(
        names, from_ms, to_ms, probe=canary
    ):
        if done_ms is not None and outcome not in _NEVER_SENT:
            yield _Sent(sent_ms, done_ms, outcome != _TRANSPORT, _gave_up(outcome, detail))
    for query in evidence.samples.recall.between(from_ms, to_ms):
        if query.done_ms is not None and query.layer is not Layer.UNSENT:
            layer = query.layer.value
            yield _Sent(query.sent_ms, query.done_ms, layer != _TRANSPORT, _gave_up(layer, query.message))


def _gave_up(layer: str, message: str) -> bool:
    return layer == _TRANSPORT and any(words in message for words in _GAVE_UP)
