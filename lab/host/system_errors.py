"""Translates what the operating system and the engine's library raise into the lab's own errors.

Each adapter uses it at its border, so that nobody above needs to know which library or kernel file was asked. The lab's
own errors pass through unchanged.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import SubprocessError

from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from lab.errors import FaultError, LabError, WorldError

# Kernel files that vanish or hold something else than usual, programs that time out, texts that are not UTF-8.
SYSTEM_ERRORS = (OSError, SubprocessError, ValueError, LookupError, struct.error)
# docker-py lets some exceptions of the two libraries below it through, above all from streams.
ENGINE_ERRORS = (DockerException, RequestException, HTTPError)


@contextmanager
def as_fault_error(what: str, *, where: str = "", try_: str = "") -> Iterator[None]:
    """Raise a FaultError in place of an error of the operating system."""
    try:
        yield
    except SYSTEM_ERRORS as error:
        raise _translated(FaultError, what, where, try_, error) from error


@contextmanager
def as_world_error(what: str, *, where: str = "", try_: str = "") -> Iterator[None]:
    """Raise a WorldError in place of an error of the operating system or of the engine's library.

    An InterruptedError passes: it says that the work was cancelled, not that something refused.
    """
    try:
        yield
    except InterruptedError:
        raise
    except (*SYSTEM_ERRORS, *ENGINE_ERRORS) as error:
        raise _translated(WorldError, what, where, try_, error) from error


@contextmanager
def as_engine_silent(where: str = "") -> Iterator[None]:
    """Raise a WorldError in place of what docker-py raises when the engine does not answer, or refuses a question."""
    with as_world_error("the Docker engine does not answer", where=where, try_="`lab doctor`, then `lab up`"):
        yield


def _translated(kind: type[LabError], what: str, where: str, try_: str, error: Exception) -> LabError:
    explanation = getattr(error, "explanation", None)
    said = str(explanation or error).strip() or "no message"
    return kind(what, where=where, last_state=f"{type(error).__name__}: {said}", try_=try_)
