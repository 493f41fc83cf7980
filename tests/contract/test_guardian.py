"""The guardian's decisions in a world in memory: when it takes over, what it heals, and what it leaves alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab import guardian as guardians
from lab.adapters.clock import RunClock
from lab.adapters.fence import Guarded, GuardFiles
from lab.adapters.guardian_journal import GuardianJournal, SharedClock, origin_ns
from lab.adapters.guardian_post import News, boot_s
from lab.adapters.lives import hold
from lab.adapters.undo_store import UndoFiles, own_process, started_ticks
from lab.errors import FaultError, GoneError
from lab.faults import discover
from lab.guardian import Guardian
from lab.heal import Healer
from lab.model.undo import EndRun, RemoveToxic, StartContainer, UndoRecord
from lab.ports import World
from tests.contract.fakes import fake_world

RUN = "run-1"
DEAD = News((), dead=True)


@dataclass
class ScriptedPost:
    """Tells the news it was given, and keeps what was said."""

    script: list[News]
    hurry: bool = True
    said: list[dict[str, Any]] = field(default_factory=list)
    waited: list[float | None] = field(default_factory=list)

    def news(self, until_boot_s: float | None) -> News:
        self.waited.append(until_boot_s)
        return self.script.pop(0)

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def hurried(self, within_s: float) -> bool:
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

    def guardian(self, *script: News, hurry: bool = True) -> tuple[Guardian, ScriptedPost]:
        self.files.open(Guarded(RUN, "project", 1, 1.0, 2, 2.0))
        post = ScriptedPost(list(script), hurry)
        healer = Healer(discover(), lambda project: self.world, self.end_run)
        journal = GuardianJournal(self.folder / "guardian.jsonl", RunClock())
        made = Guardian(RUN, None, post, journal, self.undos, self.files, healer)  # type: ignore[arg-type]
        return made, post

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
    kind = {"RemoveToxic": "latency", "StartContainer": "kill"}.get(type(undo).__name__, "")
    return UndoRecord(run, fault_id, kind, "project", 1, 1.0, undo)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


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
    made, post = scene.guardian(DEAD, hurry=False)
    rounds: list[float] = []

    def late(within_s: float) -> bool:
        rounds.append(within_s)
        if len(rounds) == 2:
            scene.world.proxies.add_toxic(
                "qdrant", name="toxic", kind="latency", stream="downstream", attributes={}
            )
        return False

    post.hurried = late  # type: ignore[method-assign]
    assert made.serve() == 0
    assert not scene.world.proxies.toxics("qdrant")
    assert len(rounds) == len(guardians.ROUNDS_S) - 1 and rounds[-1] > 59


def test_leases_are_acknowledged_awaited_and_enforced(scene: Scene) -> None:
    scene.inject("qdrant")
    until_s, later_s = boot_s() - 1, boot_s() + 100
    script = [
        News(({"lease": "f-later", "until_s": later_s},), dead=False),
        News(({"lease": "f-qdrant", "until_s": until_s}, {"release": "f-later"}), dead=False),
    ]
    made, post = scene.guardian(*script)
    assert made.serve() == 0
    assert post.waited == [None, later_s]
    assert {"leased": "f-later"} in post.said and {"leased": "f-qdrant"} in post.said
    why = next(event["why"] for event in scene.told() if event["kind"] == "fenced")
    assert "lease of f-qdrant is over" in why


def test_a_release_that_comes_with_the_end_of_the_lease_counts(scene: Scene) -> None:
    over_s = boot_s() - 1
    script = [
        News(({"lease": "f", "until_s": over_s}, {"release": "f"}, {"close": True}), dead=False),
    ]
    made, post = scene.guardian(*script)
    assert made.serve() == 0
    assert [event["kind"] for event in scene.told()] == ["guardian_started", "lease_taken", "guardian_ended"]
    assert post.said[-1] == {"closed": True}
    assert scene.files.generation(RUN) is None


def test_a_run_that_closes_with_something_pending_is_fenced_and_healed_but_not_ended(scene: Scene) -> None:
    scene.inject("qdrant")
    made, _ = scene.guardian(News(({"close": True},), dead=False), hurry=False)
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
    files.open(Guarded(RUN, "project", *own_process(), 2, 2.0))
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
    assert hold(sleeper.pid, started + 1) is None, "an id that was given to another process is not the same"
    assert hold(0, 0.0) is None and hold(-1, 0.0) is None
    life = hold(sleeper.pid, started)
    assert life is not None and not life.ended()
    life.signal(19)
    life.signal(9)
    assert life.ended(5), "SIGKILL ends a stopped process, too"
    sleeper.wait()
    life.signal(9)
    life.close()
    assert hold(sleeper.pid, started) is None


def test_both_journals_have_one_clock() -> None:
    clock = RunClock()
    clock.sleep_s(0.02)
    other = SharedClock(origin_ns(clock))
    assert abs(other.now_ms() - clock.now_ms()) < 5
    assert os.getpid() == own_process()[0]
