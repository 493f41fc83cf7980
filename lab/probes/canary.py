"""The canary: the cheapest operation that crosses both links, asked to know when the target is well."""

from lab.model.samples import Layer, Probe
from lab.model.target import Target
from lab.ports import Clock, Mcp


async def measure(mcp: Mcp, clock: Clock, target: Target, deadline_s: float) -> Probe:
    """One canary probe; `outcome` is `ok` or the layer at which it failed."""
    values = {"truth_collection": target.truth_collection, "writes_collection": target.writes_collection}
    sent_ms = clock.now_ms()
    outcome = await mcp.call(target.operations[target.canary], values, timeout_s=deadline_s)
    return Probe(sent_ms, clock.now_ms(), target.canary, outcome.layer.value, outcome.message)


def unsent(clock: Clock, target: Target, why: str) -> Probe:
    """A slot in which no probe could be sent, which counts as bad."""
    return Probe(clock.now_ms(), None, target.canary, Layer.UNSENT.value, why)
