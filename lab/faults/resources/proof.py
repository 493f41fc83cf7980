"""What the faults of a service's resources share."""

from lab.errors import FaultError
from lab.ports import ContainerState, World

# Shared by the faults of resources: no fault of its own.
FAULT = None


def running(world: World, service: str, consequence: str) -> ContainerState:
    """The state of a service that runs; raises FaultError with the consequence for the fault where it does not."""
    state = world.containers.state(service)
    if not state.running:
        raise FaultError(f"{service} does not run, so {consequence}", where=state.name)
    return state
