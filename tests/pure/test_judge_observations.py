"""What was stored of probes and truth queries becomes observations: right, wrong, unanswered and never asked."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lab.judge.stats.observations import (
    Observation,
    Observations,
    ProbeResults,
    accurate,
    accurate_enough,
    answering,
    idle,
    within_slo,
)
from lab.model.samples import STALLED, WRONG, Layer, Probe, Recall, Rows

# Each outcome that a probe can have, in order of sending; the second "ok" has no recorded end.
OUTCOMES = ("ok", WRONG, Layer.PAYLOAD.value, "ok", Layer.TRANSPORT.value, Layer.UNSENT.value, STALLED)
ASKED = [True, True, True, True, True, False, False]


def stored() -> ProbeResults:
    """One probe of each outcome every 10 ms from 1000 ms on, answered after 6 ms."""
    return ProbeResults.of(
        Probe(1000.0 + 10 * n, None if n == 3 else 1006.0 + 10 * n, "list", outcome, "")
        for n, outcome in enumerate(OUTCOMES)
    )


def good(observations: Observations) -> list[bool]:
    return [observation.good for observation in observations]


def asked(observations: Observations) -> list[bool]:
    return [observation.asked for observation in observations]


def test_only_a_right_answer_in_time_is_good_for_the_slo() -> None:
    assert good(within_slo(stored(), 6.0)) == [True, *[False] * 6]
    assert not any(good(within_slo(stored(), 5.9)))
    assert asked(within_slo(stored(), 6.0)) == ASKED


def test_a_wrong_answer_is_an_answer_and_an_error_is_none() -> None:
    assert good(answering(stored())) == [True, True, *[False] * 5]
    assert asked(answering(stored())) == ASKED


@pytest.mark.parametrize("rule", [accurate, idle])
def test_accurate_or_idle_is_only_what_was_right_however_late(
    rule: Callable[[ProbeResults], Observations],
) -> None:
    late = ProbeResults.of([Probe(0.0, 9000.0, "list", "ok", "")])
    assert good(rule(stored())) == [True, *[False] * 6]
    assert asked(rule(stored())) == ASKED
    assert good(rule(late)) == [True]


def test_what_was_never_answered_ends_when_it_was_sent_and_is_never_good() -> None:
    observation = answering(stored())[3]
    assert observation == Observation(1030.0, 1030.0, good=False, asked=True)
    assert answering(stored())[0] == Observation(1000.0, 1006.0, good=True, asked=True)


def test_the_probes_of_one_name_are_read_from_one_time_up_to_another() -> None:
    rows = [Probe(at, at + 1, name, "ok", "") for at in (0.0, 10.0, 20.0) for name in ("list", "store_idle")]
    found = ProbeResults.read(Rows(rows), "list", 10.0, 20.0)
    assert (list(found.sent_ms), list(found.done_ms)) == ([10.0], [11.0])
    assert good(accurate(found)) == [True]


def test_without_rows_there_are_no_observations() -> None:
    for none in (Observations.of(()), accurate(ProbeResults.of(())), accurate_enough((), 0.9)):
        assert len(none) == 0 and list(none) == []
        assert none.sent_ms.dtype == none.done_ms.dtype == np.float64
        assert none.good.dtype == none.asked.dtype == np.bool_


def test_observations_are_in_order_of_sending_then_of_their_end_then_bad_before_good() -> None:
    rows = [
        Observation(20.0, 21.0, True),
        Observation(10.0, 19.0, True),
        Observation(10.0, 15.0, True),
        Observation(10.0, 15.0, False, asked=False),
        Observation(5.0, 90.0, False),
    ]
    assert list(Observations.of(rows)) == rows[::-1]
    rated = Observations.rated(
        np.array([20.0, 10.0, 10.0]),
        np.array([21.0, math.nan, 12.0]),
        np.array([True, True, False]),
        np.array([False, True, True]),
    )
    assert list(rated) == [
        Observation(10.0, 10.0, False),
        Observation(10.0, 12.0, False),
        Observation(20.0, 21.0, True, asked=False),
    ]


def test_observations_since_a_time_include_it() -> None:
    found = accurate(stored())
    assert [observation.sent_ms for observation in found.since(1040.0)] == [1040.0, 1050.0, 1060.0]
    assert list(found.where(found.good)) == [found[0]]
    assert asked(found.since(1050.0)) == [False, False]


def query(at_ms: float, hits: int, *, answered: bool = True, done_ms: float | None = None) -> Recall:
    return Recall(at_ms, done_ms, "dense", "q1", answered, hits, 10, Layer.OK, "")


def test_a_truth_query_is_good_with_its_share_of_the_neighbours_and_only_if_answered() -> None:
    queries = [
        query(0.0, 9, done_ms=30.0),
        query(100.0, 8, done_ms=130.0),
        query(200.0, 10, answered=False, done_ms=230.0),
        query(300.0, 10),
    ]
    assert list(accurate_enough(queries, 0.9)) == [
        Observation(0.0, 30.0, True),
        Observation(100.0, 130.0, False),
        Observation(200.0, 230.0, False),
        Observation(300.0, 300.0, True),
    ]


def test_times_in_whole_milliseconds_are_kept_like_others() -> None:
    """An array of integers could not say that no answer came."""
    for columns in (
        Observations.of([Observation(0, 1, True)]),
        ProbeResults.of([Probe(0, 1, "list", "ok", "")]),
    ):
        assert columns.sent_ms.dtype == columns.done_ms.dtype == np.float64


class Torn(Rows[Probe]):
    """A stored table whose last row lacks its outcome."""

    def fields(self, names: Sequence[str], from_ms: float, to_ms: float, **_: str) -> list[tuple[Any, ...]]:
        return [(0.0, 1.0, "ok"), (5.0, 6.0)]


def test_a_row_that_lacks_a_field_is_refused_and_hides_no_other_row() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ProbeResults.read(Torn(), "list", 0.0, 10.0)
    torn: list[Any] = [Observation(0.0, 1.0, True), (5.0, 6.0, False)]
    with pytest.raises(ValueError, match="shorter"):
        Observations.of(torn)
