"""The lab is stopped, politely and not, while a fault is in force."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lab.adapters.provision import stack
from tests.e2e.soaking import lab, start_soak

IN_FORCE_TIMEOUT_S = 300


def _events(runs: Path) -> list[dict[str, object]]:
    journal = runs / "latest" / "journal.jsonl"
    if not journal.is_file():
        return []
    return [
        json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines() if line.endswith("}")
    ]


def _wait_for(runs: Path, kind: str, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + IN_FORCE_TIMEOUT_S
    while not any(event["kind"] == kind for event in _events(runs)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {kind} within {IN_FORCE_TIMEOUT_S} s"
        time.sleep(0.2)


def _toxics(spec: stack.StackSpec) -> list[object]:
    url = f"http://127.0.0.1:{spec.ports['toxiproxy']}/proxies/qdrant/toxics"
    return list(httpx.get(url, timeout=5).json())


@pytest.fixture
def soaking(real_stack: stack.StackSpec, runs: Path) -> Iterator["subprocess.Popen[str]"]:
    """A soak in a process of its own, caught while latency is in force."""
    process = start_soak(real_stack, "latency.yaml", runs)
    try:
        _wait_for(runs, "fault_in_force", process)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        lab("heal")


def test_after_kill_9_heal_leaves_nothing(
    soaking: "subprocess.Popen[str]", real_stack: stack.StackSpec, runs: Path
) -> None:
    assert _toxics(real_stack)
    beside = lab("heal")
    assert beside.stdout.startswith("live"), beside.stdout
    assert _toxics(real_stack), "heal beside a live run must touch nothing"
    os.killpg(soaking.pid, signal.SIGKILL)
    soaking.wait(timeout=10)
    assert _toxics(real_stack), "the fault outlives its run, which is what heal is for"
    healed = lab("heal")
    assert healed.returncode == 0 and healed.stdout.startswith("healed"), (healed.stdout, healed.stderr)
    assert _toxics(real_stack) == []
    assert lab("heal").stdout.strip() == "nothing to heal"
    judged = lab("judge", "latest", "--runs", str(runs))
    assert judged.returncode == 11, judged.stdout + judged.stderr


def test_ctrl_c_heals_judges_and_shows_the_gap(
    soaking: "subprocess.Popen[str]", real_stack: stack.StackSpec, runs: Path
) -> None:
    soaking.send_signal(signal.SIGINT)
    stdout, stderr = soaking.communicate(timeout=90)
    assert soaking.returncode == 11, stdout + stderr
    assert _toxics(real_stack) == []
    report = json.loads((runs / "latest" / "report.json").read_text(encoding="utf-8"))
    assert report["interrupted"] is True and report["gate"] == "inconclusive"
    assert report["gaps"], "what was not measured must be shown"
