"""The main job from end to end: an empty store, the truth, the plan carried out, the verdict."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import docker
import psutil

from lab import __version__, judge
from lab.boundary import Caught, attempt
from lab.errors import LabError
from lab.evidence import run_directory
from lab.evidence.journal_file import JournalFile
from lab.evidence.sample_store import SampleStore
from lab.faults import discover
from lab.guard.fence import fenced
from lab.guard.guardian_link import GuardianLink
from lab.guard.state_files import guard_files, undo_files
from lab.host.engine_log import EngineLog
from lab.host.machine import kernel
from lab.host.machine.state import state_dir
from lab.host.processes.lives import own_process
from lab.host.world import world_of
from lab.load.chunks import K6Load
from lab.load.inputs import LoadInputs
from lab.model.plan import Plan, PlannedFault
from lab.model.verdict import Judgement
from lab.observe import observer_cost
from lab.observe.clock import RunClock
from lab.observe.memory import MemorySampler
from lab.observe.observer import TargetObserver
from lab.observe.watchdog import AbortWatch
from lab.ports import Fault, Guard, Progress, World
from lab.provision.images.images import nearest
from lab.provision.machine import doctor
from lab.provision.stack import stack
from lab.read.campaigns import build_fault
from lab.report import report_json, summary
from lab.run.closing import close_all, record_failure, run_failed
from lab.run.loop import Crew, execute, uninterruptible
from lab.truth.corpus import CorpusRequest, Truth, build_truth
from lab.truth.loading import load_truth, verify_truth


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished (or interrupted) soak: where its evidence lies and what was judged.

    `failure` says what the lab itself could not do; what was measured is judged all the same.
    """

    directory: Path
    judgement: Judgement
    report: dict[str, Any]
    failure: LabError | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stack with the truth in it, ready to be measured."""

    client: docker.DockerClient
    spec: stack.StackSpec
    truth: Truth
    worst_cosine: float


def prepare(
    client: docker.DockerClient, spec: stack.StackSpec, plan: Plan, corpus: Path | None, progress: Progress
) -> Prepared:
    """Empty the store, load the truth through the MCP server, and check what is stored."""
    topology = spec.topology
    image = spec.images[topology.target.name]
    progress.say("emptying the store and restarting the stack on it")
    stack.reset_store(spec)
    request = CorpusRequest(
        image=image.ref,
        image_id=image.digest,
        documents=plan.documents,
        to_write=plan.documents,
        queries=plan.queries,
        k=plan.observer.recall_k,
        folder=corpus,
    )
    truth = build_truth(client, request, state_dir() / "cache" / "truth", spec.project, progress.say)
    url = f"{topology.entrance.through}{plan.target.endpoint}"
    progress.say(f"loading {len(truth.documents)} documents through the MCP server")
    load_truth(url, plan.target, truth, progress.advance)
    worst = verify_truth(topology.direct_address(topology.store.name), plan.target, truth)
    progress.say(f"the store holds the truth: {len(truth.documents)} documents, smallest cosine {worst:.5f}")
    return Prepared(client, spec, truth, worst)


@dataclass(frozen=True, slots=True)
class _Stage:
    """One run's open files and processes, from its beginning to its end."""

    prepared: Prepared
    plan: Plan
    directory: Path
    clock: RunClock
    journal: JournalFile
    store: SampleStore
    world: World
    log: EngineLog
    guard: Guard


def carry_out(prepared: Prepared, plan: Plan, runs: Path, progress: Progress) -> Outcome:
    """Run the plan on a prepared stack, then judge what there is; the evidence stays whatever happens.

    Where the lab itself failed, the outcome says so. Raises LabError where nothing could be judged.
    """
    directory = run_directory.create(runs, plan.campaign)
    plan_sha256 = run_directory.write_plan(directory, plan)
    stage = _set(prepared, plan, directory, progress)
    failures: list[Caught] = []
    try:
        measured = attempt(lambda: _measure(stage, plan_sha256, progress))
        if isinstance(measured, Caught):
            failures.append(measured)
            record_failure(stage.journal, measured)
    except KeyboardInterrupt:
        attempt(
            lambda: stage.journal.record("interrupted", durable=True, why="stopped before the first step")
        )
    finally:
        with uninterruptible():
            services = stage.world.topology.measured
            failures += close_all(stage.journal, stage.guard, stage.log, stage.store, services)
    judged = attempt(lambda: judge_run(directory))
    if isinstance(judged, Caught):
        raise run_failed((failures or [judged])[0]) from judged.error
    return replace(judged, failure=run_failed(failures[0])) if failures else judged


def _measure(stage: _Stage, plan_sha256: str, progress: Progress) -> None:
    plan = stage.plan
    stage.journal.record("run_started", durable=True, **_facts(stage, plan_sha256))
    stage.journal.record("guardian_started", pid=stage.guard.process[0])
    stage.log.start()
    url = f"{stage.world.topology.entrance.through}{plan.target.endpoint}"
    observer_cost.record(url, plan, stage.world, stage.journal)
    crew = _crew(stage)
    with progress.watching(plan, stage.clock):
        execute(plan, crew)


def _set(prepared: Prepared, plan: Plan, directory: Path, progress: Progress) -> _Stage:
    spec, clock = prepared.spec, RunClock()
    journal = JournalFile(directory / "journal.jsonl", clock, progress.event)

    guarded = GuardianLink(
        run_id=directory.name, project=spec.project, directory=directory, clock=clock, files=guard_files()
    )
    return _Stage(
        prepared=prepared,
        plan=plan,
        directory=directory,
        clock=clock,
        journal=journal,
        store=SampleStore(directory / "samples.sqlite"),
        world=world_of(
            prepared.client, spec.topology, clock, run_id=directory.name, audit=fenced(guarded, journal)
        ),
        log=EngineLog(prepared.client, spec.project, journal, directory / "logs"),
        guard=guarded,
    )


def judge_run(directory: Path) -> Outcome:
    """Judge a run directory and write its reports; needs no Docker and gives the same bytes every time.

    A report that cannot be written (on a full disk, say) is the outcome's failure; the judgement stands all the same.
    """
    evidence = run_directory.read_evidence(directory)
    judgement = judge.judge(evidence)
    report = report_json.build(evidence, judgement)
    texts = {"report.json": report_json.dumps(report), "summary.md": summary.render(report)}
    written = [
        attempt(partial(run_directory.write_text, directory / name, text)) for name, text in texts.items()
    ]
    failed = next((one for one in written if isinstance(one, Caught)), None)
    return Outcome(directory, judgement, report, None if failed is None else run_failed(failed))


def build(planned: PlannedFault) -> Fault:
    """The fault that a plan describes."""
    params = {"target": planned.target, **planned.params}
    return build_fault(planned.kind, params, where="plan.json", faults=discover())


def _crew(stage: _Stage) -> Crew:
    prepared, plan, directory, clock = stage.prepared, stage.plan, stage.directory, stage.clock
    spec = prepared.spec
    observer = _observer(stage)
    load = K6Load(
        client=prepared.client,
        image=spec.images["k6"].ref,
        project=spec.project,
        network=spec.project,
        directory=directory / "load",
        recorder=stage.journal,
        sink=stage.store,
        clock=clock,
        inputs=LoadInputs.of(plan, prepared.truth, run_id=directory.name),
    )
    engine_root = Path(str(prepared.client.info()["DockerRootDir"]))
    watchdog = AbortWatch(plan.abort_if, clock, observer, [directory, nearest(engine_root), state_dir()])
    samplers = (observer, load, stage.store, stage.log, watchdog)
    return Crew(
        run_id=directory.name,
        project=spec.project,
        process=own_process(),
        world=stage.world,
        recorder=stage.journal,
        undos=undo_files(),
        guard=stage.guard,
        watchdog=watchdog,
        load=load,
        observer=observer,
        build=build,
        deaths=lambda: [death for sampler in samplers for death in sampler.died()],
        wall_step_ms=clock.wall_step_ms,
    )


def _observer(stage: _Stage) -> TargetObserver:
    plan, topology = stage.plan, stage.world.topology
    return TargetObserver(
        url=f"{topology.entrance.through}{plan.target.endpoint}",
        target=plan.target,
        plan=plan.observer,
        queries=stage.prepared.truth.queries,
        clock=stage.clock,
        sink=stage.store,
        on_memory=MemorySampler(topology.measured, stage.world.containers, stage.clock, stage.store).read,
        accuracy=plan.bounds.accuracy,
        store_url=topology.direct_address(topology.store.name),
    )


def _facts(stage: _Stage, plan_sha256: str) -> dict[str, Any]:
    """What the first event says about this run and the machine, so that judging needs neither."""
    prepared, plan, directory, truth = stage.prepared, stage.plan, stage.directory, stage.prepared.truth
    return {
        "run_id": directory.name,
        "lab_version": __version__,
        "campaign": plan.campaign,
        "seed": plan.seed,
        "plan_sha256": plan_sha256,
        "wall_epoch_ms": stage.clock.origin_epoch_ms,
        "target": {"name": plan.target.name, "version": plan.target.version},
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
            "smallest_cosine": prepared.worst_cosine,
        },
        "target_sha256": hashlib.sha256(json.dumps(asdict(plan.target), sort_keys=True).encode()).hexdigest(),
    }
