"""k6's points are read while they are written: however they arrive, the requests are those of the whole file."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.load.live_points import LivePoints
from lab.load.point_lines import GzipLines, LineSplitter
from lab.load.points import SETTLED_AFTER_MS, ChunkReader, epoch_ms, read_chunk
from lab.load.request_rows import ChunkRows
from lab.model.samples import Layer, Request
from tests.pure.test_points import EPOCH_MS, PERIOD_MS, START_MS, ended, planned_id, point, schedule, started

SLOTS = 12
LINES = st.one_of(
    st.builds(lambda at, ms: ended(at, START_MS + ms), st.integers(0, SLOTS), st.integers(0, 4000)),
    st.builds(lambda at, ms: started(at, START_MS + ms), st.integers(0, SLOTS), st.integers(0, 4000)),
    st.builds(
        lambda ms, n: point("dropped_iterations", START_MS + ms, n), st.integers(0, 4000), st.integers(0, 2)
    ),
    st.builds(lambda ms: point("vus", START_MS + ms, 3), st.integers(0, 6000)),
    st.builds(lambda n: point("mcp_skipped_slots", START_MS, n), st.integers(0, 2)),
    st.sampled_from(["", "\n", "{}\n", '{"metric":"mcp_call","type":"Point"}\n', "x" * 300 + "\n"]),
)
TICKS = st.lists(st.sampled_from(["answered", "slow", "hangs", "dropped"]), max_size=SLOTS)


def read_in_pieces(text: bytes, cuts: Sequence[int]) -> tuple[list[Request], ChunkRows]:
    """What is settled while the text arrives in these pieces, and what it amounts to at the end."""
    reader, splitter, settled = ChunkReader(schedule(SLOTS)), LineSplitter("points.json"), []
    ends = sorted(cut % (len(text) + 1) for cut in cuts)
    for begin, end in zip([0, *ends], [*ends, len(text)], strict=True):
        for line in splitter.lines(text[begin:end]):
            reader.take(line)
        settled += reader.settled()
    return settled, reader.finish(splitter.end())


def of_file(folder: Path, text: bytes) -> ChunkRows:
    """What the whole text amounts to, read from a packed file."""
    path = folder / "points.json.gz"
    path.write_bytes(gzip.compress(text, 1))
    return read_chunk(path, schedule(SLOTS))


def written_by_k6(ticks: Sequence[str]) -> str:
    """The points of a chunk in the order in which k6 writes them: each when it arose."""
    points, iteration = [], 0
    for slot, tick in enumerate(ticks):
        at_ms = START_MS + slot * PERIOD_MS
        if tick == "dropped":
            points.append((at_ms + 0.5, point("dropped_iterations", at_ms + 0.5)))
            continue
        begun, answered, judged = ended(iteration, at_ms + 1).splitlines(keepends=True)
        points.append((at_ms + 1, begun))
        if tick != "hangs":
            took_ms = {"answered": 20, "slow": 2100}[tick]
            points += [
                (at_ms + took_ms, later(answered, took_ms)),
                (at_ms + took_ms + 1, later(judged, took_ms)),
            ]
        iteration += 1
    points += [(START_MS + 1000 * n + 3, point("vus", START_MS + 1000 * n + 3)) for n in range(9)]
    return "".join(text for _, text in sorted(points))


def later(line: str, took_ms: float) -> str:
    """A point of an iteration that ended 20 ms after its start, moved to a later end."""
    data = json.loads(line)
    at_ms = epoch_ms(data["data"]["time"]) - EPOCH_MS + took_ms - 20
    return point(
        data["metric"],
        at_ms,
        data["data"]["value"],
        tags=data["data"]["tags"],
        metadata=data["data"]["metadata"],
    )


@given(st.lists(LINES, max_size=40), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_lines_in_any_pieces_are_the_requests_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cuts: list[int]
) -> None:
    text = "".join(lines).encode()
    settled, found = read_in_pieces(text, cuts)
    whole = of_file(tmp_path_factory.mktemp("whole"), text)
    assert (found.rows, found.started, found.dropped) == (whole.rows, whole.started, whole.dropped)
    assert found.problems == tuple(problem.replace(".json.gz", ".json") for problem in whole.problems)
    assert len(settled) == len(set(settled)), "each request is given once"
    assert set(settled) <= set(whole.rows), "a request that was given does not change"


@given(TICKS, st.lists(st.integers(0, 10_000), max_size=12))
def test_what_k6_writes_in_order_is_settled_with_its_slot(ticks: list[str], cuts: list[int]) -> None:
    settled, found = read_in_pieces(written_by_k6(ticks).encode(), cuts)
    assert not [problem for problem in found.problems if "another request" not in problem]
    expected = [
        START_MS + slot * PERIOD_MS for slot, tick in enumerate(ticks) if tick in ("answered", "slow")
    ]
    assert sorted(row.scheduled_ms for row in settled) == expected
    assert [row.scheduled_ms for row in found.rows] == [START_MS + n * PERIOD_MS for n in range(len(ticks))]
    assert [row.layer is Layer.UNSENT for row in found.rows] == [tick == "dropped" for tick in ticks]
    assert [row.layer is Layer.LOST for row in found.rows] == [tick == "hangs" for tick in ticks]


def test_a_request_that_hangs_does_not_hold_up_those_after_it() -> None:
    text = started(0, START_MS) + ended(1, START_MS + 250) + point("vus", START_MS + 250 + SETTLED_AFTER_MS)
    settled, _ = read_in_pieces(text.encode(), [])
    assert [row.id for row in settled] == [planned_id(1)]


def test_nothing_is_settled_while_an_earlier_drop_could_still_come() -> None:
    reader = ChunkReader(schedule(SLOTS))
    for line in ended(0, START_MS).encode().splitlines():
        reader.take(line)
    reader.take(point("vus", START_MS + SETTLED_AFTER_MS - 1).encode())
    assert reader.settled() == []
    reader.take(point("vus", START_MS + SETTLED_AFTER_MS).encode())
    assert len(reader.settled()) == 1
    assert reader.settled() == []


def test_a_drop_that_comes_too_late_for_its_place_is_reported_and_moves_nothing() -> None:
    text = ended(0, START_MS + 250) + ended(1, START_MS + 500, op="add") + point("vus", START_MS + 2000)
    settled, found = read_in_pieces((text + point("dropped_iterations", START_MS)).encode(), [])
    assert [row.scheduled_ms for row in settled] == [START_MS, START_MS + 250]
    assert set(settled) < set(found.rows)
    assert any("too late" in problem for problem in found.problems)


def test_a_line_that_is_too_long_ends_the_reading_whatever_the_pieces() -> None:
    for text in (b"x" * 1_100_000 + b"\n{}\n", b"x" * 1_100_000):
        for size in (len(text), 1000):
            splitter = LineSplitter("p")
            lines = [
                line for at in range(0, len(text), size) for line in splitter.lines(text[at : at + size])
            ]
            assert lines == []
            assert "longer than" in splitter.end()


class Written:
    """A folder in which k6 writes the points of a chunk, bit by bit."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder, schedule(SLOTS)
        self.plain = folder / f"points-{self.plan.source}.json"
        self.packed = folder / f"points-{self.plan.source}.json.gz"
        self.live = LivePoints(folder, self.plan)

    def write(self, text: str) -> None:
        with self.plain.open("a", encoding="utf-8") as file:
            file.write(text)

    def close(self) -> None:
        (self.folder / f"summary-{self.plan.source}.json").write_text("{}", encoding="utf-8")


def test_a_growing_file_gives_its_requests_and_is_packed_at_the_end(tmp_path: Path) -> None:
    written, settled = Written(tmp_path), []
    assert written.live.read_on() == []
    text = "".join(ended(n, START_MS + PERIOD_MS * n, op=("search", "add")[n % 2]) for n in range(SLOTS))
    for at in range(0, len(text), 333):
        written.write(text[at : at + 333])
        settled += written.live.read_on()
    assert len(settled) >= SLOTS - 4
    written.close()
    found = written.live.finish()
    assert (len(found.rows), found.truncated, found.problems) == (SLOTS, False, ())
    assert set(settled) <= set(found.rows)
    assert not written.plain.exists()
    assert read_chunk(written.packed, written.plan) == found
    assert "\n".join(line.decode() for line in GzipLines(written.packed)) + "\n" == text


def test_points_that_k6_did_not_close_are_incomplete(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.write(ended(0, START_MS))
    found = written.live.finish()
    assert found.truncated
    assert "closed" in found.problems[0]
    assert LivePoints(tmp_path / "nowhere", written.plan).finish().truncated


def test_a_file_that_changes_after_it_was_read_is_reported(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.write(
        ended(0, START_MS) + ended(1, START_MS + PERIOD_MS, op="add") + point("vus", START_MS + 3000)
    )
    assert len(written.live.read_on()) == 2
    written.plain.write_text(
        written.plain.read_text(encoding="utf-8").replace('"ok"', '"payload"', 1), encoding="utf-8"
    )
    written.close()
    found = written.live.finish()
    assert found.truncated
    assert "changed" in found.problems[0]


def test_a_file_that_cannot_be_packed_stays_and_counts(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.write(ended(0, START_MS))
    written.close()
    (tmp_path / f"{written.packed.name}.part").mkdir()
    found = written.live.finish()
    assert (len(found.rows), found.truncated) == (1, False)
    assert written.plain.exists()
