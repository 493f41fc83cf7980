"""Campaign files as users leave them: read back as written, or refused with line and accepted keys."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from annotated_types import Ge, Le
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import judge
from lab.errors import ScenarioError
from lab.faults import discover
from lab.judge.checks import default_bounds
from lab.model.quantities import KB
from lab.model.scenario import Abort, FaultSpec, Scenario
from lab.model.undo import Undo
from lab.ports import Fault, Observation, World
from lab.read.campaigns import build_fault, dump_campaign, duration_s, load_campaign, scenario_of
from lab.read.strict_yaml import parse
from tests.pure.test_strict_yaml_hostile import PIECES

SOAK = Path(__file__).resolve().parents[2] / "chaos" / "soak.yaml"
PLACE = re.compile(r":[1-9]\d*(:[1-9]\d*)?$")


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """A fault kind as a plug-in would bring it; validated by its types alone."""

    kind: ClassVar[str] = "stall"
    family: ClassVar[str] = "test"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant")

    target: Literal["mcp", "qdrant"]
    stall_ms: Annotated[int, Ge(1), Le(1000)]
    share: Annotated[float, Ge(0), Le(1)] = 0.5

    def prepare(self, world: World) -> Undo:
        raise NotImplementedError

    def inject(self, world: World, undo: Undo) -> None:
        raise NotImplementedError

    def observe(self, world: World, before: Observation | None) -> Observation:
        raise NotImplementedError

    @staticmethod
    def heal(world: World, undo: Undo) -> None:
        raise NotImplementedError


FAULTS: dict[str, type[Fault]] = {"stall": Stall}
CHECKS = sorted(judge.discover())
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=10, max_size=60)
seconds = st.integers(1000, 600_000_000).map(lambda ms: ms / 1000)
stalls = st.builds(Stall, st.sampled_from(["mcp", "qdrant"]), st.integers(1, 1000), st.floats(0, 1))
positive = st.floats(1e-6, 1000)
scenarios = st.builds(
    Scenario,
    name=st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True),
    why=words,
    duration_s=seconds,
    faults=st.lists(
        st.builds(
            lambda params, hold, more: FaultSpec(
                "stall", params.target, params, hold, tuple(FaultSpec("stall", p.target, p) for p in more)
            ),
            stalls,
            st.none() | seconds,
            st.lists(stalls, max_size=3),
        ),
        max_size=4,
    ).map(tuple),
    bounds=st.fixed_dictionaries(
        {
            "accuracy": st.floats(1e-6, 0.999),
            "error_rate": st.floats(1e-6, 0.999),
            "latency_p95_ms": positive,
            "recovery_s": positive,
        }
    ),
    required=st.lists(st.sampled_from(CHECKS), unique=True).map(tuple),
    rate_per_s=st.none() | positive,
    source=st.just("test.yaml"),
    abort_if=st.builds(
        lambda disk, memory, dark: Abort(disk * KB, memory * KB, dark),
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        st.none() | seconds,
    ),
    trials=st.integers(1, 20),
)


@settings(max_examples=150)
@given(scenarios)
def test_what_is_dumped_is_read_back_the_same(scenario: Scenario) -> None:
    assert scenario_of(parse(dump_campaign(scenario).encode(), "test.yaml"), FAULTS) == scenario


def test_the_default_campaign_survives_a_dump() -> None:
    soak = load_campaign(SOAK)
    assert scenario_of(parse(dump_campaign(soak).encode(), str(SOAK)), discover()) == soak


def read_back(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "campaign.yaml"
        path.write_bytes(data)
        try:
            load_campaign(path, FAULTS, CHECKS)
        except ScenarioError as error:
            assert error.where.startswith(str(path))
            assert PLACE.search(error.where), error.where
            assert error.what


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_in_a_file_are_a_campaign_or_a_clear_refusal(data: bytes) -> None:
    read_back(data)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 800), st.sampled_from(PIECES)), max_size=5))
def test_a_campaign_with_a_slip_of_the_pen_is_a_campaign_or_a_clear_refusal(
    slips: list[tuple[int, str]],
) -> None:
    text = SOAK.read_text(encoding="utf-8")
    for at, piece in slips:
        text = text[:at] + piece + text[at + 1 :]
    read_back(text.encode())


CAMPAIGN: dict[str, Any] = {
    "name": "soak",
    "why": "a reason that is long enough",
    "duration": "10m",
    "load": {"rate_per_s": 4},
    "faults": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "hold": "10s"}],
    "bounds": {"recovery_s": 20},
    "required": ["integrity"],
}
LEVELS: dict[tuple[Any, ...], list[str]] = {
    (): ["name", "why", "duration", "load", "faults", "bounds", "required"],
    ("load",): ["rate_per_s"],
    ("bounds",): list(default_bounds()),
    ("faults", 0): ["kind", "hold", "target", "stall_ms", "share"],
}


@given(
    st.sampled_from(sorted(LEVELS, key=str)),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.integers(0, 9),
)
def test_any_unknown_key_is_named_with_all_accepted_ones(
    level: tuple[Any, ...], key: str, value: int
) -> None:
    accepted = LEVELS[level]
    if key in accepted:
        return
    campaign = yaml.safe_load(yaml.safe_dump(CAMPAIGN))
    place = campaign
    for step in level:
        place = place[step]
    place[key] = value
    with pytest.raises(ScenarioError) as caught:
        scenario_of(parse(yaml.safe_dump(campaign).encode(), "test.yaml"), FAULTS)
    assert PLACE.search(caught.value.where)
    if "character" not in caught.value.what:
        assert all(name in caught.value.try_ for name in accepted), caught.value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"faults": [{"target": "mcp"}]}, "the key 'kind' is missing"),
        ({"faults": [{"kind": "stal", "target": "mcp"}]}, "did you mean 'stall'? accepted kinds: stall"),
        ({"faults": [{"kind": ["stall"]}]}, "there is no fault kind ['stall']"),
        ({"faults": [{"kind": "stall", "target": "mcp"}]}, "'stall_ms' is missing"),
        (
            {"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "stal_ms": 5}]},
            "did you mean 'stall_ms'?",
        ),
        ({"faults": [{"kind": "stall", "target": "disk", "stall_ms": 5}]}, "'mcp' or 'qdrant'"),
        ({"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 1001}]}, "less than or equal to 1000"),
        ({"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "hold": None}]}, "not a duration"),
        ({"faults": ["stall"]}, "faults.0"),
        ({"required": ["latncy"]}, "did you mean 'latency'?"),
        ({"required": ["latency", "latency"]}, "listed twice"),
        ({"required": "latency"}, "required"),
        ({"bounds": {"error_rate": 0}}, "bounds.error_rate"),
        ({"bounds": {"accuracy": "0.9"}}, "bounds.accuracy"),
        ({"load": {"rate_per_s": True}}, "load.rate_per_s"),
        ({"duration": "8d"}, "not a duration"),
        ({"duration": "169h"}, "7 days"),
        ({"duration": "9" * 400 + "h"}, "7 days"),
        ({"name": "a b"}, "name"),
        ({"why": "short"}, "why"),
        ({"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 1} for _ in range(51)]}, "50"),
    ],
)
def test_a_mistake_is_explained(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of(parse(yaml.safe_dump({**CAMPAIGN, **change}).encode(), "test.yaml"), FAULTS)
    assert says in f"{caught.value.what} {caught.value.try_}"


def test_a_wrong_parameter_of_a_planned_fault_is_named() -> None:
    with pytest.raises(ScenarioError, match="stall: stall_ms: ") as caught:
        build_fault("stall", {"target": "mcp", "stall_ms": "5"}, where="plan.json", faults=FAULTS)
    assert "plan.json" in caught.value.where
    assert build_fault("stall", {"target": "mcp", "stall_ms": 5}, where="", faults=FAULTS) == Stall("mcp", 5)


def test_checks_and_faults_can_be_given() -> None:
    document = parse(yaml.safe_dump({**CAMPAIGN, "required": ["mine"]}).encode(), "test.yaml")
    assert scenario_of(document, FAULTS, ["mine"]).required == ("mine",)


@pytest.mark.parametrize("text", [90, None, True, "90", "-1s", "inf s", "1e3s", "", "0.5s", "\u0663s"])
def test_a_duration_says_where_it_stands(text: object) -> None:
    with pytest.raises(ScenarioError, match="not a duration") as caught:
        duration_s(text, "--duration")
    assert caught.value.where == "--duration"


@pytest.mark.parametrize("path", ["missing.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_said_so(path: str) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_campaign(Path(path), FAULTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"abort_if": {"free_disk": "2 potatoes"}}, "not a size"),
        ({"abort_if": {"canary_dark": 60}}, "canary_dark"),
        ({"abort_if": {"free_dsik": "2GB"}}, "free_dsik"),
        ({"trials": 0}, "trials"),
        ({"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "with": {"kind": "stall"}}]}, "list"),
        ({"faults": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "with": [{"kind": "stal"}]}]}, "stal"),
        (
            {
                "faults": [
                    {
                        "kind": "stall",
                        "target": "mcp",
                        "stall_ms": 5,
                        "with": [{"kind": "stall", "target": "mcp", "stall_ms": 5, "hold": "3s"}],
                    }
                ]
            },
            "hold",
        ),
    ],
)
def test_what_stands_beside_a_fault_is_as_strict(change: dict[str, Any], says: str) -> None:
    data = yaml.safe_dump({**CAMPAIGN, **change}, sort_keys=False).encode()
    with pytest.raises(ScenarioError, match=says) as caught:
        scenario_of(parse(data, "test.yaml"), FAULTS)
    assert PLACE.search(caught.value.where), caught.value.where
