"""The report says how long the preparation took; an older run has nothing to say about it."""

from dataclasses import replace

import pytest

from lab.cli.event_lines import EventLines
from lab.judge import judge
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.samples import Rows
from lab.report import report_json, summary
from tests.pure.evidence_factory import edited, make

PREPARED = {
    "store": "copied",
    "why": "kept store 1",
    "command_began_ms": -8000.0,
    "first_request_s": 7.5,
    "parts": [{"part": "make the truth", "seconds": 0.25}],
}


def with_preparation(evidence: Evidence) -> Evidence:
    def prepare(event: Event) -> Event:
        if event.kind != "observer_cost":
            return event
        return replace(event, kind="prepared", at_ms=500.0, data=PREPARED)

    return edited(evidence, prepare)


def test_the_report_has_the_time_from_the_command_to_the_first_request() -> None:
    run = with_preparation(make())
    report = report_json.build(run, judge(run))
    (row,) = report["preparation"]
    first_ms = min(request.sent_ms for request in run.samples.requests if request.sent_ms is not None)
    assert row["first_request_s"] == 7.5
    assert row["first_load_request_s"] == pytest.approx((first_ms + 8000) / 1000, abs=0.01)
    assert (row["store"], row["parts"]) == ("copied", PREPARED["parts"])
    text = summary.render(report)
    assert "from the command to the first request: 7.5 s" in text and "make the truth: 0.25 s" in text


def test_a_run_without_a_request_or_from_an_older_lab_is_reported_too() -> None:
    run = with_preparation(make())
    empty = replace(run, samples=replace(run.samples, requests=Rows()))
    (row,) = report_json.build(empty, judge(empty))["preparation"]
    assert row["first_load_request_s"] is None
    older = report_json.build(make(), judge(make()))
    assert older["preparation"] == []
    assert "Preparation" not in summary.render(older)


def test_a_log_has_one_line_about_it() -> None:
    (event,) = [event for event in with_preparation(make()).journal if event.kind == "prepared"]
    assert (
        EventLines().line(event)
        == "the first request was sent 7.5 s after the command began; the store was copied"
    )
    assert EventLines().line(replace(event, data={})) is None
