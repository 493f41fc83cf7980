"""One call of each operation before a run, from k6's place: a k6 container in the network of the stack."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from lab import __version__
from lab.errors import WorldError
from lab.load.containers import K6Containers, exit_of, remove
from lab.model.target import Target
from lab.observe.preflight import HANDSHAKE, NO_TIME_LEFT, Attempt, Call
from lab.ports import Clock

K6 = "k6"
NAME, SCRIPT = "preflight", "preflight.js"
START_S, POLL_S = 20.0, 0.1


def attempts(
    client: docker.DockerClient,
    image: str,
    network: str,
    folder: Path,
    base_url: str,
    target: Target,
    calls: Sequence[Call],
    *,
    timeout_s: float,
    total_s: float,
    clock: Clock,
) -> list[Attempt]:
    """The handshake and each call, as k6 sees them; `folder` is empty and for this alone. Raises WorldError."""
    containers = K6Containers(client, image, network, network, folder / "load")
    containers.input_folder.mkdir(parents=True)
    write_input(containers.input_folder, base_url, target, calls, timeout_s, total_s)
    address = f"{base_url}{target.endpoint}"
    try:
        log = _log_of(containers, total_s, clock)
    except (DockerException, RequestException) as error:
        raise _silent(address, str(error)) from error
    found = results_in(log, address)
    if missing := _missing(found, calls):
        rest = log.decode(errors="replace")[-300:]
        raise _silent(address, f"its log says nothing of {', '.join(missing)}; it ends: {rest}")
    return found


def write_input(
    folder: Path, base_url: str, target: Target, calls: Sequence[Call], timeout_s: float, total_s: float
) -> Path:
    """Write what `k6/preflight.js` reads; each call may take `timeout_s`, all of them together `total_s`."""
    given = {
        "base_url": base_url,
        "endpoint": target.endpoint,
        "protocol_version": target.protocol_version,
        "client_version": __version__,
        "operations": {call.op: asdict(target.operations[call.op]) for call in calls},
        "calls": [asdict(call) for call in calls],
        "timeout_ms": round(1000 * timeout_s),
        "total_ms": round(1000 * total_s),
        "no_time_left": NO_TIME_LEFT,
    }
    path = folder / f"load-{NAME}.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    return path


def _log_of(containers: K6Containers, total_s: float, clock: Clock) -> bytes:
    container = containers.launch(NAME, SCRIPT, 1)
    try:
        give_up_ms = clock.now_ms() + 1000 * (START_S + total_s)
        while exit_of(container) is None and clock.now_ms() < give_up_ms:
            clock.sleep_s(POLL_S)
        return bytes(container.logs())
    finally:
        remove(container)


def _missing(found: Sequence[Attempt], calls: Sequence[Call]) -> list[str]:
    """What k6 should have told of; after a handshake that failed it makes no call."""
    told = {attempt.what: attempt.ok for attempt in found}
    wanted = [HANDSHAKE, *(call.op for call in calls if told.get(HANDSHAKE, False))]
    return [name for name in wanted if name not in told]


def results_in(log: bytes, address: str) -> list[Attempt]:
    """The results in k6's log, in their order."""
    results = map(_result_in, log.splitlines())
    return [Attempt(K6, address, **result) for result in results if result is not None]


def _result_in(line: bytes) -> dict[str, Any] | None:
    """The result in one line of k6's log, None where it holds none."""
    try:
        message = json.loads(line).get("msg", "")
        result = json.loads(message)["lab_preflight"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if isinstance(result, dict) else None


def _silent(address: str, why: str) -> WorldError:
    return WorldError(
        "k6 could not make one call of each operation",
        where=address,
        last_state=why,
        try_="`lab status`; `lab up` gets or builds the image of k6",
    )
