"""Discovery of faults: a module that forgot its fault is an error, and no list of names says which may have none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab.faults
from lab.errors import FaultError
from lab.faults import discover

FAULT = """
from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.ports import Fault


@dataclass(frozen=True, slots=True)
class Nothing(Fault):
    kind: ClassVar[str] = "nothing"
    family: ClassVar[str] = "extra"
    services: ClassVar[tuple[str, ...]] = ("mcp",)

    target: Literal["mcp"]


FAULT = Nothing
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of one more family, which discovery finds beside those of the lab."""
    monkeypatch.setattr(lab.faults, "__path__", [*lab.faults.__path__, str(tmp_path)])
    folder = tmp_path / "extra"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""More faults."""\n', encoding="utf-8")
    yield folder
    for name in [name for name in sys.modules if name.startswith("lab.faults.extra")]:
        del sys.modules[name]
    vars(lab.faults).pop("extra", None)


def test_a_file_is_enough(family: Path) -> None:
    (family / "nothing.py").write_text(FAULT, encoding="utf-8")
    assert set(discover()) > {"nothing", "latency"}


def test_what_the_faults_of_a_family_share_says_so(family: Path) -> None:
    (family / "proof.py").write_text("FAULT = None\n", encoding="utf-8")
    assert "proof" not in discover()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nothing", FAULT.removesuffix("FAULT = Nothing\n")),
        ("proof", '"""Shared, and does not say so."""\n'),
        ("another", FAULT),
    ],
    ids=["forgotten", "not-said-to-be-shared", "named-after-another-kind"],
)
def test_a_module_without_its_fault_is_an_error(family: Path, name: str, text: str) -> None:
    (family / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.raises(FaultError, match=f"defines no FAULT of kind '{name}'"):
        discover()


def test_what_a_kind_does_not_state_has_its_default(family: Path) -> None:
    (family / "nothing.py").write_text(FAULT, encoding="utf-8")
    fault = discover()["nothing"]
    assert (fault.needs, fault.transient, fault.lifetime_s) == ((), False, float("inf"))
