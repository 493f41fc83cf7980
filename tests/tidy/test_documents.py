"""Documents that can be checked are: their examples load, their tables are complete, their generated parts fresh."""

import re
import shutil
from pathlib import Path

import pytest

from lab.faults import discover
from lab.judge.checks import default_bounds
from lab.model.recovery import STAYS_WELL_S
from lab.model.target import CONDITIONS, PAYLOADS, VARIABLES
from lab.plan import decisions, steps
from lab.read.campaigns import DEFAULT_REQUIRED, scenario_of
from lab.read.strict_yaml import keys_of, parse
from lab.read.targets import check_target, load_target
from lab.read.targets.shapes import EXCUSABLE_CHECKS, EXCUSABLE_LAYERS, ISSUES, TARGET
from tests.tidy.generated import HOME, PARTS, renewed

TARGETS = (HOME / "docs" / "targets.md").read_text(encoding="utf-8")
CAMPAIGNS = (HOME / "docs" / "campaigns.md").read_text(encoding="utf-8")
SHIPPED = HOME / "compose" / "targets" / "workspace-qdrant-mcp"


def blocks(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def first_cells(text: str) -> str:
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| "))


def test_the_example_of_a_target_is_right(tmp_path: Path) -> None:
    for block in blocks(TARGETS):
        name = block.split("\n", 1)[0].removeprefix("# ")
        (tmp_path / name).write_text(block, encoding="utf-8")
    for name in ("Dockerfile", "requirements.txt"):
        shutil.copy(SHIPPED / name, tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".txt", ".yaml", ".yaml"]
    assert check_target(tmp_path) == []
    assert load_target(tmp_path).known_issues[0].check == "errors"


def test_every_key_of_a_target_is_documented() -> None:
    cells = first_cells(TARGETS)
    operation = keys_of(TARGET)(("operations", "any"))
    assert {"tool", "arguments", "success"} <= set(operation)
    for key in (*keys_of(TARGET)(), *keys_of(ISSUES)((0,)), *CONDITIONS, *VARIABLES):
        assert re.search(rf"`{key}\b", cells), f"docs/targets.md has no row for {key!r}"
    for word in (*operation, *PAYLOADS, *EXCUSABLE_CHECKS, *EXCUSABLE_LAYERS, *keys_of(TARGET)(("rate",))):
        assert f"`{word}`" in TARGETS, f"docs/targets.md does not say {word!r}"


def test_the_example_of_a_campaign_is_right() -> None:
    (block,) = blocks(CAMPAIGNS)
    scenario = scenario_of(parse(block.encode(), "docs/campaigns.md"), discover())
    assert scenario.bounds == default_bounds(), "the document says that these are the defaults"


def test_every_key_of_a_campaign_is_documented() -> None:
    for key in ("name", "why", "duration", "load", "faults", "bounds", "required"):
        assert f"`{key}`" in first_cells(CAMPAIGNS)
    for name in (*default_bounds(), "kind", "hold", "rate_per_s"):
        assert f"`{name}`" in CAMPAIGNS
    assert len(DEFAULT_REQUIRED) == 7


def test_the_numbers_of_the_planner_are_those_in_the_document() -> None:
    says = " ".join(CAMPAIGNS.split())
    for words in (
        f"a warm-up ({steps.WARM_UP_MIN_S:g} to {steps.WARM_UP_MAX_S:g} s)",
        f"{steps.HOLD_MIN_S:g} to {steps.HOLD_MAX_S:g} s",
        f"{steps.PROOFS_S:g} s for the proofs",
        f"{steps.settle_s(STAYS_WELL_S):g} s in which the recovery must hold",
        f"| P95 | {decisions.LATENCY_REQUESTS} requests",
        f"| {decisions.RECALL_ANSWERS} different truth queries",
    ):
        assert words in says, words


@pytest.mark.parametrize("path", PARTS)
def test_generated_parts_are_fresh(path: str) -> None:
    same = (HOME / path).read_text(encoding="utf-8") == renewed(path)
    assert same, f"{path} is stale: run `python -m tests.tidy.generated`"
