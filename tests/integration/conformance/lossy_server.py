"""A server with a planted defect, as negative control: one write in twenty is acknowledged and dropped."""

import itertools
import sys
from collections.abc import Sequence
from typing import Any

from edge_server.__main__ import main
from edge_server.collection import Collection

_write = Collection.write
_turns = itertools.count(1)


async def _lossy(self: Collection, operations: Sequence[Any], **sizes: int) -> None:
    if next(_turns) % 20:
        await _write(self, operations, **sizes)


if __name__ == "__main__":
    Collection.write = _lossy
    sys.exit(main())
