"""Whatever bytes a user feeds it, the lab answers with a value or with one clear sentence and a line."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.read.strict_yaml import parse

LINE = re.compile(r"^test\.yaml:\d+")
# Without control characters and line separators: PyYAML's own dumper does not write those back faithfully.
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words.filter(bool), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_give_a_value_or_a_line(data: bytes) -> None:
    try:
        parse(data, "test.yaml")
    except ScenarioError as error:
        assert LINE.match(error.where), error.where
        assert error.what


@settings(max_examples=100)
@given(json_values)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=False)
    try:
        assert parse(text.encode("utf-8", "surrogatepass"), "test.yaml").value == value
    except ScenarioError as error:
        # A mapping whose key YAML itself reads as something other than a word is refused, and says so.
        assert "key" in error.what or "YAML" in error.what or "UTF-8" in error.what, error


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\na: 2\n", "is there twice"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: .nan\n", "finite"),
        ("a: .inf\n", "finite"),
        ("? [1, 2]\n: x\n", "key"),
        ("1: x\n", "key"),
        ("a: [1, 2\n", "YAML"),
        ("a: b: c\n", "YAML"),
        ("a: 0x" + "f" * 5000 + "\n", None),
        ("a: \x00\n", "YAML"),
        ("[" * 2000, None),
        ("- " * 3000 + "x", None),
        ("a: " + "9" * 5000 + "\n", None),
        ("---\na: 1\n---\nb: 2\n", "YAML"),
    ],
)
def test_traps_of_yaml(text: str, what: str | None) -> None:
    if what is None:
        try:
            parse(text.encode(), "test.yaml")
        except ScenarioError as error:
            assert LINE.match(error.where)
        return
    with pytest.raises(ScenarioError, match=what) as caught:
        parse(text.encode(), "test.yaml")
    assert LINE.match(caught.value.where)


def test_a_billion_laughs_stay_few() -> None:
    laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(ScenarioError, match="aliases"):
        parse(laughs.encode(), "test.yaml")


def test_too_large_a_file_is_refused_unread() -> None:
    with pytest.raises(ScenarioError, match="KiB"):
        parse(b"a: 1\n" * 100_000, "test.yaml")


def test_places_name_lines_and_columns() -> None:
    document = parse(b"a: 1\nb:\n  - c: 2\n", "test.yaml")
    assert document.where(("b", 0, "c")) == "test.yaml:3:5"
    assert document.where(("b", 0, "nowhere")) == "test.yaml:3:5"
