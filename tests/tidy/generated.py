"""The generated parts of documents; `python -m tests.tidy.generated` writes them anew."""

import math
import textwrap
from pathlib import Path

from lab.faults import discover
from lab.faults.catalogue import catalogue
from lab.judge.checks import discover_bounds

HOME = Path(__file__).resolve().parents[2]
END = "<!-- end -->"


def fault_kinds() -> str:
    """A table of all fault kinds with their parameters, read off their classes."""
    rows = ["| family | kind | hits | parameters | needs |", "|---|---|---|---|---|"]
    for entry in catalogue():
        listed = "; ".join(f"`{one.name}` ({one.described()})" for one in entry.parameters)
        needs = ", ".join(f"`{need}`" for need in entry.needs) or "nothing special"
        rows.append(
            f"| {entry.family} | `{entry.kind}` | {', '.join(entry.services)} | {listed or 'none'} | {needs} |"
        )
    return "\n".join(rows)


def kinds_with_processes() -> str:
    """The kinds that start something which ends by itself, as the subject of a sentence."""
    *kinds, last = (f"`{kind}`" for kind, fault in discover().items() if math.isfinite(fault.lifetime_s))
    return textwrap.fill(f"{', '.join(kinds)} and {last}", width=120)


def bounds() -> str:
    """A table of the bounds that a campaign may set, read off the checks that state them."""
    rows = ["| bound | default | may be | holds for |", "|---|---|---|---|"]
    for spec in discover_bounds():
        unit = "" if spec.unit in ("share", "recall@10") else f" {spec.unit}"
        value = f"{spec.op} {spec.default:g}{unit}"
        rows.append(f"| `{spec.name}` | {value} | {spec.limits()} | {spec.means} |")
    return "\n".join(rows)


PARTS = {
    "docs/campaigns.md": {
        "bounds": bounds,
        "fault kinds": fault_kinds,
        "kinds with processes": kinds_with_processes,
    }
}


def renewed(path: str) -> str:
    """A document's text with its generated parts as they should be; raises ValueError where one has no place."""
    text = (HOME / path).read_text(encoding="utf-8")
    for name, render in PARTS[path].items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = text.partition(start)
        if not found or END not in rest:
            raise ValueError(f"{path} needs the lines {start.strip()} and {END}")
        text = f"{before}{start}{render()}\n{END}{rest.partition(END)[2]}"
    return text


if __name__ == "__main__":
    for document in PARTS:
        (HOME / document).write_text(renewed(document), encoding="utf-8")
