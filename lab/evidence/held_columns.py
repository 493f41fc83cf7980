"""Columns of a table of samples that are held in memory, because a judge asks for them again and again."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Places = slice | NDArray[np.intp]

# One byte a row tells this many different words apart.
_WORDS_MAX = 256


class Column(Protocol):
    """The values of one column, in order of time."""

    def values(self, places: Places) -> list[Any]:
        """The values of the rows at these places."""

    def equal(self, value: Any, places: slice) -> NDArray[np.bool_]:
        """Which of the rows at these places have this value."""


class Numbers:
    """A column of numbers, eight bytes a row; NaN stands for NULL, because SQLite stores no NaN."""

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        self._numbers = numbers

    def values(self, places: Places) -> list[float | None]:
        """The values of the rows at these places."""
        numbers = self._numbers[places]
        found: list[float | None] = numbers.tolist()
        for place in np.flatnonzero(np.isnan(numbers)).tolist():
            found[place] = None
        return found

    def equal(self, value: float, places: slice) -> NDArray[np.bool_]:
        """Which of the rows at these places have this value."""
        found: NDArray[np.bool_] = self._numbers[places] == value
        return found


class Words:
    """A column of text with few different values, one byte a row."""

    def __init__(self, codes: NDArray[np.uint8], words: list[str | None]) -> None:
        self._codes, self._words = codes, words

    def values(self, places: Places) -> list[str | None]:
        """The values of the rows at these places."""
        return list(map(self._words.__getitem__, self._codes[places].tolist()))

    def equal(self, value: str, places: slice) -> NDArray[np.bool_]:
        """Which of the rows at these places have this value."""
        codes = self._codes[places]
        if value not in self._words:
            return np.zeros(codes.size, np.bool_)
        found: NDArray[np.bool_] = codes == self._words.index(value)
        return found


class NumbersReader:
    """Collects a column of numbers while the table is read through."""

    def __init__(self) -> None:
        self._numbers = array("d")

    def extend(self, values: Iterable[float | None]) -> None:
        """Append the values of the next rows."""
        self._numbers.extend(_NAN if value is None else value for value in values)

    def column(self, order: NDArray[np.intp]) -> Column | None:
        """The column with its rows in this order."""
        return Numbers(np.frombuffer(self._numbers, np.float64)[order])


class WordsReader:
    """Collects a column of text while the table is read through, as long as it has few different values."""

    def __init__(self) -> None:
        self._codes = bytearray()
        self._code_of: defaultdict[str | None, int] = defaultdict(lambda: len(self._code_of))

    def extend(self, values: Iterable[str | None]) -> None:
        """Append the values of the next rows."""
        if len(self._code_of) > _WORDS_MAX:
            return
        codes = list(map(self._code_of.__getitem__, values))
        if len(self._code_of) <= _WORDS_MAX:
            self._codes += bytes(codes)

    def column(self, order: NDArray[np.intp]) -> Column | None:
        """The column with its rows in this order; None if it has too many different values."""
        if len(self._code_of) > _WORDS_MAX:
            return None
        return Words(np.frombuffer(self._codes, np.uint8)[order], list(self._code_of))


_NAN = float("nan")
