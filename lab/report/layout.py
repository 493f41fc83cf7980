"""Text in a given number of terminal columns: words are kept whole unless one is longer than its line.

Widths are in terminal cells, because a character can take none, one or two of them.
"""

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

GAP = 2
INDENT = 2
# A column is not kept as wide as a word that is longer than this: such a word is cut.
WORD_CELLS_MAX = 40


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells; a word is cut only where it is longer than a line."""
    lines, line = list[str](), ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, width)
        lines += full
    return [*lines, line] if line or not lines else lines


def _pieces(word: str, width: int) -> list[str]:
    # A line of one cell cannot hold a character of two.
    return [word] if cell_len(word) <= width else chop_cells(word, max(2, width))


def hanging(label: str, text: str, width: int) -> list[str]:
    """A label and its text; the further lines stand below the first word of the text."""
    indent = cell_len(label)
    first, *rest = wrap(text, max(2, width - indent))
    return [f"{label}{first}", *(f"{' ' * indent}{line}" for line in rest)]


def table(rows: Sequence[Sequence[str]], width: int) -> list[list[list[str]]]:
    """The rows of a table (the first is its header) as lines of padded cells that fill at most `width`.

    Where not even the longest words of all columns fit side by side, the first column has a line of its own, and the
    others stand below it, indented.
    """
    widths = _widths(rows, width)
    if widths is None and len(rows[0]) == 1:
        widths = _squeezed(rows, width)
    if widths is not None:
        return [_lines(row, widths) for row in rows]
    rest = [row[1:] for row in rows]
    within = width - INDENT
    widths = _widths(rest, within) or _squeezed(rest, within)
    indented = [[[" " * INDENT + line[0], *line[1:]] for line in _lines(row, widths)] for row in rest]
    first = [[[line] for line in wrap(row[0], width)] for row in rows]
    return [[*head, *lines] for head, lines in zip(first, indented, strict=True)]


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    columns = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        [_padded(cell, width) for cell, width in zip(line, widths, strict=True)]
        for line in zip_longest(*columns, fillvalue="")
    ]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Widths of the columns that keep every word whole, as wide as their cells where there is room; None if none do."""
    columns = list(zip(*rows, strict=True))
    wanted = [max(cell_len(cell) for cell in column) for column in columns]
    least = [min(WORD_CELLS_MAX, max(map(_longest_word, column))) for column in columns]
    left = width - GAP * (len(columns) - 1) - sum(least)
    if left < 0:
        return None
    widths = least
    while left > 0 and (short := [n for n, have in enumerate(widths) if have < wanted[n]]):
        # What is left goes to the narrowest of the columns that want more, a cell at a time.
        narrowest = min(short, key=lambda n: widths[n])
        widths[narrowest] += 1
        left -= 1
    return widths


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=1)


def _squeezed(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths that fit whatever they hold: the widest column gives way until all do."""
    columns = list(zip(*rows, strict=True))
    widths = [min(WORD_CELLS_MAX, max(map(_longest_word, column))) for column in columns]
    while sum(widths) + GAP * (len(columns) - 1) > width and max(widths) > 2:
        widths[widths.index(max(widths))] -= 1
    return widths
