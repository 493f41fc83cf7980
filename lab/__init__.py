"""A chaos-and-soak lab for vector-search MCP servers.

The layers, lowest first: `model` and `errors`, then `ports`, `judge` and `report`, then `faults` and `probes`, then
`scenarios`, `schedule` and `adapters`, then `run`, then `cli`. A layer imports only lower ones; `tests/tidy` checks it.
"""

__version__ = "0.1.0"
