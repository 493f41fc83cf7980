"""The memory series that were sampled. No check judges their growth yet."""

from collections import defaultdict
from collections.abc import Sequence

from lab.judge.windows.segments import segment_at
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, Verdict

KEY = "memory"

# Segment, container, process, metric, process id and start time. A whole container has "" and 0 in place of a process.
Series = tuple[int, str, str, str, int, float]


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per metric of each container and process in each segment. A restarted process is a new series."""
    series: dict[Series, list[float]] = defaultdict(list)
    for reading in evidence.samples.memory:
        segment = segment_at(windows.segments, reading.at_ms).number
        owner = (segment, reading.container, reading.process or "", reading.metric)
        series[*owner, reading.pid or 0, reading.started or 0.0].append(reading.at_ms)
    return [
        {
            "container": container,
            "process": process or None,
            "metric": metric,
            "pid": pid or None,
            "started": started or None,
            "segment": segment,
            "verdict": Verdict.NOT_TESTED.value,
            "growth_mb_per_24h": None,
            "ci": None,
            "mde_mb_per_24h": None,
            "samples": len(times),
            "duration_s": (max(times) - min(times)) / 1000,
        }
        for (segment, container, process, metric, pid, started), times in sorted(series.items())
    ]
