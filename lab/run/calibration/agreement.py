"""Whether the recoveries that the judge states agree with those of the load alone, as its arrivals tell them.

The lab's own calls wait in the server too. Those of a bounded observer may delay the recovery by a stated time, which
follows from the budget of a run and not from what the lab asked. Nothing else may differ.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.observe.queue_server import KINDS
from lab.run.calibration.backlog import Recovering

# What a certificate requires: the share of outages, and how wide an interval may be (P95, without the answer's time).
AGREEING, WIDTH_MS, OUTAGES_MIN = 0.99, 500.0, 50
# Where the machine held the server up for longer than this, its recovery is not known.
LATE_MAX_MS = 50.0


@dataclass(frozen=True, slots=True)
class Drained:
    """One outage; times in ms after its end.

    `alone` is the true recovery by the load's calls alone, `together` the true one, with the lab's calls; None where
    there was none before the next outage. `lo_ms` and `hi_ms` are the stated interval, and `answer_ms` is the latency
    of the answer that ends it. `lab_calls` were made since the outage began; the bounded observer may make
    `lab_calls_max`, which delay the recovery by `may_add_ms`. `late_ms` is what the machine held the server up.
    """

    kind: str
    hold_ms: float
    alone: Recovering | None
    together: Recovering | None
    lab_calls: int
    lab_calls_max: int
    may_add_ms: float
    late_ms: float
    lo_ms: float | None = None
    hi_ms: float | None = None
    answer_ms: float = math.nan

    def holds(self, truth: Recovering | None, *, added_ms: float = 0.0) -> bool:
        """Whether the interval holds a recovery, to which the lab may have added so many ms."""
        if truth is None or self.lo_ms is None or self.hi_ms is None:
            return False
        return truth.meets(self.lo_ms - added_ms, self.hi_ms)

    @property
    def agrees(self) -> bool:
        """Whether the interval holds the recovery of the load alone, but for what a bounded lab may add."""
        return math.isfinite(self.may_add_ms) and self.holds(self.alone, added_ms=self.may_add_ms)

    @property
    def known(self) -> bool:
        """Whether the server kept its own time, so that its recovery is known."""
        return self.late_ms <= LATE_MAX_MS

    @property
    def width_ms(self) -> float:
        """The width of the interval without the answer's latency; infinite where no end was seen."""
        if self.lo_ms is None or self.hi_ms is None:
            return math.inf
        return self.hi_ms - self.lo_ms - self.answer_ms


@dataclass(frozen=True, slots=True)
class InTurn:
    """The certificate: all outages, of which those with a known truth count."""

    outages: tuple[Drained, ...]
    planned: int

    @property
    def counted(self) -> list[Drained]:
        """The outages with a known truth."""
        return [outage for outage in self.outages if outage.known]

    @property
    def flaws(self) -> tuple[str, ...]:
        """Why the requirements are not met."""
        counted, n = self.counted, len(self.counted)
        agreeing = sum(outage.agrees for outage in counted)
        together = sum(outage.holds(outage.together) for outage in counted)
        width_ms = _percentile([outage.width_ms for outage in counted], 95)
        requirements = (
            (
                not 0 < len(self.outages) == self.planned,
                f"{len(self.outages)} of {self.planned} outages were carried out",
            ),
            (agreeing < AGREEING * n, f"{agreeing} of {n} recoveries agree with the load alone"),
            (together < AGREEING * n, f"{together} of {n} true recoveries lie inside"),
            (width_ms > WIDTH_MS, f"P95 of the width is above {WIDTH_MS:g} ms"),
        )
        return tuple(why for wrong, why in requirements if wrong)

    @property
    def enough(self) -> bool:
        """Whether enough was measured for a certificate."""
        kinds = [outage.kind for outage in self.counted]
        return all(kinds.count(kind) >= OUTAGES_MIN / len(KINDS) for kind in KINDS)

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `inconclusive` if the requirements are met by too few outages."""
        return "fail" if self.flaws else "pass" if self.enough else "inconclusive"

    def lines(self) -> list[str]:
        """The table by kind, and the verdict with its reasons."""
        head = (
            f"{'one at a time':13} {'n':>4} {'void':>4} {'agrees':>6} {'inside':>6}"
            f"  {'load alone, s':>17}  {'width, ms':>19}  {'lab may add, ms':>15}"
        )
        rows = [(kind, [outage for outage in self.outages if outage.kind == kind]) for kind in KINDS]
        why = "; ".join(self.flaws)
        if not why and not self.enough:
            why = f"all is right so far, but a certificate takes {OUTAGES_MIN} outages"
        note = "load alone, width less the answer's latency, and what the lab may add: P50 / P95 / max"
        table = [_row(kind, mine) for kind, mine in (*rows, ("all", self.outages))]
        return [head, *table, note, f"{self.verdict.upper()}{': ' if why else ''}{why}"]

    def facts(self) -> dict[str, Any]:
        """The certificate as JSON, which has no infinity and no NaN: these are null."""
        outages = [
            {**asdict(o), "agrees": o.agrees, "known": o.known, "width_ms": o.width_ms} for o in self.outages
        ]
        rows = [{name: _finite(value) for name, value in outage.items()} for outage in outages]
        return {"verdict": self.verdict, "flaws": self.flaws, "planned": self.planned, "outages": rows}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percentile(values: Sequence[float], percent: float) -> float:
    """A percentile that is one of the values; infinite where there is none."""
    return float(np.percentile(values, percent, method="higher")) if values else math.inf


def _row(kind: str, outages: Sequence[Drained]) -> str:
    known = [outage for outage in outages if outage.known]
    alone_s = [outage.alone.first_ms / 1000 for outage in known if outage.alone is not None]
    widths_ms, added_ms = [outage.width_ms for outage in known], [outage.may_add_ms for outage in known]
    return (
        f"{kind:13} {len(known):4} {len(outages) - len(known):4} {sum(o.agrees for o in known):6}"
        f" {sum(o.holds(o.together) for o in known):6}  {_spread(alone_s, '.2f'):>17}"
        f"  {_spread(widths_ms, '.0f'):>19}  {_spread(added_ms, '.0f'):>15}"
    )


def _spread(values: Sequence[float], form: str) -> str:
    return (
        " / ".join(format(_percentile(values, percent), form) for percent in (50, 95, 100)) if values else "-"
    )
