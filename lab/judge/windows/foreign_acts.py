"""Finds container events that the lab did not cause; evidence after the first one is not judged."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.judge.windows.references import place_of
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import PlannedFault
from lab.model.undo import facts_of

# Events that a service cannot cause by itself. A container may die by itself (`die`, `oom`); then the target is judged.
ACTS = ("kill", "stop", "pause", "restart", "destroy")
# The services of older runs, whose `run_started` does not name them.
OLDER_SERVICES = frozenset({"mcp", "qdrant", "toxiproxy", "mcp-net", "qdrant-net"})
# The engine may report an event this much later than it happened.
REPORT_DELAY_MS = 5000.0
# An event up to this long after the last action of a fault can still come from that fault.
FAULT_EVENTS_MS = 2000.0
# A heal may have to restart Toxiproxy. It records that first; events up to this long after the record come from it.
RESTART_EVENTS_MS = 30_000.0


@dataclass(frozen=True, slots=True)
class _OwnActions:
    """The actions on a service that the lab itself caused between two times (ms)."""

    service: str
    actions: tuple[str, ...]
    from_ms: float
    to_ms: float

    def explain(self, event: Event) -> bool:
        same = event.data.get("service") == self.service and event.data.get("action") in self.actions
        return same and self.from_ms <= event.at_ms <= self.to_ms


def first_act(evidence: Evidence) -> tuple[float, str] | None:
    """When somebody else first acted on the stack (ms), and how; None if nobody did."""
    own_actions, services = list(_own_actions(evidence)), _services(evidence.journal)
    for event in evidence.journal.of("container_event"):
        if _is_act(event, services) and not any(own.explain(event) for own in own_actions):
            service, action = event.data.get("service"), event.data.get("action")
            return (
                event.at_ms - REPORT_DELAY_MS,
                f"somebody else acted on {service}: {action} ({place_of(event)})",
            )
    return None


def _services(journal: Journal) -> frozenset[str]:
    """The services that a run depends on: all but those that only monitor."""
    started = journal.first("run_started")
    named = started.data.get("services") if started is not None else None
    return frozenset(map(str, named)) if isinstance(named, list) and named else OLDER_SERVICES


def _is_act(event: Event, services: frozenset[str]) -> bool:
    """Whether an event shows that somebody acted on a service that the run depends on."""
    return event.data.get("action") in ACTS and str(event.data.get("service")) in services


def _own_actions(evidence: Evidence) -> Iterator[_OwnActions]:
    for fault in evidence.plan.faults():
        began = evidence.journal.first("fault_injecting", fault=fault.id)
        if began is not None:
            yield _of_fault(fault, began, evidence.journal)
    for effect in evidence.journal.of("effect"):
        if effect.data.get("act") == "restarting":
            yield _OwnActions(
                str(effect.data.get("on")), ACTS, effect.at_ms, effect.at_ms + RESTART_EVENTS_MS
            )


def _of_fault(fault: PlannedFault, began: Event, journal: Journal) -> _OwnActions:
    """What the fault does to its container, from the injection to the heal.

    The time of the hold is included: an act of somebody else in it shows in the observation at the end of the hold. A
    transient fault has no such observation, so its time ends with the injection.
    """
    actions = facts_of(began.data.get("undo")).container_actions
    last = "fault_injected" if began.data.get("transient") is True else "fault_healing"
    done = journal.first(last, fault=fault.id)
    until_ms = float("inf") if done is None else done.at_ms + FAULT_EVENTS_MS
    return _OwnActions(fault.target, actions, began.at_ms, until_ms)
