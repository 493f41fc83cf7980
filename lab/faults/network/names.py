"""Whether a service's network can find a name, asked as its own processes ask."""

from lab.ports import Observation, World
from lab.ports.netns import Told

# A name that the engine itself knows in every network of a stack: no name server of the host's is asked.
NAME = "toxiproxy"
TRIES, PATIENCE_S = 3, 0.5


def names(world: World, service: str, before: Observation | None, wanted: Told) -> Observation:
    """Holds when every question ends as wanted, where every one was answered with an address before."""
    told = [world.netns.resolve(service, NAME, PATIENCE_S) for _ in range(TRIES)]
    found, hit = told.count("address"), told.count(wanted)
    holds = before is not None and before.absent and hit == TRIES
    said = f"asked for {NAME!r}: {', '.join(told)}"
    return Observation(found / TRIES, "share of names found", holds, absent=found == TRIES, detail=said)
