"""The sections of a report, one module each, found by discovery.

A module here defines `SECTIONS`, a tuple of `lab.report.blocks.Section` (mostly of one). A section states its title,
its place among the others, what it shows on the terminal and in `summary.md`, and the key of `report.json` that it
brings, with the key's JSON schema. Nothing else has to be edited for a new section.
"""

import importlib
import pkgutil
import sys

from lab.report.blocks import JsonKey, Section


def discover() -> tuple[Section, ...]:
    """Every section in the order of a report; raises ValueError where two bring the same key."""
    package = sys.modules[__name__]
    found: list[Section] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        found += importlib.import_module(f"{__name__}.{info.name}").SECTIONS
    names = [section.key.name for section in found if section.key is not None]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two sections of lab/report/sections bring the key {twice[0]!r} of report.json")
    return tuple(sorted(found, key=lambda section: section.order))


def json_keys() -> tuple[JsonKey, ...]:
    """The keys that sections bring to `report.json`, in the order of the file."""
    keys = [section.key for section in discover() if section.key is not None]
    return tuple(sorted(keys, key=lambda key: key.order))
