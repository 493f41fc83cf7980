"""The checks, one module each, found by discovery.

A module here with a `CHECK`, its name, is a check: `findings(evidence, windows)` returns its findings. If a campaign
can set bounds for it, `BOUNDS` is the tuple of their `BoundSpec`s; campaign files, plans and documents read them from
here. docs/how-to/add-a-check.md shows how to add one.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from lab.model.scenario import BoundSpec


def modules() -> Iterator[ModuleType]:
    """The module of every check, in the order of the files' names."""
    paths = sys.modules[__name__].__path__
    for name in sorted(info.name for info in pkgutil.iter_modules(paths)):
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "CHECK"):
            yield module


def discover_bounds() -> tuple[BoundSpec, ...]:
    """Every bound that a campaign can set; raises ValueError if two different bounds have the same name."""
    found: dict[str, BoundSpec] = {}
    for module in modules():
        for spec in getattr(module, "BOUNDS", ()):
            if found.setdefault(spec.name, spec) != spec:
                raise ValueError(
                    f"two checks state the bound {spec.name!r} differently; one is {module.__name__}"
                )
    return tuple(found.values())


def default_bounds() -> dict[str, float]:
    """The default value of every bound, by name."""
    return {spec.name: spec.default for spec in discover_bounds()}
