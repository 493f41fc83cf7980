"""Exit codes and messages of the command line, as far as they need no engine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli import app
from lab.faults import discover
from lab.faults.catalogue import catalogue

RUNNER = CliRunner()


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything said."""
    result = RUNNER.invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nwhy: a reason long enough\nduration: 10m\nfaults: []\ndurration: 5m\n", "durration"),
        ("name: [\n", "YAML"),
        ("\x00\x01\x02", "YAML"),
        ("- just\n- a list\n", "accepted keys"),
        ("name: x\nname: y\n", "is there twice"),
        ("", "accepted keys"),
    ],
)
def test_a_malformed_campaign_exits_2_and_names_the_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    code, said = run("soak", str(path))
    assert code == 2, said
    assert says in said and f"{path}:" in said.replace("\n", ""), said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["soak", "--duration", "soon"], "not a duration"),
        (["soak", "--duration", "20s"], "too short"),
        (["soak", "no-such-file.yaml"], "cannot be read"),
        (["soak", "--target", "no-such-target"], "cannot be read"),
        (["judge", "no-such-run"], "not a run directory"),
        (["soak", "--seed", "many"], "seed"),
    ],
)
def test_bad_input_exits_2_with_a_clear_sentence(arguments: list[str], says: str) -> None:
    code, said = run(*arguments)
    assert code == 2, said
    assert says in said, said


def test_a_dry_run_touches_nothing_and_shows_the_plan() -> None:
    code, said = run("soak", "--dry-run", "--duration", "10m", "--seed", "7")
    assert code == 0, said
    for word in ("seed 7", "baseline", "what this duration can decide"):
        assert word in said


def test_the_published_schema_is_json() -> None:
    code, said = run("schema", "report")
    assert code == 0
    assert "findings" in json.loads(said)["properties"]


def test_every_fault_kind_is_listed() -> None:
    code, said = run("fault", "list")
    assert code == 0
    for kind in ("latency", "kill", "cpu_cap"):
        assert kind in said


def test_the_shipped_target_is_right_and_a_broken_one_is_explained(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "compose" / "targets" / "workspace-qdrant-mcp"
    assert run("target", "check", str(shipped))[0] == 0
    (tmp_path / "target.yaml").write_text("name: x\n", encoding="utf-8")
    code, said = run("target", "check", str(tmp_path))
    assert code == 2 and "'endpoint' is missing" in said


def test_the_fault_catalogue_is_complete_as_data() -> None:
    code, said = run("fault", "list", "--json")
    assert code == 0, said
    entries = {entry["kind"]: entry for entry in json.loads(said)}
    assert set(entries) == set(discover())
    latency = next(one for one in entries["latency"]["parameters"] if one["name"] == "latency_ms")
    assert (latency["unit"], latency["minimum"], latency["default"]) == ("ms", 50, 300)
    for entry in entries.values():
        assert entry["family"] in ("link", "network", "process", "resources")
        assert entry["summary"] and entry["services"]
        assert entry["able"] is (not entry["lacks"])


def test_a_capability_that_is_absent_is_said_for_each_fault_that_needs_it() -> None:
    lacking = {"cgroup_cpu": "controller absent"}
    (entry,) = [one for one in catalogue(lacking) if one.kind == "cpu_cap"]
    assert entry.lacks == lacking


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["latencyy"], "latencyy"),
        (["latency", "target=qdrant", "latency_ms=5"], "latency_ms"),
        (["latency", "target=qdrant", "delay"], "NAME=VALUE"),
        (["latency", "target=host"], "target"),
        (["freeze"], "freeze needs a target, the service on which it acts: qdrant or mcp or toxiproxy"),
        (["freeze"], "lab fault run freeze target=qdrant --hold 5s"),
        (["freezer"], "there is no fault kind"),
        (["freeze", "target=qdrant", "--stays-well", "soon"], "--stays-well"),
        (["latency", "target=qdrant", "--hold", "soon"], "not a duration"),
        (["latency", "target=[", "--hold", "5s"], "not a value"),
    ],
)
def test_a_fault_by_hand_is_as_strict_as_a_campaign(arguments: list[str], says: str) -> None:
    code, said = run("fault", "run", *arguments)
    assert code == 2, said
    assert says in said, said


def test_a_fault_by_hand_shows_its_plan_and_touches_nothing() -> None:
    code, said = run("fault", "run", "latency", "target=qdrant", "latency_ms=200", "--dry-run")
    assert code == 0, said
    assert "latency on qdrant" in said and "latency_ms 200" in said
