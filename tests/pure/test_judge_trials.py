"""Which fault steps are trials of one subject, and how a subject is named."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.judge.stats.request_ids import id_problems
from lab.judge.stats.trials import trials_of
from lab.model.plan import FAULT, STEADY, Plan, PlannedFault, Step
from lab.model.samples import Layer, Request, Rows
from tests.pure.evidence_factory import Recipe, make

PLAN = make(Recipe(faults=(), baseline_s=5.0, clean_s=0.0)).plan


def fault(number: int, kind: str, params: Mapping[str, Any], target: str = "qdrant") -> PlannedFault:
    return PlannedFault(f"f{number}", kind, target, params, 30.0, 60.0)


def planned(*steps: tuple[PlannedFault, ...]) -> Plan:
    calm = Step("calm", STEADY, 10.0)
    faults = [Step(f"step-{n}", FAULT, 70.0, step) for n, step in enumerate(steps)]
    return replace(PLAN, steps=tuple(part for step in faults for part in (calm, step)))


def test_equal_faults_are_trials_of_one_subject_that_is_named_without_parameters() -> None:
    first, second = (
        fault(1, "latency", {"ms": 300, "jitter": 0}),
        fault(2, "latency", {"jitter": 0, "ms": 300}),
    )
    kill = fault(3, "kill", {}, "mcp")
    found = trials_of(planned((first,), (kill,), (second,)))
    assert found == {"latency on qdrant": [(first,), (second,)], "kill on mcp": [(kill,)]}
    assert trials_of(planned()) == {}


def test_faults_with_different_parameters_are_subjects_of_their_own_and_named_with_them() -> None:
    slow, slower = fault(1, "latency", {"ms": 300, "jitter": 5}), fault(2, "latency", {"ms": 900})
    found = trials_of(planned((slow,), (slower,)))
    assert found == {
        'latency on qdrant {"jitter": 5, "ms": 300}': [(slow,)],
        'latency on qdrant {"ms": 900}': [(slower,)],
    }


def test_faults_that_are_in_force_together_are_one_trial() -> None:
    both = (fault(1, "kill", {}), fault(2, "latency", {"ms": 5}, "mcp"))
    other = (both[0], replace(both[1], params={"ms": 6}))
    assert trials_of(planned(both)) == {"kill on qdrant with latency on mcp": [both]}
    assert trials_of(planned(both, other)) == {
        'kill on qdrant {} with latency on mcp {"ms": 5}': [both],
        'kill on qdrant {} with latency on mcp {"ms": 6}': [other],
    }


def problems(*ids: str | None) -> list[str]:
    rows = (Request(float(n), None, None, "add", False, Layer.LOST, "", "0", id=i) for n, i in enumerate(ids))
    return list(id_problems(Rows(rows)))


def test_every_repeated_id_is_counted_once_and_the_first_of_them_is_named() -> None:
    assert problems("b", "a", "c", "b", "a", "b") == ["2 request ids occur twice or more, such as a"]
    assert problems("a", None, "a", None, "b", None) == [
        "1 request ids occur twice or more, such as a",
        "3 requests have no id",
    ]
    assert problems("a", "b") == []


class Colliding(str):
    """An id whose hash is that of all others."""

    def __hash__(self) -> int:
        return 7


def test_different_ids_with_equal_hashes_are_no_repetition() -> None:
    assert problems(Colliding("a"), Colliding("b"), Colliding("c")) == []
    assert problems(Colliding("a"), Colliding("b"), Colliding("b")) == [
        "1 request ids occur twice or more, such as b"
    ]
