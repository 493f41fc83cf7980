"""The synthetic run that the bench of the judge writes is one that the judge decides, or its times say nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from lab.evidence import run_directory
from lab.judge import judge
from lab.model.verdict import Verdict
from tests.bench import judge_large


def test_the_benchs_run_passes_and_without_its_traffic_it_does_not(tmp_path: Path) -> None:
    run = judge_large.make(tmp_path, 5000, 0.1, ("canary", "load", "truth"))
    judgement = judge(run_directory.read_evidence(run))
    assert (judgement.verdict, judgement.gate) == (Verdict.PASS, Verdict.PASS), judgement.findings
    with closing(sqlite3.connect(run / "samples.sqlite")) as db, db:
        db.execute("DELETE FROM traffic")
    assert judge(run_directory.read_evidence(run)).gate is Verdict.INCONCLUSIVE
