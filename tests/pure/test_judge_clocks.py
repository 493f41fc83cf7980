"""The clocks of recovery and of harm on a few observations each, with their exact ends."""

import pytest

from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.recovery_clock import Clock, clocks, first_harm, recovery_point
from lab.model.recovery import Rule

# Two of three observations must be good, for 100 ms; after 50 ms without an observation nobody watched.
RULE = Rule(window=3, enough=2, hold_ms=100.0, gap_ms=50.0)
TOOK_MS = 4.0


def observed(pattern: str, from_ms: float = 0.0, every_ms: float = 20.0) -> Observations:
    """One observation for each letter: `+` good, `-` bad, `?` not asked, and a space for none."""
    return Observations.of(
        Observation(from_ms + n * every_ms, from_ms + n * every_ms + TOOK_MS, letter == "+", letter != "?")
        for n, letter in enumerate(pattern)
        if letter != " "
    )


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("", None),
        ("++", None),
        ("+++", 0),
        ("++-", 0),
        ("---", None),
        ("--+++", 2),
        ("--+-+", 2),
        # The first observation itself must be good.
        ("-++", None),
        ("-+++", 1),
        # A window that has only one good of three is a relapse, if its end falls into the hold.
        ("++++--", None),
        ("++++--+++", 6),
        ("+++++--", 0),
        ("++++--++++++--", 6),
    ],
)
def test_the_recovery_is_the_first_good_observation_whose_hold_no_worse_window_breaks(
    pattern: str, place: int | None
) -> None:
    assert recovery_point(observed(pattern), RULE) == place


def test_a_relapse_counts_up_to_the_end_of_the_hold_and_not_after_it() -> None:
    """The last observation of the worse window is sent 120 ms after the first good one, 100 ms after the second."""
    assert recovery_point(observed("+++++--"), Rule(3, 2, 119.0, 50.0)) == 0
    assert recovery_point(observed("+++++--"), Rule(3, 2, 120.0, 50.0)) is None
    assert recovery_point(observed("+++++--++++"), Rule(3, 2, 120.0, 50.0)) == 7


def test_without_a_rule_that_of_the_canary_counts() -> None:
    assert recovery_point(observed("+" * 19)) is None
    assert recovery_point(observed("-" + "+" * 20)) == 1


def clock(found: tuple[Clock, Clock] | None) -> tuple[Clock, Clock]:
    assert found is not None
    return found


def test_both_clocks_end_at_the_answer_and_begin_at_the_last_bad_observation() -> None:
    """Injected at 0, cleared at 100; bad until the one of 140, and the good one of 160 is answered at 164."""
    from_heal, from_injection = clock(clocks(observed("-------- ++++".replace(" ", "")), 0.0, 100.0, RULE))
    assert from_heal == Clock(0.040, 0.064, censored=False)
    assert from_injection == Clock(0.140, 0.164, censored=False)


def test_a_target_that_is_well_at_the_clearing_recovered_between_it_and_its_next_answer() -> None:
    from_heal, from_injection = clock(clocks(observed("--+++++++"), 0.0, 100.0, RULE))
    assert from_heal == Clock(0.0, 0.004, censored=False)
    assert from_injection == Clock(0.020, 0.104, censored=False)


def test_bad_observations_after_the_recovery_do_not_move_its_lower_end() -> None:
    found = observed("--+++++++++++-++++-")
    assert clock(clocks(found, 0.0, 20.0, RULE))[0] == Clock(0.0, 0.024, censored=False)
    assert clock(clocks(found, 0.0, 20.0, RULE))[1] == Clock(0.020, 0.044, censored=False)


def test_a_bad_observation_sent_with_the_good_one_is_not_before_it() -> None:
    both = [Observation(40.0, 43.0, False), Observation(40.0, 44.0, True)]
    rest = [Observation(60.0, 64.0, True), Observation(80.0, 84.0, True), Observation(0.0, 4.0, False)]
    from_heal, from_injection = clock(clocks(Observations.of([*both, *rest]), 0.0, 10.0, RULE))
    assert from_heal == Clock(0.0, 0.034, censored=False)
    assert from_injection == Clock(0.0, 0.044, censored=False)


def test_a_target_that_never_recovered_did_not_until_the_last_bad_observation() -> None:
    from_heal, from_injection = clock(clocks(observed("------+-"), 0.0, 40.0, RULE))
    assert from_heal == Clock(0.100, None, censored=True)
    assert from_injection == Clock(0.140, None, censored=True)


def test_too_few_observations_after_the_clearing_give_no_clock() -> None:
    assert clocks(observed("+++++"), 0.0, 60.0, RULE) is None
    assert clocks(observed("+++++"), 0.0, 40.0, RULE) is not None


def test_a_slot_in_which_the_target_was_not_asked_is_no_outage_and_no_recovery() -> None:
    from_heal, from_injection = clock(clocks(observed("+??+++"), 0.0, 20.0, RULE))
    assert from_heal == Clock(0.0, 0.044, censored=False)
    assert from_injection == Clock(0.0, 0.064, censored=False)


def test_a_target_that_was_asked_all_the_while_and_never_bad_has_no_outage() -> None:
    assert clock(clocks(observed("++++++"), 0.0, 60.0, RULE))[1] == Clock(0.0, 0.0, censored=False)
    # From the injection on it was not asked for 60 ms, and it may have been down.
    assert clock(clocks(observed("+++++", 60.0), 0.0, 60.0, RULE))[1] == Clock(0.0, 0.064, censored=False)
    assert clock(clocks(observed("+++++", 50.0), 0.0, 50.0, RULE))[1] == Clock(0.0, 0.0, censored=False)
    # The first observation after the clearing is the recovery, and the pause is before it.
    late = clock(clocks(observed("++   ++++"), 0.0, 30.0, RULE))
    assert late == (Clock(0.0, 0.074, censored=False), Clock(0.0, 0.104, censored=False))
    # A pause after the recovery hides no outage before it, not even one that begins with it.
    assert clock(clocks(observed("+++   +++"), 0.0, 40.0, RULE))[1] == Clock(0.0, 0.0, censored=False)
    assert clock(clocks(observed("++++   +++"), 0.0, 40.0, RULE))[1] == Clock(0.0, 0.0, censored=False)
    # Never bad, and never well for long enough: it is not known to be well at all.
    assert clock(clocks(observed("+?+?", 0.0), 0.0, 0.0, Rule(3, 3, 0.0, 50.0)))[1].censored


def test_an_uncertain_clearing_widens_the_interval_from_it_by_as_much() -> None:
    found = clocks(observed("-----++++"), 0.0, 60.0, RULE, cleared_from_ms=30.0)
    from_heal, from_injection = clock(found)
    assert from_heal == Clock(0.020, 0.074, censored=False)
    assert from_injection == Clock(0.080, 0.104, censored=False)
    still_bad = clock(clocks(observed("---------"), 0.0, 60.0, RULE, cleared_from_ms=30.0))
    assert still_bad[0] == Clock(0.100, None, censored=True)


def test_harm_lies_between_the_last_good_observation_before_it_and_the_first_bad_answer() -> None:
    assert first_harm(observed("+++--+"), 10.0, rule=RULE) == Clock(0.030, 0.054, censored=False)
    # Without an observation before it, the harm may have come with the injection.
    assert first_harm(observed("----"), 10.0, rule=RULE) == Clock(0.0, 0.014, censored=False)
    # What was sent with the issue of the injection counts.
    assert first_harm(observed("-+++"), 0.0, rule=RULE) == Clock(0.0, 0.004, censored=False)


def test_the_harm_was_known_at_the_first_bad_answer_whichever_call_was_sent_first() -> None:
    slow, quick = Observation(20.0, 90.0, False), Observation(40.0, 45.0, False)
    found = first_harm(Observations.of([Observation(5.0, 9.0, True), slow, quick]), 0.0, rule=RULE)
    assert found == Clock(0.005, 0.045, censored=False)


def test_a_good_answer_sent_with_the_first_bad_one_is_not_before_it() -> None:
    both = [Observation(20.0, 24.0, True), Observation(20.0, 25.0, False), Observation(4.0, 5.0, True)]
    assert first_harm(Observations.of(both), 0.0, rule=RULE) == Clock(0.004, 0.025, censored=False)


def test_no_harm_is_known_up_to_the_last_observation_before_a_gap() -> None:
    assert first_harm(observed("+++"), 0.0, rule=RULE) == Clock(0.040, None, censored=True)
    assert first_harm(observed("+++   ++-"), 0.0, rule=RULE) == Clock(0.040, 0.164, censored=False)
    assert first_harm(observed("+++  ?+"), 0.0, rule=RULE) == Clock(0.040, None, censored=True)
    # A pause of just the longest one is no gap.
    assert first_harm(observed("++++", every_ms=50.0), 0.0, rule=RULE) == Clock(0.150, None, censored=True)
    assert first_harm(observed("+++", from_ms=60.0), 0.0, rule=RULE) == Clock(0.0, None, censored=True)
    assert first_harm(observed("++ ", from_ms=50.0), 0.0, rule=RULE) == Clock(0.070, None, censored=True)


def test_what_was_sent_after_the_recovery_has_another_cause() -> None:
    assert first_harm(observed("+++-"), 0.0, 60.0, RULE) == Clock(0.040, None, censored=True)
    assert first_harm(observed("+++-"), 0.0, 60.1, RULE) == Clock(0.040, 0.064, censored=False)


def test_a_target_that_was_not_asked_shows_neither_harm_nor_its_absence() -> None:
    assert first_harm(observed("+++"), 41.0, rule=RULE) is None
    assert first_harm(observed("???"), 0.0, rule=RULE) is None
    assert first_harm(observed("?-"), 0.0, rule=RULE) == Clock(0.0, 0.024, censored=False)
