"""Closes what a run has open. If one part raises while it is closed, the next one is closed all the same."""

from collections.abc import Callable
from typing import Any, Protocol

from lab.boundary import Caught, attempt
from lab.errors import LabError, RunFailed
from lab.model.samples import STREAMS_OF_SAMPLER, TABLES
from lab.ports import Guard, Recorder

TOLD_FRAMES = 5


class EngineFollower(Protocol):
    """The reader of the engine's events."""

    def stop(self, services: tuple[str, ...]) -> None: ...


class RowStore(Protocol):
    """The sample store; `close` returns the number of rows that each table was given."""

    def close(self) -> dict[str, int]: ...


class OpenJournal(Recorder, Protocol):
    """A journal that can be closed."""

    @property
    def next_seq(self) -> int: ...
    def close(self) -> None: ...


def close_all(
    journal: OpenJournal, guard: Guard, log: EngineFollower, store: RowStore, services: tuple[str, ...]
) -> list[Caught]:
    """Close everything in order, and return what failed.

    The guardian ends first, while the run still lives and its journal has no end yet. A run without an end in its
    journal passes nothing.
    """
    closed = attempt(guard.close)
    failures = [closed] if isinstance(closed, Caught) else []
    if failures:
        record_failure(journal, failures[0])
    _close_sampler("engine_log", lambda: log.stop(services), journal, failures)
    counted = _close_sampler("sample_store", store.close, journal, failures)
    # If the rows are unknown, the field is left out, and the judge reports that.
    rows: dict[str, Any] = {} if isinstance(counted, Caught) else {"rows": counted}
    last = attempt(lambda: journal.record("run_ended", durable=True, **rows, last_seq=journal.next_seq))
    ended = attempt(journal.close)
    return failures + [caught for caught in (last, ended) if isinstance(caught, Caught)]


def _close_sampler(
    sampler: str, close: Callable[[], Any], journal: Recorder, failures: list[Caught]
) -> Any | Caught:
    done: Any | Caught = attempt(close)
    if isinstance(done, Caught):
        failures.append(done)
        record_error(journal, f"{sampler}.close", done)
        died: dict[str, Any] = {
            "sampler": sampler,
            "why": str(done),
            "streams": list(STREAMS_OF_SAMPLER.get(sampler, TABLES)),
        }
        attempt(lambda: journal.record("sampler_died", durable=True, **died))
    return done


def record_failure(journal: Recorder, caught: Caught) -> None:
    """Journal that the lab itself failed, unless the run loop has journalled it already."""
    if not isinstance(caught.error, RunFailed):
        record_error(journal, "session", caught)
        attempt(lambda: journal.record("lab_failed", durable=True, why=str(caught)))


def record_error(journal: Recorder, where: str, caught: Caught) -> None:
    """Journal an unexpected exception with its type and place."""
    if not caught.expected:
        facts: dict[str, Any] = {"where": where, **caught.facts()}
        attempt(lambda: journal.record("lab_error", **facts))


def run_failed(caught: Caught) -> LabError:
    """The error to show to the user. An error of the lab's own already says what to try."""
    if isinstance(caught.error, LabError):
        return caught.error
    return RunFailed(
        f"the lab itself failed with {caught.type_name}: {caught.detail}",
        where=caught.place,
        last_state=" < ".join(caught.frames[:TOLD_FRAMES]),
        try_="run again; if it happens again, it is a bug of the lab: report the lines above",
    )
