"""Running programs: one port with a real implementation, so that tests can stand in for apt, go and
systemctl.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.errors import WorldError

NOT_FOUND = 127
TIMED_OUT = 124
TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: 127 when it does not exist, 124 when its time was up."""

    command: tuple[str, ...]
    returncode: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    def tail(self) -> str:
        """The last lines of what it said, errors preferred."""
        return tail(self.stderr.strip() or self.stdout.strip()) or "it said nothing"

    def require(self, what: str, *, try_: str, where: str = "") -> "Outcome":
        """Itself when the program succeeded, else a WorldError with its last words."""
        if self.ok:
            return self
        said = f"`{' '.join(self.command[:4])}` exited {self.returncode}: {self.tail()}"
        raise WorldError(what, where=where, last_state=said, try_=try_)


class Runner(Protocol):
    """Programs on this machine."""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Outcome: ...
    def find(self, program: str) -> str | None: ...
    def detach(self, command: Sequence[str], log: Path) -> "Detached": ...
    def stop_all(self) -> None: ...


class Detached(Protocol):
    """A program started to outlive this one."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...


class Subprocesses:
    """The real `Runner`; `env` adds to the environment, and what still runs can be stopped from another
    thread.
    """

    def __init__(self) -> None:
        self._live: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Outcome:
        """Run to the end, or kill when `timeout_s` is over."""
        parts = tuple(command)
        try:
            process = self._open(parts, {**os.environ, **(env or {})}, cwd)
        except OSError as error:
            return Outcome(parts, NOT_FOUND, "", str(error))
        try:
            out, err = process.communicate(timeout=timeout_s)
            return Outcome(parts, process.returncode, out, err)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return Outcome(parts, TIMED_OUT, out, f"{err}\nnot done after {timeout_s:.0f} s")
        finally:
            self._forget(process)

    def find(self, program: str) -> str | None:
        """The program's path, or None; looks where root's programs live even when PATH leaves them out."""
        path = os.environ.get("PATH", os.defpath)
        return shutil.which(program, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")

    def detach(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, its words in `log`; it outlives this process."""
        with log.open("ab") as file:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
            )

    def stop_all(self) -> None:
        """Terminate what runs, and refuse to start more: somebody interrupted, or another part failed."""
        with self._lock:
            self._stopped = True
            live = list(self._live)
        for process in live:
            process.terminate()

    def _open(
        self, parts: tuple[str, ...], env: Mapping[str, str], cwd: Path | None
    ) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise InterruptedError("stopped: another step failed or the user interrupted")
            process = subprocess.Popen(
                parts,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=env,
                cwd=cwd,
            )
            self._live.add(process)
            return process

    def _forget(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._live.discard(process)
        if process.poll() is None:
            process.kill()
            process.wait()


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text."""
    return "\n".join(text.splitlines()[-lines:])


def is_root() -> bool:
    """Whether this process may do anything on this machine."""
    return os.geteuid() == 0
