"""The check of a fault in force: what was measured, what leaves it unproven, and what the target's connections felt."""

from dataclasses import replace

from lab.judge.checks import in_force
from lab.judge.windows.incidents import Incident
from lab.judge.windows.window import Window
from lab.model.journal import Event
from lab.model.plan import FAULT
from lab.model.samples import Rows, Samples, Traffic
from lab.model.verdict import Verdict
from tests.pure.test_judge_recovery_checks import EVENT, KILL, judged
from tests.pure.window_factory import fault_window

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE
SPAN = Window(KILL.id, FAULT, 1000.0, 90_000.0, KILL.id)


def proof(moment: str, measured: float | None, seq: int) -> Event:
    return Event(
        seq,
        "run",
        1000.0 * seq,
        "",
        "proof",
        {"moment": moment, "measured": measured, "unit": "ms", "holds": True},
    )


PROOFS = (proof("before", 1.0, 1), proof("during", 301.23456, 4), proof("after", 1.5, 7))


def test_a_proven_fault_passes_with_what_was_measured() -> None:
    finding = judged(in_force, fault_window(KILL, SPAN, events=PROOFS))
    assert (finding.subject, finding.verdict, finding.gate_verdict) == (KILL.id, PASS, PASS)
    assert (finding.observed, finding.unit, finding.n) == (301.23456, "ms", 3)
    assert finding.reason == "before → in force → after: 1 → 301.2 → 1.5 ms"
    assert finding.evidence == ("journal:1", "journal:4", "journal:7")
    unmeasured = judged(in_force, fault_window(KILL, SPAN, events=(proof("before", None, 1), *PROOFS[2:])))
    assert unmeasured.reason == "before → in force → after: nothing measured → nothing measured → 1.5 "
    assert (unmeasured.observed, unmeasured.unit, unmeasured.n) == (None, None, 2)
    bare = Event(4, "run", 4000.0, "", "proof", {"moment": "during", "measured": 2.0})
    assert judged(in_force, fault_window(KILL, SPAN, events=(bare,))).unit is None


def test_every_kind_of_doubt_leaves_the_fault_unproven() -> None:
    doubted = fault_window(KILL, SPAN, events=PROOFS, doubts=("a",), heal_doubts=("b",), shared_doubts=("c",))
    finding = judged(in_force, doubted)
    assert (finding.verdict, finding.gate_verdict, finding.reason, finding.n) == (
        INCONCLUSIVE,
        INCONCLUSIVE,
        "a; b; c",
        3,
    )
    assert finding.evidence == ("journal:1", "journal:4", "journal:7")
    whole = fault_window(KILL, SPAN, events=PROOFS)
    for fault in (
        replace(whole, doubts=("x",)),
        replace(whole, heal_doubts=("x",)),
        replace(whole, shared_doubts=("x",)),
    ):
        assert judged(in_force, fault).verdict is INCONCLUSIVE
    never = fault_window(KILL, None, doubts=("it was never injected",))
    assert judged(in_force, never).reason == "it was never injected"


def test_an_incident_of_the_journal_puts_a_proof_in_doubt_and_one_of_the_samples_does_not() -> None:
    fault = fault_window(KILL, SPAN, events=PROOFS)
    for streams, verdict in ((None, INCONCLUSIVE), (frozenset({"requests"}), PASS)):
        incident = Incident(20_000, 21_000, streams, "the lab stood still", EVENT)
        assert judged(in_force, fault, incidents=(incident,)).verdict is verdict
        later = replace(incident, from_ms=90_000, to_ms=91_000)
        assert judged(in_force, fault, incidents=(later,)).verdict is PASS


def test_what_the_target_s_own_connections_felt_is_told_with_its_readings() -> None:
    own: dict[str, object] = {"own_traffic": {"routes": ["store"], "effect": "crosses"}}
    kinds: tuple[tuple[str, float, dict[str, object]], ...] = (
        ("fault_injecting", 1000.0, own),
        ("fault_in_force", 20_000.0, {}),
        ("fault_healing", 30_000.0, {}),
    )
    events = (*PROOFS, *(Event(8 + n, "run", at, "", kind, data) for n, (kind, at, data) in enumerate(kinds)))
    fault = fault_window(KILL, SPAN, events=events)

    def readings(received: int) -> Samples:
        at = [0.0, 900.0, 20_000.0, 29_000.0]
        got = [0, 9000, 9000, 9000 + received]
        return Samples(
            traffic=Rows(Traffic(t, "store", "qdrant", 1, 0, 0, 0, r) for t, r in zip(at, got, strict=True))
        )

    felt = judged(in_force, fault, samples=readings(9000))
    assert felt.reason.endswith(
        "1.5 ms; the target's own connections received 10000 bytes/s before and 1000 in force"
    )
    assert felt.evidence[-1] == "samples:traffic[1000..90000ms]"
    assert len(felt.evidence) == 7
    # Nothing is told of a stretch that says nothing of the fault.
    unfelt = judged(in_force, fault, samples=readings(0))
    assert "connections" not in unfelt.reason and len(unfelt.evidence) == 6
