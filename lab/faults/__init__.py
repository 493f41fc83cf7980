"""Fault kinds, one per file in the folder of their family, found by discovery.

Each module there ends with `FAULT = YourFault`, whose kind is the file's name. What the faults of one family share (its
`proof`, and the generic `toxic` of the links) states `FAULT = None`: so a fault that was forgotten is an error, and no
list of names has to be kept.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from lab.errors import FaultError
from lab.ports import Fault


def _modules() -> Iterator[ModuleType]:
    """The modules of all families."""
    for family in pkgutil.iter_modules(__path__):
        if family.ispkg:
            package = importlib.import_module(f"{__name__}.{family.name}")
            for module in pkgutil.iter_modules(package.__path__):
                yield importlib.import_module(f"{package.__name__}.{module.name}")


def discover() -> dict[str, type[Fault]]:
    """Every fault kind by name, sorted; raises FaultError for a module that breaks the rule above."""
    found: dict[str, type[Fault]] = {}
    for module in _modules():
        name = module.__name__.rpartition(".")[2]
        fault: type[Fault] | None = vars(module).get("FAULT")
        if fault is None and "FAULT" in vars(module):
            continue
        if fault is None or fault.kind != name:
            raise FaultError(
                f"{module.__name__} defines no FAULT of kind {name!r}",
                try_="FAULT = YourFault at its end, with that kind; or FAULT = None where several faults share it",
            )
        found[name] = fault
    return dict(sorted(found.items()))
