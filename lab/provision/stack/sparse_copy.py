"""Copies a file that is mostly holes, and computes a digest of what it holds on the way."""

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 64 * 1024
_ZEROS = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: its digest (SHA-256 over the blocks that are not zero), and how many bytes these are."""

    sha256: str
    data_bytes: int


def copy_sparse(source: Path, target: Path, *, durable: bool) -> Content:
    """Copy `source` to the new file `target`; blocks of zeros become holes there.

    With `durable` the copy is on disk when this returns. The digest does not depend on where the file system has holes.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        digest, data_bytes = hashlib.sha256(), 0
        for offset, block in _blocks(reader.fileno()):
            digest.update(offset.to_bytes(8, "little") + block)
            writer.seek(offset)
            writer.write(block)
            data_bytes += len(block)
        size = os.fstat(reader.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        writer.truncate(size)
        if durable:
            writer.flush()
            os.fsync(writer.fileno())
    return Content(digest.hexdigest(), data_bytes)


def _blocks(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """The blocks that hold anything but zeros, each with its offset."""
    found = _next_data(descriptor, 0)
    while found is not None:
        # A block is the same wherever the file system begins its data.
        offset = found - found % BLOCK_BYTES
        block = os.pread(descriptor, BLOCK_BYTES, offset)
        if not block:
            return
        if block != _ZEROS[: len(block)]:
            yield offset, block
        found = _next_data(descriptor, offset + len(block))


def _next_data(descriptor: int, offset: int) -> int | None:
    """The offset at or after `offset` where data begins, or None if only a hole follows (lseek(2), SEEK_DATA)."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        if error.errno == errno.EINVAL:
            return offset
        raise
