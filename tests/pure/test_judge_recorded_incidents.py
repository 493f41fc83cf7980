"""Which time and which streams each recorded incident touches, to the millisecond, and how it is described."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.windows.incidents import Incident, find_incidents
from lab.judge.windows.segments import find_segments
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from tests.pure.evidence_factory import Recipe, make, with_journal

REQUESTS = frozenset({"requests"})
ALL = frozenset({"requests", "probes", "recall", "memory", "host"})
TIMEOUT_MS = 10_000.0

Facts = tuple[float, float | None, frozenset[str] | None, str]


@cache
def run() -> Evidence:
    return make(Recipe(faults=("kill", "latency"), baseline_s=20.0, clean_s=0))


def at(at_ms: float, kind: str, segment: int = 0, **data: Any) -> Event:
    """An event whose number in the journal is its time."""
    return Event(int(at_ms), "run", at_ms, "", kind, data, segment)


def chunk(name: str, from_ms: float, **end: Any) -> tuple[Event, ...]:
    """A chunk of load of 60 s, and its end if that is recorded."""
    whole = {"chunk": name, "truncated": False, **end}
    started = at(from_ms, "load_chunk_started", chunk=name, scheduled_start_ms=from_ms, duration_ms=60_000)
    return (started, at(from_ms + 60_500, "load_chunk_ended", **whole))


def incidents(
    *events: Event, phases: tuple[Window, ...] = (), guardian: Journal | None = None
) -> list[Incident]:
    evidence = replace(with_journal(run(), sorted(events, key=lambda e: e.place)), guardian=guardian)
    return list(find_incidents(evidence, phases, find_segments(evidence.journal)))


def facts(*events: Event, phases: tuple[Window, ...] = (), guardian: Journal | None = None) -> list[Facts]:
    found = incidents(*events, phases=phases, guardian=guardian)
    return [(i.from_ms, i.to_ms, i.streams, i.description) for i in found]


def died(sampler: str, why: str = "gone", **data: Any) -> Event:
    return at(100_000, "sampler_died", sampler=sampler, why=why, **data)


@pytest.mark.parametrize(
    ("sampler", "streams"),
    [
        ("observer", frozenset({"probes", "recall", "memory", "host"})),
        ("sample_store", ALL),
        ("a new one", None),
    ],
)
def test_a_dead_sampler_lacks_its_streams_from_five_seconds_before_on(
    sampler: str, streams: frozenset[str] | None
) -> None:
    why = f"the sampler {sampler} died: gone (journal:100000)"
    assert facts(died(sampler)) == [(95_000.0, None, streams, why)]


def test_newer_journals_name_the_streams_of_a_dead_sampler() -> None:
    (named,) = incidents(died("observer", streams=["probes", "traffic"]))
    assert named.streams == frozenset({"probes", "traffic"})
    (odd,) = incidents(died("observer", streams="probes"))
    assert odd.streams == frozenset({"probes", "recall", "memory", "host"})


def test_a_lost_probe_touches_its_own_time() -> None:
    assert facts(died("probe")) == [
        (
            95_000.0 - TIMEOUT_MS,
            100_000.0,
            frozenset({"probes", "recall"}),
            "the sampler probe died: gone (journal:100000)",
        )
    ]


def test_without_the_reader_of_the_engine_nothing_is_judged_any_more() -> None:
    what = "what others did to the stack from then on is unknown, so nothing after it is judged"
    why = f"the sampler engine_log died: gone; {what} (journal:100000)"
    assert facts(died("engine_log", streams=["requests"])) == [(95_000.0, None, None, why)]


def test_a_death_of_which_nothing_was_written_down() -> None:
    assert facts(at(100_000, "sampler_died")) == [
        (95_000.0, None, None, "the sampler  died:  (journal:100000)")
    ]


def test_a_dead_load_generator_touches_the_chunk_that_it_names() -> None:
    chunks = (*chunk("0001", 20_000), *chunk("0002", 80_000))
    (named,) = incidents(*chunks, died("load", "chunk 0002 was lost"))
    assert (named.from_ms, named.to_ms, named.streams) == (80_000.0, 140_000.0, REQUESTS)
    for why in ("gone", "chunk 0009 was lost", "chunk 00020 was lost", "mychunk 0002 was lost"):
        (unnamed,) = incidents(*chunks, died("load", why))
        assert (unnamed.from_ms, unnamed.to_ms, unnamed.streams) == (20_000.0, None, REQUESTS)


def test_a_stall_of_the_lab_touches_everything_while_it_lasted() -> None:
    stalled = at(50_000, "lab_stalled", from_ms=44_000, to_ms=48_567)
    assert facts(stalled) == [
        (44_000.0, 48_567.0, None, "the lab itself stood still for 4.57 s (journal:50000)")
    ]


def test_a_suspension_touches_its_time_and_the_rest_of_each_running_chunk() -> None:
    suspended = at(60_000, "machine_suspended", by_ms=9000, from_ms=51_000)
    why = "the machine was suspended for 9000 ms (journal:60000)"
    whole: Facts = (51_000.0, 60_000.0, None, why)
    assert facts(suspended) == [whole]
    running = (*chunk("0001", 20_000), *chunk("0002", 10_000), *chunk("0003", 30_000))
    assert facts(*running, suspended) == [whole, (51_000.0, 90_000.0, REQUESTS, why)]
    # A chunk counts from the time when its container may have been created, until just before its end.
    assert facts(*chunk("0001", 66_000), suspended) == [whole, (51_000.0, 126_000.0, REQUESTS, why)]
    assert facts(*chunk("0001", 66_001), suspended) == [whole]
    assert facts(*chunk("0001", 0), suspended) == [whole]
    assert facts(*chunk("0001", 1), suspended) == [whole, (51_000.0, 60_001.0, REQUESTS, why)]
    # An older journal does not say from when on: at most five seconds before.
    old = at(60_000, "machine_suspended", by_ms=9000)
    assert facts(old) == [(55_000.0, 60_000.0, None, why)]


@pytest.mark.parametrize(
    ("data", "touches"),
    [
        ({"by_ms": 50.0, "from_ms": 59_000}, "nothing"),
        ({"by_ms": -50.0}, "nothing"),
        ({"by_ms": 50.1, "from_ms": 59_000}, "uncertain times"),
        ({"by_ms": -1000.0, "from_ms": 59_000}, "uncertain times"),
        ({"by_ms": 1000.1, "from_ms": 59_000}, "everything"),
        ({"by_ms": -2000.0, "from_ms": 59_000}, "everything"),
        # Without its begin it cannot be corrected, and a step of unknown size is a large one.
        ({"by_ms": 51.0}, "everything"),
        ({"from_ms": 59_000}, "everything"),
    ],
)
def test_what_a_step_of_the_wall_clock_touches(data: dict[str, Any], touches: str) -> None:
    found = incidents(at(60_000, "clock_stepped", **data))
    kinds = {(True, True): "uncertain times", (False, False): "everything"}
    assert [kinds[i.times_only, i.left_out] for i in found] == ([] if touches == "nothing" else [touches])
    if touches == "everything":
        from_ms = 59_000.0 if "from_ms" in data else 55_000.0
        why = f"the wall clock stepped by {data.get('by_ms', '')} ms (journal:60000)"
        assert [(i.from_ms, i.to_ms, i.streams, i.description) for i in found] == [
            (from_ms, 60_000.0, None, why)
        ]


def test_a_small_step_makes_uncertain_what_was_under_way_and_what_waited_for_its_begin() -> None:
    stepped = at(60_000, "clock_stepped", by_ms=-400.0, from_ms=59_000)
    why = "the wall clock stepped by -400.0 ms (journal:60000)"
    under_way = Incident(53_600.0, 60_400.0, REQUESTS, why[:-16], stepped, times_only=True, left_out=True)
    assert incidents(stepped) == [under_way]
    assert under_way.description == why
    # A chunk that had been launched and had not begun.
    for begins_ms in (58_601, 66_000):
        waiting = incidents(*chunk("0001", begins_ms), stepped)
        assert waiting == [
            under_way,
            Incident(begins_ms, begins_ms + 60_000.0, REQUESTS, why[:-16], stepped, times_only=True),
        ]
    for begins_ms in (58_600, 66_001):
        assert incidents(*chunk("0001", begins_ms), stepped) == [under_way]


@pytest.mark.parametrize(
    ("end", "flaw"),
    [
        ({}, None),
        ({"missing": 0, "why": ""}, None),
        ({"missing": 3}, "lost 3 requests that were due"),
        ({"truncated": True, "missing": 3}, "broke: its raw points are cut off"),
        ({"truncated": True, "why": "k6 was killed"}, "broke: k6 was killed"),
    ],
)
def test_a_chunk_that_broke_touches_the_requests_of_its_time(end: dict[str, Any], flaw: str | None) -> None:
    found = facts(*chunk("0001", 20_000, **end))
    why = f"the chunk 0001 of the load {flaw} (journal:80500)"
    assert found == ([] if flaw is None else [(20_000.0, 80_000.0, REQUESTS, why)])


def test_a_chunk_without_a_recorded_end_is_a_broken_one() -> None:
    started, _ = chunk("0001", 20_000)
    other_end = chunk("0002", 30_000)[1]
    assert facts(started, other_end) == [
        (20_000.0, 80_000.0, REQUESTS, "the chunk 0001 of the load has no recorded end (journal:20000)")
    ]


def test_an_error_of_the_lab_touches_the_step_of_its_fault() -> None:
    error = {"where": "observe", "error": "KeyError"}
    phases = (Window("f1-kill", "fault", 1000.0, 1100.0), Window("f2-latency", "fault", 1100.0, 1200.0))
    why = "an unexpected error in the lab: KeyError in observe"

    def touched(at_ms: float, **data: Any) -> list[Facts]:
        return facts(at(at_ms, "lab_error", **data), phases=phases)

    assert touched(1050, fault="f1-kill", **error) == [(1000.0, 1100.0, None, f"{why} (journal:1050)")]
    # It may be written before the step begins or after it has ended.
    assert touched(1150, fault="f1-kill", **error) == [(1000.0, 1150.0, None, f"{why} (journal:1150)")]
    assert touched(1050, fault="f2-latency", **error) == [(1050.0, 1200.0, None, f"{why} (journal:1050)")]
    assert touched(1050, fault="f9", **error) == touched(1050, **error) == []
    nothing = "an unexpected error in the lab:  in  (journal:1050)"
    assert touched(1050, fault="f1-kill") == [(1000.0, 1100.0, None, nothing)]


def test_an_error_touches_the_step_in_its_own_segment_alone() -> None:
    twice = tuple(Window("f1-kill", "fault", ms, ms + 100, segment=n) for n, ms in ((0, 1000.0), (1, 9000.0)))
    events = (at(1000, "run_started"), at(1050, "lab_error", fault="f1-kill"), at(1200, "run_ended"))
    found = facts(*events, at(9000, "segment_started", 1), phases=twice)
    assert [(from_ms, to_ms) for from_ms, to_ms, _, why in found if "error" in why] == [(1000.0, 1100.0)]


def test_nothing_was_measured_between_two_segments() -> None:
    second = at(90_000, "segment_started", 1)
    first = at(1000, "run_started")
    measured = "and nothing was measured until segment 1 began (journal:1/90000)"
    assert facts(first, at(60_000, "run_ended"), second) == [
        (60_000.0, 90_000.0, None, f"segment 0 ended, {measured}")
    ]
    # Without a record of the end, the last second of rows may be lost too.
    assert facts(first, at(60_000, "phase_ended"), second) == [
        (59_000.0, 90_000.0, None, f"segment 0 ended without a record of its end, {measured}")
    ]


def test_what_ended_a_segment_touches_the_time_from_then_on() -> None:
    first, ended, second = at(1000, "run_started"), at(60_000, "run_ended"), at(90_000, "segment_started", 1)
    border, stop = facts(first, at(50_000, "interrupted", why="ctrl-c"), ended, second)[::-1]
    assert stop == (50_000.0, 90_000.0, None, "segment 0 was interrupted: ctrl-c (journal:50000)")
    assert border[:3] == (60_000.0, 90_000.0, None)
    (stop, _) = facts(first, at(50_000, "interrupted"), ended, second)
    assert stop[3] == "segment 0 was interrupted:  (journal:50000)"
    acts = [
        replace(at(at_ms, kind, segment), writer="guardian")
        for at_ms, kind, segment in (
            (51_000, "fenced", 0),
            (52_000, "ended_process", 0),
            (53_000, "healed", 0),
            (54_000, "verified", 0),
            (95_000, "healed", 1),
        )
    ]
    found = facts(first, ended, second, guardian=Journal(tuple(acts)))
    assert [(from_ms, to_ms, why) for from_ms, to_ms, _, why in found if "guardian" in why] == [
        (51_000.0, 90_000.0, "the guardian acted: fenced (guardian:51000)"),
        (52_000.0, 90_000.0, "the guardian acted: ended_process (guardian:52000)"),
        (53_000.0, 90_000.0, "the guardian acted: healed (guardian:53000)"),
    ]


def test_what_lasts_to_the_end_of_a_segment_does_not_last_into_the_next() -> None:
    ended, second = at(120_000, "run_ended"), at(150_000, "segment_started", 1)
    last = at(160_000, "sampler_died", 1, sampler="observer", why="gone")
    found = incidents(died("observer"), ended, second, last)
    spans = [(i.from_ms, i.to_ms) for i in found if "sampler" in i.why]
    assert spans == [(95_000.0, 120_000.0), (155_000.0, None)]
    assert found == sorted(found, key=lambda incident: incident.from_ms)


def test_incidents_of_one_time_are_in_the_order_of_their_words() -> None:
    events = (*chunk("0002", 20_000, missing=1), *chunk("0001", 20_000, missing=1))
    renumbered = [replace(event, seq=seq) for seq, event in enumerate(events)]
    assert [i.why for i in incidents(*renumbered)] == [
        "the chunk 0001 of the load lost 1 requests that were due",
        "the chunk 0002 of the load lost 1 requests that were due",
    ]


def test_the_time_that_an_incident_touches() -> None:
    assert Incident(10.0, 20.0, None, "why").hole == (10.0, 20.0)
    assert Incident(10.0, 10.0, None, "why").hole == (10.0, 11.0)
    assert Incident(10.0, 10.5, None, "why").hole == (10.0, 11.0)
    assert Incident(10.0, None, None, "why").hole == (10.0, float("inf"))
    # One of no length touches the moment at which it happened.
    moment = Incident(10.0, 10.0, None, "why")
    assert [moment.overlaps(*span) for span in ((0.0, 10.0), (10.0, 11.0), (9.0, 10.5), (10.5, 11.0))] == [
        False,
        True,
        True,
        False,
    ]
    before = Incident(0.0, 10.0, None, "why")
    assert not before.overlaps(10.0, 20.0)
    assert before.overlaps(9.0, 20.0)
    assert Incident(0.0, None, None, "why").overlaps(10.0, 20.0)
    assert not Incident(20.0, None, None, "why").overlaps(10.0, 20.0)
