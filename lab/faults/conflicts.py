"""The resources that faults claim: two faults of one step may not claim the same resource of the same service.

If both wrote it, healing them in another order would leave a wrong value behind. If both were measured by it, the proof
of one could not tell its own effect from the other's.
"""

from lab.model.scenario import Claim, claims
from lab.model.topology import Topology

# A link: when data arrives, how much of it, and how a connection ends. The direction makes no difference, because all
# of them are measured on whole round trips.
PACE, BYTES, ENDS = "link speed", "link traffic", "connection ends"
LINK = (PACE, BYTES, ENDS)

# A service's network. Loss and rate are measured by the same echo requests, and need the same root queueing discipline.
PACKETS, CONNECTS, NAMES, RATE = "packets", "connects", "name resolution", "outgoing rate"
NETWORK = (PACKETS, CONNECTS, NAMES, RATE)

# A service's container: its limits, and what the lab does inside it.
CPU_QUOTA, MEMORY, DISK, DISK_LIMITS = "CPU quota", "memory limits", "disk", "disk limits"
CLIENTS, BURNERS, HOG = "accepted connections", "CPU load by the lab", "memory load by the lab"
LIFE = "main process"
# These end when the container's processes end; the other limits stand in the container's configuration.
_ENDS_WITH_PROCESSES = (DISK_LIMITS, CLIENTS, BURNERS, HOG)


def network(topology: Topology, service: str, *resources: str) -> frozenset[Claim]:
    """The claims of a fault that acts on all packets of a service: these resources wherever its effect would show.

    It shows at the service itself, at each service that is measured from there, and on each link that runs through it.
    """
    shows_at = (service, *topology.measured_from(service))
    return carried(topology, service).union(*(claims(each, *resources, RATE) for each in shows_at))


def carried(topology: Topology, service: str, resources: tuple[str, ...] = LINK) -> frozenset[Claim]:
    """Link resources that a fault on this service also claims: those of the links that run through it."""
    return frozenset(Claim(name, link) for link in topology.links_through(service) for name in resources)


def death(topology: Topology, service: str) -> frozenset[Claim]:
    """The claims of a fault that ends a service's processes: the main process, and everything that ends with it.

    Where no other container holds its network, as with Toxiproxy, the rules of its network end too.
    """
    holds_its_network = topology.network_of(service) == service
    ends = (LIFE, *_ENDS_WITH_PROCESSES, *(NETWORK if holds_its_network else ()))
    return claims(service, *ends) | carried(topology, service)


def clearest_claim(shared: frozenset[Claim]) -> Claim:
    """The claim that explains a conflict best: first the main process, last the rate."""
    return min(shared, key=lambda claim: (claim.resource != LIFE, claim.resource == RATE, claim))
