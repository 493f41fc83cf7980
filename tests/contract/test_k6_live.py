"""A real k6 writes its points as they arise, so that the lab has each request within about two seconds."""

import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.load.chunk_schedule import ChunkSchedule
from lab.load.live_points import LivePoints
from lab.model.load import ConstantArrivalRate
from lab.model.samples import Request
from tests.contract.stub_mcp import StubMcp
from tests.contract.test_k6_client import K6_SCRIPTS, LEAD_MS, k6, load, stub

__all__ = ["k6", "stub"]

pytestmark = pytest.mark.k6
LAG_MS_MAX = 2500.0


@pytest.mark.parametrize(("mode", "rate_per_s"), [("ok_sse", 4.0), ("hang", 1.0)])
def test_each_request_is_there_soon_after_its_end(
    k6: str, stub: StubMcp, tmp_path: Path, mode: str, rate_per_s: float
) -> None:
    inputs = load(stub.url, mode)
    (profile,) = inputs.profiles
    inputs = replace(
        inputs, profiles=(replace(profile, schedule=ConstantArrivalRate(rate_per_s), chunk_s=6.0),)
    )
    inputs.write_texts(tmp_path)
    epoch_ms = time.time_ns() / 1e6 + LEAD_MS
    chunk = inputs.profiles[0].chunk(0)
    requests = inputs.requests(inputs.profiles[0], "0000", chunk)
    schedule = ChunkSchedule("0000", 0.0, inputs.profiles[0], chunk, requests, epoch_ms)
    path = inputs.write_chunk(tmp_path, schedule, seen_as=str(tmp_path), output=str(tmp_path))
    command = [k6, "run", "--quiet", "--no-color", "--address", "", "-e", f"LAB_INPUT={path}"]
    command += ["--out", f"json={tmp_path / 'points-0000.json'}", str(K6_SCRIPTS / "normal.js")]
    points, came = LivePoints(tmp_path, schedule), dict[Request, float]()
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "K6_NO_USAGE_REPORT": "true"},
    ) as process:
        while process.poll() is None:
            at_ms = time.time_ns() / 1e6 - epoch_ms
            came |= dict.fromkeys(points.read_on(), at_ms)
            threading.Event().wait(0.25)
    found = points.finish()
    assert (found.truncated, found.problems, len(found.rows)) == (False, (), chunk.due)
    assert set(came) <= set(found.rows)
    assert len(came) >= len(found.rows) - 3, "only the last ones wait for the end of the file"
    timeout_ms = inputs.profiles[0].request_timeout_ms
    ends_ms = {row: row.done_ms or (row.sent_ms or 0.0) + timeout_ms for row in came}
    assert max(came[row] - ends_ms[row] for row in came) < LAG_MS_MAX
