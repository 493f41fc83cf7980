"""A steady stream without a sample for too long is an incident: from the last sample to the next, and nothing more."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.windows.incidents import Incident, find_incidents
from lab.judge.windows.segments import Segment
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.plan import STREAMS_WITH_TRAFFIC, USUAL_STREAMS, Step
from lab.model.samples import Layer, Memory, Probe, Recall, Request, Samples, Traffic
from tests.pure.evidence_factory import LOAD, Recipe, make

FROM_MS, TO_MS = 1000.0, 101_000.0
PHASE = Window("baseline", "steady", FROM_MS, TO_MS)
ONE = (Segment(0, 0.0, 200_000.0, True, True, ()),)
# What the factory's plan promises: three periods of each stream, and a second.
STREAMS = [
    ("probes", 2500.0, "no canary probe was sent"),
    ("recall", 3000.0, "no truth query was sent"),
    ("memory", 16_000.0, "no memory was read"),
    ("traffic", 7000.0, "the target's connections were not read"),
    ("requests", 1750.0, "no load request was due"),
]


@cache
def run() -> Evidence:
    return make(Recipe(faults=(), baseline_s=100.0, clean_s=0))


def rows(table: str, times_ms: Iterable[float]) -> list[Any]:
    made: dict[str, Any] = {
        "probes": lambda at: Probe(at, at, "list", "ok", ""),
        "recall": lambda at: Recall(at, at, "dense", "q1", True, 10, 10, Layer.OK, ""),
        "memory": lambda at: Memory(at, "mcp", None, "anon_bytes", 1),
        "traffic": lambda at: Traffic(at, "store", "qdrant", 1, 1, 0, 1, 1),
        "requests": lambda at: Request(at, at, at, "list", True, Layer.OK, "", "0000"),
    }
    return [made[table](at) for at in times_ms]


def sampled(**times_ms: Iterable[float]) -> Evidence:
    """The run with these times in some tables; in the others a row each half second, also around the phases."""
    often = [500.0 * n for n in range(420)]
    tables: dict[str, Any] = {name: rows(name, times_ms.get(name, often)) for name, _, _ in STREAMS}
    return replace(run(), samples=Samples(**tables))


def silences(
    evidence: Evidence, *phases: Window, segments: tuple[Segment, ...] = ONE
) -> list[tuple[float, float | None, frozenset[str] | None, str]]:
    found = find_incidents(evidence, phases or (PHASE,), segments)
    return [(i.from_ms, i.to_ms, i.streams, i.description) for i in found if i.event is None]


def every(step_ms: float, from_ms: float = 0.0, to_ms: float = 120_000.0) -> list[float]:
    return [from_ms + step_ms * n for n in range(int((to_ms - from_ms) // step_ms) + 1)]


@pytest.mark.parametrize(("stream", "limit_ms", "why"), STREAMS)
def test_a_pause_longer_than_three_periods_and_a_second_is_a_silence(
    stream: str, limit_ms: float, why: str
) -> None:
    assert silences(sampled()) == []
    for pause_ms in (limit_ms, limit_ms + 1):
        times = [*every(500), 40_000 + 1.0, *every(500, 40_001 + pause_ms)]
        times = [at for at in times if not 40_001 < at < 40_001 + pause_ms]
        found = silences(sampled(**{stream: times}))
        silence = (math.nextafter(40_001.0, math.inf), 40_001 + pause_ms, frozenset({stream}), why)
        assert found == ([silence] if pause_ms > limit_ms else [])


@pytest.mark.parametrize(("stream", "limit_ms", "why"), STREAMS)
def test_a_stream_that_begins_late_or_ends_early_is_silent_until_then(
    stream: str, limit_ms: float, why: str
) -> None:
    begins_ms, ends_ms = FROM_MS + limit_ms, TO_MS - limit_ms
    # What lies outside of the phases fills no pause.
    times = [FROM_MS - 1, begins_ms + 1, *every(500, begins_ms + 1, ends_ms - 1), ends_ms - 1, TO_MS + 1]
    assert silences(sampled(**{stream: times})) == [
        (math.nextafter(FROM_MS, math.inf), begins_ms + 1, frozenset({stream}), why),
        (math.nextafter(ends_ms - 1, math.inf), TO_MS, frozenset({stream}), why),
    ]
    assert silences(sampled(**{stream: every(500, begins_ms, ends_ms)})) == []
    assert silences(sampled(**{stream: []})) == [
        (math.nextafter(FROM_MS, math.inf), TO_MS, frozenset({stream}), why)
    ]


def test_only_the_canary_keeps_the_probes_from_being_silent() -> None:
    canary = [at for at in every(500) if not 40_000 < at < 45_000]
    others = [replace(probe, probe="store_idle") for probe in rows("probes", every(500))]
    evidence = sampled()
    samples = replace(evidence.samples, probes=[*rows("probes", canary), *others])  # type: ignore[arg-type]
    assert [why for _, _, _, why in silences(replace(evidence, samples=samples))] == [
        "no canary probe was sent"
    ]


def test_a_run_that_does_not_read_the_connections_is_not_silent_about_them() -> None:
    unread = sampled(traffic=[])
    assert unread.plan.streams == STREAMS_WITH_TRAFFIC
    assert silences(replace(unread, plan=replace(unread.plan, streams=USUAL_STREAMS))) == []


def test_load_is_due_only_in_steps_with_a_load_and_is_one_stream_over_steps_that_follow() -> None:
    loaded, idle = Step("loaded", "steady", 30, load=LOAD), Step("idle", "steady", 30)
    plan = replace(run().plan, steps=(loaded, idle))
    first, second = (
        Window("loaded", "steady", 1000.0, 31_000.0),
        Window("loaded", "steady", 31_000.0, 61_000.0),
    )
    between = replace(second, name="idle")
    last = Window("loaded", "steady", 61_000.0, 91_000.0)
    times = [at for at in every(500) if not 30_000 < at < 62_000]
    evidence = replace(sampled(requests=times), plan=plan)
    words, requests = "no load request was due", frozenset({"requests"})
    # Without a load in between, each pause at its edges is short.
    assert silences(evidence, first, between, last) == []
    assert silences(evidence, first, second, last) == [
        (math.nextafter(30_000.0, math.inf), 62_000.0, requests, words)
    ]
    assert silences(evidence, between) == []


def test_the_time_between_two_segments_is_no_silence_of_a_stream() -> None:
    segments = (replace(ONE[0], last=False, to_ms=40_000.0), Segment(1, 60_000.0, 101_000.0, True, True, ()))
    phases = (replace(PHASE, to_ms=40_000.0), replace(PHASE, from_ms=60_000.0, segment=1))
    times = [at for at in every(500) if not 40_000 < at < 60_000 and not 70_000 < at < 80_000]
    tables = dict.fromkeys(("probes", "requests", "recall", "traffic"), times)
    evidence = sampled(**tables)
    begun = replace(evidence.journal.events[0], segment=1)
    segments = (segments[0], replace(segments[1], events=(begun,)))
    found = {(from_ms, to_ms) for from_ms, to_ms, _, _ in silences(evidence, *phases, segments=segments)}
    assert found == {(math.nextafter(70_000.0, math.inf), 80_000.0)}


def test_no_phase_is_no_silence() -> None:
    assert find_incidents(sampled(probes=[]), (), ONE) == ()


def test_an_incident_concerns_its_streams_and_without_any_all_of_them() -> None:
    load = Incident(0.0, 1.0, frozenset({"requests"}), "why")
    assert load.concerns("requests")
    assert not load.concerns("probes")
    assert replace(load, streams=None).concerns("probes")
