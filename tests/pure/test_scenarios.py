"""Campaign files: accepted as written, or refused with line and accepted keys."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.faults import discover
from lab.read.campaigns import build_fault, load_campaign, scenario_of
from lab.read.strict_yaml import parse

HOME = Path(__file__).resolve().parents[2]
CAMPAIGN: dict[str, Any] = {
    "name": "soak",
    "why": "a reason that is long enough",
    "duration": "10m",
    "faults": [
        {"kind": "latency", "target": "qdrant", "latency_ms": 300, "hold": "40s"},
        {"kind": "kill", "target": "mcp"},
    ],
    "bounds": {"recovery_s": 20},
    "required": ["integrity", "recovery"],
}


def scenario(value: Any):  # type: ignore[no-untyped-def]
    return scenario_of(parse(yaml.safe_dump(value).encode(), "test.yaml"), discover())


@pytest.mark.parametrize("path", sorted((HOME / "chaos").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_campaign_in_the_repository_is_accepted(path: Path) -> None:
    assert load_campaign(path).faults


def test_what_is_written_is_what_is_meant() -> None:
    found = scenario(CAMPAIGN)
    assert (found.name, found.duration_s, found.bounds["recovery_s"], found.bounds["accuracy"]) == (
        "soak",
        600,
        20,
        0.9,
    )
    assert [(spec.kind, spec.target, spec.hold_s) for spec in found.faults] == [
        ("latency", "qdrant", 40),
        ("kill", "mcp", None),
    ]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    campaign = copy.deepcopy(CAMPAIGN)
    place: Any = campaign
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return campaign


@pytest.mark.parametrize(
    ("path", "value", "says", "accepted"),
    [
        (("durration",), "10m", "durration", "duration"),
        (("duration",), 600, "duration", "duration"),
        (("duration",), "10 parsecs", "duration", "90s"),
        (("duration",), "0s", "duration", "90s"),
        (("name",), "../../etc", "name", ""),
        (("bounds", "recovery"), 20, "recovery", "recovery_s"),
        (("bounds", "recovery_s"), "20", "recovery_s", ""),
        (("bounds", "error_rate"), 1.5, "error_rate", ""),
        (("required",), ["latncy"], "latncy", "latency"),
        (("faults", 0, "kind"), "lag", "lag", "latency"),
        (("faults", 0, "latency"), 300, "latency", "latency_ms"),
        (("faults", 0, "latency_ms"), "300", "latency_ms", ""),
        (("faults", 0, "latency_ms"), 300.5, "latency_ms", ""),
        (("faults", 0, "latency_ms"), 0, "latency_ms", ""),
        (("faults", 0, "target"), "prometheus", "target", "qdrant"),
        (("faults", 0, "hold"), 40, "duration", "90s"),
        (("faults",), "latency", "faults", ""),
        (("load",), {"rate": 4}, "rate", "rate_per_s"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_accepted(
    path: tuple[Any, ...], value: Any, says: str, accepted: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(changed(path, value))
    error = caught.value
    assert says in error.what, error
    assert error.where.startswith("test.yaml:")
    assert accepted in f"{error.what} {error.try_}", error


keys = st.sampled_from([*CAMPAIGN, "kind", "target", "hold", "x", "latency_ms"])
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(anything | st.builds(lambda key, value: {**CAMPAIGN, key: value}, keys, anything))
def test_any_structure_is_a_scenario_or_a_clear_refusal(value: Any) -> None:
    try:
        scenario(value)
    except ScenarioError as error:
        assert error.where.startswith("test.yaml:") and error.what


def test_a_fault_in_a_plan_is_built_as_strictly() -> None:
    with pytest.raises(ScenarioError, match="no parameter 'cores'"):
        build_fault("latency", {"target": "qdrant", "cores": 1}, where="plan.json", faults=discover())
    with pytest.raises(ScenarioError, match="no fault kind"):
        build_fault("lag", {}, where="plan.json", faults=discover())
