"""What the faults of the network share: chains of the lab's own, and whether a name is found."""

import secrets

from lab.model.undo import RemoveChain
from lab.ports import Observation, World
from lab.ports.netns import NameAnswer, Rules

# Shared by the faults of the network: no fault of its own.
FAULT = None
TRIES, PATIENCE_S = 3, 0.7
# A name that the engine itself knows in every network of a stack, so that no name server of the host is asked.
NAME, NAME_PATIENCE_S = "toxiproxy", 0.5
# Toxiproxy's control port. Other faults are healed through it, so no rule may cut it off.
CONTROL = ("-p tcp --dport 8474 -j RETURN", "-p tcp --sport 8474 -j RETURN")


def chain_undo(world: World, service: str, kind: str, table: str = "filter", token: str = "") -> RemoveChain:
    """The undo of a chain that does not exist yet, with a unique name.

    Raises FaultError where the service's network is down.
    """
    chain = f"LAB-{kind.replace('_', '-')}-{secrets.token_hex(3)}"
    return RemoveChain(service, world.netns.holder_id(service), table, chain, token)


def names_undo(world: World, service: str, kind: str) -> RemoveChain:
    """The undo of a fault that redirects the questions for names: a chain, and a name server of the lab."""
    token = world.processes.new_token(kind)
    return chain_undo(world, service, kind, table="nat", token=token)


def redirect_names(world: World, undo: RemoveChain, port: int, *spared: str) -> None:
    """Redirect all questions for names to a port on the loopback, except what the rules in `spared` take out."""
    lines = [
        f"-p {protocol} --dport 53 -j DNAT --to-destination 127.0.0.1:{port}" for protocol in ("udp", "tcp")
    ]
    add(world, undo, ("OUTPUT -d 127.0.0.11",), *spared, *lines, spare_control=False)


def add(
    world: World, undo: RemoveChain, jumps: tuple[str, ...], *lines: str, spare_control: bool = True
) -> None:
    """Add the chain that the undo removes; `jumps` lead to it, and `lines` are its rules."""
    spared = CONTROL if spare_control and undo.service == "toxiproxy" else ()
    rules = Rules(undo.table, undo.chain, jumps, (*spared, *lines))
    world.netns.add_chain(undo.service, undo.container_id, rules)


def remove(world: World, undo: RemoveChain) -> None:
    """Remove the chain, then end the lab's processes of the same fault; what is gone already is fine."""
    try:
        world.netns.remove_chain(undo.service, undo.container_id, undo.table, undo.chain)
    finally:
        if undo.token:
            world.processes.end(undo.token)


def names(world: World, service: str, before: Observation | None, wanted: NameAnswer) -> Observation:
    """Ask for a name several times: in force when every question ends as `wanted`, and none did before."""
    ends = [world.netns.resolve(service, NAME, NAME_PATIENCE_S) for _ in range(TRIES)]
    found, hit = ends.count("address"), ends.count(wanted)
    holds = before is not None and before.absent and hit == TRIES
    message = f"asked for {NAME!r}: {', '.join(ends)}"
    return Observation(found / TRIES, "share of names found", holds, absent=found == TRIES, detail=message)
