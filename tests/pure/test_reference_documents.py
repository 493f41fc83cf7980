"""The reference target's pure parts: chunks, ids of points, questions to the store, and the planted defects."""

import asyncio
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

TARGET = Path(__file__).resolve().parents[2] / "compose" / "targets" / "reference"
sys.path[:0] = [str(TARGET)]

from reference_server import defects, documents  # type: ignore[import-not-found] # noqa: E402 - on the path just set

from lab.read.targets import check_target, load_target  # noqa: E402

ADD = {"content": "a text", "collection": "writes", "document_id": "d"}


def test_the_target_is_right_and_declares_nothing() -> None:
    assert check_target(TARGET) == []
    assert load_target(TARGET).known_issues == ()


def test_it_has_the_operations_of_the_default_target() -> None:
    mine, default = load_target(TARGET), load_target(TARGET.parent / "workspace-qdrant-mcp")
    assert mine.mix == default.mix and mine.canary == default.canary
    for name, operation in default.operations.items():
        same = mine.operations[name]
        assert (same.tool, same.arguments) == (operation.tool, operation.arguments)
        assert all(condition in same.success for condition in operation.success), "none is left out"


def test_chunks_cover_the_text_and_overlap() -> None:
    text = " ".join(f"word{number}" for number in range(1000))
    pieces = documents.chunks(text)
    assert all(len(piece) <= documents.CHUNK_CHARS for piece in pieces)
    whole = pieces[0] + "".join(piece[documents.OVERLAP_CHARS :] for piece in pieces[1:])
    assert whole == text
    assert not pieces[0].endswith("wor"), "cut at a space"


@pytest.mark.parametrize("length", [1, 1000, 1001, 5000])
def test_a_text_without_spaces_is_cut_all_the_same(length: int) -> None:
    pieces = documents.chunks("x" * length)
    assert max(map(len, pieces)) <= documents.CHUNK_CHARS
    assert sum(map(len, pieces)) - documents.OVERLAP_CHARS * (len(pieces) - 1) == length


def test_the_same_chunk_has_the_same_id_and_no_other_has_it() -> None:
    ids = [documents.point_id(name, chunk) for name in ("a", "a\n1", "b") for chunk in (0, 1, 11)]
    assert ids == [documents.point_id(name, chunk) for name in ("a", "a\n1", "b") for chunk in (0, 1, 11)]
    assert len(set(ids)) == len(ids)
    assert all(UUID(one).version == 5 for one in ids)


def test_metadata_cannot_hide_the_document_s_id() -> None:
    (point,) = documents.points("d", ["text"], [{}], {"document_id": "other", "author": "me"})
    assert point["payload"]["document_id"] == "d" and point["payload"]["author"] == "me"


def test_a_threshold_is_for_scores_and_not_for_fused_ranks() -> None:
    one = documents.question({"dense": [1.0]}, 10, 0.5)
    assert (one["score_threshold"], one["limit"], one["using"]) == (0.5, 10, "dense")
    both = documents.question({"dense": [1.0], "sparse": {}}, 10, 0.5)
    assert "score_threshold" not in both and both["query"] == {"fusion": "rrf"} and both["limit"] == 10
    assert [(arm["score_threshold"], arm["limit"]) for arm in both["prefetch"]] == [(0.5, 20), (0.5, 20)]


async def add_document_tool(**arguments: Any) -> dict[str, Any]:
    """A tool that works."""
    return {"document_id": arguments["document_id"], "points_added": 1, "stored": True}


async def search_workspace_tool(**arguments: Any) -> dict[str, Any]:
    """A tool that finds one document, or fails where it is asked to."""
    if arguments.get("fail"):
        raise ConnectionError("the store is away")
    return {"results": [{"payload": {"document_id": "d"}}]}


def answer(switch: str, call: Any, **arguments: Any) -> Any:
    """One answer of a tool with a defect switched on."""
    return asyncio.run(defects.planted(switch, "")(call)(**arguments))


def test_without_a_switch_a_call_is_the_call_itself() -> None:
    assert defects.planted("", "")(add_document_tool) is add_document_tool


def test_an_unknown_defect_ends_the_server() -> None:
    with pytest.raises(SystemExit, match=r"no such defect; known are wrong_ids"):
        defects.planted("wrong_idz", "")


def test_wrong_ids_are_those_of_no_document() -> None:
    assert answer("wrong_ids", search_workspace_tool)["results"][0]["payload"]["document_id"] == "wrong-d"
    assert answer("wrong_ids", add_document_tool, **ADD)["document_id"] == "d"


def test_writes_are_dropped_at_the_given_rate_and_never_for_truth() -> None:
    call = defects.planted("drops_writes:3", "")(add_document_tool)

    async def add(collection: str) -> bool:
        stored = await call(**{**ADD, "collection": collection})
        assert stored["points_added"] == 1 and stored["document_id"] == "d"
        return "stored" in stored

    assert [asyncio.run(add("writes")) for _ in range(6)] == [True, True, False] * 2
    assert all(asyncio.run(add("truth")) for _ in range(6))


def test_swallowed_errors_are_an_empty_success() -> None:
    assert answer("swallows_errors", search_workspace_tool, fail=True) == {"results": []}
    assert answer("swallows_errors", search_workspace_tool)["results"]
    with pytest.raises(ConnectionError):
        answer("", search_workspace_tool, fail=True)


@pytest.mark.parametrize(("switch", "together_max"), [("", 3), ("one_at_a_time:50", 1)])
def test_one_call_at_a_time_lets_no_two_overlap(switch: str, together_max: int) -> None:
    running, most = 0, 0

    async def tool() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    async def three() -> None:
        await asyncio.gather(*(defect() for _ in range(3)))

    defect, began = defects.planted(switch, "")(tool), time.monotonic()
    asyncio.run(three())
    assert most == together_max
    assert not switch or time.monotonic() - began >= 0.15, "each lasts at least 50 ms"


@pytest.mark.parametrize(("switch", "kept_kib"), [("", 0), ("leaks:100", 300)])
def test_a_leak_keeps_what_it_says(switch: str, kept_kib: int) -> None:
    async def three() -> None:
        for _ in range(3):
            await call(**ADD)

    call = defects.planted(switch, "")(add_document_tool)
    tracemalloc.start()
    asyncio.run(three())
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_kib <= kept / 1024 < kept_kib + 100
