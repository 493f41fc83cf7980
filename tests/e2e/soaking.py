"""Soaks as tests run them: short campaigns, few documents, in this process or as a user would call them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker

from lab.cli.console import JsonLines
from lab.model.capacity import Capacity
from lab.model.plan import Plan
from lab.model.scenario import Scenario
from lab.plan import schedule
from lab.plan.observer_budget import observer_plan
from lab.provision.machine import doctor
from lab.provision.stack import stack
from lab.read.campaigns import load_campaign
from lab.read.targets import load_target
from lab.run import session
from tests.e2e.stacks import HOME, TARGET

CAMPAIGNS = Path(__file__).resolve().parent / "campaigns"
DOCUMENTS, QUERIES = 150, 60


def plan_of(campaign: str, seed: int = 1, target: Path = TARGET) -> Plan:
    """The plan of one of the tests' campaigns, by default on the real target."""
    return schedule(
        load_campaign(CAMPAIGNS / campaign),
        load_target(target),
        seed,
        capabilities={found.name: found.ok for found in doctor.check_machine()},
        documents=DOCUMENTS,
        queries=QUERIES,
        corpus="tests",
    )


def soak_on(client: docker.DockerClient, spec: stack.StackSpec, plan: Plan, runs: Path) -> session.Outcome:
    """Prepare a stack, measure its target, and carry a plan out on it.

    The lab's own rates follow from what was measured; what the plan can decide stays as it is.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        progress = JsonLines(nowhere)
        prepared = session.prepare(client, spec, plan, None, progress)
        capacity = session.measure_capacity(prepared, plan, progress)
        return session.carry_out(prepared, with_capacity(plan, capacity), runs, progress)


def with_capacity(plan: Plan, capacity: Capacity) -> Plan:
    """The plan with the rates of the lab's own calls that this capacity allows."""
    scenario = Scenario(plan.campaign, plan.why, plan.duration_s, (), plan.bounds, plan.required)
    return replace(plan, capacity=capacity, observer=observer_plan(scenario, plan.target, capacity))


def start_soak(spec: stack.StackSpec, campaign: str, runs: Path) -> "subprocess.Popen[str]":
    """`lab soak` in a process group of its own, on a stack that runs already.

    It heeds Ctrl-C even where these tests were started as a job in the background, which ignores it and hands that on.
    """
    command = ["env", "--default-signal=INT", sys.executable, "-m", "lab", "soak", str(CAMPAIGNS / campaign)]
    command += ["--project", spec.project]
    return subprocess.Popen(
        [*command, "--runs", str(runs)],
        cwd=HOME,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def lab(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Any other `lab` command."""
    command = [sys.executable, "-m", "lab", *arguments]
    return subprocess.run(command, cwd=HOME, text=True, capture_output=True, timeout=120, check=False)


def finding(report: dict[str, Any], check: str, subject: str) -> dict[str, Any]:
    """One finding of a report."""
    found = [f for f in report["findings"] if (f["check"], f["subject"]) == (check, subject)]
    assert len(found) == 1, [(f["check"], f["subject"]) for f in report["findings"]]
    return dict(found[0])
