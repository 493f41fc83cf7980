"""Runs programs, behind a Protocol: tests use a fake in place of apt, go and systemctl."""

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
    """The result of a program; exit code 127 means that it does not exist, 124 that it reached its timeout."""

    command: tuple[str, ...]
    returncode: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    def tail(self) -> str:
        """The last lines of its error output, or of its output if there are no errors."""
        return tail(self.stderr.strip() or self.stdout.strip()) or "it printed nothing"

    def require(self, what: str, *, try_: str, where: str = "") -> "Outcome":
        """The outcome itself if the program succeeded; else raise a WorldError with its last lines."""
        if self.ok:
            return self
        state = f"`{' '.join(self.command[:4])}` exited {self.returncode}: {self.tail()}"
        raise WorldError(what, where=where, last_state=state, try_=try_)


class Runner(Protocol):
    """Finds and runs programs on this machine."""

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
    """A program that was started and may outlive this process."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...


class Subprocesses:
    """The real `Runner`. `env` adds to the environment; another thread can stop the programs that still run."""

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
        """Run a program until it ends; it is killed after `timeout_s`."""
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
        """The path of a program, or None; the folders of root's programs are searched even if PATH lacks them."""
        path = os.environ.get("PATH", os.defpath)
        return shutil.which(program, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")

    def detach(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, with its output in `log`; it outlives this process."""
        with log.open("ab") as file:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
            )

    def stop_all(self) -> None:
        """Terminate all running programs and start no more, because of an interrupt or of another failure."""
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
    """True if this process runs as root."""
    return os.geteuid() == 0
