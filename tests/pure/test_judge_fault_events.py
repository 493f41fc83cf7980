"""A fault counts as proven in force, and its heal as confirmed, by the order of its events alone."""

from typing import Any

import pytest

from lab.judge.windows.fault_events import doubts, first, heal_doubts, last, proofs_at
from lab.model.journal import Event

NOT_ABSENT = "its effect was not measured as absent before the injection"
NEVER_IN_FORCE = "it was never measured in force"
NOT_TO_THE_END = "it was not measured in force at the end of its hold"
NEVER_GONE = "its effect was never measured as gone after the heal"

Draft = tuple[str, dict[str, Any]]


def proof(moment: str, *, holds: object = False, absent: object = False) -> Draft:
    return "proof", {"moment": moment, "holds": holds, "absent": absent}


BEFORE, AFTER = proof("before", absent=True), proof("after", absent=True)
DURING, STILL = proof("during", holds=True), proof("still", holds=True)
INJECTING: Draft = ("fault_injecting", {})
PASSING: Draft = ("fault_injecting", {"transient": True})
INJECTED: Draft = ("fault_injected", {})
IN_FORCE: Draft = ("fault_in_force", {})
HEALED: Draft = ("fault_healed", {})
PROVEN = [BEFORE, INJECTING, INJECTED, DURING, IN_FORCE, STILL]


def events(*drafts: Draft) -> list[Event]:
    return [Event(seq, "run", 1000.0 * seq, "", kind, data) for seq, (kind, data) in enumerate(drafts)]


@pytest.mark.parametrize(
    ("drafts", "expected"),
    [
        (PROVEN, []),
        ([BEFORE, PASSING, INJECTED, DURING, IN_FORCE], []),
        ([], ["it was never injected"]),
        ([BEFORE, INJECTED], ["it was never injected"]),
        ([BEFORE, INJECTING], ["its injection was never completed"]),
        ([*PROVEN, ("fault_void", {"why": "it was gone"})], ["void: it was gone"]),
        ([*PROVEN, ("fault_void", {})], ["void: no reason was recorded"]),
        ([("fault_void", {"why": "no room"})], ["void: no room", "it was never injected"]),
        # Absent is what was measured as absent, and before the injection.
        ([proof("before"), *PROVEN[1:]], [NOT_ABSENT]),
        ([proof("before", absent="true"), *PROVEN[1:]], [NOT_ABSENT]),
        ([proof("during", absent=True), *PROVEN[1:]], [NOT_ABSENT]),
        ([INJECTING, BEFORE, INJECTED, DURING, IN_FORCE, STILL], [NOT_ABSENT]),
        # In force is what was measured as such after the injection was completed.
        ([BEFORE, INJECTING, INJECTED, IN_FORCE, STILL], [NEVER_IN_FORCE]),
        ([BEFORE, INJECTING, INJECTED, DURING, STILL], [NEVER_IN_FORCE]),
        ([BEFORE, INJECTING, DURING, INJECTED, IN_FORCE, STILL], [NEVER_IN_FORCE]),
        ([BEFORE, INJECTING, INJECTED, proof("during", holds=1), IN_FORCE, STILL], [NEVER_IN_FORCE]),
        ([BEFORE, INJECTING, INJECTED, STILL, IN_FORCE, STILL], [NEVER_IN_FORCE]),
        # And it was still so at the end of the hold, unless it passes by itself.
        ([BEFORE, INJECTING, INJECTED, DURING, IN_FORCE], [NOT_TO_THE_END]),
        ([BEFORE, INJECTING, INJECTED, DURING, IN_FORCE, proof("still", holds=1)], [NOT_TO_THE_END]),
        ([BEFORE, INJECTING, INJECTED, DURING, IN_FORCE, DURING], [NOT_TO_THE_END]),
        ([BEFORE, INJECTING, INJECTED, STILL, DURING, IN_FORCE], [NOT_TO_THE_END]),
        # The first proof that holds counts: a later one does not make an earlier `still` too early.
        ([BEFORE, INJECTING, INJECTED, DURING, IN_FORCE, STILL, DURING], []),
        (
            [BEFORE, ("fault_injecting", {"transient": 1}), INJECTED, DURING, IN_FORCE],
            [NOT_TO_THE_END],
        ),
        # A doubt about one part does not hide that about another.
        ([INJECTING, INJECTED], [NOT_ABSENT, NEVER_IN_FORCE]),
    ],
)
def test_a_fault_is_proven_in_force_or_the_reason_is_given(drafts: list[Draft], expected: list[str]) -> None:
    assert list(doubts(events(*drafts))) == expected


@pytest.mark.parametrize(
    ("drafts", "expected"),
    [
        ([INJECTING, HEALED, AFTER], []),
        ([], []),
        ([HEALED], []),
        ([("heal_failed", {"why": "gone"})], []),
        ([INJECTING], ["its heal was never confirmed"]),
        ([INJECTING, ("heal_failed", {"why": "no such container"})], ["its heal failed: no such container"]),
        ([INJECTING, ("heal_failed", {"why": "busy"}), HEALED, AFTER], []),
        ([INJECTING, HEALED], [NEVER_GONE]),
        ([INJECTING, AFTER, HEALED], [NEVER_GONE]),
        ([INJECTING, HEALED, proof("after")], [NEVER_GONE]),
        ([INJECTING, HEALED, proof("after", absent=1)], [NEVER_GONE]),
        ([INJECTING, HEALED, proof("before", absent=True)], [NEVER_GONE]),
        # It was healed twice: only the last heal counts.
        ([INJECTING, HEALED, AFTER, HEALED], [NEVER_GONE]),
    ],
)
def test_a_heal_is_confirmed_or_the_reason_is_given(drafts: list[Draft], expected: list[str]) -> None:
    assert list(heal_doubts(events(*drafts))) == expected


def test_the_first_and_the_last_event_of_a_kind() -> None:
    run = events(INJECTING, HEALED, INJECTING, HEALED, INJECTED)
    assert first(run, "fault_injecting") is run[0]
    assert last(run, "fault_injecting") is run[2]
    assert last(run, "fault_injecting", before=run[2]) is run[0]
    assert last(run, "fault_injecting", before=run[0]) is None
    assert first(run, "proof") is last(run, "proof") is None


def test_a_proof_lies_between_two_events() -> None:
    run = events(DURING, DURING, AFTER, DURING)
    assert proofs_at(run, "during") == [run[0], run[1], run[3]]
    assert proofs_at(run, "during", after=run[0]) == [run[1], run[3]]
    assert proofs_at(run, "during", before=run[3]) == [run[0], run[1]]
    assert proofs_at(run, "during", after=run[0], before=run[3]) == [run[1]]
    assert proofs_at(run, "during", after=run[3]) == []
