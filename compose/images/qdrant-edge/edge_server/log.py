"""Errors on standard error, one line each."""

import sys
from datetime import UTC, datetime


def log_error(message: str) -> None:
    """Write one line with the time; line breaks in the message become ` | `."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(f"{now} ERROR {' | '.join(message.splitlines())}", file=sys.stderr, flush=True)
