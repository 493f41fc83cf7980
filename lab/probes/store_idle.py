"""Measures whether the store is idle: all collections green, optimizers ok, update queues empty (if reported).

The store is asked directly, past the links on which faults act. A store that does not answer, or that has no
collection, is not idle. A store without a background optimizer (early versions of the embedded server) counts as idle
as soon as it answers: then the probe only shows that it serves its collections. The status "grey" means work that
Qdrant begins with the next update, so it is not idle.
"""

import asyncio
from typing import Any

import httpx

from lab.model.samples import STORE_PROBE, Layer, Probe
from lab.ports import Clock

BUSY = "busy"
# Probes per second while the canary is fast or the store is busy; otherwise only every SLOW_EVERY-th of these ticks.
HZ, SLOW_EVERY = 2.0, 4
# Time limit for all requests of one probe; less than a period, so that a stuck probe does not delay the next one.
DEADLINE_S = 0.45


async def measure(http: httpx.AsyncClient, clock: Clock, url: str) -> Probe:
    """Probe once: `ok`, `busy` with the collection and its state, or the layer at which the probe failed."""
    sent_ms = clock.now_ms()
    try:
        async with asyncio.timeout(DEADLINE_S):
            outcome, detail = await _ask(http, url.rstrip("/"))
    except TimeoutError:
        outcome, detail = Layer.TRANSPORT.value, f"no answer within {DEADLINE_S:g} s"
    except httpx.HTTPStatusError as error:
        outcome, detail = Layer.HTTP_STATUS.value, f"HTTP {error.response.status_code}"
    except httpx.HTTPError as error:
        outcome, detail = Layer.TRANSPORT.value, f"{type(error).__name__}: {error}"
    except (ValueError, LookupError, TypeError) as error:
        outcome, detail = Layer.PAYLOAD.value, f"not a store's answer: {type(error).__name__}: {error}"
    return Probe(sent_ms, clock.now_ms(), STORE_PROBE, outcome, detail)


async def _ask(http: httpx.AsyncClient, url: str) -> tuple[str, str]:
    collections = (await _result(http, f"{url}/collections"))["collections"]
    for collection in collections:
        state = await _result(http, f"{url}/collections/{collection['name']}")
        if (busy := _busy(state)) != "":
            return BUSY, f"{collection['name']}: {busy}"
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
