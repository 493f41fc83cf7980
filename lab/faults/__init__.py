"""Fault kinds, one per file in the folder of their family, found by discovery.

A module there defines `FAULT`, whose kind is the file's name, or it is one of `SHARED`: what the faults of one family
share.
"""

import importlib
import pkgutil
from collections.abc import Iterator

from lab.errors import FaultError
from lab.ports import Fault

SHARED = ("proof", "looks", "names")


def _modules() -> Iterator[str]:
    """The full names of the modules that must define a fault."""
    for family in pkgutil.iter_modules(__path__):
        if family.ispkg:
            package = importlib.import_module(f"{__name__}.{family.name}")
            for module in pkgutil.iter_modules(package.__path__):
                if module.name not in SHARED:
                    yield f"{package.__name__}.{module.name}"


def discover() -> dict[str, type[Fault]]:
    """Every fault kind by name, sorted; raises FaultError for a module that breaks the rule above."""
    found: dict[str, type[Fault]] = {}
    for name in sorted(_modules()):
        module = importlib.import_module(name)
        kind = name.rpartition(".")[2]
        fault: type[Fault] | None = getattr(module, "FAULT", None)
        if fault is None or fault.kind != kind:
            raise FaultError(
                f"{name} defines no FAULT of kind {kind!r}",
                try_="end the module with FAULT = YourFault, and give it that kind",
            )
        found[fault.kind] = fault
    return dict(sorted(found.items()))
