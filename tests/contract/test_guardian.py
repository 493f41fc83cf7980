"""The guardian's decisions in a world in memory: when it takes over, what it heals, and what it leaves alone."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cli import stack as stacks
from lab.errors import FaultError, GoneError, WorldError
from lab.evidence import run_directory
from lab.faults import discover
from lab.guard import fence, leftovers
from lab.guard import guardian as guardians
from lab.guard.fence import GuardFiles, GuardRecord
from lab.guard.guardian import Guardian
from lab.guard.guardian_channel import Received, boot_s
from lab.guard.guardian_journal import GuardianJournal, SharedClock, origin_ns
from lab.guard.heal import Healed, Healer
from lab.guard.undo_store import UndoFiles
from lab.host.processes.process_handle import child_commands, open_process, own_process, started_ticks
from lab.model.undo import EndRun, RemoveFiller, RemoveToxic, StartContainer, UndoRecord, to_json
from lab.model.verdict import Verdict
from lab.observe.clock import RunClock
from lab.ports import World
from lab.provision.stack import bring_up, stack
from lab.run import session
from tests.contract.fakes import fake_world
from tests.contract.run_fakes import plan
from tests.contract.test_cli import run as lab

RUN = "run-1"
DEAD = Received((), dead=True)


@dataclass
class ScriptedChannel:
    """Returns what it was given, and keeps what was sent."""

    script: list[Received]
    hurry: bool = True
    sent: list[dict[str, Any]] = field(default_factory=list)
    waited: list[float | None] = field(default_factory=list)

    def receive(self, until_boot_s: float | None) -> Received:
        self.waited.append(until_boot_s)
        return self.script.pop(0)

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def asked_to_finish(self, within_s: float) -> bool:
        return self.hurry


@dataclass
class Scene:
    """A guardian with everything around it."""

    folder: Path
    world: World = field(default_factory=fake_world)
    ended: list[EndRun] = field(default_factory=list)

    @property
    def undos(self) -> UndoFiles:
        return UndoFiles(self.folder / "undo")

    @property
    def files(self) -> GuardFiles:
        return GuardFiles(self.folder / "guards")

    def guardian(self, *script: Received, hurry: bool = True) -> tuple[Guardian, ScriptedChannel]:
        self.files.open(GuardRecord(RUN, "project", 1, 1.0, 2, 2.0))
        channel = ScriptedChannel(list(script), hurry)
        healer = Healer(discover(), lambda project: self.world, self.end_run)
        journal = GuardianJournal(self.folder / "guardian.jsonl", RunClock())
        made = Guardian(RUN, None, channel, journal, self.undos, self.files, healer)  # type: ignore[arg-type]
        return made, channel

    def end_run(self, undo: EndRun) -> list[str]:
        self.ended.append(undo)
        return ["container abc"]

    def inject(self, proxy: str = "qdrant", run: str = RUN) -> None:
        """A toxic, and the undo that removes it."""
        self.undos.record(_record(f"f-{proxy}", RemoveToxic(proxy, "toxic"), run))
        self.world.proxies.add_toxic(proxy, name="toxic", kind="latency", stream="downstream", attributes={})

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "guardian.jsonl").read_text().splitlines()]


def _record(fault_id: str, undo: Any, run: str = RUN) -> UndoRecord:
    kinds = {"RemoveToxic": "latency", "StartContainer": "kill", "RemoveFiller": "disk_full"}
    kind = kinds.get(type(undo).__name__, "")
    return UndoRecord(run, fault_id, kind, "project", 1, 1.0, undo)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_wall_clock_that_is_set_back_does_not_turn_the_order_of_healing(scene: Scene) -> None:
    undo = RemoveToxic("qdrant", "toxic")
    scene.undos.record(_record("f-first", undo))
    (first,) = (scene.folder / "undo").glob("*.json")
    hour_ns = 3600 * 10**9
    os.utime(first, ns=(first.stat().st_mtime_ns + hour_ns,) * 2)
    scene.undos.record(_record("f-second", undo))
    scene.undos.record(_record("f-third", undo))
    assert [record.fault_id for record in scene.undos.pending()] == ["f-third", "f-second", "f-first"]


def test_a_dead_run_is_fenced_ended_and_healed_in_reverse(scene: Scene) -> None:
    scene.undos.record(_record("run", EndRun(RUN, "project")))
    scene.inject("qdrant")
    scene.inject("mcp")
    made, _ = scene.guardian(DEAD)
    assert made.serve() == 0
    told = scene.told()
    assert [event["kind"] for event in told][:2] == ["guardian_started", "fenced"]
    assert [event["fault"] for event in told if event["kind"] == "healed"] == ["f-mcp", "f-qdrant", "run"]
    assert told[-1]["kind"] == "guardian_ended" and told[-1]["left"] == []
    assert not scene.world.proxies.toxics("qdrant") and not scene.world.proxies.toxics("mcp")
    assert scene.ended and not scene.undos.pending()
    assert all(event["writer"] == "guardian" for event in told)


def test_the_undos_of_another_run_are_left_alone(scene: Scene) -> None:
    scene.inject("qdrant", run="run-2")
    scene.inject("mcp")
    made, _ = scene.guardian(DEAD)
    made.serve()
    assert scene.world.proxies.toxics("qdrant") and not scene.world.proxies.toxics("mcp")
    assert [record.run_id for record in scene.undos.pending()] == ["run-2"]


def test_a_call_that_lands_after_the_first_heal_is_healed_too(scene: Scene) -> None:
    scene.inject("qdrant")
    made, channel = scene.guardian(DEAD, hurry=False)
    rounds: list[float] = []

    def late(within_s: float) -> bool:
        rounds.append(within_s)
        if len(rounds) == 2:
            scene.world.proxies.add_toxic(
                "qdrant", name="toxic", kind="latency", stream="downstream", attributes={}
            )
        return False

    channel.asked_to_finish = late  # type: ignore[method-assign]
    assert made.serve() == 0
    assert not scene.world.proxies.toxics("qdrant")
    assert len(rounds) == len(guardians.ROUNDS_S) - 1 and rounds[-1] > 59


def test_leases_are_acknowledged_awaited_and_enforced(scene: Scene) -> None:
    scene.inject("qdrant")
    until_s, later_s = boot_s() - 1, boot_s() + 100
    script = [
        Received(({"lease": "f-later", "until_s": later_s},), dead=False),
        Received(({"lease": "f-qdrant", "until_s": until_s}, {"release": "f-later"}), dead=False),
    ]
    made, channel = scene.guardian(*script)
    assert made.serve() == 0
    assert channel.waited == [None, later_s]
    assert {"leased": "f-later"} in channel.sent and {"leased": "f-qdrant"} in channel.sent
    why = next(event["why"] for event in scene.told() if event["kind"] == "fenced")
    assert "lease of f-qdrant has expired" in why


def test_a_release_that_comes_with_the_end_of_the_lease_counts(scene: Scene) -> None:
    over_s = boot_s() - 1
    script = [
        Received(({"lease": "f", "until_s": over_s}, {"release": "f"}, {"close": True}), dead=False),
    ]
    made, channel = scene.guardian(*script)
    assert made.serve() == 0
    assert [event["kind"] for event in scene.told()] == ["guardian_started", "lease_taken", "guardian_ended"]
    assert channel.sent[-1] == {"closed": True}
    assert scene.files.generation(RUN) is None


def test_a_run_that_closes_with_something_pending_is_fenced_and_healed_but_not_ended(scene: Scene) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(Received(({"close": True},), dead=False), hurry=False)
    assert made.serve() == 0
    assert not scene.world.proxies.toxics("qdrant")
    assert "ended_process" not in [event["kind"] for event in scene.told()]


def test_a_run_directory_that_cannot_be_written_hinders_nothing(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(DEAD)
    made.journal.close()
    nowhere = GuardianJournal(scene.folder / "not" / "there.jsonl", RunClock())
    assert replace(made, journal=nowhere).serve() == 0
    assert not scene.world.proxies.toxics("qdrant")
    assert "cannot be written" in capfd.readouterr().err


def test_what_cannot_be_healed_stays_pending_and_does_not_hinder_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.inject("qdrant")
    state = scene.world.containers.state("qdrant")
    scene.undos.record(_record("f-kill", StartContainer("qdrant", state.id)))

    def broken(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(type(scene.world.containers), "start", broken)
    made, _ = scene.guardian(DEAD)
    assert made.serve() == 1
    assert [record.fault_id for record in scene.undos.pending()] == ["f-kill"]
    assert not scene.world.proxies.toxics("qdrant")
    assert scene.told()[-1]["left"] == ["f-kill"]


def test_an_undo_of_a_stack_that_stands_still_is_gone_and_one_beside_running_containers_is_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the engine: the toxic went with Toxiproxy's process, which does not answer."""
    scene.inject("qdrant")

    def silent(*arguments: object, **named: object) -> None:
        raise FaultError("Toxiproxy's control port does not answer")

    monkeypatch.setattr(type(scene.world.proxies), "remove_toxic", silent)
    record = scene.undos.pending()[0]
    healer = Healer(discover(), lambda project: scene.world, scene.end_run)
    assert healer.heal(record).outcome == "failed"

    def gone(self: object, service: str) -> None:
        raise GoneError("removed")

    monkeypatch.setattr(type(scene.world.containers), "state", gone)
    assert healer.heal(record).outcome == "gone"


def test_files_that_cannot_be_read_are_named_and_do_not_hide_the_others(scene: Scene) -> None:
    scene.inject("qdrant")
    folder = scene.folder / "undo"
    whole = (folder / f"{RUN}.f-qdrant.json").read_text()
    (folder / f"{RUN}.half.json").write_text(whole[: len(whole) // 2])
    (folder / f"{RUN}.list.json").write_text("[]")
    (folder / f"{RUN}.other.json").write_text(whole)
    (folder / f"{RUN}.bytes.json").write_bytes(b"\xff\xfe")
    (folder / f"{RUN}.writing.draft").write_text(whole[:10])
    assert [record.fault_id for record in scene.undos.pending()] == ["f-qdrant"]
    assert {path.stem.rpartition(".")[2] for path, _ in scene.undos.unreadable()} == {
        "half",
        "list",
        "other",
        "bytes",
    }
    scene.undos.forget_drafts(RUN)
    assert not list(folder.glob("*.draft"))


def test_generations(scene: Scene) -> None:
    files = scene.files
    files.open(GuardRecord(RUN, "project", *own_process(), 2, 2.0))
    assert files.generation(RUN) == 1 and files.all()[0].run_lives
    assert files.advance(RUN) == 2 and files.generation(RUN) == 2
    files.close(RUN)
    files.close(RUN)
    assert files.generation(RUN) is None
    assert files.advance(RUN) > 1 and files.generation(RUN) is None
    (scene.folder / "guards" / "broken.json").write_text("{")
    assert files.all() == [] and files.generation("broken") is None


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_held_by_id_and_start_and_its_end_is_seen(sleeper: "subprocess.Popen[bytes]") -> None:
    started = started_ticks(sleeper.pid)
    assert started is not None
    assert open_process(sleeper.pid, started + 1) is None, (
        "an id that was given to another process is not the same"
    )
    assert open_process(0, 0.0) is None and open_process(-1, 0.0) is None
    life = open_process(sleeper.pid, started)
    assert life is not None and not life.has_ended()
    life.signal(19)
    life.signal(9)
    assert life.has_ended(5), "SIGKILL ends a stopped process, too"
    sleeper.wait()
    life.signal(9)
    life.close()
    assert open_process(sleeper.pid, started) is None


def test_both_journals_have_one_clock() -> None:
    clock = RunClock()
    clock.sleep_s(0.02)
    other = SharedClock(origin_ns(clock))
    assert abs(other.now_ms() - clock.now_ms()) < 5
    assert os.getpid() == own_process()[0]


def _full(*arguments: object, **named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_the_run_is_fenced_and_healed_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(DEAD)
    monkeypatch.setattr(fence, "write_json", _full)
    assert made.serve() == 0
    assert not scene.world.proxies.toxics("qdrant") and not scene.undos.pending()
    assert "failed" not in next(event for event in scene.told() if event["kind"] == "fenced")


def test_on_a_full_disk_a_fence_is_a_file_that_is_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scene.files
    files.open(GuardRecord(RUN, "project", *own_process(), 2, 2.0))
    monkeypatch.setattr(fence, "write_json", _full)
    assert files.advance(RUN) == 2 and files.generation(RUN) is None, "without its file the run may not act"
    with pytest.raises(WorldError, match="cannot be written"):
        files.open(GuardRecord("run-2", "project", *own_process(), 2, 2.0))


def test_a_fence_that_cannot_be_raised_at_all_hinders_no_heal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(DEAD)

    def stuck(run_id: str) -> int:
        raise WorldError("the state directory is read-only")

    monkeypatch.setattr(made.files, "advance", stuck)
    assert made.serve() == 0
    assert not scene.world.proxies.toxics("qdrant")
    fenced = next(event for event in scene.told() if event["kind"] == "fenced")
    assert fenced["generation"] is None and "read-only" in fenced["failed"]


def test_an_undo_that_cannot_be_forgotten_is_said_and_stays(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(DEAD)
    monkeypatch.setattr(Path, "unlink", _full)
    assert made.serve() == 1
    assert not scene.world.proxies.toxics("qdrant")
    assert scene.told()[-1]["left"] == ["f-qdrant"] and len(scene.undos.pending()) == 1


def test_an_undo_that_cannot_be_written_is_refused_and_leaves_no_draft(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    undos = scene.undos
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(WorldError, match="nothing is injected"):
        undos.record(_record("f", RemoveToxic("qdrant", "toxic")))
    assert not list((scene.folder / "undo").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"pid": None, "pid_started": None},
        {"pid": "1"},
        {"pid": True},
        {"project": 5},
        {"lease_until_s": "soon"},
        {"undo": {"type": "RemoveToxic", "proxy": ["qdrant"], "name": "toxic"}},
        {"undo": {"type": "RemoveToxic", "proxy": "qdrant"}},
        {"undo": {"type": "object"}},
        {"undo": 5},
        {"fault_id": "../f"},
        {"surplus": 1},
    ],
)
def test_undos_of_the_wrong_shape_are_named_and_not_guessed(scene: Scene, change: dict[str, Any]) -> None:
    plain = {**to_json(_record("f", RemoveToxic("qdrant", "toxic"))), **change}
    path = scene.folder / "undo" / f"{RUN}.f.json"
    assert scene.undos.pending() == []
    path.write_text(json.dumps(plain))
    assert scene.undos.pending() == [] and [found for found, _ in scene.undos.unreadable()] == [path]


def test_guard_files_that_are_garbage_stand_for_nobody(scene: Scene) -> None:
    files, folder = scene.files, scene.folder / "guards"
    whole = {
        "run_id": "x",
        "project": "p",
        "pid": 1,
        "pid_started": 1.0,
        "guardian_pid": 2,
        "guardian_started": 2.0,
    }
    changes: tuple[dict[str, object], ...] = (
        {"pid": "x"},
        {"pid": None},
        {"run_id": "../../x"},
        {"generation": "1"},
        {"more": 1},
        {"guardian_pid": 1.5},
    )
    for number, wrong in enumerate(changes):
        text = json.dumps({**whole, "run_id": f"r{number}", **wrong})
        (folder / f"r{number}.json").write_text(text)
    for name, data in (("deep", b"[" * 100_000), ("bytes", b"\xff\x00"), ("list", b"[]"), ("empty", b"")):
        (folder / f"{name}.json").write_bytes(data)
        assert files.generation(name) is None
        assert files.advance(name) > 1
    assert files.all() == []


def test_closing_removes_what_was_being_written_when_its_writer_died(scene: Scene) -> None:
    scene.files.open(GuardRecord(RUN, "project", 1, 1.0, 2, 2.0))
    (scene.folder / "guards" / f".{RUN}.json.abc123").write_text("{")
    (scene.folder / "guards" / f".{RUN}2.json.abc123").write_text("{")
    scene.files.close(RUN)
    assert [path.name for path in (scene.folder / "guards").iterdir()] == [f".{RUN}2.json.abc123"]


def test_a_filler_outlives_an_engine_and_is_not_called_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toxic ends with its container; what lies on the volume, or in a container's configuration, does not."""
    record = _record("f", RemoveFiller("qdrant", "id-qdrant", ".lab-filler-1"))

    def gone(self: object, service: str) -> None:
        raise GoneError("removed")

    def stuck(*arguments: object) -> None:
        raise FaultError("the device is busy")

    monkeypatch.setattr(type(scene.world.containers), "state", gone)
    monkeypatch.setattr(type(scene.world.storage), "remove_filler", stuck)
    healer = Healer(discover(), lambda project: scene.world, scene.end_run)
    assert healer.heal(record).outcome == "failed"


def test_somebody_elses_server_at_toxiproxys_address_is_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.inject("qdrant")

    def gone(self: object, service: str) -> None:
        raise GoneError("the stack has no container for 'toxiproxy'")

    monkeypatch.setattr(type(scene.world.containers), "state", gone)
    healer = Healer(discover(), lambda project: scene.world, scene.end_run)
    assert healer.heal(scene.undos.pending()[0]).outcome == "gone"
    assert scene.world.proxies.toxics("qdrant") == ["toxic"]


@pytest.fixture
def machine(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A state directory of its own, and an engine and a stack in memory, for what every command does first."""
    monkeypatch.setenv("LAB_STATE_DIR", str(scene.folder))
    monkeypatch.setattr(leftovers, "docker_client", lambda: None)
    monkeypatch.setattr(leftovers, "world_of", lambda client, topology, clock: scene.world)
    monkeypatch.setattr(leftovers, "end_run", lambda client, undo: scene.end_run(undo))
    spec = SimpleNamespace(topology=scene.world.topology)
    monkeypatch.setattr(stack, "load", lambda project: spec)
    monkeypatch.setattr(leftovers, "GUARDIAN_TIMEOUT_S", 0.3)
    return scene


def _outcomes() -> list[tuple[str, str]]:
    return [(one.fault_id, one.outcome) for one in leftovers.heal_leftovers(RunClock())]


def test_only_what_dead_runs_left_is_healed_and_only_once(
    machine: Scene, sleeper: "subprocess.Popen[bytes]"
) -> None:
    """One run lives; another's process id was given to it, with another start time."""
    started = started_ticks(sleeper.pid)
    assert started is not None
    for proxy, began in (("qdrant", started), ("mcp", started + 1)):
        undo = RemoveToxic(proxy, "toxic")
        machine.undos.record(UndoRecord(f"run-{proxy}", "f", "latency", "p", sleeper.pid, began, undo))
        machine.world.proxies.add_toxic(
            proxy, name="toxic", kind="latency", stream="downstream", attributes={}
        )
        machine.files.open(GuardRecord(f"run-{proxy}", "p", sleeper.pid, began, sleeper.pid, started + 1))
    assert sorted(_outcomes()) == [("f", "healed"), ("f", "live")]
    assert machine.world.proxies.toxics("qdrant") and not machine.world.proxies.toxics("mcp")
    assert _outcomes() == [("f", "live")]
    assert sleeper.poll() is None, "nobody was signalled: no guardian has this start time"
    assert [guarded.run_id for guarded in machine.files.all()] == ["run-qdrant"]


def test_a_live_run_past_its_lease_is_left_alone_and_said(machine: Scene) -> None:
    undo = RemoveToxic("qdrant", "toxic")
    machine.undos.record(
        UndoRecord(RUN, "f", "latency", "p", *own_process(), undo, lease_until_s=boot_s() - 60)
    )
    (told,) = leftovers.heal_leftovers(RunClock())
    assert (
        told.outcome == "live" and "60 s past its lease" in told.detail and len(machine.undos.pending()) == 1
    )


def test_while_no_engine_answers_all_stays_pending(machine: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.inject("qdrant")
    machine.undos.record(_record("run", EndRun(RUN, "project")))

    def absent() -> None:
        raise WorldError("no Docker engine answers")

    with monkeypatch.context() as away:
        away.setattr(leftovers, "docker_client", absent)
        assert _outcomes() == [("f-qdrant", "failed"), ("run", "failed")]
    assert len(machine.undos.pending()) == 2
    assert _outcomes() == [("f-qdrant", "healed"), ("run", "healed")]
    assert _outcomes() == []


def test_a_guardian_that_hangs_is_ended_and_its_undos_are_carried_out(machine: Scene) -> None:
    """It must not wake up when the next run has its own faults in force."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None and deaf.stdout.readline() == b"up\n"
        started = started_ticks(deaf.pid)
        assert started is not None
        machine.inject("qdrant")
        machine.files.open(GuardRecord(RUN, "project", 1, 1.0, deaf.pid, started))
        assert _outcomes() == [("f-qdrant", "healed")]
        assert deaf.wait(5) == -signal.SIGKILL and machine.files.all() == []


def test_what_a_guardian_heals_meanwhile_is_told(machine: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what a live run heals by itself."""
    machine.inject("qdrant")
    undo = RemoveToxic("mcp", "toxic")
    machine.undos.record(UndoRecord("run-2", "f-live", "latency", "p", *own_process(), undo))

    def finish(guards: GuardFiles) -> None:
        machine.undos.done(RUN, "f-qdrant")
        machine.undos.done("run-2", "f-live")

    monkeypatch.setattr(leftovers, "_let_guardians_finish", finish)
    (told,) = leftovers.heal_leftovers(RunClock())
    assert told.outcome == "healed" and told.fault_id == "f-qdrant" and "guardian" in told.detail


def test_garbage_in_the_state_directory_is_named_and_hinders_nothing(machine: Scene) -> None:
    machine.inject("qdrant")
    (machine.folder / "undo" / f"{RUN}.torn.json").write_text('{"run_id": "ru')
    _ = machine.files
    (machine.folder / "guards" / "torn.json").write_text('{"pid": "x"}')
    assert sorted(_outcomes()) == [("f-qdrant", "healed"), ("torn", "unreadable")]
    assert (machine.folder / "undo" / f"{RUN}.torn.json").exists()


@pytest.mark.parametrize(
    "command",
    [["up"], ["down"], ["status"], ["heal"], ["soak"], ["fault", "run", "kill", "target=qdrant"]],
)
def test_every_command_that_touches_a_stack_heals_first(
    machine: Scene, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """And says what stays; those that may bring back, or take away, what a heal needs go on and heal again."""
    acts: list[str] = []
    left = [Healed(RUN, "f", "failed", "no Docker engine answers")]

    def heal_leftovers(clock: object) -> list[Healed]:
        acts.append("heal")
        return left

    def noting(act: str) -> Callable[..., dict[str, str]]:
        def note(*given: object, **named: object) -> dict[str, str]:
            acts.append(act)
            return {}

        return note

    for module, name in ((bring_up, "bring_up"), (stack, "stop"), (stack, "status"), (stack, "addresses")):
        monkeypatch.setattr(module, name, noting(name))
    monkeypatch.setattr(stacks, "_show_addresses", lambda spec: None)
    monkeypatch.setattr(leftovers, "heal_leftovers", heal_leftovers)
    code, said = lab(*command)
    assert code == 12 and "no Docker engine answers" in said
    assert acts == {
        "up": ["heal", "bring_up", "heal"],
        "down": ["heal", "stop", "heal"],
        "status": ["heal", "status", "addresses"],
    }.get(command[0], ["heal"])
    acts.clear()
    left.clear()
    if command[0] in ("up", "down", "status", "heal"):
        assert lab(*command)[0] == 0 and acts.count("heal") == 1 and acts[0] == "heal"


def test_a_run_directory_from_elsewhere_causes_no_effect(
    machine: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names undos, a live process and a guardian; whoever reads it touches nothing."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("an effect of reading a run directory")

    directory = run_directory.create(machine.folder / "runs", "elsewhere")
    run_directory.write_plan(directory, plan([("kill", {"target": "qdrant"})]))
    record = to_json(_record("f1-kill", StartContainer("qdrant", "id-qdrant")))
    for part in ("undo", "guards"):
        (directory / part).mkdir()
        (directory / part / f"{RUN}.f1-kill.json").write_text(json.dumps(record))
    injecting = {"kind": "fault_injecting", "fault": "f1-kill", "undo": record["undo"], "pid": os.getpid()}
    lines = [{"seq": n, "writer": "run", "at_ms": n, "wall": "", **injecting} for n in range(3)]
    for name in ("journal", "guardian"):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for module, name in ((os, "kill"), (os, "killpg"), (subprocess, "Popen"), (leftovers, "docker_client")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    assert _outcomes() == []
    assert session.judge_run(directory).judgement.verdict is Verdict.INCONCLUSIVE


def test_the_commands_of_a_run_are_its_descendants_in_its_own_group() -> None:
    command = "sleep 61 & setsid sleep 62 & sh -c 'sleep 63; :' & wait"
    shell = subprocess.Popen(["sh", "-c", command], start_new_session=True)
    try:
        for _ in range(200):
            found = sorted(_arguments(pid) for pid in child_commands(shell.pid))
            # On a busy machine there may be three others on the way to these.
            if found == ["sh -c sleep 63; :", "sleep 61", "sleep 63"]:
                break
            RunClock().sleep_s(0.01)
        assert found == ["sh -c sleep 63; :", "sleep 61", "sleep 63"]
        assert child_commands(2**22 + 1) == []
    finally:
        for pid in child_commands(shell.pid):
            os.kill(pid, signal.SIGKILL)
        shell.kill()
        shell.wait()


def _arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
