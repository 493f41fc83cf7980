"""Which events of containers the lab caused itself, to the millisecond; what others did ends the judgement."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.windows import references
from lab.judge.windows.foreign_acts import first_act
from lab.model.evidence import Evidence
from lab.model.journal import Event
from tests.pure.evidence_factory import Recipe, make, with_journal

FAULT = "f1-kill"


@cache
def run() -> Evidence:
    """The plan of a run with one fault, which kills the container `qdrant`."""
    return make(Recipe(faults=("kill",), baseline_s=20.0, clean_s=0))


def at(at_ms: float, kind: str, **data: Any) -> Event:
    return Event(int(at_ms), "run", at_ms, "", kind, data)


def acted(at_ms: float, action: str = "kill", service: str = "qdrant") -> Event:
    return at(at_ms, "container_event", service=service, action=action)


def first(*events: Event) -> tuple[float, str] | None:
    return first_act(with_journal(run(), sorted(events, key=lambda event: event.at_ms)))


KILL = {"fault": FAULT, "undo": {"type": "StartContainer"}}
KILLED = (at(20_000, "fault_injecting", **KILL), at(30_000, "fault_healing", fault=FAULT))


@pytest.mark.parametrize("action", ["kill", "stop", "pause", "restart", "destroy"])
def test_an_act_is_dated_five_seconds_before_its_report(action: str) -> None:
    assert first(acted(60_000, action)) == (
        55_000.0,
        f"somebody else acted on qdrant: {action} (journal:60000)",
    )


def test_a_service_may_die_by_itself() -> None:
    assert first(acted(60_000, "die"), acted(61_000, "oom"), acted(62_000, "start")) is None
    assert first(at(60_000, "container_event", service="qdrant")) is None
    assert first(at(60_000, "container_event", action="kill")) is None


def test_the_first_act_of_others_counts_and_not_one_of_the_lab() -> None:
    assert first(*KILLED, acted(25_000), acted(70_000), acted(80_000)) == (
        65_000.0,
        "somebody else acted on qdrant: kill (journal:70000)",
    )


@pytest.mark.parametrize(
    ("at_ms", "action", "service", "ours"),
    [
        (20_000, "kill", "qdrant", True),
        (32_000, "restart", "qdrant", True),
        (25_000, "stop", "qdrant", True),
        (19_999, "kill", "qdrant", False),
        (32_001, "kill", "qdrant", False),
        # The fault neither pauses its container nor acts on another.
        (25_000, "pause", "qdrant", False),
        (25_000, "kill", "mcp", False),
    ],
)
def test_a_fault_explains_its_own_actions_until_two_seconds_after_its_heal_begins(
    at_ms: float, action: str, service: str, ours: bool
) -> None:
    assert (first(*KILLED, acted(at_ms, action, service)) is None) is ours


def test_a_fault_that_passes_by_itself_explains_what_happens_until_it_has() -> None:
    injected = at(24_000, "fault_injected", fault=FAULT)
    passing = (at(20_000, "fault_injecting", **KILL, transient=True), injected, KILLED[1])
    assert first(*passing, acted(26_000, "restart")) is None
    assert first(*passing, acted(26_001, "restart")) is not None
    odd = (at(20_000, "fault_injecting", **KILL, transient=1), injected, KILLED[1])
    assert first(*odd, acted(26_001, "restart")) is None


def test_a_fault_that_was_not_healed_explains_its_actions_to_the_end() -> None:
    assert first(KILLED[0], acted(900_000)) is None
    assert first(KILLED[1], acted(31_000)) is not None
    # Another fault, or one that does nothing to its container, explains nothing.
    assert first(at(20_000, "fault_injecting", **{**KILL, "fault": "f9"}), acted(25_000)) is not None
    toxic = {"fault": FAULT, "undo": {"type": "RemoveToxic"}}
    assert first(at(20_000, "fault_injecting", **toxic), acted(25_000)) is not None
    other = at(22_000, "fault_healing", fault="f9")
    assert first(KILLED[0], other, KILLED[1], acted(31_000)) is None


def test_a_recorded_restart_explains_thirty_seconds_of_its_service() -> None:
    restarting = at(20_000, "effect", act="restarting", on="toxiproxy")
    for at_ms, service, ours in (
        (20_000, "toxiproxy", True),
        (50_000, "toxiproxy", True),
        (19_999, "toxiproxy", False),
        (50_001, "toxiproxy", False),
        (25_000, "qdrant", False),
    ):
        assert (first(restarting, acted(at_ms, "stop", service)) is None) is ours, (at_ms, service)
    assert first(replace(restarting, data={"act": "adding", "on": "toxiproxy"}), acted(25_000)) is not None
    assert first(at(20_000, "effect", on="qdrant"), acted(25_000)) is not None


@pytest.mark.parametrize(
    ("named", "service", "counts"),
    [
        (["store-1"], "store-1", True),
        (["store-1"], "qdrant", False),
        ([1], "1", True),
        # A run that names none depends on those of the first runs.
        ([], "qdrant", True),
        ("store-1", "store-1", False),
        (None, "mcp-net", True),
        (None, "prometheus", False),
    ],
)
def test_only_acts_on_services_that_the_run_depends_on_count(
    named: object, service: str, counts: bool
) -> None:
    started = at(0, "run_started", services=named)
    assert (first(started, acted(60_000, "kill", service)) is not None) is counts


def test_a_reference_names_the_writer_the_segment_and_the_number() -> None:
    event, none = at(17, "proof"), None
    later = replace(at(3, "proof"), segment=1)
    assert references.events([later, event, none, at(5, "proof"), event]) == (
        "journal:5",
        "journal:17",
        "journal:1/3",
    )
    assert references.place_of(later) == "journal:1/3"
    assert references.place_of(replace(event, writer="guardian")) == "guardian:17"
    assert references.place_of(replace(later, writer="guardian")) == "guardian:1/3"
    assert references.samples("requests", 45_000.4, 165_000.6) == "samples:requests[45000..165001ms]"
