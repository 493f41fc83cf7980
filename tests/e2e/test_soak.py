"""The whole slice on the real target: a short session, judged twice."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from lab.provision.stack import stack
from lab.run import session
from tests.e2e.soaking import HOME, finding, plan_of, soak_on


@pytest.fixture(scope="module")
def outcome(
    client: docker.DockerClient, real_stack: stack.StackSpec, tmp_path_factory: pytest.TempPathFactory
) -> session.Outcome:
    """One short soak with all three faults."""
    return soak_on(client, real_stack, plan_of("short.yaml"), tmp_path_factory.mktemp("short") / "runs")


def test_every_fault_was_seen_in_force_and_gone(outcome: session.Outcome) -> None:
    faults = outcome.report["faults"]
    assert sorted(fault["kind"] for fault in faults) == ["cpu_cap", "kill", "latency"]
    for fault in faults:
        assert fault["effect"]["holds"] is True, fault
        assert finding(outcome.report, "in_force", fault["id"])["verdict"] == "pass"


def test_recovery_is_an_interval_below_the_bound(outcome: session.Outcome) -> None:
    for fault in outcome.report["faults"]:
        clock = fault["recovery"]["from_heal"]["slo"]
        assert not clock["censored"] and 0 <= clock["lo_s"] <= clock["hi_s"] < 30, fault


def test_the_target_s_known_defect_is_named_and_only_excused_at_the_gate(outcome: session.Outcome) -> None:
    errors = finding(outcome.report, "errors", "steady")
    assert errors["verdict"] in ("fail", "not_tested")
    assert outcome.report["gate"] in ("pass", "inconclusive"), [
        (f["check"], f["subject"], f["reason"])
        for f in outcome.report["findings"]
        if f["gate_verdict"] == "fail"
    ]
    assert "never succeeds" in (outcome.directory / "summary.md").read_text(encoding="utf-8")


def test_judging_again_gives_the_same_bytes_without_docker(outcome: session.Outcome) -> None:
    kept = {name: (outcome.directory / name).read_bytes() for name in ("report.json", "summary.md")}
    command = [sys.executable, "-m", "lab", "judge", str(outcome.directory)]
    subprocess.run(
        command, cwd=HOME, env={"DOCKER_HOST": "tcp://127.0.0.1:1"}, capture_output=True, check=False
    )
    for name, content in kept.items():
        assert (outcome.directory / name).read_bytes() == content


def test_an_altered_table_moves_its_finding(outcome: session.Outcome, tmp_path: Path) -> None:
    """Recall rows rewritten to zero hits: accuracy fails and nothing else hides it."""
    copy = tmp_path / "altered"
    shutil.copytree(outcome.directory, copy)
    with sqlite3.connect(copy / "samples.sqlite") as db:
        db.execute("UPDATE recall SET hits = 0")
    db.close()
    report = session.judge_run(copy).report
    assert finding(report, "accuracy", "steady")["verdict"] == "fail"
    assert report["gate"] == "fail"


def test_a_cut_journal_is_no_pass(outcome: session.Outcome, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(outcome.directory, copy)
    lines = (copy / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "journal.jsonl").write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    assert session.judge_run(copy).report["gate"] == "inconclusive"
