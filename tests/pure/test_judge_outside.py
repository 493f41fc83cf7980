"""What others did, or the lab itself, is never the target's failure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lab.judge import judge
from lab.judge.windows.foreign_acts import first_act
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.samples import Layer, Request
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import EMPTY_ISSUE, Recipe, edited, make, resampled
from tests.pure.test_judge_unwatched import accompanied

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
BASELINE_MS = 60_000.0


def found(evidence: Evidence, check: str, subject: str) -> Finding:
    return next(f for f in judge(evidence).findings if (f.check, f.subject) == (check, subject))


def told(evidence: Evidence, at_ms: float, kind: str, **data: Any) -> Evidence:
    """The same run with one more event in its journal."""
    more = replace(evidence.journal.events[0], kind=kind, at_ms=at_ms, data=data)
    events = sorted([*evidence.journal, more], key=lambda event: event.at_ms)
    return edited(
        replace(evidence, journal=replace(evidence.journal, events=tuple(events))), lambda event: event
    )


def acted(evidence: Evidence, at_ms: float, action: str = "kill", service: str = "mcp") -> Evidence:
    return told(evidence, at_ms, "container_event", service=service, action=action, exit_code=None)


def refusing(from_ms: float, to_ms: float) -> Evidence:
    """A run in which the target refused all requests for a while."""

    def refused(request: Request) -> Request:
        if not from_ms <= request.scheduled_ms < to_ms:
            return request
        return replace(request, ok=False, layer=Layer.TRANSPORT, message="connection refused")

    evidence = make()
    return resampled(evidence, requests=map(refused, evidence.samples.requests))


def naming(evidence: Evidence, services: Any) -> Evidence:
    """The same run, whose first event names the services that it depends on."""
    return edited(
        evidence,
        lambda event: (
            replace(event, data={**event.data, "services": services})
            if event.kind == "run_started"
            else event
        ),
    )


def test_a_run_says_which_services_it_depends_on() -> None:
    """A stack may have other services than those of the first runs, which did not name theirs."""
    for service, services, counts in (
        ("store-1", ["store-1", "mcp"], True),
        ("store-1", ["mcp"], False),
        ("prometheus", ["store-1", "mcp"], False),
        ("mcp", ["store-1"], False),
        ("mcp", None, True),
        ("mcp", 3, True),
        ("prometheus", None, False),
    ):
        evidence = naming(acted(make(), BASELINE_MS, "kill", service), services)
        assert (first_act(evidence) is not None) == counts, (service, services)


ACTS: list[Callable[[Evidence], Evidence]] = [
    lambda evidence: acted(evidence, BASELINE_MS, "kill"),
    lambda evidence: acted(evidence, BASELINE_MS, "restart", "qdrant"),
    lambda evidence: acted(evidence, BASELINE_MS, "pause", "toxiproxy"),
    lambda evidence: acted(evidence, BASELINE_MS, "destroy", "mcp-net"),
    lambda evidence: told(evidence, BASELINE_MS, "sampler_died", sampler="engine_log", why="ended"),
]


@pytest.mark.parametrize("act", ACTS)
def test_what_follows_somebody_else_s_act_is_not_the_target_s(act: Callable[[Evidence], Evidence]) -> None:
    evidence = act(refusing(BASELINE_MS, BASELINE_MS + 22_000))
    judgement = judge(evidence)
    assert not [f for f in judgement.findings if FAIL in (f.verdict, f.gate_verdict)]
    assert judgement.gate is INCONCLUSIVE
    assert "nothing after it is judged" in found(evidence, "integrity", "run").reason


@pytest.mark.parametrize(
    "evidence",
    [
        refusing(BASELINE_MS, BASELINE_MS + 22_000),
        acted(refusing(BASELINE_MS, BASELINE_MS + 22_000), BASELINE_MS, "die"),
        acted(refusing(BASELINE_MS, BASELINE_MS + 22_000), BASELINE_MS, "restart", "prometheus"),
        acted(refusing(BASELINE_MS, BASELINE_MS + 22_000), BASELINE_MS + 60_000, "kill"),
    ],
)
def test_what_the_target_did_alone_is_its_own(evidence: Evidence) -> None:
    assert found(evidence, "errors", "steady").gate_verdict is FAIL
    assert judge(evidence).gate is FAIL


def at_ms(evidence: Evidence, kind: str, fault: str) -> float:
    event = evidence.journal.last(kind, fault=fault)
    assert event is not None
    return event.at_ms


def test_an_act_while_a_recovery_is_watched_leaves_it_undecided() -> None:
    evidence = make(Recipe(recovers_s={"f1-latency": 70.0}))
    assert found(evidence, "recovery", "f1-latency").verdict is FAIL
    hurt = acted(evidence, at_ms(evidence, "fault_healed", "f1-latency") + 3000)
    assert found(hurt, "recovery", "f1-latency").verdict is INCONCLUSIVE
    assert "somebody else acted on mcp: kill" in found(hurt, "recovery", "f1-latency").reason


def test_what_a_fault_of_ours_does_to_its_container_is_no_act_of_others() -> None:
    evidence = make()
    for action in ("kill", "stop", "restart"):
        ours = acted(evidence, at_ms(evidence, "fault_injected", "f2-kill"), action, "qdrant")
        assert judge(ours).gate is PASS
    for action in ("destroy", "pause"):
        other = acted(evidence, at_ms(evidence, "fault_injected", "f2-kill"), action, "qdrant")
        assert judge(other).gate is INCONCLUSIVE
    afterwards = acted(evidence, at_ms(evidence, "fault_healed", "f2-kill") + 3000, "kill", "qdrant")
    assert judge(afterwards).gate is INCONCLUSIVE
    other = acted(evidence, at_ms(evidence, "fault_injected", "f2-kill"), "kill", "mcp")
    assert judge(other).gate is INCONCLUSIVE
    softly = acted(evidence, at_ms(evidence, "fault_injected", "f1-latency"), "kill", "qdrant")
    assert judge(softly).gate is INCONCLUSIVE


def test_a_restart_is_no_alibi_for_what_is_done_after_it() -> None:
    def transient(event: Event) -> Event:
        if event.kind != "fault_injecting" or event.data["fault"] != "f2-kill":
            return event
        return replace(event, data={**event.data, "transient": True})

    evidence = edited(make(Recipe(hold_s=12)), transient)
    injected_ms = at_ms(evidence, "fault_injected", "f2-kill")
    assert judge(acted(evidence, injected_ms, "restart", "qdrant")).gate is PASS
    assert judge(acted(evidence, injected_ms + 6000, "kill", "qdrant")).gate is INCONCLUSIVE


def test_a_heal_that_restarts_toxiproxy_is_no_act_of_others() -> None:
    evidence = make()
    healed_ms = at_ms(evidence, "fault_healed", "f1-latency")
    restarted = acted(evidence, healed_ms + 500, "restart", "toxiproxy")
    assert judge(restarted).gate is INCONCLUSIVE
    assert (
        judge(told(restarted, healed_ms, "effect", act="restarting", on="toxiproxy", detail="")).gate is PASS
    )


@pytest.mark.parametrize(("moved", "verdict"), [("sent_ms", INCONCLUSIVE), ("scheduled_ms", FAIL)])
def test_what_the_generator_sent_late_is_not_the_target_s_latency(moved: str, verdict: Verdict) -> None:
    """Half of all chunks begin 240 ms late: by the generator's own fault, or answered so by the target."""

    def late(request: Request) -> Request:
        if int(request.source) % 2:
            return request
        sent_ms = request.scheduled_ms + (240 if moved == "sent_ms" else 1)
        done_ms = None if request.done_ms is None else request.done_ms + 240
        return replace(request, sent_ms=sent_ms, done_ms=done_ms)

    evidence = make()
    judged = found(resampled(evidence, requests=map(late, evidence.samples.requests)), "latency", "steady")
    assert judged.verdict is verdict


def test_a_known_issue_of_a_fault_kind_holds_wherever_that_stands_in_its_step() -> None:
    lying = make(Recipe(faults=("kill",), lies_when_down=True, known_issues=(EMPTY_ISSUE,), hold_s=20))
    assert judge(accompanied(lying, "cpu_cap")).gate is PASS

    def swapped(step: Any) -> Any:
        return replace(step, faults=tuple(reversed(step.faults)))

    together = accompanied(lying, "cpu_cap")
    turned = replace(together, plan=replace(together.plan, steps=tuple(map(swapped, together.plan.steps))))

    assert found(turned, "accuracy", "kill").gate_verdict is PASS
    assert found(turned, "accuracy", "cpu_cap").gate_verdict is PASS
