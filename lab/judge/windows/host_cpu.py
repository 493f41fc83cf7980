"""How much CPU time other processes on the machine used: a target that must wait for a CPU is late but not to blame."""

import math
from collections import defaultdict
from itertools import pairwise

from lab.model.evidence import Evidence

IDLE, CPU = "host_cpu_idle_s", "_cpu_s"


def remark(evidence: Evidence, from_ms: float, to_ms: float) -> str:
    """The share of other processes in words, for a verdict that is not a pass; empty if there are too few readings."""
    share = share_of_others(evidence, from_ms, to_ms)
    return "" if share is None else f"; all else on this machine took {share:.0%} of its CPU meanwhile"


def share_of_others(evidence: Evidence, from_ms: float, to_ms: float) -> float | None:
    """The share of the machine's CPU time that other processes used, in [0, 1].

    Others are all but the services and the lab itself; k6 and the container engine belong to them. None if fewer than
    two readings lie in that time.
    """
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for reading in evidence.samples.host.between(from_ms, math.nextafter(to_ms, math.inf)):
        if reading.metric.endswith((CPU, IDLE)):
            series[reading.metric].append((reading.at_ms, reading.value))
    idle, started = series.get(IDLE, []), evidence.journal.of("run_started")
    host = started[0].data.get("host") if started else None
    cpus = host.get("cpus") if isinstance(host, dict) else None
    if len(idle) < 2 or not isinstance(cpus, int) or cpus < 1:
        return None
    available_s = cpus * (idle[-1][0] - idle[0][0]) / 1000
    # The counter of a container that was restarted begins at 0 again.
    accounted_s = sum(max(0.0, b[1] - a[1]) for readings in series.values() for a, b in pairwise(readings))
    return min(1.0, max(0.0, 1 - accounted_s / available_s)) if available_s > 0 else None
