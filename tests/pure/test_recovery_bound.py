"""The tolerance bound of recoveries against tabulated factors, and what few or broken trials may never do."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.judge import judge
from lab.judge.checks.recovery_bound import tolerance_bound_s
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import Recipe, edited, make, resampled


@pytest.mark.parametrize(("n", "k"), [(3, 6.155), (5, 3.407), (10, 2.355), (20, 1.926)])
def test_the_factor_is_the_tabulated_one(n: int, k: float) -> None:
    """Natrella's table A-7 for 90 % coverage at 95 % confidence."""
    times = np.exp(np.linspace(-1, 1, n))
    logs = np.log(times)
    assert math.log(tolerance_bound_s(list(times))) == pytest.approx(
        logs.mean() + k * logs.std(ddof=1), rel=1e-3
    )


def test_one_trial_that_never_ended_leaves_no_bound() -> None:
    assert tolerance_bound_s([1.0, 1.0, math.inf]) == math.inf


def test_recoveries_too_short_to_be_told_from_none_count_as_the_floor() -> None:
    assert tolerance_bound_s([0.0, 0.0, 0.0]) == pytest.approx(0.1)


@given(st.lists(st.floats(0.2, 100), min_size=3, max_size=20), st.floats(1.01, 50))
def test_a_bound_is_never_below_what_was_seen_at_the_middle_and_grows_with_all(
    times: list[float], factor: float
) -> None:
    bound = tolerance_bound_s(times)
    assert bound >= np.exp(np.log(times).mean()) * (1 - 1e-9)
    assert tolerance_bound_s([time * factor for time in times]) == pytest.approx(bound * factor, rel=1e-6)


TRIALS = Recipe(faults=("latency",) * 3, warm_up_s=5, baseline_s=100, clean_s=6)


@cache
def three() -> Evidence:
    return make(TRIALS)


def bound_of(evidence: Evidence) -> Finding | None:
    findings = judge(evidence).findings
    return next((one for one in findings if one.check == "recovery_bound"), None)


def test_three_quick_recoveries_bound_the_others() -> None:
    finding = bound_of(three())
    assert finding is not None
    assert (finding.subject, finding.verdict, finding.n) == ("latency on qdrant", Verdict.PASS, 3)
    assert finding.observed is not None
    assert 1.2 <= finding.observed < 2


def test_two_trials_bound_nothing() -> None:
    assert bound_of(make(replace(TRIALS, faults=("latency",) * 2))) is None


def test_trials_that_differ_much_leave_a_slow_recovery_possible() -> None:
    spread = {"f1-latency": 0.3, "f2-latency": 3.0, "f3-latency": 20.0}
    finding = bound_of(make(replace(TRIALS, recovers_s=spread)))
    assert finding is not None
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.observed is not None
    assert finding.observed > 30


def test_a_trial_that_decides_nothing_by_itself_is_no_trial() -> None:
    def void(event: Event) -> Event:
        during = event.kind == "proof" and event.data["moment"] == "during"
        hit = during and event.data["fault"] == "f2-latency"
        return replace(event, data={**event.data, "holds": False}) if hit else event

    def not_gone(event: Event) -> Event:
        after = event.kind == "proof" and event.data["moment"] == "after"
        hit = after and event.data["fault"] == "f2-latency"
        return replace(event, data={**event.data, "absent": False}) if hit else event

    healed = three().journal.last("fault_healed", fault="f2-latency")
    assert healed is not None
    hole = (healed.at_ms + 4000, healed.at_ms + 9000)
    holed = [probe for probe in three().samples.probes if not hole[0] < probe.sent_ms < hole[1]]
    unwatched = make(replace(TRIALS, recovery_max_s=20.0))
    for evidence in (
        edited(three(), void),
        edited(three(), not_gone),
        resampled(three(), probes=holed),
        unwatched,
    ):
        finding = bound_of(evidence)
        assert finding is not None
        assert finding.verdict is Verdict.INCONCLUSIVE


def test_a_trial_that_never_recovered_leaves_the_bound_open() -> None:
    finding = bound_of(make(replace(TRIALS, recovers_s={"f2-latency": 1e6})))
    assert finding is not None
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.observed is None
