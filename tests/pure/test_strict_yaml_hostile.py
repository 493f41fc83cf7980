"""What YAML readers disagree about, or stumble over, is refused with its line; nothing is silently another value."""

import re
from collections.abc import Callable
from typing import Annotated

import pytest
from annotated_types import Ge
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lab.errors import ScenarioError
from lab.read.plain_yaml import BYTES_MAX, DEPTH_MAX
from lab.read.strict_yaml import checked, examined, parse

PLACE = re.compile(r"^test\.yaml:[1-9]\d*(:[1-9]\d*)?$")
PIECES = [
    *"-?:,[]{}#&*!|>'\"%@` \n\t\r=<~.0123456789abx\\",
    "\\U",
    "\\x",
    "\\u",
    "FFFFFFFF",
    "\x00",
    "\x85",
    "\u2028",
]
PIECES += [
    "!!int ",
    "!!python/object:os.system ",
    "&a ",
    "*a",
    "<<: ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "%TAG ! x\n",
]
PIECES += ["yes", "null", ".nan", "-.inf", "0x", "1e9", "2026-11-24", "a: ", "\n  ", "\ufeff", "😀", "9" * 30]


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@example('a: "\\UFFFFFFFF"')
@example('a: "\\U00110000"')
@example("%YAML " + "9" * 5000 + ".1\n---\na: 1")
@example('a: !!int "' + "[" * 3000 + '"')
def test_any_text_of_yaml_s_own_marks_gives_a_value_or_a_line(text: str) -> None:
    try:
        parse(text.encode(), "test.yaml")
    except ScenarioError as error:
        assert PLACE.match(error.where), error.where
        assert error.what


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: yes", "1:4", "boolean"),
        ("a: 1\nb: off", "2:4", "boolean"),
        ("on: 1", "1:1", "plain word"),
        ("a: 010", "1:4", "decimal"),
        ("a: 0x1f", "1:4", "decimal"),
        ("a: 0b11", "1:4", "decimal"),
        ("a: 1_000", "1:4", "decimal"),
        ("a: 1:30", "1:4", "decimal"),
        ("a: 190:20:30.15", "1:4", "decimal"),
        ("a: 9007199254740993", "1:4", "15 digits"),
        ("a: 1.0e+999", "1:4", "finite"),
        ("a: -.Inf", "1:4", "finite"),
        ("a: =", "1:4", "special meaning"),
        ("a: <<", "1:4", "special meaning"),
        ("<<: {a: 1}", "1:1", "plain word"),
        ("~: 1", "1:1", "plain word"),
        ("a: !!str 1", "1:4", "tag"),
        ("!!map {a: 1}", "1:1", "tag"),
        ("a: ! x", "1:4", "tag"),
        ('a: !!int "[1]"', "1:4", "tag"),
        ("- &x 1", "1:3", "anchors"),
        ('a: "\\0"', "1:4", "character '\\x00'"),
        ('"a\\e": 1', "1:1", "character '\\x1b'"),
        ('a: "\\ud800"', "1:4", "character '\\ud800'"),
        ("a: 1\n---\nb: 2", "2:1", "document"),
        ("a: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), f"1:{DEPTH_MAX + 3}", "deeper"),
        ("a: 1\nb: 'open", "2:", "not YAML"),
    ],
)
def test_what_is_ambiguous_or_unbounded_is_refused_at_its_place(text: str, place: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text.encode(), "test.yaml")
    assert says in caught.value.what
    assert caught.value.where.startswith(f"test.yaml:{place}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("\ufeffa: 1", {"a": 1}),
        ("a: [-1, +2, 0, 1.5, .5, 2., -1.5e+3]", {"a": [-1, 2, 0, 1.5, 0.5, 2.0, -1500.0]}),
        ("a: [true, False, null, ~]", {"a": [True, False, None, None]}),
        ('a: ["yes", "010", "=", "1:30"]', {"a": ["yes", "010", "=", "1:30"]}),
        ("a: 2026-11-24", {"a": "2026-11-24"}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
    ],
)
def test_what_all_readers_agree_on_is_accepted(text: str, value: object) -> None:
    assert parse(text.encode(), "test.yaml").value == value


def test_the_largest_files_are_refused_in_no_time() -> None:
    for text in (
        "[" * BYTES_MAX,
        "- " * (BYTES_MAX // 2),
        "{a: " * (BYTES_MAX // 4),
        "? " * (BYTES_MAX // 2),
    ):
        with pytest.raises(ScenarioError, match="deeper"):
            parse(text.encode(), "test.yaml")


def test_many_values_are_too_many() -> None:
    with pytest.raises(ScenarioError, match="more than 20000 values"):
        parse(("[" + "1," * 30_000 + "]").encode(), "test.yaml")


class _Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    count: Annotated[int, Ge(1)]
    path: list[str | int] = []


class _Outer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    inner: _Inner
    more: dict[str, _Inner] = {}
    listed: list[_Inner] = []


SHAPE = TypeAdapter(_Outer)


def said(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        checked(parse(text.encode(), "test.yaml"), SHAPE)
    return f"{caught.value.where} {caught.value.what} {caught.value.try_}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\ninner: {count: 1, cuont: 2}", "test.yaml:2:19 unknown key 'cuont' did you mean 'count'?"),
        ("name: a\nmore: {x: {count: 1, y: 2}}\ninner: {count: 1}", "accepted: count, path"),
        ("name: a\ninner: {count: 1}\nlisted:\n  - count: 1\n    y: 2", "test.yaml:5:5 unknown key 'y'"),
        (
            "inner: {count: 1}",
            "test.yaml:1:1 the key 'name' is missing accepted keys: inner, listed, more, name",
        ),
        ("name: a\ninner: 5", "accepted keys: count, path"),
        ("nane: a\ninner: {count: 1}", "test.yaml:1:1 unknown key 'nane' did you mean 'name'?"),
        ("name: 4\ninner: {count: 1}", "test.yaml:1:1 name: Input should be a valid string, not 4"),
        ("name: a\ninner: {count: '4'}", "inner.count: Input should be a valid integer, not '4'"),
        ("name: a\ninner: {count: 4.0}", "inner.count: Input should be a valid integer, not 4.0"),
        ("name: a\ninner: {count: true}", "inner.count: Input should be a valid integer, not True"),
        ("name: a\ninner: {count: 0}", "inner.count: Input should be greater than or equal to 1, not 0"),
        ("[]", "accepted keys: inner, listed, more, name"),
        ("", "accepted keys: inner, listed, more, name"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_keys(text: str, says: str) -> None:
    assert says in said(text)


def test_a_value_that_fits_none_of_several_types_is_one_problem() -> None:
    document = parse(b"name: a\ninner: {count: 1, path: [a, {b: 1}]}", "test.yaml")
    values, problems = examined(document, SHAPE)
    assert values == []
    assert [problem.where for problem in problems] == ["test.yaml:2:29"]


def test_all_problems_are_found_and_the_rest_is_counted() -> None:
    document = parse(b"name: 1\ninner: {count: 0}\nx: 1", "test.yaml")
    assert len(examined(document, SHAPE)[1]) == 3
    with pytest.raises(ScenarioError) as caught:
        checked(document, SHAPE)
    assert caught.value.last_state == "2 more problems in this file"


@pytest.mark.parametrize("make", [lambda s: s * 200, lambda s: s + "\x00"], ids=["long", "nul"])
def test_messages_stay_short_and_printable(make: Callable[[str], str]) -> None:
    text = said('name: a\ninner: {count: 1}\n"' + make("k").replace("\x00", "\\u2028") + '": 1')
    assert len(text) < 300
    assert text.isprintable()
