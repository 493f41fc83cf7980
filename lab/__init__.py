"""A chaos-and-soak lab for vector-search MCP servers.

Each subject has a room of its own, and the rooms form layers (docs/decisions/0010-one-room-per-subject.md). A room
imports only rooms of lower layers; `tests/tidy` checks it.
"""

__version__ = "0.1.0"
