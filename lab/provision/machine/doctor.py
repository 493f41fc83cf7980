"""Examines what this machine can do, and says how to fix each lack; it changes nothing."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.faults import discover
from lab.host.machine import kernel, wall_clock
from lab.host.machine.shell import Runner, Subprocesses, is_root
from lab.host.machine.state import state_dir
from lab.host.network import sock_diag
from lab.host.system_errors import as_world_error
from lab.provision.images.compose_plugin import compose_version
from lab.provision.images.image_specs import load_images
from lab.provision.images.images import FREE_BYTES_MIN, nearest
from lab.provision.images.registry import Registry, through
from lab.provision.machine.engine import Engine, NoEngine, find_engine
from lab.provision.machine.engine_place import EnginePlace, place_of
from lab.provision.machine.engine_start import decide, gather
from lab.provision.machine.fault_tools import TOOLS
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import silent
from lab.provision.stack import owned, stack_spec, store_volume
from lab.provision.stack.ports import chosen_ports, holder, is_free, variable

PYTHON_MIN = (3, 11)
MEMORY_BYTES_MIN = 4 * 1000**3
CPUS_MIN = 2
PTRACE_ROOT_ONLY = 2
UNVERIFIED = "version 2; here the lab was tested only on recorded files, never on a real machine"
AS_ROOT = "run the lab as root or with sudo"
ENGINE_HERE = (
    "use an engine of this machine itself: install docker.io or docker-ce, and run the lab beside it"
)
UNREAD = (
    "NOT_TESTED here: the check traffic, whether the target's own connections cross the proxy and faults reach them;"
    " a run is INCONCLUSIVE at best"
)
# The capabilities that act on the engine's processes, and those that need its paths to be this machine's.
CGROUPS = ("cpu", "memory", "blkio", "pids")
OF_PROCESSES = (
    "root",
    "cgroup",
    *(f"cgroup_{name}" for name in CGROUPS),
    "iptables",
    "nsenter",
    "tbf",
    "netem",
    "ptrace",
    "sock_diag",
)
OF_PATHS = ("store_ext4",)


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that the machine can or cannot do; `fix` says how to make it possible."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@as_world_error("the machine cannot be examined", try_="run it again; see `df` and `docker info`")
def check_machine(*, ask_registry: bool = False, watch_clock_s: float = 0.0) -> list[Capability]:
    """Everything that `lab doctor` shows; the names are those that faults need (`cgroup_cpu`, `netem`, ...).

    The registry is asked, and the wall clock watched for steps, only on demand, because that can take seconds.
    """
    runner = Subprocesses()
    found = find_engine(runner)
    engine = found if isinstance(found, Engine) else None
    place = EnginePlace("", "") if engine is None else place_of(engine)
    listed = [
        _python(),
        *_docker(found, runner),
        *_place(place),
        Capability("root", is_root(), "root" if is_root() else "not root", AS_ROOT),
        _disk(engine),
        _memory(),
        Capability(
            "cpus",
            kernel.cpus() >= CPUS_MIN,
            f"{kernel.cpus()} usable",
            "2 CPUs at least: verdicts get noisy below",
        ),
        _wall_clock(watch_clock_s),
        *_cgroups(),
        *_tools(runner),
        _store(engine, runner),
        *([_registry(engine)] if ask_registry else []),
        _ports(engine),
    ]
    return [_where_the_engine_is(capability, place) for capability in listed]


def _can(name: str, detail: str) -> Capability:
    return Capability(name, ok=True, detail=detail)


def _lack(name: str, detail: str, fix: str) -> Capability:
    return Capability(name, ok=False, detail=detail, fix=fix)


def _python() -> Capability:
    version = ".".join(map(str, sys.version_info[:3]))
    return Capability(
        "python", sys.version_info >= PYTHON_MIN, version, "install Python 3.11 or newer and set PYTHON"
    )


def _docker(found: Engine | NoEngine, runner: Runner) -> Iterator[Capability]:
    if isinstance(found, NoEngine):
        step = decide(found, gather(runner, Packages(runner, silent())))
        yield _lack("docker_engine", found.detail, step.try_ or f"`lab up` will {step.action} one")
        yield _lack("docker_compose", "no engine to ask with", "`lab up` installs the plugin")
        return
    yield _can("docker_engine", f"{found.version} (API {found.api}) at {found.host}")
    version = compose_version(found, runner)
    yield Capability(
        "docker_compose", version is not None, version or "missing", "`lab up` installs the plugin"
    )


def _place(place: EnginePlace) -> Iterator[Capability]:
    """Whether the engine's processes and paths are this machine's, and what is not tested where they are not."""
    powers = {name for name in OF_PROCESSES if place.processes} | {name for name in OF_PATHS if place.paths}
    kinds = sorted(kind for kind, fault in discover().items() if powers & set(fault.needs))
    untested = f"; NOT_TESTED here: the faults {', '.join(kinds)}" if kinds else ""
    blind = (
        "; the memory and CPU time of containers cannot be read, without which no run measures its own cost"
    )
    yield Capability(
        "engine_processes",
        not place.processes,
        f"{place.processes}{untested}{blind}"
        if place.processes
        else "the engine's processes are this machine's",
        ENGINE_HERE,
    )
    yield Capability(
        "engine_paths",
        not place.paths,
        f"{place.paths}{untested}; a folder of the lab may be empty inside its containers"
        if place.paths
        else "the engine's paths are this machine's",
        ENGINE_HERE,
    )


def _where_the_engine_is(capability: Capability, place: EnginePlace) -> Capability:
    """A power over this machine is none over the processes and paths of an engine that is elsewhere."""
    why = place.processes if capability.name in OF_PROCESSES else ""
    why = why or (place.paths if capability.name in OF_PATHS else "")
    if not why or not capability.ok:
        return capability
    return _lack(capability.name, f"{capability.detail}, but {why}", ENGINE_HERE)


def _disk(engine: Engine | None) -> Capability:
    paths = [nearest(Path(engine.root_directory))] if engine and engine.root_directory else [Path("/")]
    free = min(shutil.disk_usage(path).free for path in [*paths, state_dir()])
    detail = f"{free / 1e9:.0f} GB free"
    return Capability(
        "disk", free >= FREE_BYTES_MIN, detail, "free some space: 8 GB are needed to build the images"
    )


def _memory() -> Capability:
    total, available = kernel.memory_bytes()
    detail = f"{total / 1e9:.1f} GB, {available / 1e9:.1f} GB available"
    return Capability(
        "memory", available >= MEMORY_BYTES_MIN, detail, "4 GB should be available: stop other programs"
    )


def _wall_clock(watch_s: float) -> Capability:
    fix = "none needed: a step makes undecided what it touches, and the report names it; a time service can stop it"
    moved_ms = wall_clock.step_ms(watch_s)
    if moved_ms:
        return _lack("wall_clock", f"it stepped by {moved_ms:.0f} ms within {watch_s:g} s", fix)
    if wall_clock.is_wsl2():
        return _lack(
            "wall_clock", "WSL2: its wall clock is known to step, by up to 0.4 s every half minute", fix
        )
    return _can(
        "wall_clock", f"no step within {watch_s:g} s" if watch_s else "not watched; no system known to step"
    )


def _cgroups() -> Iterator[Capability]:
    version = kernel.cgroup_version()
    fix = "boot with cgroups (`cgroup_enable=memory`, or a newer kernel)"
    seen = {0: "not mounted", 1: "version 1"}.get(version, UNVERIFIED)
    yield Capability("cgroup", version > 0, seen, fix)
    for name in CGROUPS:
        there = version > 0 and kernel.has_controller(name)
        yield Capability(f"cgroup_{name}", there, "controller present" if there else "controller absent", fix)


def _tools(runner: Runner) -> Iterator[Capability]:
    for program in ("iptables", "nsenter"):
        path = runner.find(program)
        yield Capability(
            program, path is not None, path or "not installed", f"`apt-get install {TOOLS[program]}`"
        )
    yield _tbf(runner)
    yield _sock_diag()
    netem = kernel.has_module("sch_netem", "CONFIG_NET_SCH_NETEM")
    netem_fix = "none needed: the lab loses packets by a rule instead"
    found = "in this kernel; the lab was never tested with it" if netem else "not in this kernel"
    yield Capability("netem", netem, found, netem_fix)
    scope = kernel.ptrace_scope()
    allowed = scope == 0 or (is_root() and scope <= PTRACE_ROOT_ONLY)
    yield Capability(
        "ptrace", allowed, f"yama scope {scope}", f"{AS_ROOT}, or `sysctl kernel.yama.ptrace_scope=0`"
    )
    go = runner.find("go")
    # A missing Go is no lack, because the toolchain also comes as a Python package.
    yield _can("go", go or "not installed; a packaged toolchain is fetched when something must be built")


def _tbf(runner: Runner) -> Capability:
    if runner.find("tc") is None:
        return _lack("tbf", "tc is not installed", f"`apt-get install {TOOLS['tc']}`")
    there = kernel.has_module("sch_tbf", "CONFIG_NET_SCH_TBF")
    return Capability(
        "tbf", there, "in this kernel" if there else "not in this kernel", "a kernel with sch_tbf"
    )


def _sock_diag() -> Capability:
    """Whether the target's own connections can be read, which every run needs in order to pass."""
    if not is_root():
        return _lack("sock_diag", f"only root reads the target's connections; {UNREAD}", AS_ROOT)
    if why := sock_diag.why_unreadable():
        return _lack("sock_diag", f"{why}; {UNREAD}", sock_diag.FIX)
    return _can("sock_diag", "the kernel reports TCP connections and their bytes")


def _store(engine: Engine | None, runner: Runner) -> Capability:
    if engine is None:
        return _lack("store_ext4", "no engine", "`lab up`")
    kind, why = store_volume.possible_kind(engine, runner)
    return Capability("store_ext4", kind == "ext4", why or "the store gets a file system of its own", AS_ROOT)


def _registry(engine: Engine | None) -> Capability:
    fix = "none needed: images are built here; Grafana is left out"
    if engine is None:
        return _lack("registry", "not asked: no engine", fix)
    registry, ref = Registry(through(engine)), load_images().base.registry
    answered = registry.digest(ref) is not None
    return Capability(
        "registry", answered, "answers" if answered else registry.why_silent(ref) or f"has no {ref}", fix
    )


def _ports(engine: Engine | None) -> Capability:
    ours = owned.published_ports(engine, stack_spec.DEFAULT_PROJECT) if engine else frozenset()
    taken = {name: port for name, port in chosen_ports().items() if port not in ours and not is_free(port)}
    detail = ", ".join(f"{port} ({name}) held by {holder(port)}" for name, port in taken.items())
    fix = "stop that program, or set " + ", ".join(variable(name) for name in taken)
    return Capability("ports", not taken, detail or "free, or held by the lab's own stack", fix)
