"""Ten seeded kills under writing load, and the proof that the checker sees what it must see."""

from pathlib import Path

import pytest
from edge_process import EdgeProcess
from kill_driver import run_kills
from kill_ledger import ABSENT, Ledger, payload_of, summary, vector_of

pytestmark = pytest.mark.usefixtures("own_process")


@pytest.mark.timeout(120)
def test_ten_kills_lose_and_tear_nothing(tmp_path: Path) -> None:
    report = run_kills(EdgeProcess(tmp_path / "storage"), seed=2024, kills=10)
    assert report.kills == 10
    assert report.acknowledged > 1000
    assert report.while_optimizing + report.changeovers > 0
    assert not report.violations, summary(report.violations)


@pytest.mark.timeout(60)
def test_a_server_that_drops_acknowledged_writes_is_caught(tmp_path: Path) -> None:
    lossy = str(Path(__file__).with_name("lossy_server.py"))
    report = run_kills(EdgeProcess(tmp_path / "storage", command=[lossy]), seed=1, kills=1)
    assert {"lost", "resurrected"} & {violation.kind for violation in report.violations}


def record(point_id: int, version: int) -> dict[str, object]:
    """A stored point as it should be."""
    return {
        "id": point_id,
        "payload": payload_of(point_id, version, 0),
        "vector": vector_of(point_id, version),
    }


def written(**versions: int) -> Ledger:
    """A ledger with acknowledged versions of points p1, p2, …"""
    ledger = Ledger()
    points = {int(name[1:]): version for name, version in versions.items()}
    ledger.ask(points)
    ledger.acknowledge(points)
    return ledger


def test_the_ledger_accepts_what_was_acknowledged_or_asked_later() -> None:
    ledger = written(p1=3, p2=4, p3=5)
    ledger.ask({2: 6, 3: ABSENT})
    assert ledger.judge_points([record(1, 3), record(2, 6)]) == []
    assert ledger.judge_points([record(1, 3), record(2, 6)]) == []


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ([], "lost"),
        ([record(1, 2)], "lost"),
        ([record(1, 3), record(9, 1)], "phantom"),
        ([record(1, 3) | {"vector": vector_of(1, 2)}], "torn"),
        ([record(1, 3) | {"vector": {"d": vector_of(1, 3)["d"]}}], "torn"),
        ([record(1, 3) | {"payload": payload_of(1, 3, 0) | {"mark": ""}}], "torn"),
    ],
)
def test_the_ledger_sees_each_violation(stored: list[dict[str, object]], kind: str) -> None:
    ledger = written(p1=2)
    ledger.ask({1: 3})
    ledger.acknowledge({1: 3})
    assert kind in {violation.kind for violation in ledger.judge_points(stored)}


def test_the_ledger_sees_a_deleted_point_come_back() -> None:
    ledger = written(p1=2)
    ledger.acknowledge({1: ABSENT})
    assert [violation.kind for violation in ledger.judge_points([record(1, 2)])] == ["resurrected"]


def test_the_ledger_sees_collections_lost_and_found() -> None:
    ledger = Ledger()
    ledger.acknowledge_collection("a", 1)
    ledger.acknowledge_collection("b", ABSENT)
    kinds = {violation.kind for violation in ledger.judge_collections({"b": 1, "c": 1})}
    assert kinds == {"lost", "resurrected", "phantom"}
