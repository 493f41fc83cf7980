"""Target folders: the shipped one is right, and each way of being wrong is explained."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.errors import ScenarioError
from lab.read.targets import check_target, load_target

TARGETS = Path(__file__).resolve().parents[2] / "compose" / "targets"
SHIPPED = TARGETS / "workspace-qdrant-mcp"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "target"
    shutil.copytree(SHIPPED, copy)
    return copy


@pytest.mark.parametrize(
    "path", sorted(path.parent for path in TARGETS.glob("*/target.yaml")), ids=lambda p: p.name
)
def test_every_shipped_target_is_right(path: Path) -> None:
    assert check_target(path) == []
    assert load_target(path).name == path.name


def edit(path: Path, change: Callable[[Any], object]) -> None:
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(yaml.safe_dump(value), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update(mix={"search": 50, "add": 30}), "sums to 80"),
        (lambda t: t.update(canary="ping"), "no operation 'ping'"),
        (lambda t: t.update(unknown=1), "unknown key 'unknown'"),
        (lambda t: t.pop("endpoint"), "'endpoint' is missing"),
        (lambda t: t["operations"]["search_dense"].pop("document_ids"), "needs document_ids"),
        (lambda t: t["operations"]["search"]["arguments"].update(query={"$var": "sql"}), "no variable 'sql'"),
        (
            lambda t: t["operations"]["list"].update(success=[{"path": [], "absent": True, "present": True}]),
            "one of",
        ),
        (lambda t: t["operations"]["list"].update(success=[]), "success"),
        (lambda t: t["environment"].update(PORT=8000), "PORT"),
        (lambda t: t.update(protocol_version="2026-07-28"), "protocol_version"),
        (lambda t: t.update(start_timeout="soon"), "start_timeout"),
        (lambda t: t["collections"].update(writes="truth"), "two collections"),
        (lambda t: t["rate"].update(normal_per_s="4"), "normal_per_s"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(
    folder: Path, change: Callable[[Any], object], says: str
) -> None:
    edit(folder / "target.yaml", change)
    problems = check_target(folder)
    assert any(says in problem for problem in problems), problems
    with pytest.raises(ScenarioError):
        load_target(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i: i[0].update(message=".*"), "message"),
        (lambda i: i[0].update(message="Failed to *"), "wildcards"),
        (lambda i: i[0].update(message="--------->"), "literal words"),
        (lambda i: i[0].update(target_version="0.2.0"), "0.2.0"),
        (lambda i: i[0].update(check="everything"), "must be one of"),
        (lambda i: i[0].update(operation="*"), "no operation"),
        (lambda i: i[0].update(layer="any"), "must be one of"),
        (lambda i: i[0].update(date="yesterday"), "no date"),
        (lambda i: i[0].update(explanation="broken"), "explanation"),
        (lambda i: i.append(dict(i[0], faults=[])), "is there twice"),
    ],
)
def test_a_known_issue_must_stay_narrow(folder: Path, change: Callable[[Any], object], says: str) -> None:
    edit(folder / "known-issues.yaml", change)
    problems = check_target(folder)
    assert any(says in problem for problem in problems), problems


def test_files_beside_the_yaml_are_checked(folder: Path) -> None:
    (folder / "Dockerfile").unlink()
    (folder / "requirements.txt").write_text("--index-url https://example.invalid\nfastmcp==2.12.4\n")
    problems = "\n".join(check_target(folder))
    for says in ("no Dockerfile", "not pinned by hash", "address"):
        assert says in problems


def test_all_problems_are_listed_at_once(folder: Path) -> None:
    edit(folder / "target.yaml", lambda t: t.update(canary="ping", add="pong"))
    assert len(check_target(folder)) == 2


def test_a_folder_that_is_none_is_said_so(tmp_path: Path) -> None:
    assert "cannot be read" in check_target(tmp_path)[0]
