"""What a target needed to be well again after each fault, from kept runs, as a table.

    python -m tests.bench.recovery_times runs/RUN [runs/RUN ...]

Each cell is the worst upper end of its clock over the trials, in seconds from the confirmed heal; `≥` where one of them
never came back while it was watched. Faults that were never proven in force are left out and named below the table.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLOCKS = ("answers", "slo", "recall", "idle")


def worst(clocks: Sequence[Mapping[str, Any] | None]) -> str:
    """The worst of several clocks; a dash where one was not measured."""
    if not clocks or any(clock is None for clock in clocks):
        return "-"
    known = [clock for clock in clocks if clock is not None]
    if censored := [clock["lo_s"] for clock in known if clock["censored"]]:
        return f"≥ {max(censored):.1f}"
    return f"{max(clock['hi_s'] for clock in known):.2f}"


def table(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row per kind and service."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    void: list[str] = []
    for report in reports:
        for fault in report["faults"]:
            if fault["effect"]["holds"]:
                found[(fault["kind"], fault["target"])].append(fault)
            else:
                void.append(f"{fault['kind']} on {fault['target']} ({report['run_id']})")
    lines = [
        "| fault | on | n | detected | answers | within SLO | recall | idle |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, target), faults in sorted(found.items()):
        detected = [fault["recovery"]["detected_s"] for fault in faults]
        seen = [one for one in detected if one is not None]
        said = f"{max(seen):.2f}" if len(seen) == len(detected) else f"{len(seen)} of {len(detected)}"
        cells = [worst([fault["recovery"]["from_heal"][name] for fault in faults]) for name in CLOCKS]
        lines.append(f"| {kind} | {target} | {len(faults)} | {said} | {' | '.join(cells)} |")
    return [*lines, *(f"void: {one}" for one in void)]


def main() -> None:
    """Print the table of the runs named on the command line."""
    reports = [json.loads(Path(run, "report.json").read_text(encoding="utf-8")) for run in sys.argv[1:]]
    print("\n".join(table(reports)))


if __name__ == "__main__":
    main()
