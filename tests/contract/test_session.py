"""One session for every command: the order of its work, and what a command makes of the outcome."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from lab import judge
from lab.cli import app
from lab.cli.console import JsonLines
from lab.errors import LabError, RunFailed, ScenarioError
from lab.guard import leftovers
from lab.host.machine.state import machine_lock
from lab.model.capacity import Capacity, OperationCost
from lab.model.plan import Plan
from lab.model.scenario import Scenario
from lab.model.verdict import Verdict
from lab.provision.stack import bring_up
from lab.read.campaigns import load_campaign
from lab.report import report_json
from lab.repository import ROOT, TARGETS
from lab.run import session
from tests.pure.evidence_factory import make

SOAK = ROOT / "chaos" / "soak.yaml"
_NAMES = ("search", "search_dense", "add", "list", "status")
CAPACITY = Capacity({name: OperationCost(21, 45, 45, 20) for name in _NAMES}, 21, 1.0, 9.0)


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the session did, in order; everything that would touch the machine is replaced."""
    steps: list[str] = []

    def held(project: str) -> str:
        try:
            with machine_lock(f"stack-{project}", lambda: (_ for _ in ()).throw(LabError("held"))):
                return "free"
        except LabError:
            return "held"

    def step(name: str, result: Any) -> Any:
        steps.append(f"{name}, stack {held('mine')}")
        return result

    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(leftovers, "heal_leftovers", lambda clock: step("heal", []))
    monkeypatch.setattr(bring_up, "bring_up", lambda *a, **k: step("bring up", "spec"))
    monkeypatch.setattr(session, "docker_client", lambda: "client")
    monkeypatch.setattr(session, "prepare", lambda *a: step("prepare", "prepared"))
    monkeypatch.setattr(session, "measure_capacity", lambda *a: step("measure", CAPACITY))

    def carried(prepared: object, plan: Plan, *rest: object) -> session.Outcome:
        known = "unknown" if plan.capacity is None else f"{plan.capacity.mix_per_s:g}/s"
        outcome_of_it: session.Outcome = step(f"carry out at {known}", outcome(Verdict.PASS))
        return outcome_of_it

    monkeypatch.setattr(session, "carry_out", carried)
    return steps


def outcome(gate: Verdict, failure: LabError | None = None) -> session.Outcome:
    evidence = make()
    judgement = replace(judge.judge(evidence), gate=gate)
    return session.Outcome(Path("runs/x"), judgement, report_json.build(evidence, judgement), failure)


def request(tmp_path: Path, **more: Any) -> session.RunRequest:
    asked: dict[str, Any] = {"project": "mine", "runs": tmp_path / "runs", **more}
    return session.RunRequest(load_campaign(SOAK), TARGETS / "workspace-qdrant-mcp", **asked)


def test_the_session_heals_first_and_holds_the_stack_until_the_verdict(
    done: list[str], tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as log:
        found = session.run(request(tmp_path), JsonLines(log))
    assert found.judgement.gate is Verdict.PASS
    held = ["bring up", "prepare", "measure", "carry out at 21/s"]
    assert done == ["heal, stack free", *(f"{name}, stack held" for name in held)]


@pytest.mark.parametrize("wrong", [{"project": "no name"}, {"target_dir": Path("/nowhere")}])
def test_a_mistake_of_the_user_is_said_before_anything_is_touched(
    done: list[str], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with (tmp_path / "log").open("w") as log, pytest.raises(ScenarioError):
        session.run(replace(request(tmp_path), **wrong), JsonLines(log))
    assert done == []


def test_a_dry_run_touches_nothing(done: list[str], tmp_path: Path) -> None:
    assert any("what this duration can decide" in line for line in session.dry_run(request(tmp_path)))
    assert done == [] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((Verdict.PASS, None), 0),
        ((Verdict.FAIL, None), 10),
        ((Verdict.INCONCLUSIVE, None), 11),
        ((Verdict.INCONCLUSIVE, RunFailed("the lab broke")), 12),
    ],
)
@pytest.mark.parametrize("command", [("soak",), ("fault", "run", "kill", "target=qdrant")])
def test_commands_ask_the_session_and_end_with_the_code_of_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    given: tuple[Verdict, LabError | None],
    code: int,
) -> None:
    asked = SimpleNamespace(requests=[])

    def run(request: session.RunRequest, progress: object) -> session.Outcome:
        asked.requests.append(request)
        return outcome(*given)

    monkeypatch.setattr(session, "run", run)
    more = ["--seed", "7", "--project", "mine", "--images", "build"]
    result = CliRunner().invoke(app, [*command, *more])
    assert result.exit_code == code, result.output
    (request,) = asked.requests
    assert isinstance(request.scenario, Scenario)
    assert (request.seed, request.project, request.images_from) == (7, "mine", "build")
    assert max(map(len, result.stdout.splitlines())) < 100
    assert ("the lab broke" in result.stderr) is (code == 12)
