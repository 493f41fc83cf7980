"""What probes showed of the target, as columns: a long run has millions of probes, and an array holds each in 20 bytes.

`ProbeResults` are probes as they were stored. `Observations` are probes that were rated good or bad by one rule; the
recovery clock reads these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.judge.stats.intervals import Flags, Floats
from lab.model.samples import STALLED, WRONG, Layer, Probe, Recall, Stream

_RIGHT, _WRONG, _FAILED, _NO_EVIDENCE = range(4)
# Every outcome that is not named here is a layer at which the probe failed.
_CLASS_OF_OUTCOME = {
    Layer.OK.value: _RIGHT,
    WRONG: _WRONG,
    Layer.UNSENT.value: _NO_EVIDENCE,
    STALLED: _NO_EVIDENCE,
}


class Observation(NamedTuple):
    """One observation of the target, good or bad; `done_ms` equals `sent_ms` where no answer came.

    `asked` is False where the target was not asked: no request slot was free, or the lab itself stood still. Such an
    observation is never good, and it is no evidence that the target was bad.
    """

    sent_ms: float
    done_ms: float
    good: bool
    asked: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Observations in order of sending: the fields of `Observation` as float64[n], float64[n], bool[n] and bool[n]."""

    sent_ms: Floats
    done_ms: Floats
    good: Flags
    asked: Flags

    @classmethod
    def of(cls, rows: Iterable[Observation]) -> "Observations":
        """The same observations as columns, sorted."""
        sent_ms, done_ms, good, asked = list(zip(*rows, strict=True)) or ((),) * 4
        return cls._in_order(
            np.array(sent_ms, np.float64),
            np.array(done_ms, np.float64),
            np.array(good, np.bool_),
            np.array(asked, np.bool_),
        )

    @classmethod
    def rated(cls, sent_ms: Floats, done_ms: Floats, good: Flags, asked: Flags) -> "Observations":
        """Observations whose `done_ms` is NaN where no answer came; without an answer, none is good."""
        answered = ~np.isnan(done_ms)
        return cls._in_order(sent_ms, np.where(answered, done_ms, sent_ms), good & answered, asked)

    @classmethod
    def _in_order(cls, sent_ms: Floats, done_ms: Floats, good: Flags, asked: Flags) -> "Observations":
        order = np.lexsort((good, done_ms, sent_ms))
        return cls(sent_ms[order], done_ms[order], good[order], asked[order])

    def __len__(self) -> int:
        return int(self.sent_ms.size)

    def __getitem__(self, place: int) -> Observation:
        return Observation(
            float(self.sent_ms[place]),
            float(self.done_ms[place]),
            bool(self.good[place]),
            bool(self.asked[place]),
        )

    def __iter__(self) -> Iterator[Observation]:
        return (self[place] for place in range(len(self)))

    def where(self, chosen: Flags) -> "Observations":
        """Only the observations with a True in `chosen`, bool[n]."""
        return Observations(self.sent_ms[chosen], self.done_ms[chosen], self.good[chosen], self.asked[chosen])

    def since(self, from_ms: float) -> "Observations":
        """Only the observations that were sent at this time or later."""
        return self.where(self.sent_ms >= from_ms)


@dataclass(frozen=True, slots=True, eq=False)
class ProbeResults:
    """Probes as stored: float64[n], float64[n] with NaN where no answer came, and uint8[n], the outcome's class."""

    sent_ms: Floats
    done_ms: Floats
    outcome: NDArray[np.uint8]

    @classmethod
    def of(cls, probes: Iterable[Probe]) -> "ProbeResults":
        """The results of these probes."""
        return cls._of_rows((probe.sent_ms, probe.done_ms, probe.outcome) for probe in probes)

    @classmethod
    def read(cls, probes: Stream[Probe], name: str, from_ms: float, to_ms: float) -> "ProbeResults":
        """The results of the probes of one name that were sent from one time up to another."""
        return cls._of_rows(probes.fields(("sent_ms", "done_ms", "outcome"), from_ms, to_ms, probe=name))

    @classmethod
    def _of_rows(cls, rows: Iterable[tuple[float, float | None, str]]) -> "ProbeResults":
        sent_ms, done_ms, outcomes = list(zip(*rows, strict=True)) or ((),) * 3
        classes = bytes(_CLASS_OF_OUTCOME.get(outcome, _FAILED) for outcome in outcomes)
        return cls(
            np.array(sent_ms, np.float64),
            # NumPy makes a NaN of None.
            np.array(done_ms, np.float64),
            np.frombuffer(classes, np.uint8),
        )


def answering(probes: ProbeResults) -> Observations:
    """Canary probes, good when they were answered, however late and whether the answer was right or wrong."""
    return _rated(probes, (probes.outcome == _RIGHT) | (probes.outcome == _WRONG))


def within_slo(probes: ProbeResults, slo_ms: float) -> Observations:
    """Canary probes, good when the right answer came within `slo_ms` after the probe was sent."""
    return _rated(probes, (probes.outcome == _RIGHT) & (probes.done_ms - probes.sent_ms <= slo_ms))


def accurate(probes: ProbeResults) -> Observations:
    """Canary probes, good when the answer held the right documents, however late it came."""
    return _rated(probes, probes.outcome == _RIGHT)


def idle(probes: ProbeResults) -> Observations:
    """Readings of the store, good when it reported that it has nothing to do; a store that is silent is not idle."""
    return _rated(probes, probes.outcome == _RIGHT)


def accurate_enough(queries: Iterable[Recall], recall_min: float) -> Observations:
    """Truth queries, good when the answer holds at least this share of the exact neighbours; no answer holds none."""
    return Observations.of(
        Observation(
            query.sent_ms,
            query.sent_ms if query.done_ms is None else query.done_ms,
            query.answered and query.hits / query.k >= recall_min,
        )
        for query in queries
    )


def _rated(probes: ProbeResults, good: Flags) -> Observations:
    return Observations.rated(probes.sent_ms, probes.done_ms, good, probes.outcome != _NO_EVIDENCE)
