"""What the target can answer on this machine, as measured at the beginning of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

# A server that answers one call at a time shows a little more than 1: while it answers one caller, others already send.
ONE_AT_A_TIME_MAX = 1.6


@dataclass(frozen=True, slots=True)
class OperationCost:
    """What one operation takes of the target.

    `calls_per_s` is the throughput of this operation alone with several callers in a closed loop. So one call a second
    takes 1 / `calls_per_s` of the capacity, whatever its bottleneck is: a turn in a queue, the CPU or the store.
    `latency_ms` is the median with one caller, `cpu_ms` the CPU time of the target's container for one call.
    """

    calls_per_s: float
    latency_ms: float
    cpu_ms: float
    calls: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """The cost of each operation, and the calls of the load's mix that the target answers in a second at most.

    `side_by_side` is the number of calls that it works on at the same time: the throughput of several callers divided
    by that of one. `took_s` is how long the measurement took. `noise_ms` is how much too late this machine wakes a
    timer of the lab (P95): a time that is not longer than that cannot be told from none. A `short` measurement is
    that of a fault by hand: fewer calls, so it is less exact.
    """

    operations: Mapping[str, OperationCost]
    mix_per_s: float
    side_by_side: float
    took_s: float
    noise_ms: float = 0.0
    short: bool = False

    def share(self, rates_hz: Mapping[str, float]) -> float:
        """The share of the capacity that these calls a second take; raises KeyError for an unmeasured operation."""
        return sum(rate_hz / self.operations[name].calls_per_s for name, rate_hz in rates_hz.items())

    def load_share(self, load_per_s: float) -> float:
        """The share of the capacity that a load of this rate takes."""
        return load_per_s / self.mix_per_s

    def cpus_used(self, mix: Mapping[str, float]) -> float | None:
        """The CPUs that the target uses while it answers this mix as fast as it can; None where that is not known.

        For each operation that answered, its CPU time is set against its turn of 1 / `calls_per_s`.
        """
        answered = {name: share for name, share in mix.items() if self._answered(name)}
        cpu_s = sum(share * self.operations[name].cpu_ms for name, share in answered.items()) / 1000
        turns_s = sum(share / self.operations[name].calls_per_s for name, share in answered.items())
        return cpu_s / turns_s if cpu_s > 0 else None

    def _answered(self, name: str) -> bool:
        return name in self.operations and self.operations[name].calls > 0

    def in_words(self, load_per_s: float, observer_hz: Mapping[str, float]) -> str:
        """One line: `21 calls/s of this mix, one at a time; load 4/s = 19 %, observer 3 %`."""
        shares = (
            f"load {load_per_s:g}/s = {_percent(self.load_share(load_per_s))}, "
            f"observer {_percent(self.share(observer_hz))}"
        )
        measured = f"{self.mix_per_s:.3g} calls/s of this mix, {self._at_once()}"
        return f"{measured}{' (a short measurement)' if self.short else ''}; {shares}"

    def _at_once(self) -> str:
        if self.side_by_side < ONE_AT_A_TIME_MAX:
            return "one at a time"
        return f"about {self.side_by_side:.2g} at a time"


def _percent(share: float) -> str:
    """Whole percents from 10 % on, else two digits, so that a small share is not shown as none."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
