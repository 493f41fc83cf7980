"""k6's raw points become requests: every slot once, nothing made up, damage said."""

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.load.chunk_schedule import ChunkSchedule, DueRequest
from lab.load.inputs import LoadInputs, Text, block_of
from lab.load.point_lines import GzipLines
from lab.load.points import epoch_ms, read_chunk
from lab.load.request_rows import ChunkRows
from lab.model.load import ChunkOfLoad, ConstantArrivalRate, LoadProfile
from lab.model.samples import Layer
from lab.model.target import Condition, Operation

MIX = {"search": 40, "add": 30, "list": 20, "status": 10}
EPOCH_MS = epoch_ms("2026-01-01T00:00:00Z")
START_MS = 5000.0
PERIOD_MS = 250.0


def profile(**changed: Any) -> LoadProfile:
    """Four requests a second in chunks of five seconds."""
    plain = LoadProfile("normal", "normal.js", ConstantArrivalRate(4.0), MIX, 500, 5, False, 10_000, 5.0)
    return replace(plain, **changed)


def inputs(**changed: Any) -> LoadInputs:
    """A small load of the seed's mix."""
    operations = {name: Operation(name, name, {"q": {"$var": "query"}}, "text", ()) for name in MIX}
    plain: dict[str, Any] = {
        "run_id": "run-1",
        "seed": 7,
        "endpoint": "/mcp",
        "protocol_version": "2025-06-18",
        "profiles": (profile(),),
        "operations": operations,
        "values": {"k": 10, "truth_collection": "t", "writes_collection": "w"},
        "queries": (Text("q1", "one"),),
        "documents": (Text("d1", "two"),),
        "base_url": "http://toxiproxy:8000",
    }
    return LoadInputs(**{**plain, **changed})


def schedule(slots: int = 8) -> ChunkSchedule:
    """A chunk of alternating operations that begins at 5 s on the run's clock."""
    names = [("search", "add")[slot % 2] for slot in range(slots)]
    requests = [DueRequest(f"0003-{n}-{op}", op, n, n * PERIOD_MS) for n, op in enumerate(names)]
    chunk = ChunkOfLoad(number=1, first=12, due=slots, start_ms=3000.0, duration_ms=slots * PERIOD_MS)
    return ChunkSchedule("0003", START_MS - 3000.0, profile(), chunk, requests, EPOCH_MS)


def point(metric: str, at_ms: float, value: float = 1, **more: Any) -> str:
    """One line as k6 writes it; `at_ms` on the run's clock."""
    whole, part = divmod(round(at_ms * 1000), 1_000_000)
    time = f"2026-01-01T00:{whole // 60:02d}:{whole % 60:02d}.{part:06d}123Z"
    data = {"time": time, "value": value, "tags": more.get("tags", {}), "metadata": more.get("metadata", {})}
    return json.dumps({"metric": metric, "type": "Point", "data": data}, separators=(",", ":")) + "\n"


def ended(
    turn: int,
    at_ms: float,
    layer: str = "ok",
    message: str = "",
    lost: int = 0,
    op: str = "search",
    at: int | None = None,
) -> str:
    """An iteration from its start to its judgement, 20 ms later; `at` is the place of its request in the plan."""
    metadata = {"seq": str(turn), "message": message, "sessions_lost": str(lost)}
    return (
        started(turn, at_ms, "" if at is None else planned_id(at))
        + point("mcp_answered", at_ms + 20, metadata={"seq": str(turn)})
        + point("mcp_call", at_ms + 21, 20, tags={"op": op, "layer": layer}, metadata=metadata)
    )


def planned_id(place: int) -> str:
    """The id of a request of the chunk."""
    return f"0003-{place}-{('search', 'add')[place % 2]}"


def started(turn: int, at_ms: float, name: str = "") -> str:
    """Only the start of an iteration; without a name it is that of the plan."""
    return point("mcp_started", at_ms, metadata={"seq": str(turn), "id": name or planned_id(turn)})


def read(folder: Path, text: str, slots: int = 8) -> ChunkRows:
    """What `text`, packed as k6 packs it, amounts to."""
    path = folder / "points.json.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return read_chunk(path, schedule(slots))


def test_a_request_has_its_slot_its_times_and_its_layer(tmp_path: Path) -> None:
    other = '{"type":"Metric","data":{"name":"mcp_call"},"metric":"mcp_call"}\n' + point("http_reqs", 5000)
    found = read(tmp_path, other + ended(0, 5002.5) + ended(1, 5251, "payload", "no results", 1, "add"), 2)
    first, second = found.rows
    assert (first.scheduled_ms, first.sent_ms, first.done_ms) == (5000.0, 5002.5, 5022.5)
    assert (first.op, first.ok, first.layer, first.source) == ("search", True, Layer.OK, "0003")
    assert (second.scheduled_ms, second.op, second.ok, second.layer) == (5250.0, "add", False, Layer.PAYLOAD)
    assert (second.message, second.sessions_lost) == ("no results", 1)
    assert (found.started, found.dropped, found.lost, found.missing) == (2, 0, 0, 0)
    assert not found.truncated
    assert not found.problems


@pytest.mark.parametrize("layer", ["ok", "payload"])
def test_the_hits_of_an_answer_are_kept(tmp_path: Path, layer: str) -> None:
    plain = '"message":"","sessions_lost":"0"'
    line = ended(0, 5001, layer).replace(plain, plain + ',"hits":"0","k":"10","query":"q7"')
    with_hits, without = read(tmp_path, line + ended(1, 5251, op="add"), 2).rows
    assert (with_hits.hits, with_hits.k, with_hits.query_id) == (0, 10, "q7")
    assert (without.hits, without.k, without.query_id) == (None, None, None)


def test_an_answer_that_never_came_has_no_time(tmp_path: Path) -> None:
    (row,) = read(tmp_path, ended(0, 5001, "transport", "1050 request timeout"), 1).rows
    assert (row.done_ms, row.layer, row.message) == (None, Layer.TRANSPORT, "1050 request timeout")


def test_started_and_never_ended_is_lost(tmp_path: Path) -> None:
    found = read(tmp_path, ended(0, 5001) + started(1, 5251), 2)
    assert (found.started, found.lost) == (2, 1)
    assert (found.rows[1].layer, found.rows[1].ok, found.rows[1].done_ms) == (Layer.LOST, False, None)


def test_a_judgement_without_an_answer_is_lost_not_ok(tmp_path: Path) -> None:
    call = point("mcp_call", 5021, 20, tags={"op": "search", "layer": "ok"}, metadata={"seq": "0"})
    (row,) = read(tmp_path, started(0, 5001) + call, 1).rows
    assert (row.layer, row.ok) == (Layer.LOST, False)


def test_dropped_iterations_take_their_own_slots(tmp_path: Path) -> None:
    text = (
        ended(0, 5001)
        + point("dropped_iterations", 5250)
        + point("dropped_iterations", 5500)
        + ended(1, 5751)
    )
    found = read(tmp_path, text + point("dropped_iterations", 6000), 5)
    assert [row.layer for row in found.rows] == [Layer.OK, Layer.UNSENT, Layer.UNSENT, Layer.OK, Layer.UNSENT]
    assert [row.scheduled_ms for row in found.rows] == [5000.0, 5250.0, 5500.0, 5750.0, 6000.0]
    assert [row.sent_ms for row in found.rows] == [5001.0, None, None, 5751.0, None]
    assert (found.started, found.dropped, found.missing) == (2, 3, 0)


def test_what_was_never_sent_has_the_ids_that_are_left(tmp_path: Path) -> None:
    """k6 takes the next request of the plan for each iteration, so after two drops the last two are left."""
    text = ended(0, 5001) + point("dropped_iterations", 5250) + ended(1, 5501, op="add")
    found = read(tmp_path, text + point("dropped_iterations", 5750), 4)
    assert [row.id for row in found.rows] == ["0003-0-search", "0003-2-search", "0003-1-add", "0003-3-add"]
    assert [row.op for row in found.rows] == ["search", "search", "add", "add"]
    assert [row.scheduled_ms for row in found.rows] == [5000.0, 5250.0, 5500.0, 5750.0]
    assert not found.problems


def test_one_iteration_more_than_was_planned_has_an_id_of_its_own(tmp_path: Path) -> None:
    text = ended(0, 5001) + point("dropped_iterations", 5250) + ended(1, 5501, op="add")
    found = read(tmp_path, text, 2)
    assert [row.id for row in found.rows] == ["0003-0-search", "0003-2-add", "0003-1-add"]


def test_an_id_that_occurs_twice_is_reported(tmp_path: Path) -> None:
    text = ended(0, 5001) + ended(1, 5251, op="add").replace("0003-1-add", "0003-0-search")
    problems = read(tmp_path, text, 2).problems
    assert any("0003-0-search" in problem and "occur twice" in problem for problem in problems)
    assert any("another request than planned" in problem for problem in problems)


def test_a_request_without_an_id_is_reported(tmp_path: Path) -> None:
    text = point("mcp_started", 5001, metadata={"seq": "0"})
    assert any("cannot be read" in problem for problem in read(tmp_path, text, 1).problems)


def test_a_tick_at_the_very_end_is_not_the_chunks_own(tmp_path: Path) -> None:
    found = read(tmp_path, ended(0, 5001) + point("dropped_iterations", 5250), 1)
    assert (len(found.rows), found.dropped) == (1, 0)


def test_a_late_start_leaves_slots_out_at_the_front(tmp_path: Path) -> None:
    found = read(
        tmp_path, point("mcp_skipped_slots", 5700, 2) + ended(0, 5701, at=2) + ended(1, 5951, at=3), 4
    )
    assert [row.layer for row in found.rows] == [Layer.UNSENT, Layer.UNSENT, Layer.OK, Layer.OK]
    assert [row.scheduled_ms for row in found.rows] == [5000.0, 5250.0, 5500.0, 5750.0]
    assert "late" in found.rows[0].message
    assert [row.id for row in found.rows] == [planned_id(place) for place in range(4)]
    assert not found.problems
    assert (found.late_slots, found.missing) == (2, 0)


def test_no_points_are_no_rows(tmp_path: Path) -> None:
    found = read(tmp_path, "", 4)
    assert found.rows == ()
    assert (found.truncated, found.missing) == (False, 4)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    found = read_chunk(tmp_path / "absent.json.gz", schedule(4))
    assert found.rows == ()
    assert found.truncated
    assert "absent.json.gz" in found.problems[0]


def test_what_does_not_fit_together_is_reported(tmp_path: Path) -> None:
    stray = point("mcp_answered", 5003, metadata={"seq": "9"}) + point("mcp_started", 5004)
    found = read(tmp_path, ended(0, 5001) + started(0, 5002) + stray + ended(3, 5751), 4)
    assert len(found.problems) == 4
    assert any("twice" in problem for problem in found.problems)
    assert any("never started" in problem for problem in found.problems)
    assert any("cannot be read" in problem for problem in found.problems)
    assert any("2 iterations in between" in problem for problem in found.problems)


@given(st.integers(0, 10_000))
def test_a_broken_file_is_always_reported_and_never_invents(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "points.json.gz"
    packed = gzip.compress("".join(ended(turn, 5001 + 250 * turn) for turn in range(8)).encode())
    path.write_bytes(packed[: cut % len(packed)])
    found = read_chunk(path, schedule(8))
    assert found.truncated
    assert found.started == len(found.rows) == 8 - found.missing
    assert found.started == sum(row.ok for row in found.rows) + found.lost
    assert list(found.rows) == sorted(found.rows, key=lambda row: row.scheduled_ms)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "points.json.gz"
    path.write_bytes(content)
    assert read_chunk(path, schedule()).rows == ()
    path.write_bytes(gzip.compress(b'{"metric":"mcp_call","type":"Point",' + content))
    assert read_chunk(path, schedule()).rows == ()


@given(st.lists(st.sampled_from(["start", "drop"]), max_size=30))
def test_every_tick_gets_its_slot(tmp_path_factory: pytest.TempPathFactory, ticks: list[str]) -> None:
    text, turn = "", 0
    for slot, kind in enumerate(ticks):
        due_ms = START_MS + slot * PERIOD_MS
        text += ended(turn, due_ms + 1.5) if kind == "start" else point("dropped_iterations", due_ms + 0.5)
        turn += kind == "start"
    found = read(tmp_path_factory.mktemp("ticks"), text, len(ticks))
    assert [row.sent_ms is not None for row in found.rows] == [kind == "start" for kind in ticks]
    assert {row.id for row in found.rows} == {planned_id(place) for place in range(len(ticks))}
    assert [row.scheduled_ms for row in found.rows] == [START_MS + n * PERIOD_MS for n in range(len(ticks))]


def test_lines_come_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "big.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(200_000))))
    lines = GzipLines(path)
    assert sum(1 for _ in lines) == 200_000
    assert lines.damage == ""
    path.write_bytes(gzip.compress(b"x" * 3_000_000))
    endless = GzipLines(path)
    assert list(endless) == []
    assert "longer than" in endless.damage


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00.5Z", "2026-01-01T01:00:00.500000999+01:00"])
def test_times_are_read_in_any_zone_and_to_the_microsecond(text: str) -> None:
    assert epoch_ms(text) == EPOCH_MS + 500.0


def operations(load: LoadInputs, chunk: int) -> list[tuple[str, int]]:
    """The operations of a chunk, each with the number of its use."""
    return [(r.op, r.number) for r in load.requests(load.profiles[0], "0000", load.profiles[0].chunk(chunk))]


def test_every_block_holds_the_mix_exactly() -> None:
    block = block_of(MIX)
    assert Counter(block) == {"search": 4, "add": 3, "list": 2, "status": 1}
    turns = [turn for chunk in range(5) for turn in operations(inputs(), chunk)]
    assert len(turns) == 100
    blocks = [turns[at : at + 10] for at in range(0, 100, 10)]
    assert all(Counter(name for name, _ in found) == Counter(block) for found in blocks)
    assert len({tuple(name for name, _ in found) for found in blocks}) > 1
    for name in MIX:
        items = [item for op, item in turns if op == name]
        assert items == list(range(len(items))), "every text is used as often as every other"


@given(st.integers(0, 10), st.integers(1, 6))
def test_the_sequence_does_not_depend_on_where_chunks_are_cut(seed: int, slots: int) -> None:
    whole = operations(inputs(seed=seed, profiles=(profile(chunk_s=15.0),)), 0)
    parts = inputs(seed=seed, profiles=(profile(chunk_s=float(slots)),))
    pieces = [turn for chunk in range(15 // slots + 1) for turn in operations(parts, chunk)]
    assert pieces[: len(whole)] == whole[: len(pieces)]


def test_another_seed_is_another_order() -> None:
    assert operations(inputs(seed=1), 0) != operations(inputs(seed=2), 0)
    assert operations(inputs(seed=0), 0) == operations(inputs(seed=0), 0)


def test_a_chunk_is_a_whole_number_of_periods() -> None:
    chunk = profile(schedule=ConstantArrivalRate(3.0), chunk_s=10.1).chunk(2)
    assert (chunk.first, chunk.due, chunk.start_ms, chunk.duration_ms) == (60, 30, 20_000.0, 10_000.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"profiles": (profile(schedule=ConstantArrivalRate(0.0)),)}, "no load"),
        ({"profiles": (profile(chunk_s=0.5),)}, "too short"),
        ({"profiles": (profile(mix={}),)}, "at least one operation"),
        ({"profiles": (profile(mix={"search": 0}),)}, "above 0"),
        ({"profiles": (profile(mix={"serach": 1}),)}, "serach"),
        ({"profiles": (profile(script="../etc/passwd.js"),)}, "script in k6/"),
        ({"profiles": (profile(name="a b"),)}, "scenario with the name"),
        ({"profiles": (profile(vus_max=0),)}, "0 virtual users"),
        ({"documents": ()}, "0 documents"),
        ({"operations": {"search": Operation("s", "s", {"a": [{"$var": "zork"}]}, "text", ())}}, "zork"),
        (
            {
                "operations": {
                    "search": Operation("s", "s", {}, "text", (Condition((), "equals", {"$var": ["x"]}),)),
                }
            },
            "['x']",
        ),
    ],
)
def test_a_load_that_cannot_be_is_refused_in_words(changed: dict[str, Any], said: str) -> None:
    if "operations" in changed:
        changed = {**changed, "profiles": (profile(mix={"search": 1}),)}
    with pytest.raises(ScenarioError, match=r".") as refusal:
        inputs(**changed)
    assert said in str(refusal.value)
