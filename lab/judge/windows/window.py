"""Windows of time in a run, and what remains of them when some times are left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lab.model.samples import Stream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """A time in a run, within one segment: from `from_ms` up to, but not including, `to_ms`.

    `fault` is the id of the fault that it belongs to. `complete` is True if its end was recorded.
    """

    name: str
    phase: str
    from_ms: float
    to_ms: float
    fault: str | None = None
    complete: bool = True
    segment: int = 0

    def holds(self, at_ms: float) -> bool:
        """Whether a time falls into the window."""
        return self.from_ms <= at_ms < self.to_ms

    @property
    def seconds(self) -> float:
        """How long the window is."""
        return max(0.0, self.to_ms - self.from_ms) / 1000


def within(stream: Stream[T], windows: Iterable[Window]) -> list[T]:
    """The rows that fall into any of these windows, each once, in order of time."""
    return [row for window in apart(windows) for row in stream.between(window.from_ms, window.to_ms)]


def apart(windows: Iterable[Window]) -> Iterator[Window]:
    """The same stretches of time in order, without what an earlier window holds already."""
    done_ms = float("-inf")
    for window in sorted(windows, key=lambda window: (window.from_ms, window.to_ms)):
        yield replace(window, from_ms=max(window.from_ms, done_ms))
        done_ms = max(done_ms, window.to_ms)


def without(windows: Iterable[Window], holes: Sequence[tuple[float, float]]) -> tuple[Window, ...]:
    """What remains of these windows outside all holes, each hole given by its begin and end in ms."""
    return tuple(piece for window in windows for piece in _pieces(window, holes))


def _pieces(window: Window, holes: Sequence[tuple[float, float]]) -> list[Window]:
    pieces = [(window.from_ms, window.to_ms)]
    for hole_from, hole_to in holes:
        if hole_from >= window.to_ms or hole_to <= window.from_ms:
            continue
        cut = [((a, min(b, hole_from)), (max(a, hole_to), b)) for a, b in pieces]
        pieces = [piece for pair in cut for piece in pair if piece[0] < piece[1]]
    return [replace(window, from_ms=a, to_ms=b) for a, b in sorted(set(pieces))]
