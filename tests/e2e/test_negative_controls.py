"""Planted defects, each of which must be caught: an instrument that cannot fail measures nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import docker

from lab.cli.console import JsonLines
from lab.model.plan import Plan
from lab.provision.stack import stack
from lab.run import session
from tests.e2e.soaking import finding, plan_of, soak_on
from tests.e2e.stacks import ephemeral_stack, images, reference_target


@contextmanager
def planted(folder: Path, defect: str) -> Iterator[tuple[stack.StackSpec, Path]]:
    """A stack with the reference target that has one defect, and that target's folder."""
    target = reference_target(folder, REFERENCE_DEFECT=defect)
    with ephemeral_stack(images(target), target) as spec:
        yield spec, target


def test_wrong_answers_fail_accuracy_while_latency_passes(
    client: docker.DockerClient, tmp_path: Path, runs: Path
) -> None:
    with planted(tmp_path, "wrong_ids") as (spec, target):
        report = soak_on(client, spec, plan_of("calm.yaml", target=target), runs).report
    accuracy = finding(report, "accuracy", "steady")
    assert (accuracy["verdict"], accuracy["observed"]) == ("fail", 0)
    assert finding(report, "latency", "steady")["gate_verdict"] == "pass"
    assert report["gate"] == "fail"


def test_forty_seconds_to_recover_fail_recovery(
    client: docker.DockerClient, tmp_path: Path, runs: Path
) -> None:
    with planted(tmp_path, "slow_recovery:40") as (spec, target):
        report = soak_on(client, spec, plan_of("kill.yaml", target=target), runs).report
    recovery = finding(report, "recovery", "f1-kill")
    # Beside a neighbour that takes much of this machine nobody can be blamed, and the finding says so.
    verdict = "inconclusive" if "the machine was starved" in recovery["reason"] else "fail"
    assert recovery["verdict"] == report["gate"] == verdict
    clock = report["faults"][0]["recovery"]["from_heal"]["slo"]
    assert clock["censored"] or 38 <= clock["lo_s"] <= clock["hi_s"] <= 50, clock


def test_no_load_is_inconclusive(
    client: docker.DockerClient, real_stack: stack.StackSpec, runs: Path
) -> None:
    """k6 cannot be started at all: its image does not exist."""
    nothing = replace(real_stack.images["k6"], ref="lab.local/k6:does-not-exist")
    spec = replace(real_stack, images={**real_stack.images, "k6": nothing})
    plan = _brief(plan_of("calm.yaml"))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        progress = JsonLines(nowhere)
        prepared = session.prepare(client, real_stack, plan, None, progress)
        report = session.carry_out(replace(prepared, spec=spec), plan, runs, progress).report
    assert report["gate"] == "inconclusive" and report["verdict"] == "inconclusive"
    assert finding(report, "load_arrived", "steady")["verdict"] == "inconclusive"


def _brief(plan: Plan) -> Plan:
    """The same plan with steps of at most 15 s."""
    return replace(
        plan, steps=tuple(replace(step, duration_s=min(step.duration_s, 15)) for step in plan.steps)
    )
