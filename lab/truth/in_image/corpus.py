"""Cuts a corpus into texts of at most 900 characters, one JSON line each, into a file.

By default the functions and classes of this Python's own standard library, which every machine has; with
`--corpus-tar` a user's folder. Sorted input and hashes choose the texts, so the same source gives the same corpus.
"""

import argparse
import ast
import hashlib
import json
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

CHARS_MAX = 900
CHARS_MIN = 80
LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "encodings",
    "turtledemo",
}
PYTHON_FILE_BYTES_MAX = 400_000

Row = dict[str, str]


def clipped(text: str) -> str:
    """The text cut to at most 900 characters, at the end of a line where there is one."""
    if len(text) <= CHARS_MAX:
        return text
    head = text[:CHARS_MAX]
    at_line = head.rpartition("\n")[0]
    return at_line if len(at_line) >= CHARS_MIN else head


def first_sentence(doc: str) -> str:
    """The first sentence of a docstring on one line."""
    paragraph = " ".join(doc.strip().split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def python_rows(name: str, source: str) -> Iterator[Row]:
    """Functions and classes of one module, by their dotted name."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    # Not splitlines(): a form feed is no end of line for the parser's line numbers.
    lines = source.split("\n")
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                path = f"{prefix}.{child.name}" if prefix else child.name
                stack.append((path, child))
                yield python_row(name, path, child, lines)


def python_row(module: str, path: str, node: ast.AST, lines: list[str]) -> Row:
    """One definition: its source without the common indentation."""
    start, end = node.lineno - 1, node.end_lineno or node.lineno  # type: ignore[attr-defined]
    indent = node.col_offset  # type: ignore[attr-defined]
    text = "\n".join(line[indent:] if not line[:indent].strip() else line for line in lines[start:end])
    doc = ast.get_docstring(node) or ""  # type: ignore[arg-type]
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    return {"id": f"{module}:{path}", "text": clipped(text), "kind": kind, "doc": first_sentence(doc)}


def library_rows() -> Iterator[Row]:
    """Everything defined in the standard library, module by module in sorted order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if LEFT_OUT & set(parts) or path.stat().st_size > PYTHON_FILE_BYTES_MAX:
            continue
        yield from python_rows(".".join(parts), path.read_text(encoding="utf-8", errors="replace"))


def pieces(text: str) -> Iterator[str]:
    """A text cut at paragraphs, and inside long ones at lines, into pieces of at most 900 characters."""
    piece = ""
    for part in text.replace("\r\n", "\n").split("\n\n"):
        if piece and len(piece) + len(part) + 2 > CHARS_MAX:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{part}" if piece else part
        while len(piece) > CHARS_MAX:
            head = clipped(piece)
            yield head
            piece = piece[len(head) :].lstrip("\n")
    if piece:
        yield piece


def folder_rows(tar: str) -> Iterator[Row]:
    """The texts of a user's folder, in the archive's (sorted) order; a piece's first sentence asks for it."""
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            text = file.read().decode("utf-8", errors="replace") if file else ""
            for number, piece in enumerate(pieces(text)):
                yield {
                    "id": f"{member.name}#{number}",
                    "text": piece,
                    "kind": "text",
                    "doc": first_sentence(piece),
                }


def chosen(rows: Iterator[Row], wanted: int) -> list[Row]:
    """At most `wanted` distinct texts, in the order of a hash of their ids, which scatters them over all sources."""
    seen: set[str] = set()
    distinct: dict[str, Row] = {}
    for row in rows:
        if len(row["text"].strip()) >= CHARS_MIN and row["text"] not in seen:
            seen.add(row["text"])
            distinct.setdefault(row["id"], row)
    ordered = sorted(distinct.values(), key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())
    return ordered[:wanted]


def main() -> None:
    """Write the chosen texts to `--output`, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-documents", type=int, required=True)
    parser.add_argument("--corpus-tar", default="")
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    rows = folder_rows(options.corpus_tar) if options.corpus_tar else library_rows()
    with open(options.output, "w", encoding="utf-8") as output:
        for row in chosen(rows, options.max_documents):
            output.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
