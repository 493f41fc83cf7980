"""The fault catalogue as data: every kind with its parameters, units, bounds, defaults, and what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from lab.faults import discover
from lab.ports import Fault

# A parameter's name ends in its unit. The longest endings come first, because `_bytes_per_s` also ends in `_s`.
UNITS = {
    "_kbit_per_s": "kbit/s",
    "_bytes_per_s": "bytes/s",
    "_kb_per_s": "kB/s",
    "_ops_per_s": "operations/s",
    "_mib": "MiB",
    "_kib": "KiB",
    "_bytes": "bytes",
    "_ms": "ms",
    "_us": "us",
    "_s": "s",
    "cores": "cores",
    "_bps": "bytes/s",
    "_iops": "operations/s",
    "toxicity": "share of connections",
    "loss": "share of packets",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fault kind; `choices` are the accepted words, `default` is None where it is required."""

    name: str
    unit: str | None
    type: str
    required: bool
    default: Any
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    def described(self) -> str:
        """The parameter in words, for tables."""
        kind = " or ".join(self.choices) if self.choices else self.type
        for word, value in (("from", self.minimum), ("to", self.maximum)):
            kind += f" {word} {value:g}" if value is not None else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{kind}{unit}, {'required' if self.required else f'default {self.default}'}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault kind; `lacks` are the capabilities that this machine does not have, with what was found instead."""

    kind: str
    family: str
    summary: str
    services: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    needs: tuple[str, ...]
    transient: bool
    lacks: Mapping[str, str]


def catalogue(lacking: Mapping[str, str] | None = None) -> list[Entry]:
    """Every fault kind by family and name; `lacking` maps a capability that is absent to what was found instead."""
    entries = [_entry(fault, lacking or {}) for fault in discover().values()]
    return sorted(entries, key=lambda entry: (entry.family, entry.kind))


def _entry(fault: type[Fault], lacking: Mapping[str, str]) -> Entry:
    return Entry(
        kind=fault.kind,
        family=fault.family,
        summary=(fault.__doc__ or "").strip().splitlines()[0],
        services=fault.services,
        parameters=tuple(_parameters(fault)),
        needs=fault.needs,
        transient=fault.transient,
        lacks={need: lacking[need] for need in fault.needs if need in lacking},
    )


def _parameters(fault: type[Fault]) -> list[Parameter]:
    schema = TypeAdapter(fault).json_schema()
    required = schema.get("required", ())
    listed = schema.get("properties", {}).items()
    return [_parameter(name, value, name in required) for name, value in listed if name != "target"]


def _parameter(name: str, value: dict[str, Any], required: bool) -> Parameter:
    # An optional number is written as a choice between it and null.
    shape = next((option for option in value.get("anyOf", ()) if option.get("type") != "null"), value)
    return Parameter(
        name=name,
        unit=next((unit for ending, unit in UNITS.items() if name.endswith(ending)), None),
        type=str(shape.get("type", "see its class")),
        required=required,
        default=value.get("default"),
        minimum=shape.get("minimum", shape.get("exclusiveMinimum")),
        maximum=shape.get("maximum", shape.get("exclusiveMaximum")),
        choices=tuple(map(str, shape.get("enum", ()))),
    )
