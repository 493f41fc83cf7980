"""What one run holds from its first event to its last: its files, its clock, its guardian, and who takes part."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lab import __version__
from lab.boundary import Caught
from lab.evidence.journal_file import JournalFile
from lab.evidence.recent_rows import RecentRows
from lab.evidence.sample_store import SampleStore
from lab.faults import discover
from lab.guard.fence import fenced_audit
from lab.guard.guardian_client import GuardianClient
from lab.guard.state_files import guard_files, undo_files
from lab.host.engine_log import EngineLog
from lab.host.machine import kernel
from lab.host.machine.state import state_dir
from lab.host.processes.process_handle import own_process
from lab.host.world import world_of
from lab.judge.windows.answers import RECALL_MIN
from lab.load.chunks import K6Load
from lab.load.cpu_time import LoadCpu
from lab.load.inputs import LoadInputs
from lab.model.plan import TRAFFIC_EVERY_S, Plan, PlannedFault
from lab.observe.clock import RunClock
from lab.observe.memory import MemorySampler
from lab.observe.observer import TargetObserver
from lab.observe.time_watch import TimeWatch
from lab.observe.traffic import ConnectionSampler
from lab.observe.watchdog import AbortWatch
from lab.ports import Fault, Guard, Progress, World
from lab.provision.images.images import nearest
from lab.provision.machine import doctor
from lab.read.campaigns import build_fault
from lab.run.closing import close_all
from lab.run.context import RunContext
from lab.run.preparation import PreparedStack


@dataclass(frozen=True, slots=True)
class RunResources:
    """The open files and processes of one run, with the stack and the plan that they belong to."""

    prepared: PreparedStack
    plan: Plan
    directory: Path
    clock: RunClock
    journal: JournalFile
    store: SampleStore
    world: World
    engine_log: EngineLog
    guard: Guard

    @property
    def target_url(self) -> str:
        """The address of the server under test, through the proxy."""
        return f"{self.world.topology.entrance.through}{self.plan.target.endpoint}"


def open_run(prepared: PreparedStack, plan: Plan, directory: Path, progress: Progress) -> RunResources:
    """Start the guardian, and open the journal and the sample store of a run in its directory."""
    spec, clock = prepared.spec, RunClock()
    journal = JournalFile(directory / "journal.jsonl", clock, progress.event)
    guard = GuardianClient(
        run_id=directory.name, project=spec.project, directory=directory, clock=clock, files=guard_files()
    )
    audit = fenced_audit(guard, journal)
    return RunResources(
        prepared=prepared,
        plan=plan,
        directory=directory,
        clock=clock,
        journal=journal,
        store=SampleStore(directory / "samples.sqlite"),
        world=world_of(prepared.client, spec.topology, clock, run_id=directory.name, audit=audit),
        engine_log=EngineLog(prepared.client, spec.project, journal, directory / "logs"),
        guard=guard,
    )


def close_run(resources: RunResources) -> list[Caught]:
    """Close everything that `open_run` opened, whatever one part raises; returns what failed."""
    services = resources.world.topology.measured
    return close_all(resources.journal, resources.guard, resources.engine_log, resources.store, services)


def build_planned(planned: PlannedFault) -> Fault:
    """The fault that a plan describes."""
    params = {"target": planned.target, **planned.params}
    return build_fault(planned.kind, params, where="plan.json", faults=discover())


def run_context(resources: RunResources) -> RunContext:
    """What the loop of the run works with, made of the run's resources."""
    prepared, plan, clock = resources.prepared, resources.plan, resources.clock
    directory = resources.directory
    spec = prepared.spec
    recent = RecentRows(resources.store)
    observer = _observer(resources, recent)
    load, traffic = _load(resources, recent), _traffic(resources)
    engine_root = Path(str(prepared.client.info()["DockerRootDir"]))
    watchdog = AbortWatch(
        plan.abort_if, clock, observer, recent, [directory, nearest(engine_root), state_dir()]
    )
    samplers = (observer, load, traffic, resources.store, resources.engine_log, watchdog)
    return RunContext(
        run_id=directory.name,
        project=spec.project,
        process=own_process(),
        world=resources.world,
        recorder=resources.journal,
        undos=undo_files(),
        guard=resources.guard,
        watchdog=watchdog,
        load=load,
        observer=observer,
        recent=recent,
        traffic=traffic,
        build=build_planned,
        deaths=lambda: [death for sampler in samplers for death in sampler.died()],
        clock_jumps=clock.jumps,
    )


def _load(resources: RunResources, recent: RecentRows) -> K6Load:
    prepared, plan, directory = resources.prepared, resources.plan, resources.directory
    spec = prepared.spec
    return K6Load(
        client=prepared.client,
        image=spec.images["k6"].ref,
        project=spec.project,
        network=spec.project,
        directory=directory / "load",
        recorder=resources.journal,
        sink=recent,
        clock=resources.clock,
        inputs=LoadInputs.of(
            plan,
            prepared.truth,
            run_id=directory.name,
            base_url=resources.world.topology.entrance.inside,
        ),
    )


def _traffic(resources: RunResources) -> ConnectionSampler:
    """The sampler of the target's connections; it reads nothing in a run whose plan expects no rows."""
    source = resources.world.traffic if resources.plan.reads_traffic else None
    return ConnectionSampler(source, resources.store, TRAFFIC_EVERY_S)


def _observer(resources: RunResources, recent: RecentRows) -> TargetObserver:
    plan, topology = resources.plan, resources.world.topology
    return TargetObserver(
        url=resources.target_url,
        target=plan.target,
        plan=plan.observer,
        queries=resources.prepared.truth.queries,
        clock=resources.clock,
        sink=recent,
        on_memory=MemorySampler(
            topology.measured,
            resources.world.containers,
            resources.clock,
            resources.store,
            LoadCpu(resources.prepared.client, resources.prepared.spec.project).read_s,
        ).read,
        accuracy=RECALL_MIN.value_of(plan.bounds),
        store_url=topology.direct_address(topology.store.name),
        on_beat=TimeWatch(resources.clock, resources.journal).beat,
    )


def preparation_facts(resources: RunResources) -> dict[str, Any]:
    """What the event `prepared` says: how the truth came into the store, and how long each part took."""
    prepared, watch = resources.prepared, resources.prepared.watch
    return {
        "store": prepared.store.source,
        "why": prepared.store.why,
        "command_began_ms": round(resources.clock.now_ms() - 1000 * watch.total_s, 3),
        "first_request_s": watch.first_request_s,
        "parts": [{"part": part, "seconds": seconds} for part, seconds in watch.parts],
    }


def run_facts(resources: RunResources, plan_sha256: str) -> dict[str, Any]:
    """What the first event says about this run and the machine, so that judging needs neither."""
    prepared, plan, directory, truth = (
        resources.prepared,
        resources.plan,
        resources.directory,
        resources.prepared.truth,
    )
    return {
        "run_id": directory.name,
        "lab_version": __version__,
        "campaign": plan.campaign,
        "seed": plan.seed,
        "plan_sha256": plan_sha256,
        "wall_epoch_ms": resources.clock.origin_epoch_ms,
        "target": {"name": plan.target.name, "version": plan.target.version},
        "services": list(resources.world.topology.acted_on),
        "images": [asdict(image) for image in prepared.spec.images.values()],
        "host": {
            "cpus": psutil.cpu_count() or 0,
            "memory_bytes": psutil.virtual_memory().total,
            "cgroup": f"v{kernel.cgroup_version()}",
            "capabilities": {found.name: found.ok for found in doctor.check_machine()},
        },
        "truth": {
            "documents": len(truth.documents),
            "queries": len(truth.queries),
            "corpus_sha256": truth.corpus_sha256,
            "model_sha256": truth.model_sha256,
            "smallest_cosine": prepared.store.cosine_min,
        },
        "target_sha256": hashlib.sha256(json.dumps(asdict(plan.target), sort_keys=True).encode()).hexdigest(),
    }
