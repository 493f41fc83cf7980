"""A known issue explains only what it declares: its check, its version, its operation, its message, its faults."""

from dataclasses import replace
from functools import cache

import pytest

from lab.judge.windows.known_issues import counted, declared, explains_recall, explains_request
from lab.model.plan import Plan
from lab.model.samples import Layer, Recall, Request
from lab.model.target import KnownIssue
from lab.model.verdict import KnownIssueCount
from tests.pure.evidence_factory import Recipe, make

ISSUE = KnownIssue("busy", "errors", "search", "payload", "too busy", "0.1.0", "a queue", "2026-11-01")
FAILED = Request(1.0, 2.0, 3.0, "search", False, Layer.PAYLOAD, "it is too busy now", "0001")
WRONG = Recall(1.0, 2.0, "dense", "q1", True, 0, 10, Layer.PAYLOAD, "it is too busy now")
ACCURACY = replace(ISSUE, check="accuracy")


@cache
def plan(*issues: KnownIssue) -> Plan:
    return make(Recipe(faults=(), baseline_s=20.0, clean_s=0, known_issues=issues)).plan


def test_only_issues_of_the_check_and_of_this_version_with_a_message_explain_anything() -> None:
    others = (
        replace(ISSUE, target_version="0.2.0"),
        replace(ISSUE, message=""),
        replace(ISSUE, check="latency"),
    )
    assert declared(plan(*others, ISSUE), "errors") == (ISSUE,)
    assert declared(plan(*others, ISSUE), "accuracy") == ()


@pytest.mark.parametrize(
    ("request_", "explained"),
    [
        (FAILED, True),
        (replace(FAILED, ok=True), False),
        (replace(FAILED, op="add"), False),
        (replace(FAILED, layer=Layer.TRANSPORT), False),
        (replace(FAILED, message="gone"), False),
    ],
)
def test_which_failed_request_an_issue_explains(request_: Request, explained: bool) -> None:
    assert explains_request([ISSUE], "errors", request_, ()) == ("busy" if explained else None)
    assert explains_request([ISSUE], "latency", request_, ()) is None
    assert explains_request([], "errors", request_, ()) is None


@pytest.mark.parametrize("layer", [Layer.UNSENT, Layer.LOST])
def test_no_issue_explains_a_request_whose_end_is_unknown(layer: Layer) -> None:
    declared_so = replace(ISSUE, layer=layer.value)
    assert explains_request([declared_so], "errors", replace(FAILED, layer=layer), ()) is None


def test_an_issue_of_a_fault_explains_only_while_such_a_fault_is_present() -> None:
    of_kill = replace(ISSUE, id="dead", faults=("kill",))
    assert explains_request([of_kill], "errors", FAILED, ("latency", "kill")) == "dead"
    assert explains_request([of_kill], "errors", FAILED, ("latency",)) is None
    # The first issue that matches has it.
    assert explains_request([of_kill, ISSUE], "errors", FAILED, ("kill",)) == "dead"
    assert explains_request([of_kill, ISSUE], "errors", FAILED, ()) == "busy"


@pytest.mark.parametrize(
    ("row", "explained"),
    [
        (WRONG, True),
        (replace(WRONG, answered=False), False),
        # An answer that broke no condition is judged by what it found.
        (replace(WRONG, layer=Layer.OK), False),
        (replace(WRONG, layer=Layer.IS_ERROR), False),
        (replace(WRONG, message="gone"), False),
    ],
)
def test_which_answer_to_a_truth_query_an_issue_explains(row: Recall, explained: bool) -> None:
    assert explains_recall([ACCURACY], plan(), row, ()) == ("busy" if explained else None)
    assert explains_recall([], plan(), row, ()) is None
    assert explains_recall([ISSUE], plan(), row, ()) is None
    assert explains_recall([replace(ACCURACY, operation="add")], plan(), row, ()) is None


def test_an_issue_of_accuracy_holds_during_its_faults_alone() -> None:
    of_kill = replace(ACCURACY, faults=("kill",))
    assert explains_recall([of_kill], plan(), WRONG, ("kill",)) == "busy"
    assert explains_recall([of_kill], plan(), WRONG, ("latency",)) is None
    # What no issue explains can be declared for no layer either.
    good = replace(ACCURACY, layer="ok")
    assert explains_recall([good], plan(), replace(WRONG, layer=Layer.OK), ()) is None
    silent = replace(WRONG, answered=False)
    assert explains_recall([ACCURACY], plan(), silent, ()) is None


def test_what_each_issue_explains_is_counted_by_id() -> None:
    assert counted(["b", None, "a", "b"]) == (KnownIssueCount("a", 1), KnownIssueCount("b", 2))
    assert counted([None]) == ()
