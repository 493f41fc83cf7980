"""Reads campaign files (docs/campaigns.md) into a `Scenario`, and writes a `Scenario` as a campaign file."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError, create_model

from lab import judge
from lab.errors import ScenarioError
from lab.faults import discover
from lab.judge.checks import discover_bounds
from lab.model.quantities import KB, parse_duration_s, parse_size_bytes
from lab.model.scenario import Abort, BoundSpec, FaultSpec, Scenario
from lab.ports import Fault
from lab.read.strict_yaml import (
    Document,
    Location,
    accepted,
    checked,
    keys_of,
    problems,
    read,
    shown,
    strictly,
)

DEFAULT_REQUIRED = ("integrity", "load_arrived", "latency", "errors", "recovery", "accuracy", "in_force")
FAULTS_MAX, COMPANIONS_MAX, TRIALS_MAX = 50, 5, 20
DURATION_MIN_S, DURATION_MAX_S = 1.0, 7 * 86_400.0

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Faults = Mapping[str, type[Fault]]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Load(_Strict):
    rate_per_s: Annotated[float, Gt(0), Le(1000)]


class _Abort(_Strict):
    free_disk: str | None = None
    host_memory: str | None = None
    canary_dark: str | None = None


class _Campaign(_Strict):
    name: Name
    why: Annotated[str, StringConstraints(min_length=10, max_length=500)]
    duration: str
    load: _Load | None = None
    faults: Annotated[list[dict[str, Any]], Len(0, FAULTS_MAX)]
    bounds: Any = None
    required: list[str] = list(DEFAULT_REQUIRED)
    abort_if: _Abort = _Abort()
    trials: Annotated[int, Ge(1), Le(TRIALS_MAX)] = 1


def campaign_shape() -> TypeAdapter[Any]:
    """The shape of a campaign file, with the bounds that the checks of today take from it."""
    return _shape(discover_bounds())


@cache
def _shape(specs: tuple[BoundSpec, ...]) -> TypeAdapter[Any]:
    fields: dict[str, Any] = {spec.name: (_number_within(spec), spec.default) for spec in specs}
    bounds = create_model("_Bounds", __base__=_Strict, **fields)
    campaign = create_model("_CampaignWithBounds", __base__=_Campaign, bounds=(bounds, bounds()))
    return TypeAdapter(campaign)


def _number_within(spec: BoundSpec) -> Any:
    limits = ((Gt, spec.above), (Ge, spec.at_least), (Lt, spec.below), (Le, spec.at_most))
    return Annotated[(float, *(limit(value) for limit, value in limits if value is not None))]


def load_campaign(
    path: Path, faults: Faults | None = None, checks: Collection[str] | None = None
) -> Scenario:
    """The scenario in a campaign file; raises ScenarioError, with file and line, for anything that is not accepted.

    `faults` and `checks` are the known fault kinds and check names. By default these are all that the lab has.
    """
    return scenario_of(read(path), discover() if faults is None else faults, checks)


def scenario_of(document: Document, faults: Faults, checks: Collection[str] | None = None) -> Scenario:
    """The scenario in a document."""
    campaign = checked(document, campaign_shape())
    _check_required(document, campaign.required, judge.discover() if checks is None else checks)
    specs = [_fault_spec(document, number, entry, faults) for number, entry in enumerate(campaign.faults)]
    return Scenario(
        name=campaign.name,
        why=campaign.why,
        duration_s=duration_s(campaign.duration, document.where(("duration",))),
        faults=tuple(specs),
        bounds=campaign.bounds.model_dump(),
        required=tuple(campaign.required),
        rate_per_s=campaign.load.rate_per_s if campaign.load else None,
        source=document.source,
        abort_if=_abort(document, campaign.abort_if),
        trials=campaign.trials,
    )


def _abort(document: Document, asked: _Abort) -> Abort:
    found: dict[str, Any] = {}
    for key, name in (("free_disk", "free_disk_bytes"), ("host_memory", "host_memory_bytes")):
        if (text := getattr(asked, key)) is not None:
            found[name] = _size(text, document.where(("abort_if", key)))
    if asked.canary_dark is not None:
        found["canary_dark_s"] = duration_s(asked.canary_dark, document.where(("abort_if", "canary_dark")))
    return Abort(**found)


def _size(text: str, where: str) -> int:
    try:
        return parse_size_bytes(text)
    except ValueError as error:
        raise ScenarioError(str(error), where=where, try_="such as 500MB or 2GB") from error


def duration_s(text: object, where: str) -> float:
    """The seconds in a duration that a run may last; raises ScenarioError for anything else, also for a number."""
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
    """A fault of a kind from its parameters, as they are written in a plan."""
    if kind not in faults:
        raise ScenarioError(f"there is no fault kind {shown(kind)}", where=where, try_=accepted(kind, faults))
    return _built(faults[kind], params, Document(where, dict(params)), ())


def dump_campaign(scenario: Scenario) -> str:
    """A scenario as the text of a campaign file; `scenario_of` reads the same scenario back."""
    value: dict[str, Any] = {
        "name": scenario.name,
        "why": scenario.why,
        "duration": _duration_text(scenario.duration_s),
    }
    if scenario.rate_per_s is not None:
        value["load"] = {"rate_per_s": scenario.rate_per_s}
    value["faults"] = [_entry(spec) for spec in scenario.faults]
    value["bounds"] = dict(scenario.bounds)
    value["required"] = list(scenario.required)
    value["abort_if"] = _abort_entry(scenario.abort_if)
    value["trials"] = scenario.trials
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)


def _entry(spec: FaultSpec) -> dict[str, Any]:
    hold = {} if spec.hold_s is None else {"hold": _duration_text(spec.hold_s)}
    more = {"with": [_entry(companion) for companion in spec.companions]} if spec.companions else {}
    return {"kind": spec.kind, **asdict(spec.params), **hold, **more}


def _abort_entry(abort: Abort) -> dict[str, str]:
    dark = {} if abort.canary_dark_s is None else {"canary_dark": _duration_text(abort.canary_dark_s)}
    memory = f"{abort.host_memory_bytes // KB}KB"
    return {"free_disk": f"{abort.free_disk_bytes // KB}KB", "host_memory": memory, **dark}


def _duration_text(seconds: float) -> str:
    """A duration as this module reads it, so without an exponent."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _check_required(document: Document, required: list[str], checks: Collection[str]) -> None:
    for number, name in enumerate(required):
        where = document.where(("required", number))
        if name not in checks:
            raise ScenarioError(f"there is no check {shown(name)}", where=where, try_=accepted(name, checks))
        if name in required[:number]:
            raise ScenarioError(f"the check {name!r} is listed twice", where=where, try_="remove one of them")


def _fault_spec(document: Document, number: int, entry: dict[str, Any], faults: Faults) -> FaultSpec:
    place: Location = ("faults", number)
    spec = _spec_at(document, place, entry, faults, other_keys=("hold", "with"))
    hold_s = duration_s(entry["hold"], document.where((*place, "hold"))) if "hold" in entry else None
    return replace(spec, hold_s=hold_s, companions=_companions(document, place, entry, faults))


def _companions(
    document: Document, place: Location, entry: dict[str, Any], faults: Faults
) -> tuple[FaultSpec, ...]:
    """The faults listed under `with`, which are in force together with the fault of this entry."""
    listed = entry.get("with", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ScenarioError(
            "'with' is a list of faults",
            where=document.where((*place, "with")),
            try_="- {kind: latency, ...}",
        )
    if len(listed) > COMPANIONS_MAX:
        what = f"{len(listed)} faults are listed under 'with'; at most {COMPANIONS_MAX} are accepted"
        raise ScenarioError(what, where=document.where((*place, "with")), try_="fewer at once")
    return tuple(
        _spec_at(document, (*place, "with", number), item, faults, other_keys=())
        for number, item in enumerate(listed)
    )


def _spec_at(
    document: Document, place: Location, entry: dict[str, Any], faults: Faults, other_keys: tuple[str, ...]
) -> FaultSpec:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in faults:
        what = "the key 'kind' is missing" if "kind" not in entry else f"there is no fault kind {shown(kind)}"
        where = document.where((*place, "kind"))
        raise ScenarioError(what, where=where, try_=accepted(kind, faults, "accepted kinds"))
    params = {name: value for name, value in entry.items() if name not in ("kind", *other_keys)}
    fault = _built(faults[kind], params, document, place, other_keys)
    return FaultSpec(kind, fault.target, fault, where=document.where(place))


def _built(
    fault: type[Fault],
    params: Mapping[str, Any],
    document: Document,
    place: Location,
    other_keys: tuple[str, ...] = (),
) -> Fault:
    """A fault from its parameters. Unknown keys, wrong types and values out of bounds are refused.

    `other_keys` are keys of the entry that are no parameters; a refusal lists them among the accepted keys.
    """
    shape = TypeAdapter(fault)
    keys = keys_of(shape)
    names = ["kind", *other_keys, *keys()]
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
