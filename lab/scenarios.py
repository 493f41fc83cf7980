"""Campaign files: strict YAML in, a `Scenario` out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Le, Len, Lt
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from lab import judge
from lab.errors import ScenarioError
from lab.faults import discover
from lab.model.quantities import parse_duration_s
from lab.model.scenario import Bounds, FaultSpec, Scenario
from lab.ports import Fault
from lab.strict_yaml import Document, checked, keys_of, problems, read, strictly

DEFAULT_REQUIRED = ("integrity", "load_arrived", "latency", "errors", "recovery", "accuracy", "in_force")
FAULTS_MAX = 50
_DURATION_BOUNDS_S = (1.0, 7 * 86_400.0)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Faults = Mapping[str, type[Fault]]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Load(_Strict):
    rate_per_s: Annotated[float, Gt(0), Le(1000)]


class _Bounds(_Strict):
    latency_p95_ms: Annotated[float, Gt(0)] = 200.0
    error_rate: Annotated[float, Gt(0), Lt(1)] = 0.01
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


def load_campaign(path: Path, faults: Faults | None = None) -> Scenario:
    """The scenario in a campaign file; raises ScenarioError with file and line for anything that is not accepted."""
    return scenario_of(read(path), discover() if faults is None else faults)


def scenario_of(document: Document, faults: Faults) -> Scenario:
    """The scenario in a document."""
    campaign = checked(document, _SHAPE)
    checks = sorted(judge.discover())
    for number, name in enumerate(campaign.required):
        if name not in checks:
            raise ScenarioError(
                f"there is no check {name!r}",
                where=document.where(("required", number)),
                try_=f"accepted: {', '.join(checks)}",
            )
    specs = [
        _fault_spec(document, number, dict(entry), faults) for number, entry in enumerate(campaign.faults)
    ]
    return Scenario(
        name=campaign.name,
        why=campaign.why,
        duration_s=_seconds(document, ("duration",), campaign.duration),
        faults=tuple(specs),
        bounds=Bounds(**campaign.bounds.model_dump()),
        required=tuple(campaign.required),
        rate_per_s=campaign.load.rate_per_s if campaign.load else None,
        source=document.source,
    )


def _fault_spec(document: Document, number: int, entry: dict[str, Any], faults: Faults) -> FaultSpec:
    place = ("faults", number)
    kind, hold = entry.pop("kind", None), entry.pop("hold", None)
    if not isinstance(kind, str) or kind not in faults:
        what = "the key 'kind' is missing" if kind is None else f"there is no fault kind {kind!r}"
        raise ScenarioError(
            what, where=document.where((*place, "kind")), try_=f"accepted: {', '.join(sorted(faults))}"
        )
    hold_s = None if hold is None else _seconds(document, (*place, "hold"), hold)
    fault = _built(faults[kind], entry, document, place)
    return FaultSpec(kind, fault.target, fault, hold_s)


def _seconds(document: Document, place: tuple[int | str, ...], text: object) -> float:
    low, high = _DURATION_BOUNDS_S
    try:
        seconds = parse_duration_s(text) if isinstance(text, str) else -1.0
    except ValueError:
        seconds = -1.0
    if low <= seconds <= high:
        return seconds
    raise ScenarioError(
        f"{str(text)[:40]!r} is not a duration between 1s and 7 days",
        where=document.where(place),
        try_="a number and ms, s, m or h, such as 90s or 10m",
    )


def _built(
    fault: type[Fault], params: Mapping[str, Any], document: Document, place: tuple[int | str, ...]
) -> Fault:
    """A fault from its parameters, strictly: unknown keys, wrong types and values out of bounds are refused."""
    shape = TypeAdapter(fault)
    keys = keys_of(shape)
    unknown = sorted(set(params) - set(keys(())))
    if unknown:
        raise ScenarioError(
            f"a {fault.kind} fault has no parameter {unknown[0]!r}",
            where=document.where((*place, unknown[0])),
            try_=f"accepted: kind, hold, {', '.join(keys(()))}",
        )
    try:
        return strictly(dict(params), shape)
    except ValidationError as error:
        first = next(iter(problems(document, error.errors(include_url=False), keys, place)))
        raise ScenarioError(
            f"{fault.kind}: {first.what}",
            where=first.where,
            try_=first.try_ or f"accepted: {', '.join(keys(()))}",
        ) from None


def build_fault(kind: str, params: Mapping[str, Any], *, where: str, faults: Faults) -> Fault:
    """A fault of a kind from plain parameters, as a plan holds them."""
    if kind not in faults:
        raise ScenarioError(
            f"there is no fault kind {kind!r}", where=where, try_=f"accepted: {', '.join(faults)}"
        )
    return _built(faults[kind], params, Document(where, dict(params)), ())
