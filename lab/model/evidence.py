"""Everything that the judge uses: one run directory as values."""

from dataclasses import dataclass

from lab.model.journal import Journal
from lab.model.plan import Plan
from lab.model.samples import Samples


@dataclass(frozen=True, slots=True)
class Evidence:
    """Plan, journal and samples of one run; `damage` lists what could not be read (each makes a pass impossible).

    `guardian` is the guardian's journal, None where the run has none.
    """

    plan: Plan
    journal: Journal
    samples: Samples
    damage: tuple[str, ...] = ()
    guardian: Journal | None = None
