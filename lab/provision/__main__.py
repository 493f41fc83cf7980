"""Prepares engine, compose plugin and images without starting a stack: `python -m lab.provision [TARGET_DIR]`."""

import sys
from pathlib import Path

from lab.errors import LabError
from lab.provision.machine.progress import progress_to
from lab.provision.stack.prepare import prepare
from lab.repository import COMPOSE

EXIT_LAB = 12
DEFAULT_TARGET = COMPOSE / "targets" / "workspace-qdrant-mcp"


def main(arguments: list[str]) -> int:
    """Prepare this machine for the tests; returns the exit status."""
    target = Path(arguments[0]) if arguments else DEFAULT_TARGET
    try:
        prepare(target, progress_to(lambda text: print(text, file=sys.stderr, flush=True)))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_LAB
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
