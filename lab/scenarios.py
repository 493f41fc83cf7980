"""Campaign files: strict YAML in, a `Scenario` out; docs/campaigns.md documents them."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import yaml
from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from lab import judge
from lab.errors import ScenarioError
from lab.faults import discover
from lab.model.quantities import parse_duration_s
from lab.model.scenario import Bounds, FaultSpec, Scenario
from lab.ports import Fault
from lab.strict_yaml import Document, Location, accepted, checked, keys_of, problems, read, shown, strictly

DEFAULT_REQUIRED = ("integrity", "load_arrived", "latency", "errors", "recovery", "accuracy", "in_force")
FAULTS_MAX = 50
DURATION_MIN_S, DURATION_MAX_S = 1.0, 7 * 86_400.0

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Faults = Mapping[str, type[Fault]]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Load(_Strict):
    rate_per_s: Annotated[float, Gt(0), Le(1000)]


class _Bounds(_Strict):
    latency_p95_ms: Annotated[float, Gt(0)] = 200.0
    error_rate: Annotated[float, Ge(1e-6), Lt(1)] = 0.01
    recovery_s: Annotated[float, Gt(0), Le(3600)] = 30.0
    accuracy: Annotated[float, Gt(0), Lt(1)] = 0.90


class _Campaign(_Strict):
    name: Name
    why: Annotated[str, StringConstraints(min_length=10, max_length=500)]
    duration: str
    load: _Load | None = None
    faults: Annotated[list[dict[str, Any]], Len(0, FAULTS_MAX)]
    bounds: _Bounds = _Bounds()
    required: list[str] = list(DEFAULT_REQUIRED)


_SHAPE = TypeAdapter(_Campaign)


def load_campaign(
    path: Path, faults: Faults | None = None, checks: Collection[str] | None = None
) -> Scenario:
    """The scenario in a campaign file; raises ScenarioError with file and line for anything that is not accepted.

    `faults` and `checks` are the known fault kinds and check names; by default those which discovery finds.
    """
    return scenario_of(read(path), discover() if faults is None else faults, checks)


def scenario_of(document: Document, faults: Faults, checks: Collection[str] | None = None) -> Scenario:
    """The scenario in a document."""
    campaign = checked(document, _SHAPE)
    _check_required(document, campaign.required, judge.discover() if checks is None else checks)
    specs = [_fault_spec(document, number, entry, faults) for number, entry in enumerate(campaign.faults)]
    return Scenario(
        name=campaign.name,
        why=campaign.why,
        duration_s=duration_s(campaign.duration, document.where(("duration",))),
        faults=tuple(specs),
        bounds=Bounds(**campaign.bounds.model_dump()),
        required=tuple(campaign.required),
        rate_per_s=campaign.load.rate_per_s if campaign.load else None,
        source=document.source,
    )


def duration_s(text: object, where: str) -> float:
    """Seconds in a duration that a run can last; raises ScenarioError for anything else, numbers included."""
    try:
        seconds = parse_duration_s(text) if isinstance(text, str) and text.isascii() else -1.0
    except ValueError:
        seconds = -1.0
    if DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        return seconds
    raise ScenarioError(
        f"{shown(text)} is not a duration between 1 s and 7 days",
        where=where,
        try_="a number and ms, s, m or h, such as 90s or 10m",
    )


def build_fault(kind: str, params: Mapping[str, Any], *, where: str, faults: Faults) -> Fault:
    """A fault of a kind from plain parameters, as a plan holds them."""
    if kind not in faults:
        raise ScenarioError(f"there is no fault kind {shown(kind)}", where=where, try_=accepted(kind, faults))
    return _built(faults[kind], params, Document(where, dict(params)), ())


def dump_campaign(scenario: Scenario) -> str:
    """A scenario as the text of a campaign file; `scenario_of` reads the same scenario back."""
    value: dict[str, Any] = {
        "name": scenario.name,
        "why": scenario.why,
        "duration": _written(scenario.duration_s),
    }
    if scenario.rate_per_s is not None:
        value["load"] = {"rate_per_s": scenario.rate_per_s}
    value["faults"] = [_entry(spec) for spec in scenario.faults]
    value["bounds"] = asdict(scenario.bounds)
    value["required"] = list(scenario.required)
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)


def _entry(spec: FaultSpec) -> dict[str, Any]:
    hold = {} if spec.hold_s is None else {"hold": _written(spec.hold_s)}
    return {"kind": spec.kind, **asdict(spec.params), **hold}


def _written(seconds: float) -> str:
    """A duration as this module reads it, which knows no exponents."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _check_required(document: Document, required: list[str], checks: Collection[str]) -> None:
    for number, name in enumerate(required):
        where = document.where(("required", number))
        if name not in checks:
            raise ScenarioError(f"there is no check {shown(name)}", where=where, try_=accepted(name, checks))
        if name in required[:number]:
            raise ScenarioError(f"the check {name!r} stands twice", where=where, try_="remove one of them")


def _fault_spec(document: Document, number: int, entry: dict[str, Any], faults: Faults) -> FaultSpec:
    place = ("faults", number)
    kind, hold = entry.get("kind"), entry.get("hold")
    if not isinstance(kind, str) or kind not in faults:
        what = "the key 'kind' is missing" if "kind" not in entry else f"there is no fault kind {shown(kind)}"
        where = document.where((*place, "kind"))
        raise ScenarioError(what, where=where, try_=accepted(kind, faults, "accepted kinds"))
    params = {name: value for name, value in entry.items() if name not in ("kind", "hold")}
    fault = _built(faults[kind], params, document, place)
    hold_s = duration_s(hold, document.where((*place, "hold"))) if "hold" in entry else None
    return FaultSpec(kind, fault.target, fault, hold_s)


def _built(fault: type[Fault], params: Mapping[str, Any], document: Document, place: Location) -> Fault:
    """A fault from its parameters, strictly: unknown keys, wrong types and values out of bounds are refused."""
    shape = TypeAdapter(fault)
    keys = keys_of(shape)
    names = ["kind", "hold", *keys()]
    for name in params:
        if name not in keys():
            raise ScenarioError(
                f"a {fault.kind} fault has no parameter {shown(name)}",
                where=document.where((*place, name)),
                try_=accepted(name, names),
            )
    try:
        return strictly(dict(params), shape)
    except ValidationError as error:
        first = next(iter(problems(document, error.errors(include_url=False), keys, place)))
        raise ScenarioError(
            f"{fault.kind}: {first.what}",
            where=first.where,
            try_=f"accepted keys: {', '.join(names)}",
        ) from None
