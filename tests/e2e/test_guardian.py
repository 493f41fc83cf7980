"""Kills of every day: whatever dies, the machine is as before within two seconds. `make sweep` kills everywhere.

And what somebody else does meanwhile: to the guardian, to the target's containers, to the disk.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from lab.errors import FaultError, FencedError, WorldError
from lab.guard.guardian_client import GuardianClient
from lab.guard.state_files import guard_files
from lab.observe.clock import RunClock
from lab.provision.images.image_specs import ImageUsed
from lab.provision.stack import stack
from tests.contract.test_guardian import DEAD, RUN, Scene
from tests.e2e.soaking import lab
from tests.e2e.stacks import ephemeral_stack
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
    assert life.has_ended(5)
    killer.same_within()
    killer.driver.end()
    killer.settle()
    told = [event["kind"] for event in events(order, "guardian.jsonl")]
    assert {"lease_taken", "fenced", "healed", "verified", "guardian_ended"} <= set(told)


def test_killed_just_before_and_just_after_an_inject(killer: Killer) -> None:
    order = killer.order(KINDS[0])
    killer.begin(order).has_ended(60)
    assert killer.driver.end() == 0
    assert "guardian_lost" not in [event["kind"] for event in events(order)]
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
    assert life.has_ended(5)
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
    assert life.has_ended(6), "the lease is over, and the run still lives"
    killer.same_within()
    with_group(life.pid, signal.SIGCONT)
    killer.driver.end()
    assert "fault_injected" not in [event["kind"] for event in events(order)]
    killer.settle()


def test_a_run_asks_its_guardian(killer: Killer, tmp_path: Path) -> None:
    """The link of this very process: ready, leased, fenced, and refused once the guardian is dead."""
    run_id = f"{killer.prefix}asks"
    link = GuardianClient(
        run_id=run_id,
        project=killer.spec.project,
        directory=tmp_path,
        clock=RunClock(),
        files=guard_files(),
    )
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


def test_a_run_that_loses_its_guardian_heals_and_injects_nothing_more(killer: Killer) -> None:
    order = killer.order("latency", "kill", hold_s=30.0)
    life = killer.begin(order)
    killer.wait_for(order, "fault_in_force")
    os.kill(killer.guarded(order).guardian_pid, signal.SIGKILL)
    assert life.has_ended(20), "the fault is held though nobody guards the run"
    assert killer.driver.end() == 0
    killer.same_within()
    told = [event["kind"] for event in events(order)]
    assert told.count("guardian_lost") == 1 and told.count("fault_healed") == 1
    assert told.count("fault_injecting") == 1 and told.count("fault_void") == 1
    killer.settle()


def test_a_run_that_was_fenced_while_it_slept_injects_nothing(killer: Killer) -> None:
    """The fence alone: here nobody ends the run."""
    order = killer.order("kill", hold_s=30.0, stop_at="fault_injecting")
    life = killer.begin(order)
    killer.wait_for(order, "fault_injecting")
    guard_files().advance(order.run_id)
    with_group(life.pid, signal.SIGCONT)
    assert life.has_ended(20)
    killer.driver.end()
    told = events(order)
    assert "fault_injected" not in [event["kind"] for event in told]
    assert "killed" not in [event.get("act") for event in told]
    assert "taken over" in next(event["why"] for event in told if event["kind"] == "lab_failed")
    killer.same_within()
    killer.settle()


def test_a_condition_that_trips_stops_and_heals_within_a_second(killer: Killer) -> None:
    order = killer.order(*KINDS, together=True, hold_s=60.0, dark_s=12.0)
    life = killer.begin(order)
    killer.wait_for(order, "aborted")
    assert life.has_ended(20)
    assert killer.driver.end() == 0
    killer.same_within()
    told = events(order)
    at_ms = {event["kind"]: event["at_ms"] for event in told}
    assert [event["kind"] for event in told].count("fault_in_force") == len(KINDS)
    assert "dark" in next(event["why"] for event in told if event["kind"] == "aborted")
    assert at_ms["fault_healed"] - at_ms["aborted"] < 1000, "the last heal"
    killer.settle()


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room, not even for one more block or a new file."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_a_run_whose_disk_is_full_heals(killer: Killer, tmp_path: Path) -> None:
    """Alone, when its journal cannot be written any more; and by its guardian, when it is killed then."""
    for number, killed in enumerate((False, True)):
        with small_disk(tmp_path / f"disk-{number}", 256) as disk:
            order = killer.order("latency", hold_s=3.0, folder=disk)
            life = killer.begin(order)
            killer.wait_for(order, "fault_in_force")
            fill(disk)
            if killed:
                with_group(life.pid, signal.SIGKILL)
            assert life.has_ended(20)
            killer.same_within()
            killer.driver.end()
            killer.settle()


def test_a_state_directory_that_is_full_hinders_no_heal(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", 64) as disk:
        scene = Scene(disk)
        scene.inject("qdrant")
        made, _ = scene.guardian(DEAD)
        fill(disk)
        with pytest.raises(WorldError, match="nothing is injected") as refused:
            scene.inject("mcp")
        assert os.strerror(errno.ENOSPC) in refused.value.last_state
        assert made.serve() == 0
        assert not scene.world.proxies.toxics("qdrant") and not scene.undos.pending()
        assert scene.files.generation(RUN) is None


@pytest.fixture
def own(
    used_images: Mapping[str, ImageUsed], client: docker.DockerClient, tmp_path: Path
) -> Iterator[Killer]:
    """A stack that a test may break."""
    with ephemeral_stack(used_images) as spec, killing(client, spec, tmp_path / "runs") as found:
        yield found


def replaced(client: docker.DockerClient, killer: Killer, service: str) -> Container:
    """Somebody removes a service's container and makes one of his own: same name, same image, no label of ours."""
    old = client.containers.get(f"{killer.spec.project}-{service}-1")
    image, name = old.image, old.name
    assert image is not None
    old.remove(force=True)
    new = client.containers.run(
        image,
        entrypoint=["sleep", "600"],
        name=name,
        detach=True,
        network_mode="none",
        cpu_period=100_000,
        cpu_quota=50_000,
    )
    new.pause()
    return new


def untouched(container: Container) -> bool:
    """Whether it is as `replaced` made it."""
    container.reload()
    return bool(container.attrs["State"]["Paused"]) and container.attrs["HostConfig"]["CpuQuota"] == 50_000


@pytest.mark.parametrize("dies", ["nobody", "run", "both"])
def test_a_container_that_somebody_replaced_is_not_ours(
    own: Killer, client: docker.DockerClient, dies: str
) -> None:
    order = own.order("cpu_cap", "freeze", together=True, hold_s=6.0)
    life = own.begin(order)
    own.wait_for(order, "fault_in_force", 2)
    foreign = replaced(client, own, "qdrant")
    try:
        if dies == "both":
            os.kill(own.guarded(order).guardian_pid, signal.SIGKILL)
        if dies != "nobody":
            with_group(life.pid, signal.SIGKILL)
        assert life.has_ended(60)
        own.driver.end()
        said = [lab("heal") for _ in range(2)]
        assert untouched(foreign), "somebody else's container was acted on"
        assert all(done.returncode == 0 for done in said), said
        assert said[1].stdout == "nothing to heal\n"
        told = events(order)
        acts = [event for event in events(order, "guardian.jsonl") if event["kind"] == "healed"]
        if dies == "nobody":
            assert [event["kind"] for event in told][-1] == "aborted" and not acts
            assert [event["kind"] for event in told].count("heal_failed") == 2
        elif dies == "run":
            assert {event["outcome"] for event in acts if event["fault"] != "run"} == {"gone"}
        else:
            assert said[0].stdout.count("gone") == 2 and not acts
    finally:
        foreign.remove(force=True)


def test_a_container_that_somebody_stopped_keeps_no_limit_and_is_not_started(
    own: Killer, client: docker.DockerClient
) -> None:
    """Its cgroup is gone; the limit in its configuration would come back with the next start."""
    order = own.order("cpu_cap", hold_s=30.0)
    life = own.begin(order)
    own.wait_for(order, "fault_in_force")
    mcp = client.containers.get(f"{own.spec.project}-mcp-1")
    mcp.kill()
    mcp.wait(timeout=20)
    mcp.reload()
    assert mcp.attrs["HostConfig"]["CpuQuota"] > 0
    with_group(life.pid, signal.SIGKILL)
    assert life.has_ended(5)
    own.driver.end()
    left = until(own.differs, lambda left: "undos" not in left)
    assert {"containers"} <= set(left) and "toxics" not in left
    mcp.reload()
    assert mcp.status == "exited" and mcp.attrs["HostConfig"]["CpuQuota"] <= 0
    mcp.start()
    own.same_within()
    own.settle()


def until(ask: Any, wanted: Any, within_s: float = 5.0) -> Any:
    """Ask until the answer is what is wanted."""
    end = time.monotonic() + within_s
    while not wanted(found := ask()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found
