"""A load profile's schedule: the moment of each request and the counts in windows agree, wherever one looks."""

import math
from dataclasses import dataclass, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.load import ConstantArrivalRate, LoadProfile, Schedule

rates = st.floats(0.01, 1000)
WEEK_MS = 7 * 86_400_000.0


def profile(rate_per_s: float, chunk_s: float) -> LoadProfile:
    schedule = ConstantArrivalRate(rate_per_s)
    return LoadProfile("normal", "normal.js", schedule, {"search": 1}, 500, 5, False, 10_000, chunk_s)


@given(rates, st.integers(0, 10**7))
def test_as_many_are_due_before_a_request_as_its_number_says(rate_per_s: float, n: int) -> None:
    schedule = ConstantArrivalRate(rate_per_s)
    assert schedule.due_before(schedule.due_ms(n)) == n
    assert schedule.due_before(schedule.due_ms(n) + schedule.pause_max_ms() / 2) == n + 1


@given(rates, st.floats(0, WEEK_MS), st.floats(0, 600_000))
def test_the_count_of_any_window_lies_between_least_and_most(
    rate_per_s: float, from_ms: float, length_ms: float
) -> None:
    schedule = ConstantArrivalRate(rate_per_s)
    to_ms = from_ms + length_ms
    due = schedule.due_before(to_ms) - schedule.due_before(from_ms)
    assert schedule.due_at_least(from_ms, to_ms) <= due <= schedule.due_at_most(from_ms, to_ms)
    assert abs(due - schedule.expected(from_ms, to_ms)) <= 1 + 1e-6


@given(st.floats(0.01, 20), st.floats(0, 10_000), st.floats(0, 10_000))
def test_counts_are_those_of_a_list_of_all_requests(
    rate_per_s: float, one_ms: float, other_ms: float
) -> None:
    schedule = ConstantArrivalRate(rate_per_s)
    from_ms, to_ms = sorted((one_ms, other_ms))
    listed = [schedule.due_ms(n) for n in range(int(rate_per_s * 10) + 2)]
    counted = schedule.due_before(to_ms) - schedule.due_before(from_ms)
    assert abs(counted - sum(from_ms <= due_ms < to_ms for due_ms in listed)) <= sum(
        min(abs(due_ms - from_ms), abs(due_ms - to_ms)) < 1e-5 for due_ms in listed
    )


@given(rates, st.floats(1, 600), st.integers(0, 5000))
def test_chunks_follow_each_other_and_leave_nothing_out(
    rate_per_s: float, chunk_s: float, number: int
) -> None:
    load = profile(rate_per_s, chunk_s)
    chunk, following = load.chunk(number), load.chunk(number + 1)
    assert following.first == chunk.first + chunk.due
    assert following.start_ms == pytest.approx(chunk.start_ms + chunk.duration_ms)
    assert chunk.due == load.chunk(0).due >= 1
    assert load.schedule.due_ms(chunk.first) == pytest.approx(chunk.start_ms)


def test_a_window_that_ends_before_it_begins_has_nothing_due() -> None:
    schedule = ConstantArrivalRate(4.0)
    assert (schedule.due_at_least(5000, 0), schedule.due_at_most(5000, 0), schedule.expected(5000, 0)) == (
        0,
        0,
        0,
    )


def test_virtual_users_suffice_when_every_request_takes_its_whole_time() -> None:
    assert profile(4.0, 60).vus == 46
    assert profile(1000.0, 60).vus == 500


def test_a_profile_says_what_it_is() -> None:
    load = profile(4.0, 60)
    assert (load.executor, load.in_words()) == ("constant-arrival-rate", "normal: 4 requests/s")


@dataclass(frozen=True)
class Ramp:
    """A rate that rises from 0 by `per_s2` requests/s each second, as k6's ramping-arrival-rate sends it."""

    per_s2: float
    executor: str = "ramping-arrival-rate"

    def due_ms(self, n: int) -> float:
        return 1000 * math.sqrt(2 * n / self.per_s2)

    def due_before(self, at_ms: float) -> int:
        return math.ceil(self.per_s2 * max(0.0, at_ms / 1000) ** 2 / 2 - 1e-6)

    def due_at_least(self, from_ms: float, to_ms: float) -> int:
        return max(0, self.due_before(to_ms) - self.due_before(from_ms) - 1)

    def due_at_most(self, from_ms: float, to_ms: float) -> int:
        return self.due_before(to_ms) - self.due_before(from_ms) + 1

    def expected(self, from_ms: float, to_ms: float) -> float:
        return self.per_s2 * ((to_ms / 1000) ** 2 - (from_ms / 1000) ** 2) / 2

    def pause_max_ms(self) -> float:
        return self.due_ms(1)

    def chunk_ms(self, about_ms: float) -> float:
        return about_ms

    def busy_at_once(self, request_ms: float) -> int:
        return 100

    def in_words(self) -> str:
        return "a ramp"


def test_a_profile_asks_its_schedule_and_reckons_with_no_rate() -> None:
    """Another schedule fits without a change to the profile: it is asked for every number."""
    schedule: Schedule = Ramp(2.0)
    load = replace(profile(1.0, 10.0), schedule=cast(ConstantArrivalRate, schedule))
    chunks = [load.chunk(number) for number in range(4)]
    assert [chunk.due for chunk in chunks] == [100, 300, 500, 700]
    assert [chunk.first for chunk in chunks] == [0, 100, 400, 900]
    assert load.in_words() == "normal: a ramp"
    requests = [schedule.due_ms(n) for n in range(1600)]
    for chunk in chunks:
        inside = [chunk.start_ms <= due_ms < chunk.start_ms + chunk.duration_ms for due_ms in requests]
        assert sum(inside) == chunk.due
