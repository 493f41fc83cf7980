"""The parameters with which tests run each fault kind; each kind needs an entry, at least with its target.

`FAMILY` is the one kind of each family that `make test` tries on real containers; `make sweep` tries them all.
"""

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    # link
    "latency": {"target": "qdrant", "latency_ms": 200},
    "bandwidth": {"target": "qdrant", "rate_kb_per_s": 20},
    "slow_close": {"target": "mcp", "delay_ms": 500},
    "timeout": {"target": "qdrant"},
    "reset_peer": {"target": "qdrant"},
    "slicer": {"target": "mcp"},
    "limit_data": {"target": "qdrant", "direction": "upstream"},
    "link_down": {"target": "qdrant"},
    # network
    "partition": {"target": "qdrant"},
    "reject": {"target": "qdrant"},
    "packet_loss": {"target": "mcp"},
    "rate_limit": {"target": "mcp"},
    "dns_failure": {"target": "mcp"},
    "dns_nxdomain": {"target": "mcp"},
    "slow_dns": {"target": "mcp", "delay_ms": 1000},
    # process
    "kill": {"target": "qdrant"},
    "terminate": {"target": "qdrant"},
    "freeze": {"target": "qdrant"},
    "restart": {"target": "qdrant"},
    "crash_loop": {"target": "qdrant", "every_s": 1.0},
    # resources
    "cpu_cap": {"target": "mcp", "cores": 0.3},
    "disk_full": {"target": "qdrant"},
    "disk_slow": {"target": "qdrant", "write_bps": 2_000_000},
    "memory_cap": {"target": "mcp", "headroom_mib": 16},
    "memory_pressure": {"target": "mcp", "hog_mib": 64, "left_mib": 8},
    "oom_kill": {"target": "qdrant"},
    "pids_cap": {"target": "mcp"},
    "cpu_saturation": {"target": "mcp", "burners": 1},
    "fd_exhaustion": {"target": "qdrant"},
    "connection_exhaustion": {"target": "mcp", "connections": 300},
}
FAMILY = ("latency", "partition", "kill", "cpu_cap", "disk_full")


def aimed_elsewhere(kind: str, services: tuple[str, ...]) -> dict[str, Any] | None:
    """The same fault on another service, so that it misses; None where the kind can hit only one service."""
    params = EXAMPLES.get(kind, {"target": services[0]})
    others = [service for service in services if service != params["target"]]
    return {**params, "target": others[0]} if others else None
