"""The audit of effects: a function that is called before each effect on the stack."""

from collections.abc import Callable

# Called with the act, the object that it acts on, and details; it may raise FencedError to forbid the effect.
Audit = Callable[[str, str, str], None]


def unaudited(act: str, on: str, detail: str) -> None:
    """An audit that records nothing, for worlds in which only measurements are made."""
