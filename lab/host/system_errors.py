"""Translates exceptions of the operating system and of the engine's library into the lab's own errors.

Each adapter does this itself, so that higher layers need not know which library or kernel file it uses. The lab's
own errors pass unchanged.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import SubprocessError

from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from lab.errors import FaultError, LabError, WorldError

# For kernel files that vanish or have unexpected content, programs that time out, and texts that are not UTF-8.
SYSTEM_ERRORS = (OSError, SubprocessError, ValueError, LookupError, struct.error)
# docker-py does not translate all exceptions of the two libraries that it uses, above all those of streams.
ENGINE_ERRORS = (DockerException, RequestException, HTTPError)


@contextmanager
def as_fault_error(what: str, *, where: str = "", try_: str = "") -> Iterator[None]:
    """Turn an error of the operating system into a FaultError."""
    try:
        yield
    except SYSTEM_ERRORS as error:
        raise _translated(FaultError, what, where, try_, error) from error


@contextmanager
def as_world_error(what: str, *, where: str = "", try_: str = "") -> Iterator[None]:
    """Turn an error of the operating system or of the engine's library into a WorldError.

    An InterruptedError passes unchanged: it means that the work was cancelled.
    """
    try:
        yield
    except InterruptedError:
        raise
    except (*SYSTEM_ERRORS, *ENGINE_ERRORS) as error:
        raise _translated(WorldError, what, where, try_, error) from error


@contextmanager
def as_engine_silent(where: str = "") -> Iterator[None]:
    """Turn any exception of docker-py into a WorldError that says that the engine does not answer."""
    with as_world_error("the Docker engine does not answer", where=where, try_="`lab doctor`, then `lab up`"):
        yield


def _translated(kind: type[LabError], what: str, where: str, try_: str, error: Exception) -> LabError:
    explanation = getattr(error, "explanation", None)
    text = str(explanation or error).strip() or "no message"
    return kind(what, where=where, last_state=f"{type(error).__name__}: {text}", try_=try_)
