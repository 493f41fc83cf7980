"""Two hundred seeded kills of the embedded-engine server under writing load, in eight series."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "integration" / "conformance")]

from edge_process import EdgeProcess  # noqa: E402 - found on the path just set
from kill_driver import run_kills  # noqa: E402
from kill_ledger import summary  # noqa: E402

SERIES, KILLS = 8, 25

pytestmark = pytest.mark.sweep


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(SERIES))
def test_kills_lose_and_tear_nothing(tmp_path: Path, seed: int) -> None:
    report = run_kills(EdgeProcess(tmp_path / "storage"), seed=seed, kills=KILLS)
    print(
        f"{report.kills} kills, {report.while_optimizing} of them while optimizing; "
        f"{report.changeovers} changeovers, {report.acknowledged} acknowledged writes"
    )
    assert report.kills == KILLS
    assert not report.violations, summary(report.violations)
