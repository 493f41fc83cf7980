"""Refuses a stack with global IPv6 addresses: the faults' rules would not hit what is sent to them."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from lab.errors import WorldError
from lab.host.labels import SERVICE
from lab.host.network.namespaces import belongs
from lab.provision.machine.engine import Engine
from lab.provision.stack import owned

# The scope of a global address, unique local ones included (proc(5), /proc/net/if_inet6).
GLOBAL_SCOPE = "00"


def require_no_ipv6(engine: Engine, project: str) -> None:
    """Raise WorldError if a container of the stack has a global IPv6 address, by the engine or by its own network."""
    with owned.client_of(engine) as client:
        described = [container.attrs for container in owned.containers_of(client, project)]
    found = {name: addresses for name, addresses in map(_addresses_of, described) if addresses}
    if found:
        raise WorldError(
            "containers of the stack have global IPv6 addresses, and the lab's faults act on IPv4 alone",
            where=f"network {project}",
            last_state="; ".join(
                f"{name}: {', '.join(addresses)}" for name, addresses in sorted(found.items())
            ),
            try_="`lab down`, then `lab up`, which makes the network anew without IPv6; if the addresses come back,"
            " take IPv6 out of the engine's configuration (daemon.json: ipv6, default-network-opts)",
        )


def _addresses_of(attrs: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The service of a container, and its global IPv6 addresses without the one that both sources name twice."""
    networks: Mapping[str, Any] = attrs["NetworkSettings"].get("Networks") or {}
    listed = [str(network.get("GlobalIPv6Address") or "") for network in networks.values()]
    pid = int(attrs["State"]["Pid"])
    # The file of a process that is not this container's, because the engine is elsewhere, says nothing about it.
    if pid > 0 and belongs(pid, str(attrs["Id"])):
        listed += global_addresses(_lines(Path(f"/proc/{pid}/net/if_inet6")))
    return str(attrs["Config"]["Labels"].get(SERVICE, attrs["Name"])), sorted({one for one in listed if one})


def global_addresses(lines: Iterable[str]) -> list[str]:
    """The global addresses in the lines of an if_inet6 file (proc(5)): address, index, prefix, scope, flags, device."""
    fields = [line.split() for line in lines]
    return [_readable(one[0]) for one in fields if len(one) == 6 and one[3] == GLOBAL_SCOPE]


def _readable(digits: str) -> str:
    return str(IPv6Address(int(digits, 16)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        # A kernel without IPv6 has no such file, and a container that ended meanwhile has no address.
        return []
