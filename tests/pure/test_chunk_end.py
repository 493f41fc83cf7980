"""When k6 is ended after its load: as soon as all that was due is settled, and never before."""

from pathlib import Path

import pytest

from lab.load.chunk import Chunk, Stretch
from lab.load.chunk_schedule import ChunkSchedule, DueRequest
from lab.load.live_points import LivePoints
from lab.load.request_rows import unsent_request
from tests.pure.evidence_factory import LOAD

PART = LOAD.chunk(0)
SCHEDULE = ChunkSchedule(
    "0000",
    1000.0,
    LOAD,
    PART,
    [DueRequest(f"0000-{place}-list", "list", place, 250.0 * place) for place in range(PART.due)],
    1e12,
)
STOP_MS, DUE_BEFORE = 6000.0, 20


class Points(LivePoints):
    """Points of a k6 that began a few slots too late."""

    def __init__(self, late: int) -> None:
        super().__init__(Path("nowhere"), SCHEDULE)
        self._late = late

    @property
    def late_slots(self) -> int:
        return self._late


def ended_chunk(settled: int, late: int = 0) -> Chunk:
    """A chunk whose load ended at 6 s, when 20 requests were due; so many are settled, after the late slots."""
    chunk = Chunk(SCHEDULE, Stretch(LOAD, 1000.0, stop_ms=STOP_MS), Points(late))
    chunk.handed.update(unsent_request(slot, slot, SCHEDULE, "") for slot in range(late, late + settled))
    return chunk


@pytest.mark.parametrize(
    ("settled", "late", "at_once"),
    [(20, 0, True), (19, 0, False), (0, 0, False), (17, 3, True), (16, 3, False)],
)
def test_k6_is_ended_as_soon_as_all_that_was_due_is_settled(settled: int, late: int, at_once: bool) -> None:
    chunk = ended_chunk(settled, late)
    assert SCHEDULE.due_before(STOP_MS) == DUE_BEFORE
    assert not chunk.must_be_cut(STOP_MS - 1), "its load goes on"
    assert chunk.must_be_cut(STOP_MS) is at_once


def test_what_is_not_answered_has_its_whole_time() -> None:
    chunk = ended_chunk(DUE_BEFORE - 1)
    assert not chunk.must_be_cut(STOP_MS + LOAD.graceful_stop_ms - 1)
    assert chunk.must_be_cut(STOP_MS + LOAD.graceful_stop_ms)


def test_k6_whose_time_is_over_ends_by_itself() -> None:
    assert not ended_chunk(DUE_BEFORE).must_be_cut(SCHEDULE.end_ms)
