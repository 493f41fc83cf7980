"""The rules by which something counts as recovered: used by the runner while it waits, by the planner and the judge."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as recovered: `enough` good of `window` in a row, kept up for `hold_ms`.

    Where nothing was asked for more than `gap_ms`, nobody looked: what happened in between is not known.
    """

    window: int
    enough: int
    hold_ms: float
    gap_ms: float


CANARY = Rule(window=20, enough=19, hold_ms=30_000.0, gap_ms=1500.0)
# For what is asked rarely: truth queries where the canary counts no hits, and looks at the store.
FIVE_IN_A_ROW = Rule(window=5, enough=5, hold_ms=0.0, gap_ms=5000.0)
