"""A run's connection to its guardian: starts it, leases each fault, and checks the fence before each effect."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.errors import FaultError, FencedError, WorldError
from lab.guard.fence import FIRST_GENERATION, GuardFiles, GuardRecord
from lab.guard.guardian_channel import boot_s
from lab.guard.guardian_journal import origin_ns
from lab.host.machine.state import state_dir
from lab.host.processes.process_handle import own_process, started_ticks
from lab.ports import Clock
from lab.repository import ROOT

# It starts in 0.4 s on an idle machine, while the run prepares itself.
READY_TIMEOUT_S = 30.0
ACK_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 10.0
END_TIMEOUT_S = 3.0


class GuardianClient:
    """Implements `lab.ports.Guard`. The constructor starts the guardian and returns at once; `close` ends it.

    `directory` is the run directory. The guardian has a session of its own, and holds no lock and no file of the run.
    """

    def __init__(
        self, *, run_id: str, project: str, directory: Path, clock: Clock, files: GuardFiles
    ) -> None:
        self._run_id, self._files = run_id, files
        self._log = directory / "logs" / "guardian.log"
        pid, started = own_process()
        self._child = self._start(
            *("-m", "lab.guard.guardian", run_id, project, str(directory.resolve())),
            *(str(pid), repr(started), str(origin_ns(clock))),
        )
        self._process = (self._child.pid, started_ticks(self._child.pid) or 0.0)
        self._rest, self._received = b"", list[dict[str, Any]]()
        self._ready = self._closed = False
        try:
            files.open(GuardRecord(run_id, project, pid, started, *self._process))
        except WorldError:
            self._child.kill()
            self.close()
            raise

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=ROOT,
                    env={**os.environ, "LAB_STATE_DIR": str(state_dir())},
                    start_new_session=True,
                    bufsize=0,
                )
        except OSError as error:
            raise WorldError(
                "the guardian cannot be started, and without a guardian nothing is injected",
                where=str(self._log),
                last_state=str(error),
                try_="free disk space and memory, then run again",
            ) from error

    @property
    def process(self) -> tuple[int, float]:
        """The guardian's process id and start time in clock ticks since boot."""
        return self._process

    def lease(self, fault_id: str, seconds: float) -> float:
        """Lease one fault for `seconds`; returns the end of the lease in seconds of CLOCK_BOOTTIME.

        Raises FaultError if the guardian is dead or does not acknowledge: then nothing may be injected.
        """
        self.wait_ready()
        until_s = boot_s() + seconds
        self._send({"lease": fault_id, "until_s": until_s})
        try:
            self._wait_for("leased", fault_id, ACK_TIMEOUT_S)
        except FaultError:
            self.release(fault_id)
            raise
        return until_s

    def wait_ready(self) -> None:
        """Wait until the guardian is ready to heal; raises FaultError if it does not become ready."""
        if not self._ready:
            self._wait_for("ready", True, READY_TIMEOUT_S)
            self._ready = True

    def check(self) -> None:
        """Raise FencedError once the guardian has taken over; a dead guardian does not prevent a heal."""
        if self._files.generation(self._run_id) != FIRST_GENERATION:
            raise FencedError(
                "the guardian has taken over, so this run may not act any more",
                where=f"run {self._run_id}",
                try_="see guardian.jsonl in the run directory for the reason",
            )

    def lost(self) -> str | None:
        """How the guardian ended while this run goes on without it; None while the guardian lives."""
        if self._closed or self._child.poll() is None:
            return None
        return self._with_log(f"it ended (exit code {self._child.returncode})")

    def release(self, fault_id: str) -> None:
        """End the lease of a fault that is healed."""
        with suppress(FaultError):
            self._send({"release": fault_id})

    def close(self) -> None:
        """End the guardian; before it ends, it tries to heal what this run could not heal, for up to a minute."""
        if self._closed:
            return
        self._closed = True
        with suppress(FaultError):
            self._send({"close": True})
            self._wait_for("closed", True, CLOSE_TIMEOUT_S)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(END_TIMEOUT_S)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        # A guardian that was killed left the file behind; one that still heals removes the file itself when it is done.
        if self._child.poll() is not None:
            with suppress(WorldError):
                self._files.close(self._run_id)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
        except (OSError, ValueError) as error:
            raise self._lost(f"its pipe is closed ({error})") from error

    def _wait_for(self, key: str, value: object, within_s: float) -> None:
        """Wait for one answer; other answers that arrive meanwhile belong to calls that were interrupted."""
        give_up = time.monotonic() + within_s
        while not any(message.get(key) == value for message in self._received):
            self._received.clear()
            self._read(give_up - time.monotonic())

    def _read(self, within_s: float) -> None:
        assert self._child.stdout is not None
        poll = select.poll()
        poll.register(self._child.stdout, select.POLLIN)
        if within_s <= 0 or not poll.poll(within_s * 1000):
            raise self._lost("it does not answer")
        if not (chunk := os.read(self._child.stdout.fileno(), 65536)):
            raise self._lost(f"it ended (exit code {self._child.poll()})")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        try:
            self._received += [json.loads(line) for line in lines]
        except ValueError as error:
            raise self._lost(f"it sent something that is no message ({error})") from error

    def _lost(self, state: str) -> FaultError:
        return FaultError(
            "the guardian cannot be reached, and without a guardian nothing is injected",
            where=str(self._log),
            last_state=self._with_log(state),
            try_="run again; `lab heal` if the log names something pending",
        )

    def _with_log(self, state: str) -> str:
        with suppress(OSError):
            tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            return "; ".join([state, *tail])
        return state
