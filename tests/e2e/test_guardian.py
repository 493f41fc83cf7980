"""Six kills of every day: whatever dies, the machine is as before within two seconds. `make sweep` kills everywhere."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from lab.adapters.clock import RunClock
from lab.adapters.provision import stack
from lab.errors import FaultError, FencedError
from lab.wiring import guard, guard_files
from tests.e2e.soaking import lab
from tests.sweep.killing import KINDS, Killer, events, killing, moments, with_group

SEED, KILLS, LONGEST_S = 4, 4, 2.5


@pytest.fixture(scope="module")
def killer(
    client: docker.DockerClient, real_stack: stack.StackSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Killer]:
    with killing(client, real_stack, tmp_path_factory.mktemp("killed")) as found:
        yield found


def test_killed_while_a_fault_of_each_family_is_in_force(killer: Killer) -> None:
    order = killer.order(*KINDS, together=True, hold_s=30.0)
    life = killer.begin(order)
    killer.wait_for(order, "fault_in_force", len(KINDS))
    with_group(life.pid, signal.SIGKILL)
    assert life.ended(5)
    killer.same_within()
    killer.driver.end()
    killer.settle()
    told = [event["kind"] for event in events(order, "guardian.jsonl")]
    assert {"lease_taken", "fenced", "healed", "verified", "guardian_ended"} <= set(told)


def test_killed_just_before_and_just_after_an_inject(killer: Killer) -> None:
    order = killer.order(KINDS[0])
    killer.begin(order).ended(60)
    killer.driver.end()
    line = [event["kind"] for event in events(order)].index("fault_injecting")
    for at in (line, line + 1):
        killer.kill_at(killer.order(KINDS[0], die_at=at))


def test_killed_at_random_moments(killer: Killer) -> None:
    for kind, seconds in moments(SEED, KILLS, LONGEST_S):
        killer.kill_after(killer.order(kind), seconds)


def test_guardian_and_run_killed_together_then_status(killer: Killer) -> None:
    order = killer.order(KINDS[0], hold_s=30.0)
    life = killer.begin(order)
    killer.wait_for(order, "fault_in_force")
    assert lab("status", "--project", killer.spec.project).returncode == 0
    beside = killer.differs()
    os.kill(killer.guarded(order).guardian_pid, signal.SIGKILL)
    with_group(life.pid, signal.SIGKILL)
    assert life.ended(5)
    killer.driver.end()
    time.sleep(1.0)
    left = killer.differs()
    assert beside.keys() == left.keys() == {"containers", "toxics", "processes", "sockets", "undos"}, (
        "status beside a live run touches nothing, and without a guardian a kill leaves all of it"
    )
    done = lab("status", "--project", killer.spec.project)
    assert done.returncode == 0, done.stdout + done.stderr
    killer.same_within()


def test_a_hung_run_is_ended_at_the_end_of_its_lease(killer: Killer) -> None:
    order = killer.order(KINDS[0], hold_s=30.0, lease_s=2.0, stop_at="fault_injecting")
    life = killer.begin(order)
    killer.wait_for(order, "fault_injecting")
    assert life.ended(6), "the lease is over, and the run still lives"
    killer.same_within()
    with_group(life.pid, signal.SIGCONT)
    killer.driver.end()
    assert "fault_injected" not in [event["kind"] for event in events(order)]
    killer.settle()


def test_a_run_asks_its_guardian(killer: Killer, tmp_path: Path) -> None:
    """The link of this very process: ready, leased, fenced, and refused once the guardian is dead."""
    run_id = f"{killer.prefix}asks"
    link = guard(run_id, killer.spec.project, tmp_path, RunClock())
    link.lease("f1", 60)
    link.check()
    link.release("f1")
    guard_files().advance(run_id)
    with pytest.raises(FencedError, match="taken over"):
        link.check()
    os.kill(link.process[0], signal.SIGSTOP)
    with pytest.raises(FaultError, match="does not answer"):
        link.lease("f2", 60)
    os.kill(link.process[0], signal.SIGKILL)
    with pytest.raises(FaultError, match="cannot be reached"):
        link.lease("f3", 60)
    link.close()
    guard_files().close(run_id)
    killer.settle()
