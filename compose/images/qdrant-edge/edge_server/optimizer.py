"""Optimizing while serving: a child process works on a copy of the shard, then the collection changes over.

Writes go on meanwhile: each is applied to the present shard, as ever, and kept to be applied to the copy. The
changeover is one atomic replacement of `collection.json`, so that a kill at any moment leaves one complete
shard in charge: the old one until then, which has every acknowledged write, and the new one after.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Protocol

import qdrant_edge as edge

from edge_server.collection_config import Config
from edge_server.errors import EngineError

COPY_TIMEOUT_S = 120.0


class Optimizable(Protocol):
    """What the optimizer needs of a collection."""

    name: str
    config: Config
    lock: asyncio.Lock
    missed: list[edge.UpdateOperation] | None

    @property
    def shard_folder(self) -> Path: ...

    def begin_copy(self) -> None: ...

    async def change_over(self, folder: Path, points: int) -> None: ...


async def optimize(collection: Optimizable, target: Path) -> bool:
    """Optimize a copy of the collection's shard in `target`; True when the collection now runs on it.

    Raises EngineError when the child fails. The caller removes `target` where this returns False or raises.
    """
    child = await _start(collection.shard_folder, target)
    try:
        await _expect(child, "ready")
        async with collection.lock:
            collection.begin_copy()
            _tell(child, collection.config)
            await asyncio.wait_for(_expect(child, "copied"), COPY_TIMEOUT_S)
        done = await _expect(child, "done")
        await child.wait()
        if not done["optimized"]:
            return False
        async with collection.lock:
            await collection.change_over(target, done["points"])
        return True
    finally:
        collection.missed = None
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _start(source: Path, target: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_server.optimizer_child", str(source), str(target), stdin=PIPE, stdout=PIPE
    )


def _tell(child: Process, config: Config) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(config).encode() + b"\n")


async def _expect(child: Process, state: str) -> dict[str, Any]:
    """The child's next message, which must be of this state."""
    assert child.stdout is not None
    line = await child.stdout.readline()
    if not line:
        raise EngineError(f"optimizer process ended before `{state}`, exit code {await child.wait()}")
    message: dict[str, Any] = json.loads(line)
    if message["state"] != state:
        raise EngineError(f"optimizer process said {message}, expected `{state}`")
    return message
