"""A run is killed at every step of its journal and at two hundred random moments: nothing may ever be left behind.

`LAB_SWEEP_KILLS` sets the number of random moments, `LAB_SWEEP_SEED` their seed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import docker
import pytest

from tests.e2e import stacks
from tests.e2e.soaking import lab
from tests.sweep.killing import KINDS, Killer, events, killing, moments, table, with_group

KILLS = int(os.environ.get("LAB_SWEEP_KILLS", "200"))
SEED = int(os.environ.get("LAB_SWEEP_SEED", "1"))
BOTH_KILLS = max(1, KILLS // 10)

pytestmark = [pytest.mark.sweep, pytest.mark.docker, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    with stacks.ephemeral_stack(stacks.images()) as spec:
        client = docker.from_env()
        with killing(client, spec, tmp_path_factory.mktemp("runs")) as found:
            yield found
            print("\n" + table(found.seconds))


def _lines_of(killer: Killer, *kinds: str, together: bool = False) -> int:
    """How many lines the journal of such a run has when nobody kills it; leaves nothing either."""
    order = killer.order(*kinds, together=together)
    life = killer.begin(order)
    assert life.has_ended(120)
    life.close()
    assert killer.driver.end() == 0
    killer.settle()
    told = [event["kind"] for event in events(order)]
    assert told.count("fault_healed") == len(kinds), told
    assert told.count("fault_in_force") == len(kinds), told
    assert events(order, "guardian.jsonl")[-1]["kind"] == "guardian_ended"
    return len(told)


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_step_of_one_fault(killer: Killer, kind: str) -> None:
    for line in range(_lines_of(killer, kind)):
        killer.kill_at(killer.order(kind, die_at=line))
    print(f"\n{table(killer.seconds)}")


def test_at_every_step_with_one_fault_of_each_family_in_force_together(killer: Killer) -> None:
    for line in range(_lines_of(killer, *KINDS, together=True)):
        killer.kill_at(killer.order(*KINDS, together=True, die_at=line))
    print(f"\n{table(killer.seconds)}")


def test_at_random_moments(killer: Killer) -> None:
    order = killer.order(KINDS[0])
    began = time.monotonic()
    killer.begin(order).has_ended(60)
    longest_s = time.monotonic() - began
    killer.driver.end()
    killer.settle()
    for kind, seconds in moments(SEED, KILLS, longest_s):
        killer.kill_after(killer.order(kind), seconds)
    print(f"\n{KILLS} kills within {longest_s:.1f} s, seed {SEED}\n{table(killer.seconds)}")


def test_guardian_and_run_killed_together_then_status(killer: Killer) -> None:
    left = 0
    for kind, seconds in moments(SEED + 1, BOTH_KILLS, 3.0):
        order = killer.order(kind, hold_s=3.0)
        life = killer.begin(order)
        guardian = killer.guarded(order).guardian_pid
        life.has_ended(seconds)
        os.kill(guardian, signal.SIGKILL)
        with_group(life.pid, signal.SIGKILL)
        assert life.has_ended(5)
        life.close()
        killer.driver.end()
        left += bool(killer.differs())
        done = lab("status", "--project", killer.spec.project)
        assert done.returncode == 0, done.stdout + done.stderr
        killer.same_within()
    assert left, "nothing was ever left, so these kills show nothing"


def test_whatever_heals_is_killed_in_the_middle_of_it(killer: Killer) -> None:
    """The run, then its guardian at work, then a `lab heal` at work: the next command still makes all as before."""
    draw = random.Random(SEED)
    for number in range(BOTH_KILLS):
        order = killer.order(*KINDS, together=True, hold_s=30.0)
        life = killer.begin(order)
        killer.wait_for(order, "fault_in_force", len(KINDS))
        guardian = killer.guarded(order).guardian_pid
        with_group(life.pid, signal.SIGKILL)
        assert life.has_ended(5)
        time.sleep(draw.uniform(0.0, 0.3))
        os.kill(guardian, signal.SIGKILL)
        killer.driver.end()
        healing = subprocess.Popen([sys.executable, "-m", "lab", "heal"], stdout=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            healing.wait(draw.uniform(0.3, 1.2))
        healing.kill()
        healing.wait()
        left = sorted(killer.differs())
        done = lab("status", "--project", killer.spec.project)
        assert done.returncode == 0, done.stdout + done.stderr
        killer.same_within()
        killer.settle()
        print(f"\n{number}: left by both {left}")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_guardian_something_is_left(killer: Killer, kind: str) -> None:
    """The comparison can fail: the same kill, with nobody to heal."""
    order = killer.order(kind, guarded=False, hold_s=30.0)
    life = killer.begin(order)
    killer.wait_for(order, "fault_in_force")
    with_group(life.pid, signal.SIGKILL)
    assert life.has_ended(5)
    killer.driver.end()
    time.sleep(2.0)
    left = killer.differs()
    assert {"undos", "processes", "containers"} <= set(left), left
    assert len(left) > 4 or kind == "kill", left
    assert lab("heal").returncode == 0
    killer.same_within()


@pytest.mark.parametrize("line", ["fault_injecting", "fault_in_force"])
def test_a_run_that_hangs_past_its_lease_is_ended_and_healed(killer: Killer, line: str) -> None:
    """Stopped just before the inject and while in force; continued, it must not inject again."""
    for kind in KINDS:
        order = killer.order(kind, hold_s=30.0, lease_s=4.0, stop_at=line)
        life = killer.begin(order)
        killer.wait_for(order, line)
        assert life.has_ended(6), "the lease is over and the run still lives"
        killer.same_within()
        with_group(life.pid, signal.SIGCONT)
        told = len(events(order))
        killer.driver.end()
        time.sleep(0.5)
        killer.same_within()
        assert len(events(order)) == told
        why = next(event["why"] for event in events(order, "guardian.jsonl") if event["kind"] == "fenced")
        assert "lease" in why
        killer.settle()
