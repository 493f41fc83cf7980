"""The journal events of one fault, and the reasons why they do not prove that it was in force, or is healed."""

from collections.abc import Iterable, Sequence

from lab.model.journal import Event


def first(story: Sequence[Event], kind: str) -> Event | None:
    """The first event of a kind."""
    return next((event for event in story if event.kind == kind), None)


def last(story: Sequence[Event], kind: str, *, before: Event | None = None) -> Event | None:
    """The last event of a kind, or the last before another event."""
    earlier = reversed(story) if before is None else (e for e in reversed(story) if e.place < before.place)
    return next((event for event in earlier if event.kind == kind), None)


def looks(
    story: Sequence[Event], moment: str, after: Event | None = None, before: Event | None = None
) -> list[Event]:
    """The looks at the effect at one moment of its life, between two events."""
    found = [event for event in story if event.kind == "proof" and event.data.get("moment") == moment]
    if after is not None:
        found = [event for event in found if event.place > after.place]
    return found if before is None else [event for event in found if event.place < before.place]


def doubts(story: Sequence[Event]) -> Iterable[str]:
    """Why a fault is not proven in force; the order of events matters, for a look before the injection proves
    nothing.
    """
    injecting, injected = first(story, "fault_injecting"), first(story, "fault_injected")
    if (void := last(story, "fault_void")) is not None:
        yield f"void: {void.data.get('why', 'no reason was recorded')}"
    if injecting is None or injected is None:
        yield "it was never injected" if injecting is None else "its injection was never completed"
        return
    if not any(look.data.get("absent") is True for look in looks(story, "before", before=injecting)):
        yield "its effect was not seen absent before the injection"
    holding = [look for look in looks(story, "during", after=injected) if look.data.get("holds") is True]
    if not holding or first(story, "fault_in_force") is None:
        yield "it was never seen in force"
    elif injecting.data.get("transient") is not True and not any(
        look.data.get("holds") is True for look in looks(story, "still", after=holding[0])
    ):
        yield "it was not seen in force any more when its time was up"


def heal_doubts(story: Sequence[Event]) -> Iterable[str]:
    """Why a heal is not confirmed; nothing where there was nothing to heal."""
    healed = last(story, "fault_healed")
    if first(story, "fault_injecting") is None:
        return
    if healed is None:
        failed = last(story, "heal_failed")
        yield (
            "its heal was never confirmed" if failed is None else f"its heal failed: {failed.data.get('why')}"
        )
    elif not any(look.data.get("absent") is True for look in looks(story, "after", after=healed)):
        yield "its effect was never seen gone after the heal"
