"""Whether the store is idle: every collection green, its optimizer ok, its update queue empty where one is told.

Asked of the store directly, on no path that a fault of the links hurts; one that does not answer is not idle, nor is
one without any collection. A store without a background optimizer (early versions of the embedded server) is idle as
soon as it answers: there the probe says that it serves its collections, no more. "grey" counts as work: Qdrant has it
to do and waits for an update.
"""

import asyncio
from typing import Any

import httpx

from lab.model.samples import STORE_PROBE, Layer, Probe
from lab.ports import Clock

BUSY = "busy"
# Looks a second while a fault is watched closely or the store is busy; otherwise every few of these ticks one.
HZ, SLOW_EVERY = 2.0, 4
# All requests of one look together; less than a period, so that a stuck look delays no other.
DEADLINE_S = 0.45


async def measure(http: httpx.AsyncClient, clock: Clock, url: str) -> Probe:
    """One look; `ok`, `busy` with the collection and its state, or the layer at which the look failed."""
    sent_ms = clock.now_ms()
    try:
        async with asyncio.timeout(DEADLINE_S):
            outcome, detail = await _look(http, url.rstrip("/"))
    except TimeoutError:
        outcome, detail = Layer.TRANSPORT.value, f"no answer within {DEADLINE_S:g} s"
    except httpx.HTTPStatusError as error:
        outcome, detail = Layer.HTTP_STATUS.value, f"HTTP {error.response.status_code}"
    except httpx.HTTPError as error:
        outcome, detail = Layer.TRANSPORT.value, f"{type(error).__name__}: {error}"
    except (ValueError, LookupError, TypeError) as error:
        outcome, detail = Layer.PAYLOAD.value, f"not a store's answer: {type(error).__name__}: {error}"
    return Probe(sent_ms, clock.now_ms(), STORE_PROBE, outcome, detail)


async def _look(http: httpx.AsyncClient, url: str) -> tuple[str, str]:
    collections = (await _result(http, f"{url}/collections"))["collections"]
    for one in collections:
        state = await _result(http, f"{url}/collections/{one['name']}")
        if (busy := _busy(state)) != "":
            return BUSY, f"{one['name']}: {busy}"
    return (Layer.OK.value, "") if collections else (BUSY, "it serves no collection")


async def _result(http: httpx.AsyncClient, url: str) -> Any:
    return (await http.get(url)).raise_for_status().json()["result"]


def _busy(state: Any) -> str:
    if state["status"] != "green":
        return f"status {state['status']}"
    if state["optimizer_status"] != "ok":
        return f"optimizer {state['optimizer_status']}"
    waiting = (state.get("update_queue") or {}).get("length", 0)
    return f"{waiting} updates waiting" if waiting else ""
