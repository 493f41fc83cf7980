"""The corpus script as it runs in a target's image: bounded, unique, repeatable texts that are what their ids say."""

import hashlib
import io
import json
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.truth.in_image import corpus

SCRIPT = Path(corpus.__file__)
MODULE = '''"""A module."""

def reader(path):
    """Read a file and give back its lines. More is said here.

    And in a second paragraph."""
    return [line for line in open(path, encoding="utf-8") if line.strip() != ""]


class Writer:
    """Writes lines."""

    def write(self, lines):
        for line in lines:
            print(line, file=self.stream, end="\\n", flush=self.flush_each_line_or_not)
'''


def run(*arguments: str, output: Path) -> list[dict[str, str]]:
    """The rows that the script writes when Python gets nothing but its file, as in the image."""
    command = [sys.executable, "-I", str(SCRIPT), *arguments, "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def archive(path: Path, files: dict[str, str]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return str(path)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the script takes for the standard library."""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    return tmp_path


def row(name: str, text: str) -> corpus.Row:
    return {"id": name, "text": text, "kind": "text", "doc": ""}


def test_the_standard_library_gives_bounded_unique_texts(tmp_path: Path) -> None:
    rows = run("--max-documents", "1500", output=tmp_path / "out")
    assert len(rows) == len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == 1500
    assert all(corpus.CHARS_MIN <= len(row["text"]) <= corpus.CHARS_MAX for row in rows)
    left_out = {part for row in rows for part in row["id"].split(":")[0].split(".")} & corpus.LEFT_OUT
    assert not left_out
    strangers = [row["id"] for row in rows if not begins_with_its_definition(row)]
    assert not strangers
    assert sum(len(row["doc"].split()) >= 4 for row in rows) >= 300


def begins_with_its_definition(row: dict[str, str]) -> bool:
    name = row["id"].rpartition(":")[2].rpartition(".")[2]
    words = ("class ",) if row["kind"] == "class" else ("def ", "async def ")
    return row["text"].startswith(tuple(word + name for word in words))


def test_rows_carry_id_text_kind_and_the_first_sentence_of_the_docstring() -> None:
    rows = {row["id"]: row for row in corpus.python_rows("m", MODULE)}
    assert set(rows) == {"m:reader", "m:Writer", "m:Writer.write"}
    assert rows["m:reader"]["doc"] == "Read a file and give back its lines"
    assert (rows["m:reader"]["kind"], rows["m:Writer"]["kind"]) == ("function", "class")
    assert rows["m:Writer.write"]["text"].startswith("def write(self, lines):\n    for line in lines:\n")


def test_form_feeds_and_odd_separators_do_not_shift_the_lines() -> None:
    rows = {row["id"]: row for row in corpus.python_rows("m", "\f\nX = '\x1c\u2028'\n\f\n" + MODULE)}
    assert rows["m:reader"]["text"].startswith("def reader(path):")
    assert rows["m:reader"]["text"].endswith('!= ""]')


def test_a_module_that_does_not_parse_is_passed_over() -> None:
    assert list(corpus.python_rows("m", "def broken(:\n")) == []
    assert list(corpus.python_rows("m", "x = '\0'\n")) == []


def test_tests_tables_and_huge_modules_are_left_out(library: Path) -> None:
    for folder in ("json", "test", "encodings", "site-packages/numpy"):
        (library / folder).mkdir(parents=True)
        (library / folder / "m.py").write_text(MODULE, encoding="utf-8")
    (library / "huge.py").write_text(MODULE + "#" * corpus.PYTHON_FILE_BYTES_MAX, encoding="utf-8")
    assert {row["id"].split(":")[0] for row in corpus.library_rows()} == {"json.m"}


def test_texts_are_distinct_long_enough_and_in_the_order_of_their_hashes() -> None:
    long = [row(f"m:{name}", name * corpus.CHARS_MIN) for name in "abcdef"]
    rows = [row("m:twin", "a" * corpus.CHARS_MIN), *long, row("m:short", "x" * (corpus.CHARS_MIN - 1))]
    ids = [row["id"] for row in corpus.chosen(iter(rows), 99)]
    assert set(ids) == {"m:twin", *(f"m:{name}" for name in "bcdef")}
    assert ids == sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def test_the_same_source_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    files = {f"{number}.py": "\n\n".join([MODULE, str(number) * 900] * 3) for number in range(9)}
    tar = archive(tmp_path / "corpus.tar", files)
    for name in ("one", "two"):
        run("--max-documents", "20", "--corpus-tar", tar, output=tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != b""


def test_fewer_documents_are_a_prefix_of_more() -> None:
    rows = [row(f"m:{number}", f"{number:0{corpus.CHARS_MIN}}") for number in range(40)]
    assert corpus.chosen(iter(rows), 7) == corpus.chosen(iter(reversed(rows)), 40)[:7]


def test_a_folder_gives_pieces_named_after_their_file(tmp_path: Path) -> None:
    text = "\r\n\r\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(6))
    tar = archive(tmp_path / "corpus.tar", {"a/notes.md": text, "b.txt": "too short"})
    rows = run("--max-documents", "99", "--corpus-tar", tar, output=tmp_path / "out")
    assert {row["id"] for row in rows} == {f"a/notes.md#{number}" for number in range(3)}
    assert all(row["doc"].startswith("Paragraph ") for row in rows)
    assert not any("\r" in row["text"] for row in rows)


texts: st.SearchStrategy[str] = st.lists(st.text(st.sampled_from("ab \n\f"), max_size=700), max_size=8).map(
    "\n\n".join
)


@given(texts)
def test_pieces_are_bounded_and_lose_nothing_but_line_ends(text: str) -> None:
    pieces = list(corpus.pieces(text))
    assert all(0 < len(piece) <= corpus.CHARS_MAX for piece in pieces)
    assert "".join(pieces).replace("\n", "") == text.replace("\n", "")


def definitions(names: list[str]) -> Iterator[str]:
    for name in names:
        yield f"def f_{name}():\n    " + f"{name}_ = 1  # filled with words\n    " * 40 + "return 1\n"


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6))
def test_long_definitions_are_cut_at_the_end_of_a_line(names: list[str]) -> None:
    for found in corpus.python_rows("m", "\n\n".join(definitions(names))):
        assert len(found["text"]) <= corpus.CHARS_MAX
        assert found["text"].endswith("# filled with words")
