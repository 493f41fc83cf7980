"""What a fault needs to itself: no two faults of one step may name the same thing.

Either both would write it, so that a heal out of its turn leaves the other's value behind, or the proof of one cannot
tell its own effect from the other's. `{target}` stands for the service that is hit.
"""

# A link's toxics: when data comes, how much of it comes, and how a connection ends. Direction makes no difference, for
# all of them are seen on whole round trips.
PACE = "the pace of the link {target}"
BYTES = "what the link {target} carries"
ENDS = "how connections of the link {target} end"
LINK = (PACE, BYTES, ENDS)

# A service's network. Loss and rate are seen in the same echoes, and want the same root queueing discipline.
PACKETS = "the packets of {target}"
CONNECTS = "connects to {target}"
NAMES = "what {target} is told of names"
RATE = "what rate_limit does to {target}"
NETWORK = (PACKETS, CONNECTS, NAMES, RATE)

# A service's container: what is written into its limits, and what is done inside it.
CPU_QUOTA = "the CPU quota of {target}"
MEMORY = "the memory limits of {target}"
DISK = "the disk of {target}"
DISK_LIMITS = "the disk limits of {target}"
CLIENTS = "the connections that {target} accepts"
BURNERS = "the lab's load inside the CPU cgroup of {target}"
HOG = "the lab's load inside the memory cgroup of {target}"
LIFE = "the life of {target}"
# What ends with the container's processes; the limits that are not here stand in its configuration.
_MORTAL = (DISK_LIMITS, CLIENTS, BURNERS, HOG)

# From whose network a service's is measured, as in the adapter that does it.
PEERS = {"qdrant": "toxiproxy", "mcp": "toxiproxy", "toxiproxy": "mcp"}
_PROXY, _LINKS = "toxiproxy", ("qdrant", "mcp")


def network(service: str, *names: str) -> tuple[str, ...]:
    """What a fault needs to itself that acts on all packets of a service: those names, wherever it would be seen.

    That is at the service, and at each that is measured from there; and at every link where that is Toxiproxy's
    network, for what goes past a proxy does not pass it.
    """
    seen_at = (service, *(one for one, peer in PEERS.items() if peer == service))
    return (*(name.format(target=one) for one in seen_at for name in (*names, RATE)), *carried(service))


def carried(service: str, names: tuple[str, ...] = LINK) -> tuple[str, ...]:
    """What of the links is at the mercy of a service: those names of both for Toxiproxy, nothing for others."""
    return tuple(name.format(target=link) for link in _LINKS for name in names) if service == _PROXY else ()


def death(service: str) -> tuple[str, ...]:
    """What a fault needs to itself that ends a service's processes: its life, and all that ends with it.

    Toxiproxy takes along every toxic, and the rules of its network, which no other container holds.
    """
    ends = (LIFE, *_MORTAL, *(NETWORK if service == _PROXY else ()))
    return (*(one.format(target=service) for one in ends), *carried(service))
