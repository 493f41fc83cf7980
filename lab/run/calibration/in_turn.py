"""Calibrates recoveries at a reference server that answers one call at a time, where all calls queue up in an outage.

A load of its own asks on an open schedule, as k6 does in a run. The observer asks beside it, as often as the budget of
a run allows at a server of this capacity. Their rows go through a sample store, and the judge's stream of witnesses and
its clocks turn them into intervals. Shorter than in a run are the outages, the calls' time limit, and the hold of the
rule, because outages follow each other within seconds.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab.errors import WorldError
from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.guard.guardian_journal import origin_ns
from lab.model.capacity import Capacity, OperationCost
from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.plan import ObserverPlan
from lab.model.samples import Samples
from lab.model.scenario import Scenario
from lab.model.target import Target
from lab.observe import queue_server
from lab.observe.calibration_server import Outage, running
from lab.observe.clock import RunClock
from lab.observe.observer import TargetObserver
from lab.observe.queue_server import COST_MS, KINDS
from lab.plan.observer_budget import observer_plan
from lab.probes.recall import TruthQuery
from lab.run.calibration.agreement import InTurn
from lab.run.calibration.at_once import reference_target
from lab.run.calibration.comparison import CALM_MS, Answered, Record, certify
from lab.run.calibration.open_load import OpenLoad

LEAD_S = 1.5
LOAD_QUERY, LAB_QUERY = "asked by the load", "asked by the lab"
TARGET = replace(reference_target(), known_issues=())


def bounded_observer(target: Target) -> ObserverPlan:
    """What a run would plan for a target of this capacity."""
    per_s = 1000 / COST_MS
    costs = {target.recall: OperationCost(per_s, COST_MS, 0.0, 0)}
    scenario = Scenario("calibration", "", 0.0, (), {}, ())
    return observer_plan(scenario, target, Capacity(costs, per_s, 1.0, 0.0))


@dataclass(frozen=True, slots=True)
class Course:
    """The course of the calibration: a quiet time, then outages of each kind in turn, uniform in length.

    `unbounded` asks beside the load in place of the observer of a run; with it the calibration must fail.
    """

    outages: int
    seed: int
    quiet_s: float = 20.0
    rate_per_s: float = 4.0
    hold_s: tuple[float, float] = (1.0, 6.0)
    gap_s: tuple[float, float] = (7.0, 8.0)
    request_timeout_ms: int = 3000
    unbounded: ObserverPlan | None = None

    @property
    def target(self) -> Target:
        """The server as a target."""
        return replace(TARGET, request_timeout_ms=self.request_timeout_ms)

    @property
    def observer(self) -> ObserverPlan:
        """What the lab asks beside the load."""
        return self.unbounded or bounded_observer(self.target)

    def schedule(self, from_ms: float) -> list[Outage]:
        """The outages, the first at `from_ms`; the same seed gives the same outages."""
        dice, at_ms, planned = random.Random(self.seed), from_ms, []
        for number in range(self.outages):
            end_ms = at_ms + 1000 * dice.uniform(*self.hold_s)
            planned.append((KINDS[number % len(KINDS)], at_ms, end_ms))
            at_ms = end_ms + 1000 * dice.uniform(*self.gap_s)
        return planned

    def load(self) -> LoadProfile:
        """The load, as the plan of a run describes it."""
        return LoadProfile(
            name="calibration",
            script="none",
            schedule=ConstantArrivalRate(self.rate_per_s),
            mix={TARGET.recall: 1},
            vus_max=1000,
            sessions=1,
            connection_reuse=True,
            request_timeout_ms=self.request_timeout_ms,
            chunk_s=60.0,
        )


def recovery(directory: Path, course: Course, say: Callable[[str], None]) -> InTurn:
    """Calibrate, and write the samples, what the server did, and `calibration_in_turn.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate = certify(watch(directory, course, say))
    text = json.dumps(
        {**certificate.facts(), "course": asdict(course), "observer": asdict(course.observer)}, indent=2
    )
    (directory / "calibration_in_turn.json").write_text(text + "\n", encoding="utf-8")
    return certificate


def watch(directory: Path, course: Course, say: Callable[[str], None]) -> Record:
    """Run the server through its course while the load and the observer ask it; raises WorldError."""
    samples, calls = directory / "samples_in_turn.sqlite", directory / "calls_in_turn.jsonl"
    for old in directory.glob(f"{samples.name}*"):
        old.unlink()
    clock, store = RunClock(), SampleStore(samples)
    origin_ms = origin_ns(clock) / 1e6
    truths: list[Outage] = []
    with running(queue_server.__name__, str(calls.resolve())) as reference:
        load, observer = (
            _load(reference.url, course, clock, store),
            _observer(reference.url, course, clock, store),
        )
        load.start()
        observer.watch_closely(True)
        observer.start()
        clock.sleep_s(LEAD_S)
        quiet_from_ms = clock.now_ms()
        clock.sleep_s(course.quiet_s)
        for kind, start, end in reference.outages(course.schedule(time.monotonic_ns() / 1e6 + CALM_MS)):
            truths.append((kind, start - origin_ms, end - origin_ms))
            say(f"backlog {len(truths)} of {course.outages}: {kind}, {(end - start) / 1000:.2f} s")
        clock.sleep_s(course.gap_s[0])
        end_ms = clock.now_ms()
        load.stop()
        observer.stop()
    store.close()
    _require_alive([*load.died(), *observer.died()], reference.url)
    return Record(
        target=course.target,
        observer=course.observer,
        bounded=bounded_observer(course.target),
        load=course.load(),
        planned=course.outages,
        truths=tuple(truths),
        samples=_read(samples),
        calls=_answered(calls, origin_ms),
        quiet_from_ms=quiet_from_ms,
        end_ms=end_ms,
    )


def _require_alive(deaths: Sequence[object], url: str) -> None:
    if deaths:
        raise WorldError("the load or the observer died", where=url, last_state=str(deaths), try_="run again")


def _read(path: Path) -> Samples:
    samples, damage = read_samples(path)
    if damage:
        raise WorldError("the samples are damaged", where=str(path), last_state=str(damage), try_="run again")
    return samples


def _answered(path: Path, origin_ms: float) -> tuple[Answered, ...]:
    """What the server says of each call, in order of arrival."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(
        Answered(query == LOAD_QUERY, *(at_ms - origin_ms for at_ms in times_ms))
        for query, *times_ms in lines
    )


def _query(course: Course, text: str) -> TruthQuery:
    return TruthQuery("q", text, frozenset(f"d{number}" for number in range(course.observer.recall_k)))


def _load(url: str, course: Course, clock: RunClock, store: SampleStore) -> OpenLoad:
    return OpenLoad(url, course.target, course.load(), _query(course, LOAD_QUERY), clock, store)


def _observer(url: str, course: Course, clock: RunClock, store: SampleStore) -> TargetObserver:
    return TargetObserver(
        url=url,
        target=course.target,
        plan=course.observer,
        queries=[_query(course, LAB_QUERY)],
        clock=clock,
        sink=store,
        on_memory=lambda: None,
    )
