"""What the faults of a service's process share."""

from typing import Literal

from lab.ports import Observation, World

# Shared by the faults of a process: no fault of its own.
FAULT = None
PROBES = 3
Service = Literal["qdrant", "mcp", "toxiproxy"]


def lifeless(world: World, service: str, before: Observation | None, ignored: str) -> Observation:
    """In force when the container does not run and none of several requests past the proxies is answered.

    `ignored` is added to the detail where the container still runs.
    """
    state = world.containers.state(service)
    answered = sum(world.reach.answers(service, timeout_s=1.0) for _ in range(PROBES))
    holds = before is not None and not state.running and answered == 0
    absent = state.running and answered == PROBES
    detail = (
        f"container runs{ignored}" if state.running else f"container is dead (exit code {state.exit_code})"
    )
    return Observation(answered / PROBES, "share of health requests answered", holds, absent, detail)
