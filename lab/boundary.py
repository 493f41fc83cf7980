"""The boundary: the only module of the lab that catches every exception.

Each call into an adapter goes through `attempt`, so that an unexpected exception becomes a value with its type
and its place. The caller then decides what follows: a measurement that could not be taken, a fault that is void, a heal
that is tried again, a sampler that died. KeyboardInterrupt, SystemExit and a cancelled task are no `Exception` and keep
their meaning.
"""

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from lab.errors import LabError
from lab.repository import ROOT

T = TypeVar("T")

TEXT_CHARS_MAX = 1000
FRAMES_MAX = 12
_ROOT = f"{ROOT}/"


@dataclass(frozen=True, slots=True)
class Caught:
    """An exception as a value. An `expected` one is an error of the lab's own, whose text says what to try."""

    error: Exception

    @property
    def expected(self) -> bool:
        """Whether the lab raised it on purpose, with a message for people."""
        return isinstance(self.error, LabError)

    @property
    def type_name(self) -> str:
        """The name of the exception's class."""
        return type(self.error).__name__

    @property
    def detail(self) -> str:
        """The exception's own text, cut to a length that a journal can hold."""
        try:
            return str(self.error)[:TEXT_CHARS_MAX]
        except Exception:
            return "(the exception's text cannot be made)"

    @property
    def frames(self) -> list[str]:
        """Where it came from, innermost first, as `file:line function`; files of the lab are relative to its root."""
        walked = list(traceback.walk_tb(self.error.__traceback__))
        places = [
            f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}" for frame, line in walked
        ]
        return places[::-1][:FRAMES_MAX]

    @property
    def place(self) -> str:
        """The innermost frame in a module of the lab, or the innermost of all."""
        outside = (__file__, _short(__file__))
        own = [frame for frame in self.frames if frame.startswith("lab/") and not frame.startswith(outside)]
        return next(iter([*own, *self.frames]), "unknown place")

    def __str__(self) -> str:
        """The message of the lab's own error; for any other exception its type, place and text."""
        if self.expected:
            return self.detail
        return f"{self.type_name} at {self.place}: {self.detail}"

    def facts(self) -> dict[str, str]:
        """The fields of a `lab_error` event: type, text, place, and the frames that led there."""
        return {
            "error": self.type_name,
            "detail": self.detail,
            "place": self.place,
            "trace": " < ".join(self.frames),
        }


def attempt(work: Callable[[], T], *, passing: tuple[type[Exception], ...] = ()) -> T | Caught:
    """The result of `work`, or the exception that it raised. Exceptions of the types in `passing` are raised again."""
    try:
        return work()
    except passing:
        raise
    except Exception as error:
        return Caught(error)


async def attempt_async(work: Awaitable[T], *, passing: tuple[type[Exception], ...] = ()) -> T | Caught:
    """As `attempt`, for a coroutine."""
    try:
        return await work
    except passing:
        raise
    except Exception as error:
        return Caught(error)


def run_sampler(work: Callable[[], None], report: Callable[[str], None]) -> None:
    """The body of a sampler's thread. If `work` ends too early for any reason, that reason is reported in words."""
    finished = False
    try:
        ended = attempt(work)
        if isinstance(ended, Caught):
            report(str(ended))
        finished = True
    finally:
        # SystemExit, for example, is no `Exception`; without this it would end the thread silently.
        if not finished:
            report("its thread was ended")


def _short(filename: str) -> str:
    own = filename.removeprefix(_ROOT)
    return own if own != filename else filename.rpartition("/")[2]
