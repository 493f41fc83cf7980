"""What crossed the target's own connections, in numbers, and each doubt that it raises in its exact words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.stats.own_traffic import (
    Crossing,
    Effect,
    crossing,
    effect_of,
    past_the_proxy,
    traffic_doubts,
)
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.plan import USUAL_STREAMS
from lab.model.samples import ENTRANCE, OTHER, PAST, STORE, Rows, Traffic
from lab.model.scenario import CROSSES, DISTURBS, STOPS, OwnTraffic
from tests.pure.evidence_factory import Recipe, make

RUN = make(Recipe(faults=(), baseline_s=20.0, clean_s=0.0))
NOTHING = Crossing(2, 1.0, 0, 0, 0, 0, 0)


def reading(at_ms: float, route: str = STORE, peer: str = "qdrant", **counts: int) -> Traffic:
    none = {"established": 0, "opened": 0, "ended": 0, "sent_bytes": 0, "received_bytes": 0}
    return Traffic(at_ms, route, peer, **{**none, **counts})


def test_what_crossed_is_the_last_reading_less_the_first_on_each_way() -> None:
    first: dict[str, Any] = {
        "opened": 3,
        "sent_bytes": 100,
        "received_bytes": 1000,
        "retransmitted": 5,
        "unanswered": 9,
    }
    last: dict[str, Any] = {
        "opened": 4,
        "sent_bytes": 130,
        "received_bytes": 1900,
        "retransmitted": 7,
        "unanswered": 2,
    }
    rows = [
        reading(1000.0, **first),
        reading(1000.0, ENTRANCE, "mcp", sent_bytes=10**6),
        reading(2000.0, sent_bytes=110),
        reading(2000.0, peer="new", opened=2, sent_bytes=7, received_bytes=8, retransmitted=1),
        reading(4000.0, **last),
        reading(4000.0, peer="new", opened=6, sent_bytes=70, received_bytes=80, retransmitted=10),
    ]
    # The way to `new` is not in the first reading, so all that it carried is of this time.
    assert crossing(rows, (STORE,)) == Crossing(3, 3.0, 30 + 70, 900 + 80, 1 + 6, 2 + 10, 9)
    assert crossing(rows, (STORE,)).bytes == 1080
    assert crossing(rows, (STORE,)).received_per_s == pytest.approx(980 / 3)
    assert crossing(rows, (OTHER,)) == Crossing(3, 3.0, 0, 0, 0, 0, 0)


def test_without_a_reading_nothing_crossed_in_no_time() -> None:
    assert crossing((), (STORE,)) == Crossing(0, 0.0, 0, 0, 0, 0, 0)
    assert crossing([reading(500.0, received_bytes=9)], (STORE,)) == Crossing(1, 0.0, 0, 0, 0, 0, 0)
    assert Crossing(1, 0.0, 0, 9, 0, 0, 0).received_per_s == 0.0
    assert Crossing(2, 0.5, 0, 9, 0, 0, 0).received_per_s == 18.0


@pytest.mark.parametrize(
    "field", ["sent_bytes", "received_bytes", "opened", "retransmitted", "unanswered_max"]
)
def test_each_sign_of_traffic_alone_shows_that_something_crossed(field: str) -> None:
    counts: dict[str, Any] = {field: 1}
    assert replace(NOTHING, **counts).any is True
    assert NOTHING.any is False


def carried(received_bytes: int, readings: int = 2) -> Crossing:
    return Crossing(readings, 10.0, 0, received_bytes, 0, 0, 0)


TRIED = replace(NOTHING, retransmitted=1)
NOT_READ = "the target's own connections were not read while it was in force"
NONE_CROSSED = "nothing of the target's own traffic crossed there while it was in force"
NONE_BEFORE = "nothing of the target's own traffic crossed there before it, so none could stop"
WENT_ON = "the target's own traffic went on: the target's own connections received 100 bytes/s before and 51 in force"


@pytest.mark.parametrize(
    ("effect", "before", "during", "doubts"),
    [
        (CROSSES, carried(1000), carried(1000, readings=1), [NOT_READ]),
        (STOPS, carried(1000), carried(0, readings=1), [NOT_READ]),
        (CROSSES, carried(0), carried(1), []),
        (CROSSES, carried(1000), TRIED, []),
        (CROSSES, carried(1000), NOTHING, [NONE_CROSSED]),
        (STOPS, carried(0), NOTHING, [NONE_BEFORE]),
        (STOPS, carried(1000), NOTHING, []),
        # Up to half of what crossed before may have been under way at the moment of the cut.
        (STOPS, carried(1000), carried(500), []),
        (STOPS, carried(1000), carried(510), [WENT_ON]),
        # What merely disturbs may stop all, if something crossed before.
        (DISTURBS, carried(1000), NOTHING, []),
        (DISTURBS, carried(0), NOTHING, [NONE_CROSSED]),
        (DISTURBS, carried(0), TRIED, []),
    ],
)
def test_each_effect_is_proven_by_its_own_sign(
    effect: str, before: Crossing, during: Crossing, doubts: Sequence[str]
) -> None:
    assert list(Effect(OwnTraffic((STORE,), effect), before, during).doubts()) == list(doubts)


def events(effect: str = STOPS, route: str = STORE, without: str = "") -> list[Event]:
    """A fault from 30 s on, proven at 31 s, and healed from 41 s on; the one of kind `without` is missing."""
    own = {"own_traffic": {"routes": [route], "effect": effect}}
    story = [
        ("fault_injecting", 30_000.0, own),
        ("fault_in_force", 31_000.0, {}),
        ("fault_healing", 41_000.0, {}),
    ]
    return [
        Event(n, "run", at_ms, "", kind, data)
        for n, (kind, at_ms, data) in enumerate(story)
        if kind != without
    ]


def recorded(*rows: Traffic, reads: bool = True) -> Evidence:
    streams = RUN.plan.streams if reads else USUAL_STREAMS
    samples = replace(RUN.samples, traffic=Rows(rows))
    return replace(RUN, plan=replace(RUN.plan, streams=streams), samples=samples)


EVERY_SECOND = [reading(1000.0 * n, received_bytes=int(min(n, 31) * 100)) for n in range(60)]


def test_the_twenty_seconds_before_the_injection_are_compared_with_the_time_in_force() -> None:
    found = effect_of(recorded(*EVERY_SECOND), events())
    assert found == Effect(
        OwnTraffic((STORE,), STOPS), Crossing(20, 19.0, 0, 1900, 0, 0, 0), Crossing(10, 9.0, 0, 0, 0, 0, 0)
    )
    words = "the target's own connections received 100 bytes/s before and 0 in force"
    assert found.in_words == words


@pytest.mark.parametrize("kind", ["fault_injecting", "fault_in_force", "fault_healing"])
def test_a_fault_that_was_not_injected_proven_and_healed_has_no_effect_to_measure(kind: str) -> None:
    assert effect_of(recorded(*EVERY_SECOND), events(without=kind)) is None


def test_a_run_that_does_not_read_connections_asks_for_nothing() -> None:
    run = recorded(reads=False)
    assert effect_of(run, events()) is None
    assert list(traffic_doubts(run, events(), alone=True)) == []
    assert effect_of(recorded(), events(effect="unknown")) is None
    assert list(traffic_doubts(recorded(), events(effect="unknown"), alone=True)) == []
    assert list(traffic_doubts(recorded(), events(without="fault_injecting"), alone=True)) == []


def test_a_fault_together_with_others_is_not_asked_what_crossed() -> None:
    assert list(traffic_doubts(recorded(), events(), alone=True)) == [NOT_READ]
    assert list(traffic_doubts(recorded(), events(), alone=False)) == []
    assert list(traffic_doubts(recorded(), events(without="fault_healing"), alone=True)) == []


AROUND = [reading(1.0, PAST, "10.0.0.2:6333"), reading(9e6, PAST, "10.0.0.1:6334"), reading(9.0, OTHER, "x")]


def test_connections_past_the_proxy_at_any_time_make_a_fault_of_the_store_doubtful() -> None:
    run = recorded(*AROUND, AROUND[0], *EVERY_SECOND)
    assert past_the_proxy(run) == ["10.0.0.1:6334", "10.0.0.2:6333"]
    words = (
        "the target's own connections to the store go past the proxy, to 10.0.0.1:6334, 10.0.0.2:6333,"
        " where this fault does not act"
    )
    for alone in (True, False):
        assert list(traffic_doubts(run, events(), alone=alone)) == [words]
    # The way in to the target is another route, and nothing of it was read.
    assert list(traffic_doubts(run, events(route=ENTRANCE), alone=True)) == [NONE_BEFORE]
    assert list(traffic_doubts(recorded(*EVERY_SECOND), events(), alone=True)) == []


def test_a_fault_that_acts_past_the_proxy_too_is_not_doubtful_for_it() -> None:
    (injecting, *rest) = events()
    both = {"own_traffic": {"routes": [STORE, PAST], "effect": STOPS}}
    run = recorded(*AROUND, *EVERY_SECOND)
    assert list(traffic_doubts(run, [replace(injecting, data=both), *rest], alone=True)) == []
