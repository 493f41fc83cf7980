"""Target folders as strangers write them: everything wrong is listed with its line, whatever the files hold."""

import copy
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.read.targets import check_target, load_target
from tests.pure.test_strict_yaml_hostile import PIECES

SHIPPED = Path(__file__).resolve().parents[2] / "compose" / "targets" / "workspace-qdrant-mcp"
TARGET = (SHIPPED / "target.yaml").read_text(encoding="utf-8")
ISSUES = (SHIPPED / "known-issues.yaml").read_text(encoding="utf-8")
PLACE = re.compile(r"^/.*(target\.yaml|known-issues\.yaml|Dockerfile|\.txt):[1-9]\d*(:[1-9]\d*)?: ")
LOCK = "a==1 \\\n    --hash=sha256:00\n"


def problems(target: str | bytes = TARGET, issues: str | bytes = ISSUES, lock: str = LOCK) -> list[str]:
    """What `lab target check` says about a folder with these files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (
            ("target.yaml", target),
            ("known-issues.yaml", issues),
            ("requirements.txt", lock),
        ):
            (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
        (folder / "Dockerfile").touch()
        found = check_target(folder)
        if any("yaml:" in problem for problem in found):
            with pytest.raises(ScenarioError):
                load_target(folder)
        else:
            load_target(folder)
    assert all(PLACE.match(problem) for problem in found), found
    return found


def changed(change: Callable[[Any], object], text: str = TARGET) -> str:
    value = yaml.safe_load(text)
    change(value)
    return str(yaml.safe_dump(value, sort_keys=False))


def test_the_folder_under_test_is_right() -> None:
    assert problems() == []


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_explained(target: bytes, issues: bytes) -> None:
    assert problems(target, issues)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2500), st.sampled_from(PIECES)), max_size=3),
    st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(PIECES)), max_size=3),
)
def test_any_slip_of_the_pen_is_right_or_explained(
    in_target: list[tuple[int, str]], in_issues: list[tuple[int, str]]
) -> None:
    texts = []
    for text, slips in ((TARGET, in_target), (ISSUES, in_issues)):
        for at, piece in slips:
            text = text[:at] + piece + text[at + 1 :]
        texts.append(text)
    problems(*texts)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**15)
    | st.floats(-5, 5)
    | st.sampled_from(["", "*", "list", "$var", "k"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$var", "path", "absent", "equals", "tool", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def paths(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [here, *(path for key, item in inside for path in paths(item, (*here, key)))]


PLACES = paths(yaml.safe_load(TARGET))[1:]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PLACES), anything)
def test_any_value_at_any_place_is_right_or_explained(place: tuple[Any, ...], value: Any) -> None:
    def put(target: Any) -> None:
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = copy.deepcopy(value)

    problems(changed(put))


def condition(**test: object) -> Callable[[Any], object]:
    return lambda t: t["operations"]["list"].update(success=[{"path": ["result"], **test}])


def arguments(operation: str, value: object) -> Callable[[Any], object]:
    return lambda t: t["operations"][operation].update(arguments=value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (condition(absent=False), "absent"),
        (condition(present=None), "present"),
        (condition(at_least=None), "at_least"),
        (condition(at_least="1"), "at_least"),
        (condition(min_items=-1), "min_items"),
        (condition(equals=None), "null can never hold"),
        (condition(contains=None), "null can never hold"),
        (condition(contains="a", equals="a"), "exactly one of absent, present, equals"),
        (condition(), "exactly one of absent, present, equals"),
        (condition(contians="a"), "did you mean 'contains'?"),
        (lambda t: t["operations"]["list"]["success"][0].update(path=["a", "*"]), "'*' is for document_ids"),
        (lambda t: t.update(stored_document_id=["*"]), "'*' is for document_ids"),
        (lambda t: t.update(stored_document_id=[]), "stored_document_id"),
        (lambda t: t.update(canary="add"), "the canary operation 'add' cannot use the variable 'text'"),
        (arguments("add", {"x": {"$var": "k"}}), "the add operation 'add' cannot use the variable 'k'"),
        (
            arguments("add", {"x": {"$var": "text"}}),
            "the add operation 'add' must use the variable 'document_id'",
        ),
        (arguments("search_dense", {"x": {"$var": "query"}}), "'search_dense' must use the variable 'k'"),
        (arguments("search_dense", {"x": [{"$var": "writes_collection"}]}), "filled for it: query, k, truth"),
        (arguments("search", {"x": {"$var": "qurey"}}), "did you mean 'query'?"),
        (arguments("search", {"x": {"$var": ["query"]}}), "there is no variable ['query']"),
        (arguments("search", {"x": {"$vra": "query"}}), "a variable is written {$var: NAME}"),
        (arguments("search", {"x": {"$var": "query", "y": 1}}), "stands alone"),
        (
            lambda t: t["operations"]["list"].update(payload="xml"),
            "must be one of structured, json_text, text",
        ),
        (lambda t: t.update(endpoint="mcp"), "endpoint"),
        (lambda t: t.update(endpoint="/mcp?x=1"), "endpoint"),
        (lambda t: t.update(version=0.1), "version: Input should be a valid string, not 0.1"),
        (lambda t: t.update(start_timeout="11m"), "between 0 and 10 minutes"),
        (lambda t: t.update(request_timeout=10), "request_timeout"),
        (lambda t: t["environment"].update({"A-B": "x"}), "environment"),
        (lambda t: t["environment"].update({"AB": True}), "AB"),
        (lambda t: t["rate"].update(normal_per_s=39), "above the capacity"),
        (lambda t: t["mix"].update(search=40.0), "mix.search"),
        (lambda t: t["mix"].update(search=0), "mix.search"),
        (lambda t: t.update(mix={}), "mix"),
        (lambda t: t.update(operations={}), "operations"),
        (lambda t: t.update(canary="lst"), "did you mean 'list'?"),
        (lambda t: t["recall"].update(operation="find"), "there is no operation 'find'"),
    ],
)
def test_a_target_that_cannot_work_is_refused(change: Callable[[Any], object], says: str) -> None:
    found = problems(changed(change))
    assert any(says in problem for problem in found), found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"check": "recovery"}, "must be one of errors, latency, accuracy"),
        ({"layer": "unsent"}, "must be one of transport"),
        ({"layer": "lost"}, "must be one of transport"),
        ({"faults": ["kil"]}, "did you mean 'kill'?"),
        ({"faults": ["kill"]}, "is judged in the steady phases alone"),
        ({"date": "20261124"}, "is no date"),
        ({"date": "2026-13-01"}, "month"),
        ({"message": "a" * 301}, "message"),
        ({"message": "...:::..."}, "literal words"),
        ({"operation": "fetch"}, "there is no operation 'fetch'"),
        ({"check": "accuracy"}, "accuracy is judged by 'search_dense' alone"),
        ({"check": "accuracy", "operation": "search_dense", "layer": "is_error"}, "its layer is payload"),
        ({"id": "x"}, "id"),
        ({"wildcard": True}, "unknown key 'wildcard'"),
    ],
)
def test_a_known_issue_that_hides_too_much_or_nothing_is_refused(change: dict[str, Any], says: str) -> None:
    found = problems(issues=changed(lambda issues: issues[0].update(change), ISSUES))
    assert any(says in problem for problem in found), found


def test_a_known_issue_of_an_operation_that_is_not_in_the_mix_is_refused() -> None:
    mix = {"search": 40, "add": 30, "list": 20, "status": 10}
    target = changed(lambda target: target.update(mix=mix))
    issues = changed(lambda issues: issues[0].update(operation="search_dense"), ISSUES)
    assert any("is not in the mix" in problem for problem in problems(target, issues))
    assert not problems(target)


def test_a_message_in_another_script_is_words_too() -> None:
    assert problems(issues=changed(lambda issues: issues[0].update(message="нет соединения"), ISSUES)) == []


def test_an_issue_is_not_told_twice_under_another_name() -> None:
    found = problems(issues=changed(lambda issues: issues.append({**issues[0], "id": "again"}), ISSUES))
    assert any("'again' repeats an entry above" in problem for problem in found)


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ("a==1\n", "requirements.txt:1: 'a==1' is not pinned by hash"),
        (LOCK + "b>=2 --hash=sha256:00\n", "requirements.txt:3: 'b>=2' is not pinned"),
        (LOCK + "\n# a comment\nb\n", "requirements.txt:5: 'b' is not pinned"),
        ("a @ file:///x --hash=sha256:00\n", "name an address"),
        ("--extra-index-url=http://x\n", "name an address"),
        ("-r other.txt\n" + LOCK, "the option '-r' is not accepted"),
        ("a==1 --hash=md5:00\n", "not pinned by hash"),
        ("a==1 \\\n", "not pinned by hash"),
    ],
)
def test_requirements_are_looked_at_line_by_line(lock: str, says: str) -> None:
    found = problems(lock=lock)
    assert any(says in problem for problem in found), found


def test_everything_is_said_at_once() -> None:
    """A broken target.yaml hides neither the known issues nor the requirements."""
    found = problems("name: [", changed(lambda issues: issues[0].pop("date"), ISSUES), "a==1\n")
    assert [Path(problem.split(":")[0]).name for problem in found] == [
        "target.yaml",
        "known-issues.yaml",
        "requirements.txt",
    ]


def test_a_file_that_is_no_text_is_explained(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").mkdir()
    (tmp_path / "target.yaml").mkdir()
    found = check_target(tmp_path)
    assert sum("cannot be read" in problem for problem in found) == 2
    assert any("there is no Dockerfile" in problem for problem in found)
