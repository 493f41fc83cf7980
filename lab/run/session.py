"""One session for every command that runs something: plan, prepare the stack, carry the plan out, judge.

`lab soak` and `lab fault run` are thin callers. They say what they want in a `RunRequest` and show the `Outcome`.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lab import judge
from lab.boundary import Caught, attempt
from lab.errors import LabError
from lab.evidence import run_directory
from lab.evidence.runs_folder import require_runs
from lab.host.world import docker_client, world_of
from lab.model.capacity import Capacity
from lab.model.plan import Plan
from lab.model.scenario import Scenario
from lab.model.verdict import Judgement
from lab.observe.capacity import FULL, SHORT, Questions, Rounds, measure
from lab.observe.clock import RunClock
from lab.plan import capacity_facts, describe, schedule
from lab.ports import Progress
from lab.provision.machine import doctor
from lab.provision.stack import bring_up, stack
from lab.provision.stack.stack_spec import check_project
from lab.read.targets import load_target
from lab.report import report_json, summary
from lab.run.closing import record_failure, run_failed
from lab.run.healing import heal_first
from lab.run.loop import execute, uninterruptible
from lab.run.preparation import PreparedStack, prepare
from lab.run.resources import RunResources, close_run, open_run, preparation_facts, run_context, run_facts
from lab.run.stack_lock import lock_stack
from lab.run.stopwatch import Stopwatch

__all__ = [
    "Outcome",
    "RunRequest",
    "carry_out",
    "dry_run",
    "judge_run",
    "make_plan",
    "measure_capacity",
    "prepare",
    "run",
]

DOCUMENTS, QUERIES = 1000, 200


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a user wants to run: a scenario, the target, the stack to use, and where the evidence goes.

    `command_age_s` is how long the command had been running when it asked.
    """

    scenario: Scenario
    target_dir: Path
    seed: int = 1
    project: str = stack.DEFAULT_PROJECT
    corpus: Path | None = None
    runs: Path = Path("runs")
    images_from: str = "auto"
    command_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished (or interrupted) run: where its evidence lies and what was judged.

    `failure` says what the lab itself could not do; what was measured is judged all the same.
    """

    directory: Path
    judgement: Judgement
    report: dict[str, Any]
    failure: LabError | None = None


def make_plan(request: RunRequest, capacity: Capacity | None = None) -> Plan:
    """The plan of a request on this machine; touches nothing. Raises ScenarioError where there can be none.

    The plan before the stack is up refuses what is wrong; the one that is carried out has the measured capacity.
    """
    check_project(request.project)
    return schedule(
        request.scenario,
        load_target(request.target_dir),
        request.seed,
        capabilities={found.name: found.ok for found in doctor.check_machine()},
        documents=DOCUMENTS,
        queries=QUERIES,
        corpus=str(request.corpus or "the standard library of the target image's Python"),
        capacity=capacity,
    )


def dry_run(request: RunRequest) -> list[str]:
    """The plan of a request in words, with what it can decide; touches nothing."""
    return describe(make_plan(request))


def run(request: RunRequest, progress: Progress) -> Outcome:
    """Plan, heal what dead runs left, bring the stack up, prepare it, measure the target's capacity, plan again with
    it, carry that plan out, and judge.

    Raises ScenarioError for the user's mistakes before anything is touched, and LabError where nothing could be judged.
    """
    watch = Stopwatch(request.command_age_s)
    with watch.part("plan the run and heal what dead runs left"):
        plan = make_plan(request)
        # Before minutes of bringing the stack up, and before the store is emptied.
        require_runs(request.runs)
        heal_first(progress)
    with lock_stack(request.project):
        with watch.part("get engine and images ready"):
            spec = bring_up.bring_up(
                request.project,
                request.target_dir,
                images_from=request.images_from,
                progress=progress.say,
                advance=progress.advance,
                # The preparation starts it, on a store that it has filled.
                start_it=False,
            )
        prepared = prepare(docker_client(), spec, plan, request.corpus, progress, watch)
        with watch.part("measure the target's capacity"):
            rounds = SHORT if request.scenario.brief else FULL
            capacity = measure_capacity(prepared, plan, progress, rounds)
        return carry_out(prepared, make_plan(request, capacity), request.runs, progress)


def measure_capacity(
    prepared: PreparedStack, plan: Plan, progress: Progress, rounds: Rounds = FULL
) -> Capacity:
    """What the target can answer on this machine; raises WorldError where it answers nothing."""
    topology, truth = prepared.spec.topology, prepared.truth
    cgroups = world_of(prepared.client, topology, RunClock()).cgroups
    progress.say("measuring how many calls the target can answer on this machine")
    return measure(
        f"{topology.entrance.through}{plan.target.endpoint}",
        plan.target,
        Questions(
            queries=[query.text for query in truth.queries],
            texts=[document.text for document in truth.to_write],
            k=plan.observer.recall_k,
        ),
        lambda: cgroups.cpu_usage(topology.target.name).usage_us,
        rounds,
    )


def carry_out(prepared: PreparedStack, plan: Plan, runs: Path, progress: Progress) -> Outcome:
    """Run the plan on a prepared stack, then judge what there is; the evidence stays whatever happens.

    Where the lab itself failed, the outcome says so. Raises LabError where nothing could be judged.
    """
    directory = run_directory.create(runs, plan.campaign)
    plan_sha256 = run_directory.write_plan(directory, plan)
    resources = open_run(prepared, plan, directory, progress)
    failures: list[Caught] = []
    try:
        measured = attempt(lambda: _measure(resources, plan_sha256, progress))
        if isinstance(measured, Caught):
            failures.append(measured)
            record_failure(resources.journal, measured)
    except KeyboardInterrupt:
        attempt(
            lambda: resources.journal.record("interrupted", durable=True, why="stopped before the first step")
        )
    finally:
        with uninterruptible():
            failures += close_run(resources)
    judged = attempt(lambda: judge_run(directory))
    if isinstance(judged, Caught):
        raise run_failed((failures or [judged])[0]) from judged.error
    return replace(judged, failure=run_failed(failures[0])) if failures else judged


def _measure(resources: RunResources, plan_sha256: str, progress: Progress) -> None:
    """Everything between the first and the last event of the journal."""
    plan, journal = resources.plan, resources.journal
    journal.record("run_started", durable=True, **run_facts(resources, plan_sha256))
    epoch_ms = resources.clock.origin_epoch_ms
    journal.record("segment_started", segment=0, wall_epoch_ms=epoch_ms, offset_ms=0.0)
    journal.record("guardian_started", pid=resources.guard.process[0])
    resources.engine_log.start()
    journal.record("prepared", **preparation_facts(resources))
    if plan.capacity is not None:
        journal.record("capacity_measured", **capacity_facts(plan, plan.capacity))
    context = run_context(resources)
    with progress.watching(plan, resources.clock):
        execute(plan, context)


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
    failed = next((result for result in written if isinstance(result, Caught)), None)
    return Outcome(directory, judgement, report, None if failed is None else run_failed(failed))
