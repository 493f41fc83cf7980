"""Fault kinds, one per file, found by discovery: a module here defines `FAULT`, whose kind is the file's name."""

import importlib
import pkgutil

from lab.errors import FaultError
from lab.ports import Fault


def discover() -> dict[str, type[Fault]]:
    """Every fault kind by name, sorted; raises FaultError for a module that breaks the rule above."""
    found: dict[str, type[Fault]] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        fault: type[Fault] | None = getattr(module, "FAULT", None)
        if fault is None or fault.kind != module_info.name:
            raise FaultError(
                f"lab/faults/{module_info.name}.py defines no FAULT of kind {module_info.name!r}",
                try_="end the module with FAULT = YourFault, and give it that kind",
            )
        found[fault.kind] = fault
    return found
