"""The check of integrity: each way in which a journal or its samples may be incomplete, in its words."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.checks import integrity
from lab.judge.whole.flaws import journal_flaws, sample_flaws
from lab.judge.windows.incidents import Incident
from lab.judge.windows.segments import Segment, find_segments
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import STEADY, Plan
from lab.model.samples import HostReading, Rows, Samples
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import Recipe, make

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE
RUN = make(Recipe(faults=("kill",), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
PLAN = replace(RUN, steps=RUN.steps[:2], streams=("host",))
TARGET = {"name": PLAN.target.name, "version": PLAN.target.version}
FACTS = {"seed": PLAN.seed, "campaign": PLAN.campaign, "plan_sha256": "0", "target": TARGET}
STEADY_PHASE = Window("baseline", STEADY, 6000.0, 16_000.0)


def events(*drafts: tuple[float, str, dict[str, Any]], segment: int = 0, first: int = 0) -> list[Event]:
    return [Event(first + n, "run", at, "", kind, data, segment) for n, (at, kind, data) in enumerate(drafts)]


def phases(*names: tuple[str, str]) -> Iterator[tuple[float, str, dict[str, Any]]]:
    for n, (phase, step) in enumerate(names):
        yield 1000.0 + 5000 * n, "phase_started", {"phase": phase, "step": step}
        yield 6000.0 + 5000 * n, "phase_ended", {"phase": phase, "step": step}


BOTH = (("warm_up", "warm-up"), ("steady", "baseline"))
END = (20_000.0, "run_ended", {"rows": {"host": 2}, "last_seq": 5})
WHOLE = events((0.0, "run_started", FACTS), *phases(*BOTH), END)
READINGS = [HostReading(at, "lab_cpu_s", 0.0) for at in (1000.0, 2000.0)]


def run(found: list[Event] | None = None, plan: Plan = PLAN, rows: int = 2, **more: Any) -> Evidence:
    samples = Samples(host=Rows(READINGS[:rows]))
    return replace(Evidence(plan, Journal(tuple(WHOLE if found is None else found)), samples), **more)


def judged(evidence: Evidence, incidents: tuple[Incident, ...] = (), outside: Any = None) -> Finding:
    segments = find_segments(evidence.journal)
    windows = Windows((), (STEADY_PHASE,), (), 0.0, 20_000.0, outside, incidents, (), segments)
    (finding,) = integrity.findings(evidence, windows)
    assert (finding.check, finding.subject) == ("integrity", "run")
    return finding


def changed(place: int, kind: str | None = None, **data: Any) -> list[Event]:
    """The whole journal with one event changed; a value of None leaves the key out."""
    found = list(WHOLE)
    merged = {k: v for k, v in {**found[place].data, **data}.items() if v is not None}
    found[place] = replace(found[place], data=merged, kind=kind or found[place].kind)
    return found


def test_a_whole_run_passes_with_its_counts() -> None:
    finding = judged(run())
    assert (finding.verdict, finding.gate_verdict, finding.n) == (PASS, PASS, 6)
    assert finding.reason == "the plan was carried out; none of 6 events and 2 samples is missing"
    assert finding.evidence == ("journal:0", "journal:5")
    died = Incident(7000, 8000, frozenset({"recall"}), "the asker died", WHOLE[3])
    finding = judged(run(), (died, replace(died, why="again")))
    assert finding.verdict is PASS
    assert finding.reason.endswith(
        "is missing; incidents: the asker died (journal:3), touches recall of baseline;"
        " again (journal:3), touches recall of baseline"
    )


def test_damage_of_the_evidence_is_told_with_the_incidents_and_once() -> None:
    died = Incident(7000, 8000, None, "the asker died", WHOLE[3])
    finding = judged(
        run(damage=("a table is broken", "a table is broken")), (died,), (15_000.0, "somebody came")
    )
    assert (finding.verdict, finding.gate_verdict, finding.n) == (INCONCLUSIVE, INCONCLUSIVE, 6)
    assert finding.reason == (
        "a table is broken; somebody came; nothing after it is judged;"
        " the asker died (journal:3), touches everything of baseline"
    )
    assert finding.evidence == ("journal:0", "journal:5")
    nothing = judged(run([]))
    assert (nothing.verdict, nothing.evidence, nothing.n) == (INCONCLUSIVE, (), 0)


OTHER_PLAN, OTHER_TARGET = (
    "the journal belongs to another plan",
    "the journal names another target than the plan",
)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (changed(0, plan_sha256=None), "the journal does not say which plan the run followed"),
        (changed(0, plan_sha256=""), "the journal does not say which plan the run followed"),
        (changed(0, seed=PLAN.seed + 1), OTHER_PLAN),
        (changed(0, campaign="another"), OTHER_PLAN),
        (changed(0, target={**TARGET, "version": "9"}), OTHER_TARGET),
        (changed(0, target={**TARGET, "name": "x"}), OTHER_TARGET),
        (changed(0, target=None), OTHER_TARGET),
        (
            changed(3, step="clean"),
            "2 steps were planned; the journal has 2 phase_started events, or another order",
        ),
        (
            changed(4, phase="fault"),
            "2 steps were planned; the journal has 2 phase_ended events, or another order",
        ),
        (
            changed(3, "note"),
            "2 steps were planned; the journal has 1 phase_started events, or another order",
        ),
        (changed(0, "note"), "the journal does not begin with run_started"),
        (changed(0, segment=1), "the journal does not begin with run_started"),
        (changed(5, last_seq=6), "the last event of the journal names another number of events"),
        (changed(5, rows={"host": 3}), "table host has 2 rows, the journal says 3"),
        (changed(5, rows={}), "table host has 2 rows, the journal says None"),
        (changed(5, rows=None), "the journal does not say how many samples the run recorded"),
        (WHOLE[:2] + WHOLE[3:], None),
    ],
)
def test_a_journal_that_tells_of_another_run_is_refused_in_its_own_words(
    found: list[Event], reason: str | None
) -> None:
    finding = judged(run(found))
    assert finding.verdict is INCONCLUSIVE
    assert reason is None or finding.reason == reason


def test_what_an_older_end_does_not_say_is_no_problem() -> None:
    assert judged(run(changed(5, last_seq=None))).verdict is PASS
    assert judged(run(changed(0, segment=0))).verdict is PASS


def test_a_step_that_the_next_segment_began_again_counts_once() -> None:
    def resumed(*later: tuple[str, str]) -> list[Event]:
        began = events((0.0, "run_started", FACTS), *list(phases(*BOTH))[:3])
        again = ((20_000.0, "segment_started", {"segment": 1}), *phases(*later))
        end = (60_000.0, "run_ended", {"rows": {"host": 0}, "last_seq": 2 * len(later) + 1})
        return began + events(*again, end, segment=1)

    problem = "2 steps were planned; the journal has 3 phase_started events, or another order"
    assert "phase_started" not in judged(run(resumed(("steady", "baseline")))).reason
    assert problem in judged(run(resumed(("warm_up", "warm-up")))).reason
    twice = [*resumed(("steady", "baseline"), ("steady", "baseline"))]
    assert problem in judged(run(twice)).reason


def segment(number: int, from_ms: float, *kinds: str, last: bool = False) -> Segment:
    found = events(*((from_ms + n, kind, {}) for n, kind in enumerate(kinds)), segment=number)
    return Segment(number, from_ms, from_ms + len(kinds) - 1, kinds[-1] == "run_ended", last, tuple(found))


def test_segments_must_follow_each_other_and_only_the_last_must_have_an_end() -> None:
    first, second = (
        segment(0, 0.0, "run_started", "a"),
        segment(1, 50.0, "segment_started", "run_ended", last=True),
    )
    assert list(journal_flaws(run(), (first, second))) == []
    third = replace(second, number=2)
    assert list(journal_flaws(run(), (first, third)))[-1] == "segment 0 is followed by segment 2"
    early = segment(1, 0.5, "segment_started", "run_ended", last=True)
    assert list(journal_flaws(run(), (first, early))) == ["the segments 0 and 1 overlap"]
    touching = segment(1, 1.0, "segment_started", "run_ended", last=True)
    assert list(journal_flaws(run(), (first, touching))) == []
    died = segment(1, 50.0, "segment_started", "a", last=True)
    assert list(journal_flaws(run(), (first, died))) == [
        "the journal of segment 1 does not end with run_ended: the run died, or its end is missing"
    ]
    wrong = segment(1, 50.0, "run_started", "run_ended", last=True)
    assert list(journal_flaws(run(), (first, wrong))) == [
        "the journal of segment 1 does not begin with segment_started"
    ]
    holed = replace(second, events=(second.events[0], replace(second.events[1], seq=2)))
    assert list(journal_flaws(run(), (first, holed))) == [
        "events are missing from the journal of segment 1, or out of order"
    ]
    empty = replace(first, events=(), last=True)
    assert list(journal_flaws(run(), (empty,))) == [
        "the journal does not begin with run_started",
        "the journal does not end with run_ended: the run died, or its end is missing",
    ]
    damaged = run(journal=Journal((), damage="line 9 is cut off"))
    assert list(journal_flaws(damaged, ())) == ["line 9 is cut off"]
    open_end = segment(0, 0.0, "run_started", "a", last=True)
    numbered = replace(
        open_end, events=(open_end.events[0], replace(open_end.events[1], data={"last_seq": 7}))
    )
    assert len(list(journal_flaws(run(), (numbered,)))) == 1, "only an end names the number of events"


def test_each_segment_s_samples_must_be_as_many_as_it_says() -> None:
    def two(first: object, second: object) -> list[str]:
        a = segment(0, 0.0, "run_started", "run_ended")
        b = segment(1, 1500.0, "segment_started", "run_ended", last=True)
        a = replace(a, events=(a.events[0], replace(a.events[1], data={"rows": first})))
        b = replace(b, events=(b.events[0], replace(b.events[1], data={"rows": second})))
        return list(sample_flaws(run(), (a, b)))

    assert two({"host": 1}, {"host": 1}) == []
    assert two({"host": 2}, {"host": 1}) == ["table host has 1 rows in segment 0, the journal says 2"]
    assert two({"host": 1}, {"host": 2}) == ["table host has 1 rows in segment 1, the journal says 2"]
    assert two(None, {"host": 1}) == [] and two({"host": 1}, "many") == []
    assert two(None, None) == ["the journal does not say how many samples the run recorded"]
    three = [segment(n, 1500.0 * n, "begin", "run_ended", last=n == 2) for n in range(3)]
    ends = [replace(part.events[1], data={"rows": {"host": n == 0}}) for n, part in enumerate(three)]
    parts = [replace(part, events=(part.events[0], end)) for part, end in zip(three, ends, strict=True)]
    assert list(sample_flaws(run(), parts)) == ["table host has 1 rows in segment 1, the journal says False"]
    early = Samples(host=Rows([HostReading(-5.0, "lab_cpu_s", 0.0), HostReading(1e9, "lab_cpu_s", 0.0)]))
    assert list(sample_flaws(run(samples=early), find_segments(run().journal))) == []


def test_a_table_that_the_plan_expects_must_not_be_empty() -> None:
    found = changed(5, rows={"host": 0})
    assert judged(run(found, rows=0)).reason == "table host is empty"
    both = replace(PLAN, streams=("host", "recall", "other"))
    assert judged(run(changed(5, rows={"host": 2, "recall": 0, "other": 0}), both)).reason == (
        "table recall is empty; table other is empty"
    )
