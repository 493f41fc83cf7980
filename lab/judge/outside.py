"""What somebody else did to the stack: nothing that comes after it is the target's doing."""

from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import PlannedFault

# What a service never does to itself. One that dies (`die`, `oom`) may have done so alone, and is judged.
ACTS = ("kill", "stop", "pause", "restart", "destroy")
# Whose fate decides something: not that of Prometheus or Grafana.
SERVICES = ("mcp", "qdrant", "toxiproxy")
HOLDER = "-net"
# What the engine tells comes a little later than what was done.
LATE_MS = 5000.0
# Which of them a fault of ours does to its service's container, by what takes it back. The kernel's own kill is none.
OURS = {"StartContainer": ("kill", "stop", "restart"), "Unpause": ("pause",)}
# How long after the last that a fault did the engine may still tell of it; shorter, for it is an alibi.
ALIBI_MS = 2000.0
# A heal that recreates Toxiproxy's state says so, and stops and starts it.
REVIVES_MS = 30_000.0
ENGINE_LOG = "engine_log"


def first_act(evidence: Evidence) -> tuple[float, str] | None:
    """From when on (ms) the stack was in somebody else's hands or nobody saw whether it was, and why; else None."""
    for event in evidence.journal.of("container_event", "sampler_died"):
        if event.kind == "sampler_died":
            if event.data.get("sampler") == ENGINE_LOG:
                why = "from then on nobody saw what others did to the stack"
                return event.at_ms - LATE_MS, f"the engine's events ended, and {why} (journal:{event.seq})"
        elif event.data.get("action") in ACTS and _decides(event) and not _ours(event, evidence):
            service, action = event.data.get("service"), event.data.get("action")
            return event.at_ms - LATE_MS, f"somebody else acted on {service}: {action} (journal:{event.seq})"
    return None


def _decides(event: Event) -> bool:
    return str(event.data.get("service")).removesuffix(HOLDER) in SERVICES


def _ours(event: Event, evidence: Evidence) -> bool:
    mine = [fault for fault in evidence.plan.faults() if fault.target == event.data.get("service")]
    did = any(_did(fault, event, evidence.journal) for fault in mine)
    return did or _revived(event, evidence.journal)


def _did(fault: PlannedFault, event: Event, journal: Journal) -> bool:
    """Whether the fault is one that acts so on its container, and was about it at that time.

    Within the hold of one that has to be seen in force at its end, an act of somebody else's shows there.
    """
    began = journal.first("fault_injecting", fault=fault.id)
    if began is None or event.at_ms < began.at_ms:
        return False
    undo = began.data.get("undo")
    if not isinstance(undo, dict) or event.data.get("action") not in OURS.get(str(undo.get("type")), ()):
        return False
    last = "fault_injected" if began.data.get("transient") is True else "fault_healing"
    done = journal.first(last, fault=fault.id)
    return done is None or event.at_ms <= done.at_ms + ALIBI_MS


def _revived(event: Event, journal: Journal) -> bool:
    return any(
        effect.data.get("act") == "restarting"
        and effect.data.get("on") == event.data.get("service")
        and effect.at_ms <= event.at_ms <= effect.at_ms + REVIVES_MS
        for effect in journal.of("effect")
    )
