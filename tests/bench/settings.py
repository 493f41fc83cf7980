"""A campaign in three settings of one machine: as it is, with half of its CPUs, and beside a busy neighbour.

    python -m tests.bench.settings [--campaign chaos/soak.yaml] [--target FOLDER] [--runs runs] [SETTING …]

The settings are `as_is`, `halved` and `neighbour`, by default all three. `halved` caps the target, the store and the
lab's own process at half of the CPUs each. `neighbour` keeps one core busy with a process of its own. Printed are the
capacity line, the verdict, the worst recovery, what the lab itself took, and every finding that is not a pass, so that
two settings can be compared line by line.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import docker

from lab.cli.console import JsonLines
from lab.host.machine.kernel import cgroup_version
from lab.host.world import docker_client, world_of
from lab.observe.clock import RunClock
from lab.ports import CpuQuota
from lab.provision.stack import stack
from lab.read.campaigns import load_campaign
from lab.run import session
from lab.run.preparation import PreparedStack
from lab.run.stopwatch import Stopwatch
from tests.e2e.stacks import HOME, TARGET, ephemeral_stack, images

PERIOD_US = 100_000
OWN_CGROUP = "chaos-soak-lab.bench-settings"
NEIGHBOUR = "while True: pass"


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def half_for_the_lab() -> Iterator[None]:
    """Cap this process, and what it starts, at half of the CPUs; needs root. The cgroup goes at the end."""
    version = cgroup_version()
    root = Path("/sys/fs/cgroup") / ("cpu" if version == 1 else "")
    own = root / OWN_CGROUP
    own.mkdir(exist_ok=True)
    quota_us = PERIOD_US * (os.cpu_count() or 2) // 2
    try:
        if version == 1:
            (own / "cpu.cfs_quota_us").write_text(f"{quota_us}", encoding="ascii")
        else:
            (own / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
        (own / "cgroup.procs").write_text(f"{os.getpid()}", encoding="ascii")
        yield
    finally:
        (root / "cgroup.procs").write_text(f"{os.getpid()}", encoding="ascii")
        own.rmdir()


SETTINGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "as_is": nullcontext,
    "halved": half_for_the_lab,
    "neighbour": busy_neighbour,
}


def cap_services(prepared: PreparedStack) -> None:
    """Cap the target and the store at half of the CPUs, until their containers are removed with the stack."""
    topology = prepared.spec.topology
    containers = world_of(prepared.client, topology, RunClock()).containers
    quota = CpuQuota(PERIOD_US * (os.cpu_count() or 2) // 2, PERIOD_US)
    for service in (topology.target.name, topology.store.name):
        containers.set_cpu_quota(service, containers.state(service).id, quota)


def soak(
    client: docker.DockerClient, spec: stack.StackSpec, request: session.RunRequest, *, halved: bool
) -> dict[str, Any]:
    """One soak on a fresh stack; returns its report."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        progress, plan = JsonLines(nowhere), session.make_plan(request)
        prepared = session.prepare(client, spec, plan, None, progress, Stopwatch())
        if halved:
            cap_services(prepared)
        capacity = session.measure_capacity(prepared, plan, progress)
        plan = session.make_plan(request, capacity)
        return session.carry_out(prepared, plan, request.runs, progress).report


def lines(setting: str, report: Mapping[str, Any]) -> list[str]:
    """What is compared between settings."""
    clocks = [fault["recovery"]["from_heal"]["slo"] for fault in report["faults"]]
    ends = [clock["hi_s"] for clock in clocks if clock is not None and clock["hi_s"] is not None]
    slowest = f"{max(ends):.2f} s" if ends else "none"
    found = [f"{setting}: this machine: {row['words']}" for row in report["capacity"]]
    found.append(
        f"{setting}: gate {report['gate']}, verdict {report['verdict']};"
        f" {len(ends)} of {len(clocks)} faults recovered, the slowest after {slowest} ({report['run_id']})"
    )
    shares = [f for f in report["findings"] if f["check"] == "observer_share"]
    found += [f"{setting}: observer_share / {f['subject']}: {f['observed']}" for f in shares]
    return found + [
        f"{setting}: {f['check']} / {f['subject']}: {f['verdict']}: {f['reason']}"
        for f in report["findings"]
        if f["verdict"] not in ("pass", "not_tested")
    ]


def main() -> None:
    """Run the settings that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("settings", nargs="*", choices=[*SETTINGS, []], default=list(SETTINGS))
    parser.add_argument("--campaign", type=Path, default=HOME / "chaos" / "soak.yaml")
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    client = docker_client()
    for setting in args.settings:
        with ephemeral_stack(images(args.target), args.target) as spec, SETTINGS[setting]():
            request = session.RunRequest(
                load_campaign(args.campaign), args.target, project=spec.project, runs=args.runs
            )
            report = soak(client, spec, request, halved=setting == "halved")
        print("\n".join(lines(setting, report)), flush=True)


if __name__ == "__main__":
    main()
