"""The tables of a report, one module each, found by discovery. They describe the run; only findings judge it.

Each module here is one table: `describe(evidence, windows, findings)` returns its rows as plain values, which
`report.json` has under the module's `KEY`. The section of `lab/report/sections` with the same key shows it.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

Row = Mapping[str, object]
Describe = Callable[[Evidence, Windows, Sequence[Finding]], Sequence[Row]]


def discover() -> dict[str, Describe]:
    """Every table by its key, sorted; raises ValueError if two have the same key."""
    found: dict[str, Describe] = {}
    for info in pkgutil.iter_modules(sys.modules[__name__].__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        if module.KEY in found:
            raise ValueError(
                f"two tables have the key {module.KEY!r}; one of them is lab/judge/tables/{info.name}.py"
            )
        found[module.KEY] = module.describe
    return dict(sorted(found.items()))
