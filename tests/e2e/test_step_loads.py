"""Steps with loads of their own on the real target: each step has its load at once, and is judged by it."""

from collections import Counter
from dataclasses import replace

import docker
import pytest

from lab.evidence.run_directory import read_evidence
from lab.model.evidence import Evidence
from lab.model.load import ConstantArrivalRate
from lab.model.plan import STEADY, Plan, Step
from lab.model.samples import Layer
from lab.provision.stack import stack
from lab.run import session
from tests.e2e.soaking import finding, plan_of, soak_on


def plan() -> Plan:
    """The usual load in warm-up and baseline, then twice its rate, then no load, then the usual load again."""
    usual = plan_of("calm.yaml")
    (normal,) = usual.loads()
    faster = replace(normal, name="faster", schedule=ConstantArrivalRate(8.0))
    warm_up, baseline = usual.steps
    steps = (
        replace(warm_up, duration_s=8.0),
        replace(baseline, duration_s=10.0),
        Step("faster", STEADY, 10.0, load=faster),
        Step("calm", STEADY, 6.0),
        Step("again", STEADY, 10.0, load=normal),
    )
    return replace(usual, steps=steps, duration_s=sum(step.duration_s for step in steps))


@pytest.fixture(scope="module")
def outcome(
    client: docker.DockerClient, real_stack: stack.StackSpec, tmp_path_factory: pytest.TempPathFactory
) -> session.Outcome:
    return soak_on(client, real_stack, plan(), tmp_path_factory.mktemp("loads") / "runs")


def due_in_steps(evidence: Evidence) -> Counter[str]:
    """How many requests were due in each step."""
    spans = {e.data["step"]: e.at_ms for e in evidence.journal.of("phase_started")}
    ends = {e.data["step"]: e.at_ms for e in evidence.journal.of("phase_ended")}
    return Counter(
        name
        for request in evidence.samples.requests
        for name, from_ms in spans.items()
        if from_ms <= request.scheduled_ms < ends[name]
    )


def test_each_step_had_its_own_load_from_its_first_moment(outcome: session.Outcome) -> None:
    due = due_in_steps(read_evidence(outcome.directory))
    assert due["baseline"] in range(39, 43)
    assert due["faster"] in range(79, 84)
    assert due["calm"] == 0
    assert due["again"] in range(39, 43)


def test_the_judge_asks_each_step_for_its_own_load(outcome: session.Outcome) -> None:
    assert finding(outcome.report, "integrity", "run")["verdict"] == "pass", outcome.report["findings"]
    chunks = finding(outcome.report, "load_arrived", "chunks")
    assert chunks["verdict"] == "pass", chunks["reason"]
    arrived = finding(outcome.report, "load_arrived", "steady")
    assert arrived["verdict"] == "pass"
    assert "where at least 15" in arrived["reason"], arrived["reason"]


def test_every_request_has_an_id_of_its_own(outcome: session.Outcome) -> None:
    requests = read_evidence(outcome.directory).samples.requests
    assert len({request.id for request in requests}) == len(requests)
    assert all(request.id and request.id.endswith(f"-{request.op}") for request in requests)
    assert not any(request.layer in (Layer.LOST, Layer.UNSENT) for request in requests)
