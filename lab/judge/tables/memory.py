"""The memory series that were sampled; their growth is judged by nothing yet."""

from collections import defaultdict
from collections.abc import Sequence

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, Verdict


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per container, process and metric."""
    series: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for reading in evidence.samples.memory:
        series[reading.container, reading.process or "", reading.metric].append(reading.at_ms)
    return [
        {
            "container": container,
            "process": process or None,
            "metric": metric,
            "verdict": Verdict.NOT_TESTED.value,
            "growth_mb_per_24h": None,
            "ci": None,
            "mde_mb_per_24h": None,
            "samples": len(times),
            "duration_s": (max(times) - min(times)) / 1000,
        }
        for (container, process, metric), times in sorted(series.items())
    ]
