"""The plan names the streams that the run records: each of them is asked for, and no other."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lab.evidence import run_directory
from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.judge import judge
from lab.model.evidence import Evidence
from lab.model.plan import USUAL_STREAMS
from lab.model.samples import TABLES, Rows
from lab.model.verdict import Verdict
from tests.pure.evidence_factory import Recipe, make, resampled

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE


def integrity(evidence: Evidence) -> tuple[Verdict, str]:
    found = next(f for f in judge(evidence).findings if f.check == "integrity")
    return found.verdict, found.reason


def expecting(evidence: Evidence, *streams: str) -> Evidence:
    return replace(evidence, plan=replace(evidence.plan, streams=streams))


def without(evidence: Evidence, table: str) -> Evidence:
    """The run of a lab that did not know this table: no row, and no count of rows."""
    bare = resampled(evidence, **{table: ()})
    *events, ended = bare.journal.events
    rows = {name: n for name, n in ended.data["rows"].items() if name != table}
    ended = replace(ended, data={**ended.data, "rows": rows})
    return replace(bare, journal=replace(bare.journal, events=(*events, ended)))


@pytest.mark.parametrize("table", ["memory", "host"])
def test_a_table_that_the_plan_does_not_name_may_be_absent(table: str) -> None:
    run = without(make(), table)
    others = [name for name in TABLES if name != table]
    assert integrity(expecting(run, *others))[0] is PASS
    assert judge(expecting(run, *others)).gate is PASS
    # The control: the same run by a plan that names the table.
    verdict, reason = integrity(expecting(run, *TABLES))
    assert verdict is INCONCLUSIVE and f"table {table} is empty" in reason


def test_a_stream_that_nobody_ever_recorded_is_missed() -> None:
    verdict, reason = integrity(expecting(make(), *TABLES, "writes_read_back"))
    assert verdict is INCONCLUSIVE and "table writes_read_back is empty" in reason


def test_a_stream_that_lost_rows_is_missed_only_where_it_is_named() -> None:
    run = make()
    fewer = replace(run, samples=replace(run.samples, host=Rows(list(run.samples.host)[1:])))
    assert integrity(fewer)[0] is INCONCLUSIVE
    assert integrity(expecting(fewer, "requests", "probes", "recall", "memory"))[0] is PASS


def test_an_older_plan_means_the_five_tables_of_its_time(tmp_path: Path) -> None:
    run = run_directory.create(tmp_path, "soak")
    run_directory.write_plan(run, replace(make(Recipe(faults=())).plan, streams=("probes",)))
    assert run_directory.read_plan(run).streams == ("probes",)
    plan = json.loads((run / "plan.json").read_text())
    del plan["streams"]
    (run / "plan.json").write_text(json.dumps(plan))
    assert run_directory.read_plan(run).streams == USUAL_STREAMS
    assert USUAL_STREAMS == ("requests", "probes", "recall", "memory", "host")


def test_a_file_without_a_table_is_damaged_only_where_the_table_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    SampleStore(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE host")
    assert read_samples(path, ("requests", "probes"))[1] == []
    assert "table host" in str(read_samples(path)[1])
