"""The lines of k6's raw points: from a file that is whole and packed, or from one that still grows."""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 256 * 1024
_LINE_BYTES_MAX = 1024 * 1024


class LineSplitter:
    """Cuts a stream of bytes into its lines; how the stream arrives in pieces makes no difference.

    A line without its end is kept until the rest arrives. After a line that is too long nothing more is read, and
    `damage` says so.
    """

    def __init__(self, name: str) -> None:
        self._name, self._incomplete = name, b""
        self.damage = ""

    def lines(self, piece: bytes) -> Iterator[bytes]:
        """The lines that end within this piece."""
        if self.damage:
            return
        *lines, self._incomplete = (self._incomplete + piece).split(b"\n")
        for line in lines:
            if self._is_too_long(line):
                return
            yield line
        self._is_too_long(self._incomplete)

    def end(self, damage: str = "") -> str:
        """Why the stream is incomplete, after its last piece; empty where it is whole."""
        if self._incomplete and not (self.damage or damage):
            self.damage = f"{self._name}: the last line breaks off"
        self.damage = self.damage or damage
        return self.damage

    def _is_too_long(self, line: bytes) -> bool:
        if len(line) > _LINE_BYTES_MAX:
            self.damage, self._incomplete = f"{self._name}: a line longer than {_LINE_BYTES_MAX} bytes", b""
        return bool(self.damage)


class GzipLines:
    """Reads the complete lines of a gzip file, a piece at a time.

    After the last line, `damage` says why the file is incomplete; it is empty where the file is whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        splitter = LineSplitter(self._path.name)
        for piece in self._pieces():
            yield from splitter.lines(piece)
            if splitter.damage:
                break
        self.damage = splitter.end(self.damage)

    def _pieces(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj(wbits=31)
        try:
            with self._path.open("rb") as file:
                while not unpack.eof and (packed := file.read(_PIECE_BYTES)):
                    yield unpack.decompress(packed, _PIECE_BYTES)
                    while unpack.unconsumed_tail:
                        yield unpack.decompress(unpack.unconsumed_tail, _PIECE_BYTES)
        except (OSError, zlib.error) as error:
            self.damage = f"{self._path.name}: {error}"
            return
        if not unpack.eof:
            self.damage = f"{self._path.name}: the gzip stream breaks off"


class GrowingFile:
    """A file that another process appends to: each call of `pieces` reads what was added since the last one."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_bytes = path, 0

    def pieces(self) -> Iterator[bytes]:
        """The bytes that were added; nothing while there is no file yet. Raises OSError where it cannot be read."""
        if not self._path.exists() or self._path.stat().st_size <= self._read_bytes:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            while piece := file.read(_PIECE_BYTES):
                self._read_bytes += len(piece)
                yield piece


def pack(path: Path) -> Path:
    """Pack a file as `path.gz` and remove it; a machine that stops in between leaves the whole plain file.

    Raises OSError, and then the plain file is still there.
    """
    packed, partly = path.with_name(f"{path.name}.gz"), path.with_name(f"{path.name}.gz.part")
    with path.open("rb") as plain, partly.open("wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", filename=path.name, mtime=0) as zipped:
            shutil.copyfileobj(plain, zipped, _PIECE_BYTES)
        raw.flush()
        os.fsync(raw.fileno())
    partly.replace(packed)
    path.unlink()
    return packed
