"""A load scenario is one file beside k6/lab.js and a profile; how it speaks to the target is the profile's."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model.load import LoadProfile
from lab.model.samples import Layer
from tests.contract import stub_mcp
from tests.contract.test_k6_client import K6_SCRIPTS, SLOTS, k6, load, run_k6

__all__ = ["k6"]
pytestmark = pytest.mark.k6

CHURN = """
// Each request has a session of its own.
import { Client } from './mcp.js';
import { nextRequest, profile, send, settings } from './lab.js';

export { handleSummary, options, setup, teardown } from './lab.js';

export default function () {
  const request = nextRequest();
  if (request === null) return;
  const client = new Client(settings);
  send(client, request);
  client.close(profile.request_timeout_ms);
}
"""


def usual() -> LoadProfile:
    return load("http://127.0.0.1:9", "ok_sse").profiles[0]


def ran(k6: str, folder: Path, profile: LoadProfile, scripts: Path = K6_SCRIPTS) -> stub_mcp.StubMcp:
    """One chunk of a profile against a server of its own; every request must be answered rightly."""
    with stub_mcp.running() as stub:
        inputs = replace(load(stub.url, "ok_sse"), profiles=(profile,))
        found = run_k6(k6, folder, inputs, scripts=scripts).found
    assert [row.layer for row in found.rows] == [Layer.OK] * SLOTS
    assert not found.problems
    return stub


def test_a_new_scenario_is_one_file_and_a_profile(k6: str, tmp_path: Path) -> None:
    scripts = tmp_path / "k6"
    shutil.copytree(K6_SCRIPTS, scripts)
    (scripts / "churn.js").write_text(CHURN, encoding="utf-8")
    profile = replace(usual(), name="churn", script="churn.js", sessions=1)
    stub = ran(k6, tmp_path / "churn", profile, scripts)
    assert stub.seen["ok_sse", "initialize"] == stub.seen["ok_sse", "DELETE"] == SLOTS + profile.sessions


def test_the_profile_says_how_many_sessions_there_are(k6: str, tmp_path: Path) -> None:
    assert ran(k6, tmp_path, replace(usual(), sessions=2)).seen["ok_sse", "initialize"] == 2


def test_the_profile_says_whether_connections_are_kept(k6: str, tmp_path: Path) -> None:
    anew = ran(k6, tmp_path / "anew", usual())
    kept = ran(k6, tmp_path / "kept", replace(usual(), connection_reuse=True, vus_max=2))
    posts = sum(n for (_, method), n in anew.seen.items() if method != "DELETE")
    assert anew.connections >= posts
    assert kept.connections < posts / 2


def test_an_executor_that_lab_js_does_not_know_sends_nothing(k6: str, tmp_path: Path) -> None:
    scripts = tmp_path / "k6"
    shutil.copytree(K6_SCRIPTS, scripts)
    text = (scripts / "lab.js").read_text(encoding="utf-8")
    (scripts / "lab.js").write_text(text.replace("'constant-arrival-rate': ", "'other': "), encoding="utf-8")
    with stub_mcp.running() as stub, pytest.raises(FileNotFoundError):
        run_k6(k6, tmp_path / "run", load(stub.url, "ok_sse"), scripts=scripts)
    assert stub.seen["ok_sse", "tools/call"] == 0
