"""Measures what canary and truth queries cost the target, so that the observer cannot become a load unnoticed."""

import asyncio

from lab.model.plan import Plan
from lab.model.target import Operation
from lab.observe.mcp import McpSession
from lab.ports import Recorder, World

CALLS = 20


def record(url: str, plan: Plan, world: World, recorder: Recorder) -> None:
    """Call canary and truth query without other load, and journal the share of the target's CPU that they will take.

    `share` is for steady phases, `share_fast` for the time from injection until recovery. CPU times: ms a call.
    """
    target, observer = plan.target, plan.observer
    values = {"query": "open a file and read its lines", "k": observer.recall_k}
    values |= {"truth_collection": target.truth_collection, "writes_collection": target.writes_collection}
    canary_ms = _cpu_ms(url, plan, target.operations[target.canary], values, world)
    recall_ms = _cpu_ms(url, plan, target.operations[target.recall], values, world)
    capacity = target.capacity_cpu_cores * 1000
    recall_share = recall_ms * observer.recall_hz / capacity
    recorder.record(
        "observer_cost",
        canary_ms=round(canary_ms, 3),
        recall_ms=round(recall_ms, 3),
        capacity_cpu_ms_per_s=capacity,
        share=round(canary_ms * observer.canary_slow_hz / capacity + recall_share, 5),
        share_fast=round(canary_ms * observer.canary_fast_hz / capacity + recall_share, 5),
        calls=CALLS,
    )


def _cpu_ms(url: str, plan: Plan, operation: Operation, values: dict[str, object], world: World) -> float:
    return asyncio.run(_measure(url, plan, operation, values, world))


async def _measure(
    url: str, plan: Plan, operation: Operation, values: dict[str, object], world: World
) -> float:
    session = McpSession(url, plan.target.protocol_version)
    timeout_s = plan.target.request_timeout_ms / 1000
    try:
        await session.call(operation, values, timeout_s=timeout_s)
        start = world.cgroups.cpu_usage(world.topology.target.name)
        for _ in range(CALLS):
            await session.call(operation, values, timeout_s=timeout_s)
        end = world.cgroups.cpu_usage(world.topology.target.name)
    finally:
        await session.close()
    return (end.usage_us - start.usage_us) / 1000 / CALLS
