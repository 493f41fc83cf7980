"""The calls before a run, against a stub server: what is wrong with a target is said, with the file to change."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError, ScenarioError, WorldError
from lab.load import preflight as of_k6
from lab.model.samples import ENTRANCE, OTHER, PAST, STORE, Traffic
from lab.model.target import Condition, KnownIssue, Operation, Target
from lab.observe import preflight as of_observer
from lab.observe.preflight import Attempt, Call
from lab.read.compose_file import read_topology
from lab.run.preflight.advice import problem_of, traffic_problem
from tests.contract import stub_mcp
from tests.contract.fakes.clock import FakeClock
from tests.contract.run_fakes import target as fake_target
from tests.contract.test_k6_client import K6_SCRIPTS, k6

__all__ = ["k6"]

FILE = "compose/targets/mine/target.yaml"
TIMEOUT_S = 1.0
SEARCH = Operation(
    "search",
    "search",
    {"query": {"$var": "query"}},
    "structured",
    (Condition(("error",), "absent"), Condition(("results",), "min_items", 1)),
)
CALLS = (Call("search", {"query": "what"}),)

# Mode of the stub -> exit code's kind of error, and words that the message must have.
WRONG: dict[str, tuple[type[LabError] | None, tuple[str, ...]]] = {
    "ok_sse": (None, ()),
    "stateless": (None, ()),
    "newer_revision": (None, ()),
    "refuses_401": (ScenarioError, ("token", "environment", FILE)),
    "refuses_403": (ScenarioError, ("Origin", "environment", FILE)),
    "refuses_421": (ScenarioError, ("Host header", "environment", FILE)),
    "refuses_429": (ScenarioError, ("limits the rate", FILE)),
    "refuses_404": (ScenarioError, ("nothing at this path", "`endpoint`", FILE)),
    "refuses_500": (ScenarioError, ("answers HTTP 500", FILE)),
    "redirect": (ScenarioError, ("redirects to", "`endpoint`", FILE)),
    "alien_revision": (ScenarioError, ("1999-01-01", "`protocol_version`", FILE)),
    "no_structured": (ScenarioError, ("`operations.search.payload`", FILE)),
    "payload_empty": (ScenarioError, ("`operations.search.success`", FILE)),
    "not_json": (ScenarioError, ("no message with the request's id", "`endpoint`", FILE)),
    "no_such_revision": (ScenarioError, ("HTTP 400", "`protocol_version`", FILE)),
    "jsonrpc_error": (ScenarioError, ("`operations.search`", FILE)),
    "hang": (WorldError, ("no answer within", "log")),
    # The target's own errors: the run judges them.
    "is_error": (None, ()),
    "payload_error": (None, ()),
}


@pytest.fixture(scope="module")
def stub() -> Iterator[stub_mcp.StubMcp]:
    """The stub server."""
    with stub_mcp.running() as server:
        yield server


def target(mode: str) -> Target:
    endpoint = "/redirect" if mode == "redirect" else f"/{mode}/mcp"
    return replace(fake_target(), endpoint=endpoint, operations={"search": SEARCH})


def observed(stub: stub_mcp.StubMcp, mode: str) -> list[Attempt]:
    tried = target(mode)
    return of_observer.attempts(f"{stub.url}{tried.endpoint}", tried, CALLS, TIMEOUT_S, 10.0)


def by_k6(binary: str, folder: Path, base_url: str, mode: str) -> list[Attempt]:
    """What the script sees that a container runs before each run."""
    tried = target(mode)
    path = of_k6.write_input(folder, base_url, tried, CALLS, TIMEOUT_S, 10.0)
    command = [binary, "run", "--quiet", "--no-color", "--log-format", "json", "-e", f"LAB_INPUT={path}"]
    done = subprocess.run(
        [*command, "--address", "", str(K6_SCRIPTS / of_k6.SCRIPT)],
        capture_output=True,
        timeout=60,
        env={**os.environ, "K6_NO_USAGE_REPORT": "true"},
        check=False,
    )
    return of_k6.results_in(done.stderr, f"{base_url}{tried.endpoint}")


def require(found: LabError | None, mode: str) -> None:
    kind, words = WRONG[mode]
    assert type(found) is (kind or type(None)), found
    for word in words:
        assert word in str(found)


@pytest.mark.parametrize("mode", WRONG)
def test_what_is_wrong_is_said_with_the_file_to_change(stub: stub_mcp.StubMcp, mode: str) -> None:
    require(problem_of(observed(stub, mode), target(mode), FILE), mode)


@pytest.mark.k6
@pytest.mark.parametrize("mode", WRONG)
def test_k6_and_the_observer_see_the_same(
    k6: str,
    stub: stub_mcp.StubMcp,
    tmp_path: Path,
    mode: str,
) -> None:
    seen, also = observed(stub, mode), by_k6(k6, tmp_path, stub.url, mode)
    assert [(a.what, a.layer, a.status) for a in also] == [(a.what, a.layer, a.status) for a in seen]
    if mode != "hang":
        assert [a.message for a in also] == [a.message for a in seen]
        require(problem_of(also, target(mode), FILE), mode)
    assert problem_of([*seen, *also], target(mode), FILE) is None or WRONG[mode][0] is not None


@pytest.mark.k6
def test_a_server_that_knows_one_host_only_refuses_k6(
    k6: str,
    stub: stub_mcp.StubMcp,
    tmp_path: Path,
) -> None:
    """The observer asks at 127.0.0.1, which such a server accepts; k6 asks by another name."""
    seen = observed(stub, "one_host")
    also = by_k6(k6, tmp_path, stub.url.replace("127.0.0.1", "localhost"), "one_host")
    assert problem_of(seen, target("one_host"), FILE) is None
    found = problem_of([*seen, *also], target("one_host"), FILE)
    assert isinstance(found, ScenarioError) and "k6" in str(found) and "localhost:" in str(found)


def attempt_of(place: str, layer: str, message: str = "") -> Attempt:
    return Attempt(place, f"http://{place}/mcp", "search", layer, message)


def test_places_that_disagree_end_the_command() -> None:
    one, other = attempt_of("k6", "ok"), attempt_of("observer", "is_error", "the store is away")
    found = problem_of([one, other], target("ok_sse"), FILE)
    assert isinstance(found, WorldError) and "the store is away" in str(found)
    assert problem_of([one, replace(one, place="observer")], target("ok_sse"), FILE) is None


def test_a_declared_known_issue_does_not_keep_a_run_from_beginning() -> None:
    failing = attempt_of("k6", "payload", "expected connected equals true, found false")
    known = KnownIssue("no", "errors", "search", "payload", "connected equals", "1", "why", "2026-11-01")
    assert isinstance(problem_of([failing], target("ok_sse"), FILE), ScenarioError)
    assert problem_of([failing], replace(target("ok_sse"), known_issues=(known,)), FILE) is None


def test_a_known_issue_that_comes_and_goes_is_no_disagreement() -> None:
    one, other = attempt_of("k6", "ok"), attempt_of("observer", "is_error", "the store is away")
    known = KnownIssue("no", "errors", "search", "is_error", "is away", "1", "why", "2026-11-01")
    declared = replace(target("ok_sse"), known_issues=(known,))
    assert problem_of([one, other], declared, FILE) is None
    unknown = replace(other, message="disk full")
    assert isinstance(problem_of([one, unknown], declared, FILE), WorldError)


def test_a_tool_that_the_server_does_not_have_is_a_mistake_in_the_file() -> None:
    unknown = attempt_of("k6", "is_error", "Unknown tool: serach")
    found = problem_of([unknown], target("ok_sse"), FILE)
    assert isinstance(found, ScenarioError) and "`tool`" in str(found)


def traffic(route: str, peer: str, sent: int = 0) -> Traffic:
    return Traffic(0.0, route, peer, 1, 1, 0, sent, sent)


QUIET = (traffic(ENTRANCE, "mcp", 900), traffic(STORE, "qdrant"))
CALLED = Attempt("the observer", "http://here/mcp", "search", "ok", "")


@pytest.mark.parametrize(
    ("after", "kind", "words"),
    [
        ((traffic(STORE, "qdrant", 400),), None, ()),
        ((*QUIET, traffic(PAST, "172.30.0.2:6333", 400)), ScenarioError, ("172.30.0.2:6333", "environment")),
        (
            (traffic(STORE, "qdrant", 400), traffic(PAST, "[fd00::2]:6334")),
            ScenarioError,
            ("[fd00::2]:6334",),
        ),
        ((*QUIET, traffic(OTHER, "203.0.113.9:6333", 400)), ScenarioError, ("203.0.113.9:6333", FILE)),
        (QUIET, ScenarioError, ("no connection leaves the target", "toxiproxy:6333")),
    ],
)
def test_the_address_that_the_target_really_used_is_named(
    after: tuple[Traffic, ...], kind: type[LabError] | None, words: tuple[str, ...]
) -> None:
    found = traffic_problem(QUIET, after, CALLED, read_topology("test"), FILE)
    assert type(found) is (kind or type(None)), found
    for word in words:
        assert word in str(found)


def test_a_call_that_reached_nothing_is_no_mistake_of_the_file() -> None:
    failed = replace(CALLED, layer="is_error", message="connection refused")
    found = traffic_problem(QUIET, QUIET, failed, read_topology("test"), FILE)
    assert isinstance(found, WorldError) and "connection refused" in str(found)


class LoggedK6:
    """An engine whose k6 container has ended at once and left this log."""

    def __init__(self, log: bytes) -> None:
        self.log, self.containers = log, self
        self.attrs: dict[str, Any] = {"State": {"Status": "exited", "ExitCode": 107}}

    def create(self, *_: object, **__: object) -> "LoggedK6":
        return self

    def logs(self) -> bytes:
        return self.log

    def start(self) -> None: ...
    def reload(self) -> None: ...
    def remove(self, **_: object) -> None: ...


def line_of_k6(what: str, layer: str = "ok") -> str:
    told = {"what": what, "layer": layer, "message": "", "status": 0, "location": ""}
    return json.dumps({"level": "error", "msg": json.dumps({"lab_preflight": told})})


def from_log(lines: list[str], folder: Path) -> list[Attempt]:
    calls = (Call("search", {}), Call("add", {}))
    tried = replace(target("ok_sse"), operations={"search": SEARCH, "add": replace(SEARCH, name="add")})
    return of_k6.attempts(
        LoggedK6("\n".join(lines).encode()),  # type: ignore[arg-type]
        *("image", "network", folder, "http://mcp:8000", tried, calls),
        timeout_s=TIMEOUT_S,
        total_s=2.0,
        clock=FakeClock(),
    )


def test_k6_must_have_made_every_call(tmp_path: Path) -> None:
    """A k6 that broke off, or that was ended, has said nothing of the calls that it did not make."""
    whole = [line_of_k6("handshake"), line_of_k6("search"), line_of_k6("add")]
    assert [made.what for made in from_log(whole, tmp_path / "whole")] == ["handshake", "search", "add"]
    with pytest.raises(WorldError, match="panic in the script") as broken:
        from_log([*whole[:2], "panic in the script"], tmp_path / "broken")
    assert "add" in str(broken.value)
    # After a handshake that failed there is no session in which to make a call.
    assert from_log([line_of_k6("handshake", "transport")], tmp_path / "refused")[0].layer == "transport"


MANY = tuple(Call(name, {"query": "what"}) for name in ("a", "b", "c", "d"))
TOTAL_S = 2.5


def hanging() -> Target:
    operations = {call.op: replace(SEARCH, name=call.op) for call in MANY}
    return replace(target("hang"), operations=operations)


def test_a_target_that_answers_nothing_takes_no_longer_than_the_whole_time(stub: stub_mcp.StubMcp) -> None:
    began = time.monotonic()
    made = of_observer.attempts(f"{stub.url}/hang/mcp", hanging(), MANY, TIMEOUT_S, TOTAL_S)
    assert time.monotonic() - began < TOTAL_S + 2.0
    assert [attempt.what for attempt in made] == ["handshake", "a", "b", "c", "d"]
    assert [attempt.layer for attempt in made] == ["ok", "transport", "unsent", "unsent", "unsent"]
    assert isinstance(problem_of(made, hanging(), FILE), WorldError)
    # What was not asked is no silence of the target.
    left_out = problem_of(made[3:], hanging(), FILE)
    assert isinstance(left_out, WorldError) and "no time was left" in str(left_out)
