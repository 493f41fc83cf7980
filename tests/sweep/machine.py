"""What a fault could leave behind on this machine, as one value that can be compared."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import docker
import httpx

from lab.adapters.cgroups import cgroup_dir
from lab.adapters.labels import SERVICE, STACK
from lab.adapters.provision import stack
from lab.adapters.provision.state import state_dir

LIMITS = {
    "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"),
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.high"),
    "pids": ("pids.max",),
    "blkio": tuple(
        f"blkio.throttle.{way}_{unit}_device" for way in ("read", "write") for unit in ("bps", "iops")
    ),
    "io": ("io.max",),
}
STORE = "/qdrant/storage"


@dataclass(frozen=True)
class Machine:
    """All parts are plain values; `differences` names those that differ."""

    containers: Any
    toxics: Any
    rules: Any
    qdiscs: Any
    limits: Any
    open_files: Any
    store_files: Any
    loop_devices: Any
    processes: Any
    sockets: Any
    undos: Any

    def differences(self, other: "Machine") -> dict[str, Any]:
        """The parts that differ, as (here, there)."""
        pairs = {one.name: (getattr(self, one.name), getattr(other, one.name)) for one in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def look(client: docker.DockerClient, spec: stack.StackSpec, runs: str) -> Machine:
    """The machine's state as far as one stack, and runs whose ids begin so, could have changed it."""
    found = client.api.containers(all=True, filters={"label": f"{STACK}={spec.project}"})
    # Beside the stack's own: whatever else has its name, labelled or not.
    named = [
        one for one in client.api.containers(all=True) if any(spec.project in name for name in one["Names"])
    ]
    states = {one["Id"]: client.api.inspect_container(one["Id"]) for one in found}
    services = {attrs["Config"]["Labels"].get(SERVICE, one): attrs for one, attrs in states.items()}
    pids = {name: attrs["State"]["Pid"] for name, attrs in services.items() if attrs["State"]["Running"]}
    helpers = sorted(_helpers(runs))
    return Machine(
        containers=sorted(
            [
                (one["Id"], *_standing(states.get(one["Id"])))
                for one in {c["Id"]: c for c in [*found, *named]}.values()
            ]
        ),
        toxics=_toxics(spec),
        rules={name: _rules(pid) for name, pid in pids.items()},
        qdiscs={name: _inside(pid, "tc", "qdisc", "show") for name, pid in pids.items()},
        limits={name: dict(_limits(pid)) for name, pid in pids.items()},
        open_files={name: _open_files(pid) for name, pid in pids.items()},
        store_files=sorted(_files(pids["qdrant"])) if "qdrant" in pids else None,
        loop_devices=sorted(_loop_devices(spec.project)),
        processes=[arguments for _, arguments in helpers],
        sockets=sum(_sockets(pid) for pid, _ in helpers),
        undos=sorted(path.name for path in (state_dir() / "undo").iterdir() if path.name.startswith(runs)),
    )


def _standing(attrs: dict[str, Any] | None) -> tuple[str, str, str]:
    """Name, status, and the limits that the engine believes in."""
    if attrs is None:
        return "", "", ""
    limits = ("CpuQuota", "CpuPeriod", "Memory", "MemorySwap", "PidsLimit")
    host = {name: attrs["HostConfig"].get(name) or 0 for name in limits}
    # Without a quota the engine's period means nothing: it is 0 before the first update and 100000 ever after.
    if host["CpuQuota"] <= 0:
        host["CpuQuota"] = host["CpuPeriod"] = 0
    if host["PidsLimit"] < 0:
        host["PidsLimit"] = 0
    return attrs["Name"], attrs["State"]["Status"], json.dumps(host)


def _toxics(spec: stack.StackSpec) -> Any:
    try:
        proxies = httpx.get(spec.url("toxiproxy", "/proxies"), timeout=2, trust_env=False).json()
    except httpx.HTTPError as error:
        return type(error).__name__
    return {name: (one["enabled"], one["toxics"]) for name, one in sorted(proxies.items())}


def _inside(pid: int, *command: str) -> str:
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *command], capture_output=True, text=True, timeout=10
    )
    return done.stdout + done.stderr


def _rules(pid: int) -> list[str]:
    """Rules and chains without counters, comments and the policies of tables that are empty."""
    saved = [line for tool in ("iptables-save", "ip6tables-save") for line in _inside(pid, tool).splitlines()]
    return [
        re.sub(r"\[\d+:\d+\]", "", line)
        for line in saved
        if not re.match(r"#|\*|COMMIT|:[A-Z]+ ACCEPT", line)
    ]


def _limits(pid: int) -> Iterator[tuple[str, str]]:
    for controller, names in LIMITS.items():
        try:
            directory = cgroup_dir(pid, controller)
        except Exception:  # noqa: BLE001 - a controller that this kernel lacks
            continue
        for name in names:
            if (path := directory / name).exists():
                yield name, path.read_text()


def _open_files(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max open files"))


def _files(pid: int) -> Iterator[str]:
    """Plain files at the top of the store; its folders come and go as the engine likes."""
    with os.scandir(f"/proc/{pid}/root{STORE}") as entries:
        yield from (entry.name for entry in entries if entry.is_file(follow_symlinks=False))


def _loop_devices(project: str) -> Iterator[tuple[str, str]]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = path.read_text().strip()
        except OSError:
            continue
        if project in backing:
            yield path.parts[3], backing


def _helpers(runs: str) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"lab-fault={runs}".encode() in arguments:
            yield int(entry.name), arguments.replace(b"\0", b" ").decode(errors="replace")


def _sockets(pid: int) -> int:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
        return sum(os.readlink(handle).startswith("socket:") for handle in handles)
    except OSError:
        return 0
