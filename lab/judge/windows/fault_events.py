"""The journal events of one fault, and the reasons why they do not prove that it was in force or was healed."""

from collections.abc import Iterable, Sequence

from lab.model.journal import Event


def first(events: Sequence[Event], kind: str) -> Event | None:
    """The first event of a kind."""
    return next((event for event in events if event.kind == kind), None)


def last(events: Sequence[Event], kind: str, *, before: Event | None = None) -> Event | None:
    """The last event of a kind, or the last before another event."""
    earlier = reversed(events) if before is None else (e for e in reversed(events) if e.place < before.place)
    return next((event for event in earlier if event.kind == kind), None)


def proofs_at(
    events: Sequence[Event], moment: str, after: Event | None = None, before: Event | None = None
) -> list[Event]:
    """The measurements of the effect at one moment of the fault, such as `during`, that lie between two events."""
    found = [event for event in events if event.kind == "proof" and event.data.get("moment") == moment]
    if after is not None:
        found = [event for event in found if event.place > after.place]
    return found if before is None else [event for event in found if event.place < before.place]


def doubts(events: Sequence[Event]) -> Iterable[str]:
    """Why a fault is not proven in force. The order of events matters: `during` counts only after the injection."""
    injecting, injected = first(events, "fault_injecting"), first(events, "fault_injected")
    if (void := last(events, "fault_void")) is not None:
        yield f"void: {void.data.get('why', 'no reason was recorded')}"
    if injecting is None or injected is None:
        yield "it was never injected" if injecting is None else "its injection was never completed"
        return
    if not any(proof.data.get("absent") is True for proof in proofs_at(events, "before", before=injecting)):
        yield "its effect was not measured as absent before the injection"
    holding = [
        proof for proof in proofs_at(events, "during", after=injected) if proof.data.get("holds") is True
    ]
    if not holding or first(events, "fault_in_force") is None:
        yield "it was never measured in force"
    elif injecting.data.get("transient") is not True and not any(
        proof.data.get("holds") is True for proof in proofs_at(events, "still", after=holding[0])
    ):
        yield "it was not measured in force at the end of its hold"


def heal_doubts(events: Sequence[Event]) -> Iterable[str]:
    """Why a heal is not confirmed; nothing if the fault was never injected."""
    healed = last(events, "fault_healed")
    if first(events, "fault_injecting") is None:
        return
    if healed is None:
        failed = last(events, "heal_failed")
        yield (
            "its heal was never confirmed" if failed is None else f"its heal failed: {failed.data.get('why')}"
        )
    elif not any(proof.data.get("absent") is True for proof in proofs_at(events, "after", after=healed)):
        yield "its effect was never measured as gone after the heal"
