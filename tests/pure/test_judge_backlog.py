"""What waited in the target at the heal of a fault, who had given up before, and how fast it was worked off."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.judge.stats.recovery_clock import Clock
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.window import Window
from lab.judge.witnesses.backlog import Backlog, backlog_of, remark
from lab.judge.witnesses.streams import ByCanary
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.plan import PlannedFault
from lab.model.samples import STALLED, STORE_PROBE, Layer, Probe, Recall, Request, Rows, Samples
from tests.pure.evidence_factory import Recipe, make

PLAN = make(Recipe(faults=(), baseline_s=5.0, clean_s=0.0)).plan
# The load waits 10 s for an answer, the truth queries 8 s. The fault is injected at 100 s and healed at 130 s.
TARGET = replace(PLAN.target, request_timeout_ms=8000)
INJECTED_MS, HEALED_MS, END_MS = 100_000.0, 130_000.0, 200_000.0
TIMEOUT, REFUSED = "request timeout", "connection refused"


def fault(
    cleared_ms: float | None = HEALED_MS, *, injected: bool = True, hi_s: float | None = None
) -> FaultWindow:
    evidence = Evidence(PLAN, Journal(()), Samples())
    from_injection_s = None if hi_s is None else hi_s + 30.0
    recovery = (Clock(0.0, hi_s, hi_s is None), Clock(0.0, from_injection_s, hi_s is None))
    return FaultWindow(
        planned=PlannedFault("f1", "kill", "qdrant", {}, 30.0, 60.0),
        events=(),
        span=Window("f1", "fault", INJECTED_MS, END_MS, "f1") if injected else None,
        injected_ms=INJECTED_MS,
        cleared_from_ms=cleared_ms,
        cleared_ms=cleared_ms,
        starts=False,
        doubts=(),
        heal_doubts=(),
        shared_doubts=(),
        stream=ByCanary.of(evidence, None),
        recovering=None,
        recovery=recovery,
    )


def request(
    sent_ms: float | None,
    done_ms: float | None,
    layer: Layer = Layer.OK,
    message: str = "",
    due_ms: float = 0.0,
) -> Request:
    return Request(
        due_ms or sent_ms or HEALED_MS, sent_ms, done_ms, "add", layer is Layer.OK, layer, message, "0"
    )


def probe(sent_ms: float, done_ms: float | None, outcome: str = "ok", detail: str = "") -> Probe:
    return Probe(sent_ms, done_ms, "list", outcome, detail)


def query(sent_ms: float, done_ms: float | None, layer: Layer = Layer.OK, message: str = "") -> Recall:
    return Recall(sent_ms, done_ms, "dense", "q1", layer is Layer.OK, 10, 10, layer, message)


def run_with(
    load: Sequence[Request] = (), probes: Sequence[Probe] = (), recall: Sequence[Recall] = ()
) -> Evidence:
    samples = Samples(requests=Rows(load), probes=Rows(probes), recall=Rows(recall))
    return Evidence(replace(PLAN, target=TARGET), Journal(()), samples)


def backlog(
    load: Sequence[Request] = (), probes: Sequence[Probe] = (), recall: Sequence[Recall] = ()
) -> Backlog:
    found = backlog_of(run_with(load, probes, recall), fault())
    assert found is not None
    return found


NONE = Backlog(0, 0, 0, 0, 0, None, None)


def test_what_was_sent_before_the_heal_and_is_over_after_it_waited() -> None:
    waited = [request(HEALED_MS - 50, HEALED_MS + 500), request(HEALED_MS, HEALED_MS + 2000)]
    others = [request(HEALED_MS - 50, HEALED_MS), request(HEALED_MS + 1, HEALED_MS + 1000)]
    lab = [probe(HEALED_MS - 1, HEALED_MS + 1), probe(HEALED_MS + 1, HEALED_MS + 5000)]
    # Answered within the two seconds until the last of them was: two requests that waited, another, and a probe.
    expected = Backlog(2, 1, 0, 0, 0, 2.0, 4 / 2.0)
    assert backlog([*waited, *others], lab) == expected
    assert expected.waiting == 3
    assert backlog(others) == NONE


def test_the_truth_queries_wait_too_and_the_probes_of_the_store_are_nobody_s_call() -> None:
    store = Probe(HEALED_MS - 1, HEALED_MS + 9000, STORE_PROBE, "ok", "")
    assert backlog((), [store], [query(HEALED_MS - 400, HEALED_MS + 250)]) == Backlog(
        0, 1, 0, 0, 0, 0.25, 4.0
    )


def test_a_call_that_is_never_answered_waits_until_its_sender_gives_up() -> None:
    hanging = request(HEALED_MS - 9000, None, Layer.TRANSPORT, TIMEOUT)
    over = request(HEALED_MS - 10_000, None, Layer.TRANSPORT, TIMEOUT)
    assert backlog([hanging, over]) == Backlog(1, 0, 1, 0, 1, None, None)
    # One that failed at once waited for nothing, and nobody gave it up; its end was not recorded.
    assert backlog([request(HEALED_MS - 10, None, Layer.TRANSPORT, REFUSED)]) == NONE
    assert backlog([request(HEALED_MS, None, Layer.HTTP_STATUS, TIMEOUT)]) == NONE


def test_what_the_lab_gave_up_is_no_answer() -> None:
    words = "no answer within 2000 ms"
    given_up = [
        probe(HEALED_MS - 3000, HEALED_MS - 1000, Layer.TRANSPORT.value, words),
        probe(HEALED_MS - 1000, HEALED_MS + 1000, Layer.TRANSPORT.value, words),
    ]
    queries = [query(HEALED_MS - 500, HEALED_MS + 7500, Layer.TRANSPORT, words)]
    assert backlog((), given_up, queries) == Backlog(0, 2, 0, 1, 2, None, None)
    # An error of the target is an answer.
    error = [probe(HEALED_MS - 10, HEALED_MS + 500, Layer.IS_ERROR.value, words)]
    assert backlog((), error, [query(HEALED_MS - 10, HEALED_MS + 1000, Layer.PAYLOAD, words)]) == Backlog(
        0, 2, 0, 0, 0, 1.0, 2.0
    )
    refused = [probe(HEALED_MS - 500, HEALED_MS - 400, Layer.TRANSPORT.value, REFUSED)]
    assert backlog((), refused, [query(HEALED_MS - 500, HEALED_MS - 9, Layer.TRANSPORT, REFUSED)]) == NONE


def test_only_what_was_given_up_between_the_injection_and_the_heal_counts() -> None:
    def given_up_at(*over_ms: float) -> list[Request]:
        return [request(at_ms - 10_000, None, Layer.TRANSPORT, TIMEOUT) for at_ms in over_ms]

    assert backlog(given_up_at(INJECTED_MS, HEALED_MS - 1)).given_up_load == 2
    assert backlog(given_up_at(INJECTED_MS - 1, HEALED_MS + 1)).given_up_load == 0
    lab = [query(at - 8000, at, Layer.TRANSPORT, TIMEOUT) for at in (INJECTED_MS, HEALED_MS, HEALED_MS + 1)]
    assert backlog((), (), lab).given_up_lab == 2


def test_what_was_sent_long_before_the_injection_is_read_as_far_back_as_it_may_wait() -> None:
    """A request that is sent 10 s before the injection may be given up in it, and may have been due then."""
    early = request(INJECTED_MS - 9500, None, Layer.TRANSPORT, TIMEOUT, due_ms=INJECTED_MS - 10_000)
    assert backlog([early]).given_up_load == 1
    gone = replace(early, scheduled_ms=INJECTED_MS - 10_001)
    assert backlog([gone]).given_up_load == 0
    at_limit = query(INJECTED_MS - 8000, INJECTED_MS, Layer.TRANSPORT, TIMEOUT)
    assert backlog((), (), [at_limit]).given_up_lab == 1
    assert backlog((), [probe(INJECTED_MS - 8001, INJECTED_MS, Layer.TRANSPORT.value, TIMEOUT)]) == NONE
    # Nothing after the end of the step.
    late = fault(END_MS + 5)
    assert backlog_of(run_with([request(END_MS, END_MS + 9)]), late) == NONE
    assert backlog_of(run_with((), [probe(END_MS, END_MS + 9)], [query(END_MS, END_MS + 9)]), late) == NONE


def test_what_was_never_sent_or_has_no_end_is_no_call() -> None:
    never = [
        request(None, None, Layer.UNSENT),
        request(HEALED_MS - 1, HEALED_MS + 1, Layer.LOST),
    ]
    probes = [
        probe(HEALED_MS - 1, None),
        probe(HEALED_MS - 1, HEALED_MS + 1, Layer.UNSENT.value),
        probe(HEALED_MS - 1, HEALED_MS + 1, STALLED),
    ]
    queries = [query(HEALED_MS - 1, None), query(HEALED_MS - 1, HEALED_MS + 1, Layer.UNSENT)]
    assert backlog(never, probes, queries) == NONE
    # What follows such a row is read all the same.
    counted = backlog(
        [*never, request(HEALED_MS - 0.5, HEALED_MS + 500)],
        [*probes, probe(HEALED_MS - 0.5, HEALED_MS + 500)],
        [*queries, query(HEALED_MS - 0.5, HEALED_MS + 500)],
    )
    assert counted == Backlog(1, 2, 0, 0, 0, 0.5, 6.0)


@pytest.mark.parametrize("without", [fault(None), fault(injected=False)])
def test_a_fault_that_was_not_injected_and_healed_has_no_backlog(without: FaultWindow) -> None:
    assert backlog_of(run_with([request(HEALED_MS - 1, HEALED_MS + 1)]), without) is None
    assert remark(run_with([request(HEALED_MS - 1, HEALED_MS + 1)]), without, 5.0) == ""


def test_the_backlog_in_words_says_who_waited_who_gave_up_and_when_it_was_worked_off() -> None:
    waiting = "at the heal 5 calls waited for an answer (3 of the load, 2 of the lab)"
    given_up = ", and 7 had been given up (6 of the lab)"
    drained = "; the last of them was answered after 2.35 s, at 12.3 calls/s"
    assert Backlog(3, 2, 0, 0, 5, None, None).in_words() == waiting
    assert Backlog(3, 2, 1, 6, 5, None, None).in_words() == waiting + given_up
    assert Backlog(3, 2, 0, 0, 0, 2.3456, 12.345).in_words() == waiting + drained
    # Neither of them says anything without the other.
    assert Backlog(3, 2, 0, 0, 0, 2.3456, None).in_words() == waiting
    assert Backlog(3, 2, 1, 6, 0, 2.3456, 12.345).in_words() == waiting + given_up + drained


def test_the_backlog_is_a_remark_on_a_slow_recovery_alone() -> None:
    run = run_with([request(HEALED_MS - 1, HEALED_MS + 500)])
    words = (
        "; at the heal 1 calls waited for an answer (1 of the load, 0 of the lab);"
        " the last of them was answered after 0.5 s, at 2 calls/s"
    )
    assert remark(run, fault(hi_s=5.0), 5.0) == ""
    assert remark(run, fault(hi_s=5.1), 5.0) == words
    assert remark(run, fault(hi_s=None), 5.0) == words
    assert remark(run, replace(fault(), recovery=None), 5.0) == words
