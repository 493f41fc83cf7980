"""Finds container events that the lab did not cause; evidence after the first one is not judged."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.judge.windows.references import place_of
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import PlannedFault
from lab.model.undo import facts_of

# Events that a service cannot cause by itself. A container that dies (`die`, `oom`) may have done so: it is judged.
ACTS = ("kill", "stop", "pause", "restart", "destroy")
# The services of runs that were recorded before `run_started` named them.
SERVICES_BEFORE = frozenset({"mcp", "qdrant", "toxiproxy", "mcp-net", "qdrant-net"})
# The engine reports an event a little later than it happened.
LATE_MS = 5000.0
# For how long after the last action of a fault an event of the engine can still come from that fault.
ALIBI_MS = 2000.0
# A heal that recreates Toxiproxy's state says so, and stops and starts it.
REVIVES_MS = 30_000.0


@dataclass(frozen=True, slots=True)
class _Alibi:
    """The events of a service that the lab itself caused, between two times (ms)."""

    service: str
    actions: tuple[str, ...]
    from_ms: float
    to_ms: float

    def covers(self, event: Event) -> bool:
        same = event.data.get("service") == self.service and event.data.get("action") in self.actions
        return same and self.from_ms <= event.at_ms <= self.to_ms


def first_act(evidence: Evidence) -> tuple[float, str] | None:
    """When somebody else first acted on the stack (ms), and how; None if nobody did."""
    alibis, services = list(_alibis(evidence)), _services(evidence.journal)
    for event in evidence.journal.of("container_event"):
        if _decides(event, services) and not any(alibi.covers(event) for alibi in alibis):
            service, action = event.data.get("service"), event.data.get("action")
            return event.at_ms - LATE_MS, f"somebody else acted on {service}: {action} ({place_of(event)})"
    return None


def _services(journal: Journal) -> frozenset[str]:
    """The services that a run depends on: all but those that only monitor."""
    started = journal.first("run_started")
    named = started.data.get("services") if started is not None else None
    return frozenset(map(str, named)) if isinstance(named, list) and named else SERVICES_BEFORE


def _decides(event: Event, services: frozenset[str]) -> bool:
    return event.data.get("action") in ACTS and str(event.data.get("service")) in services


def _alibis(evidence: Evidence) -> Iterator[_Alibi]:
    for fault in evidence.plan.faults():
        began = evidence.journal.first("fault_injecting", fault=fault.id)
        if began is not None:
            yield _of_fault(fault, began, evidence.journal)
    for effect in evidence.journal.of("effect"):
        if effect.data.get("act") == "restarting":
            yield _Alibi(str(effect.data.get("on")), ACTS, effect.at_ms, effect.at_ms + REVIVES_MS)


def _of_fault(fault: PlannedFault, began: Event, journal: Journal) -> _Alibi:
    """For what the fault does to its container, while it is about it.

    Within the hold of one that has to be seen in force at its end, an act of somebody else's shows there.
    """
    actions = facts_of(began.data.get("undo")).container_actions
    last = "fault_injected" if began.data.get("transient") is True else "fault_healing"
    done = journal.first(last, fault=fault.id)
    until_ms = float("inf") if done is None else done.at_ms + ALIBI_MS
    return _Alibi(fault.target, actions, began.at_ms, until_ms)
