"""Kills runs and says how long the machine took to be as before; used by the sweep and by a few tests of every day."""

import json
import os
import random
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import NotFound

from lab.errors import FaultError
from lab.faults import discover
from lab.guard.fence import GuardRecord
from lab.guard.leftovers import heal_leftovers
from lab.guard.state_files import guard_files
from lab.host.processes.process_handle import ProcessHandle, open_process, started_ticks
from lab.observe.clock import RunClock
from lab.provision.stack import stack
from tests.contract.examples import EXAMPLES, FAMILY
from tests.sweep.driven import Driver, Order
from tests.sweep.machine import Machine, guardians, look

LIMIT_S = 2.0
GUARDIAN_START_S = 5.0
RUN_TIMEOUT_S = 120.0
READY_TIMEOUT_S = 60.0
GUARDIAN_START_S = 10.0
KINDS = tuple(kind for kind in FAMILY if kind in discover() and kind in EXAMPLES)
# Where faults that are in force together are aimed, so that none hides another from its proof.
BESIDE: dict[str, dict[str, Any]] = {
    "partition": {"target": "mcp"},
    "kill": {"target": "mcp"},
    "cpu_cap": {"target": "qdrant", "cores": 0.3},
}


@dataclass
class Killer:
    """One stack whose state is known, and a driver that runs on it what is to be killed."""

    client: docker.DockerClient
    spec: stack.StackSpec
    folder: Path
    driver: Driver
    before: Machine
    prefix: str
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    number: int = 0
    latest: Order | None = None
    life: ProcessHandle | None = None

    def order(
        self,
        *kinds: str,
        together: bool = False,
        folder: Path | None = None,
        **options: Any,
    ) -> Order:
        """A run with these faults, one step each or all in one."""
        self.number += 1
        run_id = f"{self.prefix}{self.number:04d}"
        params = {**EXAMPLES, **BESIDE} if together else EXAMPLES
        faults = [(kind, params[kind]) for kind in kinds]
        steps = [faults] if together else [[fault] for fault in faults]
        self.latest = Order(
            run_id, self.spec.project, str((folder or self.folder) / run_id), steps, **options
        )
        return self.latest

    def begin(self, order: Order) -> ProcessHandle:
        """Start it on a stack that serves again, and take hold of its process."""
        self.ready()
        pid = self.driver.begin(order)
        life = open_process(pid, started_ticks(pid) or 0.0)
        assert life is not None, f"the run was over at once; see {self.folder}"
        self.life = life
        return life

    def ready(self) -> None:
        """Wait until store and server answer: what was killed has been started again, and takes its time."""
        end = time.monotonic() + READY_TIMEOUT_S
        for port in ("qdrant", "mcp_direct"):
            while not _answers(self.spec.topology.address(port)):
                assert time.monotonic() < end, f"{port} does not answer"
                time.sleep(0.05)

    def kill_at(self, order: Order) -> float:
        """Let it kill itself at its line; returns the seconds until the machine was as before."""
        life = self.begin(order)
        assert life.has_ended(RUN_TIMEOUT_S), "the run neither died nor ended"
        return self._same_again(life, order)

    def kill_after(self, order: Order, seconds: float) -> float:
        """SIGKILL to its group after so long."""
        life = self.begin(order)
        life.has_ended(seconds)
        with_group(life.pid, signal.SIGKILL)
        return self._same_again(life, order)

    def guarded(self, order: Order) -> GuardRecord:
        """The run's entry among those who are guarded, once there is one."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for one in guard_files().all():
                if one.run_id == order.run_id:
                    return one
            time.sleep(0.005)
        raise AssertionError(f"{order.run_id} has no guardian")

    def wait_for(self, order: Order, kind: str, times: int = 1) -> None:
        """Wait until a kind of event is in its journal so many times."""
        end = time.monotonic() + RUN_TIMEOUT_S
        while True:
            over = self.life is not None and self.life.has_ended()
            told = [(event["kind"], event.get("why", "")) for event in events(order)]
            if [name for name, _ in told].count(kind) >= times:
                return
            assert not over, f"the run is over without {kind}: {told}"
            assert time.monotonic() < end, f"no {kind} in {order.directory}: {told}"
            time.sleep(0.01)

    def same_within(self, limit_s: float = LIMIT_S) -> float:
        """Seconds until the machine is as before: the end of the look that shows it, which begins within the limit."""
        began = time.monotonic()
        while True:
            left = self.differs()
            took = time.monotonic() - began
            if not left:
                return took
            assert took <= limit_s, f"after {took:.1f} s, {self.latest}: {left}"

    def differs(self) -> dict[str, Any]:
        """What is not as before, now."""
        try:
            return self.before.differences(look(self.client, self.spec, self.prefix))
        except (OSError, NotFound, FaultError) as error:
            # A process or a container ended under the look, so the machine is still changing.
            return {"torn": str(error)}

    def settle(self) -> None:
        """What a next `lab` command does first; the machine must be the same afterwards."""
        healed = heal_leftovers(RunClock())
        assert [one for one in healed if one.run_id.startswith(self.prefix)] == []
        self.same_within()
        self._without_guardians()
        assert not [one for one in guard_files().all() if one.run_id.startswith(self.prefix)]

    def _without_guardians(self) -> None:
        """One whose run died before it was told of it ends by itself once it has seen that; it takes its start."""
        end = time.monotonic() + GUARDIAN_START_S
        while left := guardians(self.prefix):
            assert time.monotonic() < end, f"guardians {left} stay"
            time.sleep(0.05)

    def _same_again(self, life: ProcessHandle, order: Order) -> float:
        assert life.has_ended(5)
        life.close()
        took = self.same_within()
        self.driver.end()
        self.seconds["+".join(kind for step in order.steps for kind, _ in step)].append(took)
        self.settle()
        return took


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def with_group(pid: int, number: int) -> None:
    """Signal a process's group; one that has ended is fine."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def events(order: Order, name: str = "journal.jsonl") -> list[dict[str, Any]]:
    """The events of a run's journal so far."""
    path = Path(order.directory) / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def moments(seed: int, count: int, longest_s: float) -> Iterator[tuple[str, float]]:
    """Seeded moments, the fault kinds in turn."""
    draw = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)], draw.uniform(0.0, longest_s)


def table(seconds: dict[str, list[float]]) -> str:
    """Median and worst seconds from the kill until the machine was as before."""
    rows = [
        f"{kind:40} n {len(took):4} median {statistics.median(took):.2f} s worst {max(took):.2f} s"
        for kind, took in sorted(seconds.items())
    ]
    return "\n".join(rows)


@contextmanager
def killing(client: docker.DockerClient, spec: stack.StackSpec, folder: Path) -> Iterator[Killer]:
    """A killer for a stack that is whole; whatever a failing test leaves is healed at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{spec.project}-"
    driver = Driver(folder / "driver.log")
    try:
        yield Killer(client, spec, folder, driver, look(client, spec, prefix), prefix)
    finally:
        driver.close()
        heal_leftovers(RunClock())
