"""The guardian: a separate process beside each run, which heals when the run dies or hangs.

The run starts it as `python -m lab.guard.guardian`, in a session of its own. The guardian does all slow work before it
reports that it is ready. Then it waits, without polling, for a message, for the death of the run, or for the end of a
lease. When it takes over, it fences the run, ends it and everything that belongs to it, heals in reverse order, and
checks again until even a call that was in flight when the run died must have ended.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import FaultError, LabError, WorldError
from lab.faults import discover
from lab.guard.belongings import end_run
from lab.guard.fence import GuardFiles
from lab.guard.guardian_channel import GuardianChannel, boot_s
from lab.guard.guardian_journal import GuardianJournal, SharedClock
from lab.guard.heal import FAILED, Healer
from lab.guard.state_files import guard_files, undo_files
from lab.guard.undo_store import UndoFiles
from lab.host.processes.marks import end_processes
from lab.host.processes.process_handle import ProcessHandle, child_commands, open_process, started_ticks
from lab.host.world import docker_client, world_of
from lab.model.undo import UndoRecord
from lab.provision.stack import stack

# When to heal and to check again, in seconds after the fence. The last round comes after the longest timeout of any
# adapter (60 s, of the Docker client): a call that the dead run had in flight has ended by then.
ROUNDS_S = (0.0, 0.25, 1.0, 4.0, 15.0, 60.0)
# The guardian's own calls have a shorter timeout than those of a run, because the next round tries again.
DOCKER_TIMEOUT_S = 15
DEATH_TIMEOUT_S = 5.0
_OOM_SCORE = "-900"


@dataclass(frozen=True, slots=True)
class Guardian:
    """Everything that one guardian works with; `run` is None if the run died before the guardian was ready."""

    run_id: str
    run: ProcessHandle | None
    channel: GuardianChannel
    journal: GuardianJournal
    undos: UndoFiles
    files: GuardFiles
    healer: Healer
    reported: dict[str, str] = field(default_factory=dict)

    def serve(self) -> int:
        """Watch, and take over if necessary; the exit code is 0 if nothing is left to heal."""
        self.journal.record("guardian_started", pid=os.getpid())
        self.channel.send({"ready": True})
        why, closed = self._watch()
        left = self._take_over(why, run_goes_on=closed) if why else []
        self.journal.record("guardian_ended", left=left)
        self.journal.close()
        if closed or self.run is None or self.run.has_ended():
            with suppress(WorldError):
                self.files.close(self.run_id)
        self.channel.send({"closed": True})
        return 1 if left else 0

    def _watch(self) -> tuple[str, bool]:
        """Wait for a reason to take over; returns it (empty: none), and whether the run has said that it is done."""
        leases: dict[str, float] = {}
        while True:
            received = self.channel.receive(min(leases.values(), default=None))
            for message in received.messages:
                if "lease" in message:
                    leases[message["lease"]] = message["until_s"]
                    self.journal.record("lease_taken", fault=message["lease"], until_s=message["until_s"])
                    self.channel.send({"leased": message["lease"]})
                elif "release" in message:
                    leases.pop(message["release"], None)
                elif "close" in message:
                    pending = ", ".join(record.fault_id for record in self._pending())
                    return f"the run ended without healing {pending}" if pending else "", True
            if received.dead:
                return "the run is dead", False
            if over := [fault for fault, until_s in leases.items() if until_s <= boot_s()]:
                return f"the run is alive, but its lease of {', '.join(over)} has expired", False

    def _pending(self) -> list[UndoRecord]:
        return [record for record in self.undos.pending() if record.run_id == self.run_id]

    def _take_over(self, why: str, *, run_goes_on: bool) -> list[str]:
        """Fence the run, end it, heal, and check again; returns what could not be healed.

        A run that has said that it is done has no call in flight: its process may live on, and one round is enough.
        """
        began_s = boot_s()
        self._fence(why)
        if not run_goes_on:
            self._end_the_run()
        known: dict[str, UndoRecord] = {}
        left: list[str] = []
        for number, at_s in enumerate(ROUNDS_S):
            # If it is asked to finish, it checks once more and ends: the lab that waits for it heals the rest.
            must_finish = number > 0 and self.channel.asked_to_finish(began_s + at_s - boot_s())
            left = self._round(known)
            self.journal.record("verified", round=number, left=left)
            if must_finish or not known or (run_goes_on and not left):
                break
        self.undos.forget_drafts(self.run_id)
        return left

    def _fence(self, why: str) -> None:
        """Forbid the run to act. If that cannot be written, killing the run has to be enough: it is healed anyway."""
        try:
            self.journal.record("fenced", why=why, generation=self.files.advance(self.run_id))
        except WorldError as error:
            self.journal.record("fenced", why=why, generation=None, failed=str(error))

    def _end_the_run(self) -> None:
        """Send SIGKILL to the run, which also ends a stopped process, and to the commands that it waits for."""
        if self.run is not None and not self.run.has_ended():
            # Stop it first, so that it starts no other command meanwhile.
            self.run.signal(signal.SIGSTOP)
            commands = [
                command
                for pid in child_commands(self.run.pid)
                if (command := _open_other_process(pid)) is not None
            ]
            self.run.signal(signal.SIGKILL)
            for command in commands:
                command.signal(signal.SIGKILL)
                command.close()
            gone = self.run.has_ended(DEATH_TIMEOUT_S)
            self.journal.record("ended_process", pid=self.run.pid, what="the run", gone=gone)
        try:
            for pid in end_processes(f"{self.run_id}.", prefix=True):
                self.journal.record("ended_process", pid=pid, what="a process of the run", gone=True)
        except (FaultError, OSError) as error:
            self.journal.record("ended_process", what="processes of the run", gone=False, why=str(error))

    def _round(self, known: dict[str, UndoRecord]) -> list[str]:
        """Heal everything that was pending in any round, in reverse order; a second heal does no harm."""
        for record in self._pending():
            known.setdefault(record.fault_id, record)
        left = []
        for record in known.values():
            healed = self.healer.heal(record)
            if self.reported.get(record.fault_id) != healed.outcome:
                self.reported[record.fault_id] = healed.outcome
                self.journal.record(
                    "healed", fault=record.fault_id, outcome=healed.outcome, detail=healed.detail
                )
            if healed.outcome == FAILED or not self._forgotten(record):
                left.append(record.fault_id)
        return left

    def _forgotten(self, record: UndoRecord) -> bool:
        try:
            self.undos.done(record.run_id, record.fault_id)
        except WorldError as error:
            self.journal.record("healed", fault=record.fault_id, outcome=FAILED, detail=str(error))
            return False
        return True


def _open_other_process(pid: int) -> ProcessHandle | None:
    started = started_ticks(pid)
    return None if pid == os.getpid() or started is None else open_process(pid, started)


def build(
    run_id: str, project: str, directory: Path, pid: int, started: float, clock: SharedClock
) -> Guardian:
    """Prepare a guardian; raises LabError if no engine answers or if there is no such stack."""
    run = open_process(pid, started)
    journal = GuardianJournal(directory / "guardian.jsonl", clock)
    client = docker_client()
    client.api.timeout = DOCKER_TIMEOUT_S
    spec = stack.load(project)
    if spec is None:
        raise WorldError(f"there is no stack {project!r} to guard", try_="`lab up`")

    def audit(act: str, on: str, detail: str) -> None:
        journal.record("effect", act=act, on=on, detail=detail)

    world = world_of(client, spec.topology, clock, run_id=run_id, audit=audit)
    world.containers.state(spec.topology.proxy.name)
    healer = Healer(discover(), lambda name: world, lambda undo: end_run(client, undo))
    return Guardian(run_id, run, GuardianChannel(run), journal, undo_files(), guard_files(), healer)


def main(arguments: Sequence[str]) -> int:
    """The entry point; arguments: RUN_ID PROJECT DIRECTORY RUN_PID RUN_STARTED_TICKS CLOCK_ORIGIN_NS."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # A fault that fills the memory must not kill the process that heals it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    run_id, project, directory, pid, started, origin = arguments
    try:
        guardian = build(run_id, project, Path(directory), int(pid), float(started), SharedClock(int(origin)))
    except LabError as error:
        sys.stderr.write(f"guardian: {error}\n")
        return 12
    return guardian.serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
