"""Waits until a service is ready; it is asked from outside, because not every image contains a client."""

import time
from collections.abc import Callable

import httpx

from lab.errors import WorldError

POLL_S = 0.1
ASK_TIMEOUT_S = 2.0
PROBE_COLLECTION = "lab-readiness-probe"

Ask = Callable[[], str]


def wait_until(what: str, ask: Ask, *, where: str, timeout_s: float, alive: Callable[[], str]) -> None:
    """Call `ask` until it returns "" (ready); raises WorldError at the timeout, or if `alive` says why it is dead."""
    deadline = time.monotonic() + timeout_s
    while True:
        state = ask()
        if not state:
            return
        dead = alive()
        if dead or time.monotonic() > deadline:
            waited = dead or f"not ready after {timeout_s:.0f} s"
            raise WorldError(
                f"{what} did not become ready", where=where, last_state=f"{waited}; {state}", try_=""
            )
        time.sleep(POLL_S)


def answers(url: str, *, below: int = 300) -> Ask:
    """Ready when `url` answers a GET with a status below `below`."""

    def ask() -> str:
        try:
            status = httpx.get(url, timeout=ASK_TIMEOUT_S, trust_env=False).status_code
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return "" if status < below else f"HTTP {status}"

    return ask


def takes_collections(url: str) -> Ask:
    """Ready when a collection can be created at `url` and deleted again, because targets create theirs at start."""

    def ask() -> str:
        address = f"{url}/{PROBE_COLLECTION}"
        try:
            with httpx.Client(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
                made = client.put(address, json={"vectors": {"size": 2, "distance": "Dot"}})
                gone = client.delete(address)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        refused = [str(answer.status_code) for answer in (made, gone) if answer.is_error]
        return f"HTTP {', '.join(refused)} for creating and deleting a collection" if refused else ""

    return ask
