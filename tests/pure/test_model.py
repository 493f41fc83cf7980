"""Quantities, verdicts and undos: the values that everything else rests on."""

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.quantities import format_duration, parse_duration_s, round_significant
from lab.model.undo import (
    RemoveToxic,
    RestoreCpuQuota,
    StartContainer,
    Undo,
    UndoFacts,
    UndoRecord,
    facts_of,
    from_json,
    to_json,
)
from lab.model.verdict import Bound, Finding, Interval, Verdict, worst

names = st.text(min_size=1, max_size=10)
undos = st.one_of(
    st.builds(RemoveToxic, names, names),
    st.builds(StartContainer, names, names),
    st.builds(RestoreCpuQuota, names, names, st.integers(), st.integers()),
)


@given(st.builds(UndoRecord, names, names, names, names, st.integers(), st.floats(allow_nan=False), undos))
def test_an_undo_survives_json(record: UndoRecord) -> None:
    assert from_json(to_json(record)) == record


@pytest.mark.parametrize("damaged", [{}, {"undo": {}}, {"undo": {"type": "RemoveEverything"}}, {"undo": 3}])
def test_a_damaged_undo_is_refused_not_guessed(damaged: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="undo"):
        from_json(damaged)


def named(**wanted: object) -> set[str]:
    """The types of undo whose facts have these values."""
    return {
        cls.__name__
        for cls in get_args(Undo)
        if all(getattr(cls.facts, name) == value for name, value in wanted.items())
    }


def test_every_type_of_undo_states_its_facts() -> None:
    """Old journals name the types, so what is said of one of them decides how old runs are judged."""
    assert named(starts_a_container=True) == {"StartContainer", "ReviveContainer"}
    assert named(container_actions=("kill", "stop", "restart")) == {"StartContainer"}
    assert named(container_actions=("pause",)) == {"Unpause"}
    assert len(named(container_actions=())) == len(get_args(Undo)) - 2
    # Limits in a container's configuration, and a file on a volume, outlast the containers.
    assert named(ends_with_the_stack=False) == {
        "RestoreCpuQuota",
        "RestoreMemory",
        "ReviveContainer",
        "RestorePidsMax",
        "RemoveFiller",
        "EndProcesses",
        "EndRun",
    }


@pytest.mark.parametrize("cls", get_args(Undo))
def test_the_facts_of_an_undo_are_found_by_the_name_in_a_journal(cls: type[Any]) -> None:
    assert facts_of({"type": cls.__name__, "service": "mcp"}) == cls.facts


@pytest.mark.parametrize(
    "undo", [None, 3, [], "StartContainer", {}, {"type": ["StartContainer"]}, {"type": "Old"}]
)
def test_of_an_unknown_undo_nothing_is_claimed(undo: object) -> None:
    assert facts_of(undo) == UndoFacts()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("250ms", 0.25)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "1 s", "1d", "1e3s", "٣s s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(text)


@given(st.floats(0, 1e7))
def test_a_duration_can_always_be_said(seconds: float) -> None:
    assert format_duration(seconds)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_rounding_keeps_six_digits_or_says_none(value: float) -> None:
    rounded = round_significant(value)
    if math.isfinite(value):
        assert rounded == pytest.approx(value, rel=1e-5)
    else:
        assert rounded is None


tested = st.sampled_from([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL])
verdicts = st.sampled_from(list(Verdict))


@given(st.lists(verdicts), verdicts)
def test_one_more_verdict_never_improves_a_tested_set(found: list[Verdict], more: Verdict) -> None:
    rank = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    if any(verdict is not Verdict.NOT_TESTED for verdict in found):
        assert rank.index(worst([*found, more])) >= rank.index(worst(found))


def test_nothing_tested_is_no_pass() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.NOT_TESTED]) is Verdict.INCONCLUSIVE


@given(tested)
def test_a_decided_finding_needs_evidence(verdict: Verdict) -> None:
    if verdict is Verdict.INCONCLUSIVE:
        return
    with pytest.raises(ValueError, match="evidence"):
        Finding("check", "subject", verdict, verdict, "because")


@given(st.floats(-100, 100), st.floats(0, 100), st.floats(-100, 100))
def test_a_bound_decides_only_whole_intervals(lo: float, width: float, limit: float) -> None:
    verdict = Bound("<", limit).judge(Interval(lo, lo + width))
    if lo + width < limit:
        assert verdict is Verdict.PASS
    elif lo >= limit:
        assert verdict is Verdict.FAIL
    else:
        assert verdict is Verdict.INCONCLUSIVE
