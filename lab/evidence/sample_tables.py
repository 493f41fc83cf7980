"""The tables of `samples.sqlite`: which columns they have, and which Python type a row of each has.

The column names are a contract (see docs/run-directory.md); columns may be added, never renamed.
"""

from typing import Any

from lab.model.samples import HostReading, Memory, Probe, Recall, Request, Traffic

Row = Request | Probe | Recall | Memory | HostReading | Traffic

SCHEMA: dict[str, tuple[type[Any], str]] = {
    "requests": (
        Request,
        (
            "scheduled_ms REAL, sent_ms REAL, done_ms REAL, op TEXT, ok INTEGER, layer TEXT, message TEXT,"
            " source TEXT, sessions_lost INTEGER, id TEXT, hits INTEGER, k INTEGER, query_id TEXT"
        ),
    ),
    "probes": (
        Probe,
        "sent_ms REAL, done_ms REAL, probe TEXT, outcome TEXT, detail TEXT, hits INTEGER, k INTEGER",
    ),
    "recall": (
        Recall,
        (
            "sent_ms REAL, done_ms REAL, mode TEXT, query_id TEXT, answered INTEGER, hits INTEGER, k INTEGER,"
            " layer TEXT, message TEXT"
        ),
    ),
    "memory": (
        Memory,
        "at_ms REAL, container TEXT, process TEXT, metric TEXT, bytes INTEGER, pid INTEGER, started REAL",
    ),
    "host": (HostReading, "at_ms REAL, metric TEXT, value REAL"),
    "traffic": (
        Traffic,
        (
            "at_ms REAL, route TEXT, peer TEXT, established INTEGER, opened INTEGER, ended INTEGER,"
            " sent_bytes INTEGER, received_bytes INTEGER, unanswered INTEGER, retransmitted INTEGER"
        ),
    ),
}
# The ledger of writes is part of the contract; nothing fills it yet.
EMPTY_TABLES = (
    "CREATE TABLE IF NOT EXISTS writes(doc_id TEXT, sent_ms REAL, acked_ms REAL, read_back TEXT, state TEXT)",
)
TABLE_OF = {row_type: name for name, (row_type, _) in SCHEMA.items()}
# Columns that older runs do not have. The field of each has a default.
ADDED = {"requests": ("id", "hits", "k", "query_id"), "probes": ("hits", "k"), "memory": ("pid", "started")}


def columns_of(table: str) -> list[str]:
    """The column names of a table; the first is the time by which its rows are ordered."""
    return [column.split()[0] for column in SCHEMA[table][1].split(",")]
