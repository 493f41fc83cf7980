"""What a fault could leave behind on this machine, as one value that can be compared.

`LAB_SWEEP_SHARED=1` says that others use this engine, too: then containers that belong to no stack are theirs.
"""

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

from lab.errors import FaultError
from lab.host.cgroups.cgroups import cgroup_dir
from lab.host.labels import SERVICE, STACK
from lab.host.machine.state import state_dir
from lab.provision.stack import stack

LIMITS = {
    "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"),
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.high"),
    "pids": ("pids.max",),
    "blkio": tuple(
        f"blkio.throttle.{way}_{unit}_device" for way in ("read", "write") for unit in ("bps", "iops")
    ),
    "io": ("io.max",),
    "freezer": ("freezer.state", "cgroup.freeze"),
}
STORE = "/qdrant/storage"
RULES = "; ".join(f"{tool} 2>&1" for tool in ("iptables-save", "ip6tables-save", "iptables-legacy-save"))
QDISCS = "tc qdisc show 2>&1; tc filter show 2>&1"
# What the lab calls its own, wherever it may be: chains, and the handle of its queueing disciplines.
OURS = re.compile(r"LAB-|1ab:")
# Programs of the lab's that enter the cgroups of containers.
JOBS = re.compile(rb"cgroup_jobs\.py|lab\.host\.processes\.demand|while :; do :; done")


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
    mounts: Any
    processes: Any
    sockets: Any
    undos: Any

    def differences(self, other: "Machine") -> dict[str, Any]:
        """The parts that differ, as (here, there)."""
        pairs = {one.name: (getattr(self, one.name), getattr(other, one.name)) for one in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def look(client: docker.DockerClient, spec: stack.StackSpec, runs: str) -> Machine:
    """The machine's state as far as one stack, and runs whose ids begin so, could have changed it."""
    found = [one for one in client.api.containers(all=True) if _counts(one, spec.project)]
    states = {one["Id"]: client.api.inspect_container(one["Id"]) for one in found}
    services = {
        attrs["Config"]["Labels"][SERVICE]: attrs
        for attrs in states.values()
        if (attrs["Config"]["Labels"] or {}).get(STACK) == spec.project
        and SERVICE in attrs["Config"]["Labels"]
    }
    pids = {name: attrs["State"]["Pid"] for name, attrs in services.items() if attrs["State"]["Running"]}
    members = {name: _members(pid) for name, pid in pids.items()}
    helpers = sorted(_helpers(runs))
    jobs = [
        arguments for inside in members.values() for one in inside if JOBS.search(arguments := _argv(one))
    ]
    return Machine(
        containers=sorted((one, *_standing(attrs)) for one, attrs in states.items()),
        toxics=_toxics(spec),
        rules=_rules(pids),
        qdiscs=_each_network(pids, QDISCS),
        limits={name: dict(_limits(pid)) for name, pid in pids.items()},
        open_files={name: sorted(set(map(_open_files, inside))) for name, inside in members.items()},
        store_files=sorted(_files(pids["qdrant"])) if "qdrant" in pids else None,
        loop_devices=sorted(_loop_devices(spec.project)),
        mounts=sorted(_mounts(spec.project)),
        processes=[*(arguments for _, arguments in helpers), *jobs],
        sockets=sum(_sockets(pid) for pid, _ in helpers),
        undos=sorted(path.name for path in (state_dir() / "undo").glob(f"{runs}*")),
    )


def _counts(container: dict[str, Any], project: str) -> bool:
    """All that `docker ps -a` shows, but for the stacks of others; where others are at work, but for theirs."""
    owner = (container["Labels"] or {}).get(STACK)
    ours = owner == project or any(project in name for name in container["Names"] or [])
    return ours or (owner is None and not os.environ.get("LAB_SWEEP_SHARED"))


def _standing(attrs: dict[str, Any]) -> tuple[str, str, str]:
    """Name, status, and the limits that the engine believes in."""
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
        proxies = httpx.get(spec.topology.address("toxiproxy", "/proxies"), timeout=2, trust_env=False).json()
    except httpx.HTTPError as error:
        return type(error).__name__
    return {name: (one["enabled"], one["toxics"]) for name, one in sorted(proxies.items())}


def _rules(pids: dict[str, int]) -> dict[str, list[str]]:
    """Rules and chains without counters, comments and the policies of tables that are empty; the host's own, too."""
    found = {name: _bare(saved) for name, saved in _each_network(pids, RULES).items()}
    host = _said("sh", "-c", f"{RULES}; {QDISCS}")
    return {**found, "host": [line for line in host.splitlines() if OURS.search(line)]}


def _each_network(pids: dict[str, int], shell: str) -> dict[str, str]:
    """What a command says in the network of each service; services may share one, which is asked once."""
    networks = {name: os.stat(f"/proc/{pid}/ns/net").st_ino for name, pid in pids.items()}
    asked = {networks[name]: pid for name, pid in pids.items()}
    said = {inode: _said("nsenter", "-t", str(pid), "-n", "sh", "-c", shell) for inode, pid in asked.items()}
    return {name: said[inode] for name, inode in networks.items()}


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout + done.stderr


def _bare(saved: str) -> list[str]:
    # Nor the ports of the engine's own name server, which it draws anew with each start.
    without = (
        re.sub(r"\[\d+:\d+\]|(?<=127\.0\.0\.11:)\d+|(?<=--sport )\d+", "", line)
        for line in saved.splitlines()
    )
    return [line for line in without if not re.match(r"#|\*|COMMIT|:[A-Z]+ ACCEPT", line)]


def _limits(pid: int) -> Iterator[tuple[str, str]]:
    for controller, names in LIMITS.items():
        try:
            directory = cgroup_dir(pid, controller)
        except FaultError:  # a controller that this kernel lacks
            continue
        for name in names:
            if (path := directory / name).exists():
                yield name, path.read_text()


def _members(pid: int) -> list[int]:
    """All processes of a container; those that entered its cgroups from outside among them."""
    found: set[int] = set()
    for controller in ("memory", "cpu", "pids", "blkio"):
        found.update(map(int, (cgroup_dir(pid, controller) / "cgroup.procs").read_text().split()))
    return sorted(found)


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


def _mounts(project: str) -> Iterator[str]:
    """Where file systems of the stack's are mounted on the host; the engine mounts anew with each start."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if project in line:
            yield " ".join(line.split()[3:5])


def _argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""


def _helpers(runs: str) -> Iterator[tuple[int, str]]:
    """Processes that bear the name of such a run, whatever they are; but guardians, which stay to look again."""
    for entry in Path("/proc").iterdir():
        arguments = _argv(int(entry.name)) if entry.name.isdigit() else b""
        if runs.encode() in arguments and b"lab.guard.guardian" not in arguments:
            yield int(entry.name), arguments.decode(errors="replace")


def guardians(runs: str) -> list[int]:
    """Guardians of such runs that are still there."""
    found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in found if runs.encode() in (said := _argv(pid)) and b"lab.guard.guardian" in said]


def _sockets(pid: int) -> int:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
        return sum(os.readlink(handle).startswith("socket:") for handle in handles)
    except OSError:
        return 0
