"""The floors of this machine, and what other tools take for the faults that they share with the lab."""

import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker

from lab.adapters.provision.stack import StackSpec
from lab.ports import World

# What a fault is made of, for the floor that it is held against.
MECHANISM = {
    **dict.fromkeys(
        ("latency", "bandwidth", "slow_close", "timeout", "slicer", "limit_data", "link_down"), "toxic"
    ),
    "reset_peer": "toxic",
    **dict.fromkeys(("partition", "reject", "packet_loss", "dns_failure"), "netfilter rule"),
    "freeze": "pause by API",
    "cpu_cap": "CPU quota by API",
    "kill": "kill by API",
    "terminate": "kill by API",
}


def floors(client: docker.DockerClient, spec: StackSpec, world: World, repeats: int) -> dict[str, float]:
    """Median milliseconds of the barest call that does the same, nothing checked and nothing recorded."""
    mcp = world.containers.state("mcp")
    pid = str(world.containers.state("mcp-net").pid)
    raw = client.api
    rule = ["OUTPUT", "-d", "192.0.2.1", "-j", "DROP"]

    def iptables(act: str) -> None:
        subprocess.run(["nsenter", "-t", pid, "-n", "iptables", act, *rule], check=True)

    def quota(value: int) -> None:
        raw.update_container(mcp.id, cpu_period=100_000, cpu_quota=value)

    def start() -> None:
        raw.start(mcp.id)
        end = time.monotonic() + 30
        while not world.reach.answers("mcp", timeout_s=1) and time.monotonic() < end:
            time.sleep(0.1)

    return {
        "toxic": _median(repeats * 3, lambda: _toxic(spec), lambda: _untoxic(spec)),
        "pause by API": _median(repeats, lambda: raw.pause(mcp.id), lambda: raw.unpause(mcp.id)),
        "CPU quota by API": _median(repeats, lambda: quota(50_000), lambda: quota(-1)),
        "netfilter rule": _median(repeats, lambda: iptables("-I"), lambda: iptables("-D")),
        "kill by API": _median(min(repeats, 5), lambda: raw.kill(mcp.id), start),
    }


def measure(
    spec: StackSpec, world: World, repeats: int, *, chaos: Path | None, pumba: Path | None
) -> dict[str, list[float]]:
    """Milliseconds by tool and act; what is not at hand is left out."""
    name = world.containers.state("mcp").name
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run(*command: str, **more: Any) -> Callable[[], object]:
        return lambda: subprocess.run(command, **quiet, **more)

    found = {
        "docker pause + unpause": _times(
            repeats, lambda: (run("docker", "pause", name)(), run("docker", "unpause", name)())
        ),
        "docker update --cpu-quota": _times(
            repeats,
            run("docker", "update", "--cpu-quota", "50000", name),
            run("docker", "update", "--cpu-quota", "-1", name),
        ),
    }
    if chaos is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.json"
            path.write_text(json.dumps(_experiment(spec)))
            found["chaos run: latency toxic, rolled back"] = _times(
                min(repeats, 5), run(str(chaos), "run", str(path), cwd=folder)
            )
    if pumba is not None:
        found["pumba pause --duration 1s (less its second)"] = [
            taken - 1000
            for taken in _times(min(repeats, 5), run(str(pumba), "pause", "--duration", "1s", name))
        ]
    return found


def table(others: dict[str, list[float]], floors_ms: dict[str, float]) -> list[str]:
    """Floors and other tools, median and worst in milliseconds."""
    lines = ["| what | n | median ms | worst ms |", "|---|---|---|---|"]
    lines += [f"| floor: {name} | | {value:.1f} | |" for name, value in floors_ms.items()]
    for name, times in others.items():
        lines.append(f"| {name} | {len(times)} | {statistics.median(times):.0f} | {max(times):.0f} |")
    return lines


def _times(repeats: int, act: Callable[[], object], undo: Callable[[], object] = lambda: None) -> list[float]:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
        undo()
    return taken


def _median(repeats: int, act: Callable[[], object], undo: Callable[[], object]) -> float:
    return statistics.median(_times(repeats, act, undo))


def _ask(spec: StackSpec, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", spec.ports["toxiproxy"], timeout=5)
    connection.request(method, path, json.dumps(body) if body else None)
    connection.getresponse().read()
    connection.close()


def _toxic(spec: StackSpec) -> None:
    attributes = {"latency": 100, "jitter": 0}
    body = {
        "name": "floor",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
        "attributes": attributes,
    }
    _ask(spec, "POST", "/proxies/qdrant/toxics", body)


def _untoxic(spec: StackSpec) -> None:
    _ask(spec, "DELETE", "/proxies/qdrant/toxics/floor")


def _experiment(spec: StackSpec) -> dict[str, Any]:
    """An experiment of the Chaos Toolkit: one latency toxic, and its removal as rollback."""

    def action(name: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {
            "type": "python",
            "module": "chaostoxi.toxic.actions",
            "func": function,
            "arguments": arguments,
        }
        return {"type": "action", "name": name, "provider": provider}

    return {
        "version": "1.0.0",
        "title": "latency",
        "description": "one toxic",
        "configuration": {"toxiproxy_url": f"http://127.0.0.1:{spec.ports['toxiproxy']}"},
        "method": [
            action(
                "add", "create_latency_toxic", for_proxy="qdrant", toxic_name="peer", latency=100, jitter=0
            )
        ],
        "rollbacks": [action("remove", "delete_toxic", for_proxy="qdrant", toxic_name="peer")],
    }
