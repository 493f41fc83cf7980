"""What became of the mutants of `lab/judge`, and the rules that the result must meet."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

SHARE_MIN = 0.95
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.yaml")
KILLED, TIMEOUT, SURVIVED, UNTYPED, UNTESTED = "killed", "timeout", "survived", "caught by mypy", "not tested"


@dataclass(frozen=True, order=True)
class Change:
    """One mutation, by its text: it stays the same when lines move, and changes with the line itself."""

    module: str
    function: str
    was: str
    becomes: str

    def __str__(self) -> str:
        removed = [f"  - {line}" for line in self.was.splitlines()]
        added = [f"  + {line}" for line in self.becomes.splitlines()]
        return "\n".join([f"{self.module} {self.function}", *removed, *added])


@dataclass(frozen=True)
class Mutant:
    name: str
    change: Change
    status: str


def listed(path: Path = EQUIVALENT) -> dict[Change, str]:
    """The mutants that no test can kill, and the reason of each. The file is a list of mappings."""
    reasons: dict[Change, str] = {}
    for entry in yaml.safe_load(path.read_text()) or []:
        change = Change(entry["module"], entry["function"], entry["was"].strip(), entry["becomes"].strip())
        if not str(entry.get("reason") or "").strip():
            raise ValueError(f"no reason is given for the mutant\n{change}")
        if change in reasons:
            raise ValueError(f"listed twice:\n{change}")
        reasons[change] = entry["reason"]
    return reasons


def killed_share(mutants: Iterable[Mutant]) -> float:
    """Killed ones (or ended at the time limit) of all that were tested; equivalent ones count as survivors."""
    counts = Counter(mutant.status for mutant in mutants)
    killed = counts[KILLED] + counts[TIMEOUT]
    tested = killed + counts[SURVIVED]
    return killed / tested if tested else 0.0


def problems(mutants: Sequence[Mutant], equivalent: dict[Change, str]) -> list[str]:
    """What makes the result a failure; nothing if it is good. `equivalent` speaks of the same modules."""
    survivors = {mutant.change for mutant in mutants if mutant.status == SURVIVED}
    tested = [mutant for mutant in mutants if mutant.status in (KILLED, TIMEOUT, SURVIVED)]
    generated = {mutant.change for mutant in mutants}
    found: list[str] = []
    if not tested:
        found.append("no mutant was tested")
    elif (share := killed_share(mutants)) < SHARE_MIN:
        found.append(f"{share:.1%} of the mutants were killed, which is less than {SHARE_MIN:.0%}")
    found += [f"not tested: {mutant.change}" for mutant in mutants if mutant.status == UNTESTED]
    found += [f"survived and is not listed: {change}" for change in sorted(survivors - equivalent.keys())]
    for change in sorted(equivalent.keys() - survivors):
        fate = "was killed" if change in generated else "does not exist"
        found.append(f"listed as equivalent and {fate}: {change}")
    return found


def table(mutants: Sequence[Mutant]) -> str:
    """Counts and killed share of each module and of all."""
    columns = (KILLED, TIMEOUT, SURVIVED, UNTYPED, UNTESTED)
    lines = [" ".join([f"{'module':42}", *(f"{name:>14}" for name in columns), f"{'share':>8}"])]
    modules = sorted({mutant.change.module for mutant in mutants})
    for module in [*modules, "all"]:
        own = [mutant for mutant in mutants if module in ("all", mutant.change.module)]
        counts = Counter(mutant.status for mutant in own)
        cells = [f"{module:42}", *(f"{counts[name]:>14}" for name in columns), f"{killed_share(own):>8.1%}"]
        lines.append(" ".join(cells))
    return "\n".join(lines)
