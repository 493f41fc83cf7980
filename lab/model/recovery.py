"""The rules for when something counts as recovered. The run (while it waits), the planner and the judge use them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Recovered means: `enough` of `window` consecutive probes are good, and no worse window follows for `hold_ms`.

    A pause between probes that is longer than `gap_ms` is a gap: nothing is known about the time between them.
    """

    window: int
    enough: int
    hold_ms: float
    gap_ms: float


# How many seconds a recovery must hold in a campaign. Plans of older runs do not say it and mean this, so this value
# never changes.
STAYS_WELL_S = 30.0
CANARY = Rule(window=20, enough=19, hold_ms=1000 * STAYS_WELL_S, gap_ms=1500.0)
# For rare probes: truth queries (where the canary counts no hits), and probes of the store.
FIVE_IN_A_ROW = Rule(window=5, enough=5, hold_ms=0.0, gap_ms=5000.0)
