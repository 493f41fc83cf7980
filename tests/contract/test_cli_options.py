"""Options that no run can be made of end in exit code 2 and a sentence, before anything is touched."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from lab.cli import app
from lab.errors import LabError, ScenarioError
from lab.evidence import run_directory
from lab.guard import leftovers
from lab.guard.heal import Healed
from lab.host.machine.state import lock_names, machine_lock
from lab.provision.machine import doctor
from lab.provision.stack import bring_up, stack
from lab.provision.stack.stack_spec import stacks_directory
from lab.read.campaigns import TRIALS_MAX
from lab.run import session
from lab.run.calibration import at_once

LONG = "x" * 300
FAULT = ("fault", "run", "latency", "target=qdrant")


class Reached(LabError):
    """A command came as far as touching the machine."""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine that can do everything, with nothing to heal; what touches it is noted in `touched`."""
    touched: list[str] = []

    def reach(name: str) -> None:
        touched.append(name)
        raise Reached(name)

    def heal_leftovers(clock: object) -> list[Healed]:
        touched.append("heal")
        return []

    def down_all() -> list[str]:
        touched.append("down --all")
        return ["everything"]

    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(leftovers, "heal_leftovers", heal_leftovers)
    monkeypatch.setattr(bring_up, "bring_up", lambda *a, **k: reach("up"))
    monkeypatch.setattr(stack, "down_all", down_all)
    monkeypatch.setattr(stack, "stop", lambda *a, **k: reach("down"))
    monkeypatch.setattr(at_once, "recovery", lambda *a: reach("calibrate"))
    able: defaultdict[str, SimpleNamespace] = defaultdict(lambda: SimpleNamespace(ok=True))
    monkeypatch.setattr(doctor, "check_machine", lambda **k: able.values())
    return SimpleNamespace(touched=touched, folder=tmp_path)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything said, in one line."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("project", ["a/b", LONG, "../up", "Foo Bar", ""])
@pytest.mark.parametrize("command", [("up",), ("down",), ("down", "--all"), ("soak",), FAULT])
def test_a_project_that_is_no_name_is_refused_before_anything_is_touched(
    machine: SimpleNamespace, command: tuple[str, ...], project: str
) -> None:
    code, said = run(*command, "--project", project)
    assert code == 2, said
    assert "not a name for a stack" in said
    assert machine.touched == [] and lock_names() == []


@pytest.mark.parametrize("command", [("up",), ("soak",), FAULT])
def test_a_project_that_is_a_name_goes_on(machine: SimpleNamespace, command: tuple[str, ...]) -> None:
    code, said = run(*command, "--project", "fine-1", *([] if command == ("up",) else runs_in(machine)))
    assert code == 12, said
    assert machine.touched[-1] == "up" and lock_names() == ["stack-fine-1"]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ([], r"times are UTC\n\d\d:\d\d:\d\d making a thing \.\.\.\nlab: the end\n"),
        (["--log", "plain"], r"times are UTC\n\d\d:\d\d:\d\d making a thing \.\.\.\nlab: the end\n"),
        (["--log", "json"], r'\{"kind": "progress", "text": "making a thing \.\.\."\}\nlab: the end\n'),
    ],
)
@pytest.mark.parametrize("command", [("up",), ("soak",), FAULT])
def test_a_log_gets_plain_lines_and_machines_get_json(
    machine: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    asked: list[str],
    shown: str,
) -> None:
    def come_up(*arguments: object, progress: Callable[[str], None], **options: object) -> None:
        progress("making a thing ...")
        raise Reached("the end")

    monkeypatch.setattr(bring_up, "bring_up", come_up)
    more = [] if command == ("up",) else runs_in(machine)
    result = CliRunner().invoke(app, [*command, *asked, *more])
    assert re.fullmatch(shown, result.stderr), result.stderr
    assert result.stdout == ""


def test_another_form_of_log_is_refused() -> None:
    code, said = run("up", "--log", "xml")
    assert code == 2 and "'xml' is not one of" in said, said


def runs_in(machine: SimpleNamespace) -> list[str]:
    return ["--runs", str(machine.folder / "new" / "runs")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("latency_ms=2026-01-01", "'2026-01-01'"),
        ("latency_ms=!!binary aGk=", "'!!binary aGk=' is not a value"),
        ("latency_ms=!!set {a}", "'!!set {a}' is not a value"),
        ("latency_ms=.nan", "not a finite number"),
        ("latency_ms=.inf", "not a finite number"),
        ("latency_ms=&a 1", "anchors"),
        ("latency_ms=0x1F", "'0x1F' is not a value"),
        ("latency_ms=yes", "write true or false"),
        ("latency_ms=" + "9" * 400, "is not a value"),
        ("latency_ms=" + "[" * 400, "is not a value"),
        ("latency_ms={1: 2}", "is not a value"),
        ("latency_ms=\udcff", "not UTF-8"),
        ("latency_ms=", "latency_ms"),
        ("\udcff=1", "no parameter"),
    ],
)
def test_a_value_that_no_campaign_could_hold_is_named(
    machine: SimpleNamespace, given: str, says: str
) -> None:
    code, said = run(*FAULT, given)
    assert code == 2, said
    assert says in said and "command line" in said
    assert machine.touched == []


def test_the_values_of_faults_are_read_as_before() -> None:
    code, said = run(*FAULT, "latency_ms=200", "toxicity=0.5", "direction=upstream", "--dry-run")
    assert code == 0, said
    assert "latency_ms 200" in said and "toxicity 0.5" in said and "direction upstream" in said


@pytest.mark.parametrize("command", [("soak",), FAULT])
@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        ("runs", "runs", "is no folder"),
        ("runs", "runs/below", "Not a directory"),
        ("", LONG, "too long"),
        ("runs/latest/mine", "runs", "no symlink"),
        ("runs/latest", "runs", "no symlink"),
    ],
)
def test_runs_that_can_hold_no_run_are_refused_before_the_stack_is_touched(
    machine: SimpleNamespace, command: tuple[str, ...], made: str, asked: str, says: str
) -> None:
    kept = machine.folder / made
    if made:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("mine", encoding="utf-8")
    code, said = run(*command, "--runs", str(machine.folder / asked))
    assert code == 2, said
    assert says in said and str(machine.folder / asked) in said and "try:" in said
    assert machine.touched == []
    assert not made or kept.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("link", ["nowhere", "."])
def test_runs_that_are_new_or_have_a_link_are_fine(machine: SimpleNamespace, link: str) -> None:
    runs = machine.folder / "runs"
    runs.mkdir()
    (runs / "latest").symlink_to(link)
    assert run("soak", "--runs", str(runs))[0] == 12
    assert run("soak", *runs_in(machine))[0] == 12
    assert machine.touched == ["heal", "up"] * 2
    assert [path.name for path in runs.iterdir()] == ["latest"], "the trial leaves nothing"
    assert (runs / "latest").readlink() == Path(link)


def test_a_dry_run_makes_no_folder(machine: SimpleNamespace) -> None:
    assert run("soak", "--dry-run", *runs_in(machine))[0] == 0
    assert not (machine.folder / "new").exists()


def test_a_latest_that_appears_meanwhile_is_kept_as_well(tmp_path: Path) -> None:
    """The run's own directory is made minutes after the folder was tried."""
    (tmp_path / "latest").mkdir()
    with pytest.raises(ScenarioError, match="no symlink"):
        run_directory.create(tmp_path, "soak")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]
    (tmp_path / "latest").rmdir()
    made = run_directory.create(tmp_path, "soak")
    assert (tmp_path / "latest").resolve() == made


def test_a_certificate_that_could_not_be_written_is_refused_before_it_is_measured(
    machine: SimpleNamespace,
) -> None:
    file = machine.folder / "file"
    file.touch()
    code, said = run("calibrate", "recovery", "--directory", str(file))
    assert code == 2, said
    assert "--directory" in said and str(file) in said
    assert machine.touched == []
    assert run("calibrate", "recovery", "--directory", str(machine.folder / "new"))[0] == 12
    assert machine.touched == ["calibrate"]


@pytest.mark.parametrize(
    "command", [("judge", LONG), ("target", "check", LONG), ("soak", LONG), ("soak", "--target", LONG)]
)
def test_a_name_that_no_file_can_have_is_no_crash(command: tuple[str, ...]) -> None:
    code, said = run(*command)
    assert code == 2, said
    assert "too long" in said


@pytest.mark.parametrize("error", [PermissionError(13, "no", "/somewhere"), KeyError("x"), MemoryError()])
def test_what_nobody_foresaw_ends_with_12_and_its_place_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(directory: Path) -> None:
        raise error

    monkeypatch.setattr(run_directory, "resolve", lambda runs, name: runs)
    monkeypatch.setattr(session, "judge_run", refuse)
    code, said = run("judge")
    assert code == 12, said
    assert f"the lab itself failed with {type(error).__name__}" in said
    assert "lab/cli/soak.py" in said and "Traceback" not in said and "too long" not in said


@pytest.mark.parametrize(("trials", "bound"), [(-1, 0), (TRIALS_MAX + 1, TRIALS_MAX), (20000, TRIALS_MAX)])
def test_trials_have_the_bounds_of_a_campaign(machine: SimpleNamespace, trials: int, bound: int) -> None:
    code, said = run("soak", "--trials", str(trials), *runs_in(machine))
    assert code == 2, said
    assert "--trials" in said and f"equal to {bound}" in said
    assert machine.touched == []


@pytest.mark.parametrize("trials", [0, 1, TRIALS_MAX])
def test_trials_within_the_bounds_are_planned(trials: int) -> None:
    code, said = run("soak", "--dry-run", "--trials", str(trials))
    assert code == 0, said


def save(project: str) -> None:
    """As much of a saved stack as makes it known."""
    folder = stacks_directory() / project
    folder.mkdir()
    (folder / "stack.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "brought up for the first time"])
def test_down_all_leaves_everything_while_any_stack_is_in_use(machine: SimpleNamespace, saved: bool) -> None:
    save("idle")
    if saved:
        save("live")
    with machine_lock("stack-live"):
        code, said = run("down", "--all")
    assert code == 12, said
    assert "'live' is in use" in said and "try:" in said
    assert "down --all" not in machine.touched
    # Once that run has ended, and nothing that the refused command held is in the way.
    assert run("down", "--all")[0] == 0
    assert machine.touched[-1] == "down --all"


def test_down_all_holds_every_saved_stack_while_it_removes_them(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "a"):
        save(name)
    answers: dict[str, int] = {}

    def remove() -> list[str]:
        answers.update({name: run("up", "--project", name)[0] for name in ("a", "b", stack.DEFAULT_PROJECT)})
        answers["down --all"] = run("down", "--all")[0]
        return []

    monkeypatch.setattr(stack, "down_all", remove)
    assert run("down", "--all")[0] == 0
    assert answers == {"a": 12, "b": 12, stack.DEFAULT_PROJECT: 12, "down --all": 12}
    assert "up" not in machine.touched


def test_down_all_is_not_kept_by_locks_that_are_no_stack_of_today(machine: SimpleNamespace) -> None:
    """Of other works on the machine, and of names that were once accepted."""
    with machine_lock("engine"), machine_lock("stack-Foo Bar"):
        assert run("down", "--all")[0] == 0
    assert machine.touched[-1] == "down --all"


def test_down_of_one_stack_is_not_kept_by_another_live_one(machine: SimpleNamespace) -> None:
    with machine_lock("stack-live"):
        code, said = run("down", "--project", "idle")
    assert code == 0, said
