"""Getting an engine: what is decided from which facts, and that nothing is displaced."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import WorldError
from lab.provision.machine import engine_start
from lab.provision.machine.engine import Engine, NoEngine
from lab.provision.machine.engine_start import EngineFacts, decide, drop_stale_pid_file, ensure_engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import Progress, ProgressEvent, silent
from tests.pure.provision_fakes import FakeRunner

ABSENT = NoEngine("absent", "no such file")
BARE = EngineFacts(dockerd=False, others=frozenset(), snap=False, root=True, apt=True)
FACTS = st.builds(
    EngineFacts,
    dockerd=st.booleans(),
    others=st.frozensets(st.sampled_from(engine_start.OTHER_ENGINES)),
    snap=st.booleans(),
    root=st.booleans(),
    apt=st.booleans(),
)
ABSENCES = st.builds(NoEngine, st.sampled_from(["denied", "asked", "absent"]), st.just(""))


@given(ABSENCES, FACTS)
def test_installs_only_on_a_bare_machine_as_root(absence: NoEngine, facts: EngineFacts) -> None:
    step = decide(absence, facts)
    if step.action == "install":
        assert facts == BARE
        assert absence.kind == "absent"
    if step.action == "start":
        assert facts.root
        assert facts.dockerd
    if step.action == "refuse":
        assert step.what
        assert step.try_


@pytest.mark.parametrize("other", engine_start.OTHER_ENGINES)
def test_another_engine_is_named_and_left_alone(other: str) -> None:
    step = decide(
        ABSENT, EngineFacts(dockerd=False, others=frozenset({other}), snap=False, root=True, apt=True)
    )
    assert step.action == "refuse"
    assert other in step.what


class Machine:
    """Answers `find_engine` with what is set; the engine comes up after `polls` questions."""

    def __init__(self, polls: int) -> None:
        self.polls = polls

    def find(self, runner: object) -> Engine | NoEngine:
        self.polls -= 1
        return ABSENT if self.polls >= 0 else Engine("unix:///fake", "1", "1", "/")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(engine_start, "POLL_S", 0.001)
    monkeypatch.setattr(engine_start, "READY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(engine_start, "PID_FILE", tmp_path / "docker.pid")
    monkeypatch.setattr(engine_start, "is_root", lambda: True)
    monkeypatch.setattr("lab.provision.machine.packages.is_root", lambda: True)
    monkeypatch.setattr(engine_start, "has_systemd", lambda: False)
    return monkeypatch


def test_a_bare_machine_gets_docker_io_and_a_daemon(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(engine_start, "find_engine", Machine(polls=5).find)
    runner = FakeRunner(programs={"apt-get"}, installs={"docker.io": {"dockerd", "docker"}})
    seen: list[ProgressEvent] = []
    progress = Progress(seen.append)
    assert ensure_engine(runner, Packages(runner, progress), progress).version == "1"
    assert [" ".join(command) for command in runner.ran if command[0] == "apt-get"] == [
        "apt-get -o DPkg::Lock::Timeout=120 update -q",
        "apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends docker.io",
    ]
    assert runner.detached == [["/fake/dockerd"]]
    assert any("installing docker.io" in event.step for event in seen), "what is installed is announced"


def test_an_installed_engine_is_started_and_not_installed(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(engine_start, "find_engine", Machine(polls=3).find)
    runner = FakeRunner(programs={"apt-get", "dockerd"}, installed={"docker-ce"})
    ensure_engine(runner, Packages(runner, silent()), silent())
    assert not [command for command in runner.ran if command[0] == "apt-get"]
    assert runner.detached == [["/fake/dockerd"]]


def test_a_daemon_that_dies_half_way_is_quoted(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(engine_start, "find_engine", Machine(polls=1000).find)
    runner = FakeRunner(programs={"dockerd"}, daemon_dies_with="failed to mount overlay: no such device\n")
    with pytest.raises(WorldError, match="overlay: no such device") as raised:
        ensure_engine(runner, Packages(runner, silent()), silent())
    assert "stopped while it was starting" in raised.value.what
    assert raised.value.try_


def test_a_daemon_that_never_answers_is_not_waited_for_forever(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(engine_start, "find_engine", Machine(polls=100_000).find)
    runner = FakeRunner(programs={"dockerd"})
    with pytest.raises(WorldError, match="did not answer within"):
        ensure_engine(runner, Packages(runner, silent()), silent())
    assert runner.daemon.terminated, "nothing half-started is left"


def test_a_failing_apt_is_quoted(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(engine_start, "find_engine", lambda runner: ABSENT)
    runner = FakeRunner(programs={"apt-get"}, fails={"apt-get": "E: Unable to locate package docker.io"})
    with pytest.raises(WorldError, match="Unable to locate package"):
        ensure_engine(runner, Packages(runner, silent()), silent())
    assert runner.detached == []


def test_a_pid_file_of_another_program_is_removed_and_a_daemons_own_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "docker.pid"
    path.write_text("1", encoding="ascii")
    drop_stale_pid_file(path, silent())
    assert not path.exists()
    path.write_text("999999999", encoding="ascii")
    drop_stale_pid_file(path, silent())
    assert path.exists(), "dockerd itself handles the number of a process that is gone"
