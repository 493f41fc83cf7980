"""How much CPU time other processes on the machine used: a target that must wait for a CPU is late but not to blame.

Others are all but the services, the load generator and the lab itself. What a hypervisor takes away is theirs too.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lab.judge.stats.intervals import Floats
from lab.model.evidence import Evidence
from lab.model.samples import HOST_CPU_IDLE, HOST_CPU_WAITING, LOAD_CPU

CPU = "_cpu_s"
# A server that its load uses to half of its capacity, and that loses a share of the capacity to others, takes
# 1 / (1 - 2 * share) times as long: (1 - 1/2) / (1 - share - 1/2). The lab asks for no more than half.
HALF_LOADED = 2.0
# Readings beyond a window that belong to the pieces at its two ends.
_MARGIN_PERIODS = 2.0

_Readings = list[tuple[float, float]]
_Series = Mapping[str, _Readings]


def remark(evidence: Evidence, from_ms: float, to_ms: float) -> str:
    """The share of other processes in words, for a verdict that is not a pass; empty if there are too few readings."""
    share = share_of_others(evidence, from_ms, to_ms)
    return "" if share is None else f"; all else on this machine took {share:.0%} of its CPU meanwhile"


def blame(evidence: Evidence, from_ms: float, to_ms: float) -> str:
    """What others did to a time-based check, in words."""
    return f"all else took {share_of_others(evidence, from_ms, to_ms) or 0.0:.0%} of its CPU"


def share_of_others(evidence: Evidence, from_ms: float, to_ms: float) -> float | None:
    """The share of the machine's CPU time that other processes used, in [0, 1].

    k6 belongs to the others in runs from before its CPU time was read. None if fewer than two readings lie in that
    time.
    """
    series, cpus = _series(evidence, from_ms, math.nextafter(to_ms, math.inf)), _cpus(evidence)
    idle = series.get(HOST_CPU_IDLE, [])
    available_s = (cpus or 0) * _lasts_ms(idle) / 1000
    if available_s <= 0:
        return None
    accounted_s = sum(
        float(_grown(metric, readings).sum())
        for metric, readings in series.items()
        if metric != HOST_CPU_WAITING
    )
    return max(0.0, 1 - accounted_s / available_s)


def share_waiting(evidence: Evidence, from_ms: float, to_ms: float) -> float | None:
    """The share of the time in which a task on the machine waited for a CPU (PSI), in [0, 1]; None if not read."""
    waited = _series(evidence, from_ms, math.nextafter(to_ms, math.inf)).get(HOST_CPU_WAITING, [])
    lasts_ms = _lasts_ms(waited)
    if lasts_ms <= 0:
        return None
    return min(1.0, max(0.0, 1000 * (waited[-1][1] - waited[0][1]) / lasts_ms))


@dataclass(frozen=True, slots=True)
class Starvation:
    """What others may have taken from the target: for each piece between two readings, how much longer things took.

    `edges_ms` is float64[n + 1] and increases, `wasted_ms` float64[n + 1] the time that was lost up to each edge.
    """

    edges_ms: Floats
    wasted_ms: Floats

    def shortened(self, from_ms: Floats | float, took_ms: Floats | float) -> Floats:
        """How long (ms) it takes at the least, if others take nothing, what began then and took so long.

        What never ended (infinite) still does not, except where everything was taken: nothing is known about it there.
        """
        took = np.asarray(took_ms)
        finite = np.where(np.isfinite(took), took, 1000.0)
        left = finite - (self._wasted(from_ms + finite) - self._wasted(from_ms))
        return np.where(np.isfinite(took), left, np.where(left > 0.0, np.inf, 0.0))

    def _wasted(self, at_ms: Floats | float) -> Floats:
        return np.asarray(np.interp(at_ms, self.edges_ms, self.wasted_ms))


def starvation(evidence: Evidence, from_ms: float, to_ms: float) -> Starvation | None:
    """What others may have taken between two times; None for a run that did not read the load generator's CPU time.

    In a piece they took at most the smaller of two shares of the target's capacity: the CPU time that went to others,
    and the time in which a task waited for a CPU. Without PSI, the latter is no more than the CPUs were busy.
    """
    margin_ms = _MARGIN_PERIODS * 1000 * evidence.plan.observer.memory_every_s
    series, cpus = _series(evidence, from_ms - margin_ms, to_ms + margin_ms), _cpus(evidence)
    idle = series.get(HOST_CPU_IDLE, [])
    if LOAD_CPU not in series or len(idle) < 2 or cpus is None:
        return None
    edges = np.array([at_ms for at_ms, _ in idle])
    lasts_s = np.diff(edges) / 1000
    idle_s = _used_s(HOST_CPU_IDLE, idle, edges)
    known_s = sum(_used_s(metric, series[metric], edges) for metric in series if metric.endswith(CPU))
    others_s = np.maximum(0.0, cpus * lasts_s - idle_s - known_s)
    busy_s = np.maximum(0.0, lasts_s - idle_s / cpus)
    waiting = series.get(HOST_CPU_WAITING)
    waiting_s = busy_s if waiting is None else _used_s(HOST_CPU_WAITING, waiting, edges)
    taken_s = np.minimum(others_s / _cpus_of_target(evidence, cpus), waiting_s)
    wasted_s = np.minimum(lasts_s, HALF_LOADED * taken_s)
    return Starvation(edges, np.concatenate(([0.0], 1000 * np.cumsum(wasted_s))))


def _cpus_of_target(evidence: Evidence, cpus: int) -> float:
    """The CPUs that the target can use, as measured at the run's beginning; else as its `target.yaml` says.

    A run from before its CPU time was measured has only the latter, which somebody wrote on another machine.
    """
    plan = evidence.plan
    measured = None if plan.capacity is None else plan.capacity.cpus_used(plan.target.mix)
    return plan.target.capacity_cpu_cores if measured is None else min(measured, float(cpus))


def least_s(evidence: Evidence, from_ms: float, took_s: float) -> float:
    """How long it takes at the least, if others take nothing, what began then and took so long."""
    starved = starvation(evidence, from_ms, from_ms + 1000 * took_s)
    return took_s if starved is None else float(starved.shortened(from_ms, 1000 * took_s)) / 1000


def _series(evidence: Evidence, from_ms: float, to_ms: float) -> _Series:
    """The readings of each counter of CPU time, in order."""
    series: dict[str, _Readings] = defaultdict(list)
    for reading in evidence.samples.host.between(from_ms, to_ms):
        if reading.metric.endswith((CPU, HOST_CPU_IDLE, HOST_CPU_WAITING)):
            series[reading.metric].append((reading.at_ms, reading.value))
    return series


def _lasts_ms(readings: _Readings) -> float:
    return readings[-1][0] - readings[0][0] if readings else 0.0


def _used_s(metric: str, readings: _Readings, edges_ms: Floats) -> Floats:
    """By how much a counter grew between the edges, float64[n]."""
    times = np.array([at_ms for at_ms, _ in readings])
    return np.diff(np.interp(edges_ms, times, np.concatenate(([0.0], np.cumsum(_grown(metric, readings))))))


def _grown(metric: str, readings: _Readings) -> Floats:
    """By how much a counter grew from each reading to the next, float64[n - 1].

    The counter of a container that was restarted began at 0 again, so that it grew by all that it shows since. The
    machine's own idle time may go back a little, as the kernel corrects it, and then it did not grow.
    """
    values = np.array([value for _, value in readings])
    steps = np.diff(values)
    return np.where(steps < 0.0, values[1:] if metric.endswith(CPU) else 0.0, steps)


def _cpus(evidence: Evidence) -> int | None:
    started = evidence.journal.of("run_started")
    host = started[0].data.get("host") if started else None
    cpus = host.get("cpus") if isinstance(host, dict) else None
    return cpus if isinstance(cpus, int) and cpus > 0 else None
