"""The optimizer's own process: copy a shard's files, optimize the copy, report in JSON lines.

    python -m edge_server.optimizer_child SOURCE TARGET < one line of configuration
    -> {"state": "ready"}      imports done; waits for the line
    -> {"state": "copied"}     the source may change again
    -> {"state": "done", "optimized": bool, "points": int}

The copy is what a kill at that moment would have left behind; loading it replays the write-ahead log, as a
restart does.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any

import qdrant_edge as edge

from edge_server.collection_config import engine_config

_PR_SET_PDEATHSIG = 1
_NICENESS = 10


def main() -> None:
    """Run one optimization."""
    _die_with_parent()
    os.nice(_NICENESS)
    source, target = sys.argv[1:3]
    _say(state="ready")
    config = json.loads(sys.stdin.readline())
    # Sparse: logs and payload pages are mostly holes, 32 MiB each.
    subprocess.run(["cp", "--archive", "--sparse=always", source, target], check=True)
    _say(state="copied")
    shard = edge.EdgeShard.load(target, engine_config(config))
    optimized = shard.optimize()
    points = shard.info().points_count
    shard.close()
    _say(state="done", optimized=optimized, points=points)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the server dies: a new server starts its own."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the server is gone")


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
