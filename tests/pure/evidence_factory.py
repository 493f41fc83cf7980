"""Synthetic evidence of a run: healthy unless told otherwise, with knobs to plant defects of which the truth
is known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lab.judge.checks import default_bounds
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.plan import (
    BY_CANARY,
    BY_LOAD,
    FAULT,
    STEADY,
    STREAMS_WITH_TRAFFIC,
    WARM_UP,
    Decision,
    ObserverPlan,
    Plan,
    PlannedFault,
    Step,
)
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request, Rows, Samples, Traffic
from lab.model.target import Condition, KnownIssue, Operation, Target

STATUS_MESSAGE = "Failed to get status: object list can't be used in 'await' expression"
EMPTY_MESSAGE = "expected results min_items 1, found []"
BLOCK = ("search", "search", "search", "search", "add", "add", "add", "list", "list", "status")
REQUIRED = ("load_arrived", "latency", "errors", "recovery", "accuracy", "in_force", "integrity")
STATUS_ISSUES = tuple(
    KnownIssue(
        f"status-{check}",
        check,
        "status",
        "payload",
        "can't be used in 'await'",
        "0.1.0",
        "always",
        "2026-11-01",
    )
    for check in ("errors", "latency")
)
EMPTY_ISSUE = KnownIssue(
    "empty-when-dead",
    "accuracy",
    "search",
    "payload",
    "min_items",
    "0.1.0",
    "no store",
    "2026-11-01",
    ("kill",),
)


LOAD = LoadProfile(
    name="normal",
    script="normal.js",
    schedule=ConstantArrivalRate(4.0),
    mix={"search": 40, "add": 30, "list": 20, "status": 10},
    vus_max=500,
    sessions=5,
    connection_reuse=False,
    request_timeout_ms=10_000,
    chunk_s=60.0,
)


# Faults that act on the target's own connections, and those of them that stop what crosses.
STOPPING = ("link_down", "partition", "reject")
CROSSING = ("latency", "packet_loss", "bandwidth", "timeout", *STOPPING)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the run was like.

    `recovers_s` is by fault id how long after its heal the target is well again, `store_busy_s` how long after its
    heal the store has work to do, `wrong_s` how long after its heal the canary gets wrong documents (a run with it has
    a canary that counts hits). Where the load is one of the `witnesses`, its searches have their hits counted.
    """

    faults: tuple[str, ...] = ("latency", "kill", "cpu_cap")
    warm_up_s: float = 20.0
    baseline_s: float = 120.0
    clean_s: float = 40.0
    hold_s: float = 30.0
    recovers_s: dict[str, float] = field(default_factory=dict)
    store_busy_s: dict[str, float] = field(default_factory=dict)
    wrong_s: dict[str, float] = field(default_factory=dict)
    recovery_max_s: float = 65.0
    status_fails: bool = False
    lies_when_down: bool = False
    known_issues: tuple[KnownIssue, ...] = ()
    required: tuple[str, ...] = REQUIRED
    decisions: tuple[Decision, ...] = ()
    witnesses: tuple[str, ...] = (BY_CANARY,)
    seed: int = 7


@dataclass(frozen=True, slots=True)
class _Step:
    """A step with the times (ms) at which things happened in it."""

    step: Step
    from_ms: float
    to_ms: float

    @property
    def injecting_ms(self) -> float:
        return self.from_ms + 300

    @property
    def healing_ms(self) -> float:
        return self.from_ms + 1000 + 1000 * (self.step.faults[0].hold_s if self.step.faults else 0)

    @property
    def healed_ms(self) -> float:
        return self.healing_ms + 20


def make(recipe: Recipe | None = None) -> Evidence:
    """The evidence of a run that went as the recipe says."""
    recipe = recipe or Recipe()
    plan = _plan(recipe)
    steps = list(_timed(plan, recipe))
    rng = np.random.default_rng(recipe.seed)
    samples = _samples(recipe, plan, steps, rng)
    return Evidence(plan, _journal(recipe, plan, steps, samples), samples)


def _fault_steps(recipe: Recipe) -> Iterator[Step]:
    for number, kind in enumerate(recipe.faults, 1):
        name = f"f{number}-{kind}"
        fault = PlannedFault(name, kind, "qdrant", {}, recipe.hold_s, recipe.recovery_max_s)
        yield Step(name, FAULT, recipe.hold_s + 40, (fault,))
        if recipe.clean_s:
            yield Step(f"clean-{number}", STEADY, recipe.clean_s)


def target(known_issues: tuple[KnownIssue, ...] = (), *, counts_hits: bool = False) -> Target:
    """A target with the usual mix; its canary is `list`, which may say what its documents are."""
    success = (Condition(("error",), "absent"),)
    names = ("search", "add", "list", "status")
    ids = ("results", "*", "id") if counts_hits else ()
    return Target(
        name="stand-in",
        version="0.1.0",
        endpoint="/mcp",
        protocol_version="2025-06-18",
        environment={},
        truth_collection="truth",
        writes_collection="writes",
        normal_rate_per_s=4,
        capacity_per_s=38,
        capacity_cpu_cores=2,
        start_timeout_s=30,
        request_timeout_ms=10_000,
        mix={"search": 40, "add": 30, "list": 20, "status": 10},
        operations={name: Operation(name, name, {}, "structured", success, ids) for name in names},
        canary="list",
        recall="search",
        recall_mode="dense",
        add="add",
        known_issues=known_issues,
    )


def _plan(recipe: Recipe) -> Plan:
    steps = (
        Step("warm-up", WARM_UP, recipe.warm_up_s),
        Step("baseline", STEADY, recipe.baseline_s),
        *_fault_steps(recipe),
    )
    return Plan(
        campaign="soak",
        why="",
        seed=recipe.seed,
        duration_s=sum(step.duration_s for step in steps),
        steps=tuple(replace(step, load=LOAD) for step in steps),
        observer=ObserverPlan(2.0, 10.0, 2000, 200.0, 5, 1.5, 10, 5.0, witnesses=recipe.witnesses),
        bounds=default_bounds(),
        required=recipe.required,
        decisions=recipe.decisions,
        target=target(recipe.known_issues, counts_hits=bool(recipe.wrong_s)),
        documents=1000,
        queries=200,
        corpus="test",
        streams=STREAMS_WITH_TRAFFIC,
    )


def _timed(plan: Plan, recipe: Recipe) -> Iterator[_Step]:
    at_ms = 1000.0
    for step in plan.steps:
        seconds = step.duration_s
        if bool(step.faults):
            watched = min(recipe.recovery_max_s, recipe.recovers_s.get(step.name, 1.2) + 31)
            seconds = 1.3 + step.faults[0].hold_s + watched
        yield _Step(step, at_ms, at_ms + seconds * 1000)
        at_ms += seconds * 1000


def _affected(steps: Iterable[_Step], recipe: Recipe, at_ms: float) -> str | None:
    """The kind of the fault that the target suffers from at a time."""
    for timed in steps:
        if not timed.step.faults:
            continue
        well_ms = timed.healing_ms + 1000 * recipe.recovers_s.get(timed.step.name, 1.2)
        if timed.injecting_ms + 50 <= at_ms < well_ms:
            return timed.step.faults[0].kind
    return None


def _samples(recipe: Recipe, plan: Plan, steps: list[_Step], rng: np.random.Generator) -> Samples:
    end_ms = steps[-1].to_ms
    requests = [_request(recipe, steps, rng, n, 1000 + 250.0 * n) for n in range(int((end_ms - 1000) // 250))]
    asked = np.arange(1000, end_ms, 1000 / plan.observer.recall_hz)
    probes = [_probe(recipe, steps, rng, at) for at in _probe_times(recipe, steps, end_ms)]
    probes += [_look(recipe, steps, float(at)) for at in np.arange(1200, end_ms, 500)]
    recall = [_recall(recipe, steps, rng, n, float(at)) for n, at in enumerate(asked)]
    ticks = [float(at) for at in np.arange(1000, end_ms, 5000)]
    memory = [Memory(at, "mcp", None, "anon_bytes", 280_000_000) for at in ticks]
    host = [HostReading(at, "lab_cpu_s", at / 1e5) for at in ticks]
    traffic = _traffic(steps, end_ms)
    return Samples(Rows(requests), Rows(probes), Rows(recall), Rows(memory), Rows(host), Rows(traffic))


def _traffic(steps: list[_Step], end_ms: float) -> Iterator[Traffic]:
    """A reading every two seconds and around each fault; bytes cross all the time, but where a fault stops them."""
    times = {float(at) for at in np.arange(1000, end_ms, 2000)}
    stops = []
    for timed in steps:
        if timed.step.faults:
            times |= {
                timed.injecting_ms - 10,
                timed.from_ms + 620,
                timed.healing_ms - 10,
                timed.healed_ms + 10,
            }
            if timed.step.faults[0].kind in STOPPING:
                stops.append((timed.injecting_ms, timed.healing_ms))
    for at_ms in sorted(times):
        flowed_ms = at_ms - sum(max(0.0, min(at_ms, b) - a) for a, b in stops)
        for route, peer in (("entrance", "mcp"), ("store", "qdrant")):
            yield Traffic(
                at_ms, route, peer, 2, 2 + int(at_ms // 10_000), 0, int(3 * flowed_ms), int(9 * flowed_ms)
            )


def _request(recipe: Recipe, steps: list[_Step], rng: np.random.Generator, n: int, at: float) -> Request:
    op, took = BLOCK[n % 10], 35 * float(rng.lognormal(0, 0.3))
    kind, source = _affected(steps, recipe, at), f"{n // 240:04d}"
    name = f"{source}-{n % 240}-{op}"
    if kind in ("latency", "cpu_cap"):
        took += 300 if kind == "latency" else 60
    down = kind == "kill" and op != "status"
    if down or (recipe.status_fails and op == "status"):
        message = STATUS_MESSAGE if op == "status" else EMPTY_MESSAGE
        return Request(at, at + 1, at + 1 + took, op, False, Layer.PAYLOAD, message, source, id=name)
    found = (
        (10, 10, f"q{n % 200:03d}") if op == "search" and BY_LOAD in recipe.witnesses else (None, None, None)
    )
    return Request(at, at + 1, at + 1 + took, op, True, Layer.OK, "", source, 0, name, *found)


def _probe_times(recipe: Recipe, steps: list[_Step], end_ms: float) -> Iterator[float]:
    """Every half second, and ten times a second from injection until two seconds after the recovery."""
    for tick in range(int((end_ms - 1000) // 100)):
        at_ms = 1000 + 100.0 * tick
        fast = any(
            bool(timed.step.faults)
            and timed.injecting_ms <= at_ms
            and at_ms < timed.healing_ms + 1000 * recipe.recovers_s.get(timed.step.name, 1.2) + 2200
            for timed in steps
        )
        if fast or tick % 5 == 0:
            yield at_ms


def _probe(recipe: Recipe, steps: list[_Step], rng: np.random.Generator, at: float) -> Probe:
    kind, took = _affected(steps, recipe, at), 12 * float(rng.lognormal(0, 0.2))
    if kind == "kill":
        return Probe(at, at + took, "list", "payload", "expected collections contains docs")
    if _after_heal(steps, recipe.wrong_s, at):
        return Probe(at, at + took, "list", "wrong", "", 3, 10)
    return Probe(at, at + took + (300 if kind == "latency" else 0), "list", "ok", "")


def _after_heal(steps: Iterable[_Step], lasts_s: dict[str, float], at_ms: float) -> bool:
    """Whether what lasts so long after the heal of each fault, and began with it, goes on at a time."""
    return any(
        timed.injecting_ms + 50 <= at_ms < timed.healing_ms + 1000 * lasts_s.get(timed.step.name, -1e6)
        for timed in steps
        if timed.step.faults
    )


def _look(recipe: Recipe, steps: list[_Step], at: float) -> Probe:
    """A look at the store, which answers past every link and is dead while a kill is in force."""
    if _affected(steps, recipe, at) == "kill":
        return Probe(at, at + 2, "store_idle", "transport", "ConnectError: refused")
    busy = _after_heal(steps, recipe.store_busy_s, at)
    return Probe(at, at + 5, "store_idle", "busy" if busy else "ok", "truth: status yellow" if busy else "")


def _recall(recipe: Recipe, steps: list[_Step], rng: np.random.Generator, n: int, at: float) -> Recall:
    query, kind = f"q{n % 200:03d}", _affected(steps, recipe, at)
    if kind == "kill":
        if recipe.lies_when_down:
            return Recall(at, at + 30, "dense", query, True, 0, 10, Layer.PAYLOAD, EMPTY_MESSAGE)
        return Recall(at, at + 30, "dense", query, False, 0, 10, Layer.IS_ERROR, "the store is down")
    hits = 10 if rng.random() < 0.8 else 9
    took = 330 if kind == "latency" else 30
    return Recall(at, at + took, "dense", query, True, hits, 10, Layer.OK, "")


Draft = tuple[float, str, dict[str, Any]]


def _journal(recipe: Recipe, plan: Plan, steps: list[_Step], samples: Samples) -> Journal:
    drafts: list[Draft] = [(0.0, "run_started", _facts(plan)), (500.0, "observer_cost", _cost())]
    for timed in steps:
        name = {"phase": timed.step.kind, "step": timed.step.name}
        drafts += [(timed.from_ms, "phase_started", name), (timed.to_ms, "phase_ended", name)]
        drafts += list(_story(recipe, timed))
    drafts += list(_chunks(samples))
    drafts.sort(key=lambda draft: draft[0])
    rows = samples.counts()
    drafts.append((steps[-1].to_ms + 2000, "run_ended", {"rows": rows, "last_seq": len(drafts)}))
    return Journal(tuple(_event(seq, *draft) for seq, draft in enumerate(drafts)))


def _event(seq: int, at_ms: float, kind: str, data: dict[str, Any]) -> Event:
    minutes, seconds = divmod(at_ms / 1000, 60)
    return Event(seq, "run", at_ms, f"2026-11-24T10:{int(minutes) % 60:02d}:{seconds:06.3f}Z", kind, data)


def _facts(plan: Plan) -> dict[str, Any]:
    image = {
        "service": "mcp",
        "ref": "lab.local/mcp:1",
        "digest": "sha256:1",
        "source": "built",
        "why": "no registry",
    }
    return {
        "run_id": "20261124T100000Z-soak-abcd",
        "lab_version": "0.1.0",
        "campaign": plan.campaign,
        "seed": plan.seed,
        "plan_sha256": "0" * 64,
        "wall_epoch_ms": 1.7e12,
        "target": {"name": plan.target.name, "version": plan.target.version},
        "images": [image],
        "host": {"cpus": 2, "memory_bytes": 1 << 34, "cgroup": 1, "capabilities": {"root": True}},
        "truth": {"documents": 1000, "corpus_sha256": "1" * 64},
    }


def _cost() -> dict[str, Any]:
    return {"canary_ms": 8.0, "recall_ms": 20.0, "capacity_cpu_ms_per_s": 2000, "share": 0.023, "calls": 20}


def _story(recipe: Recipe, timed: _Step) -> Iterator[Draft]:
    """The life of one fault, as `lab.run.loop` journals it."""
    if not timed.step.faults:
        return
    fault = timed.step.faults[0]
    undo = {"type": "StartContainer" if fault.kind == "kill" else "RemoveToxic"}
    whose = {"fault": fault.id}
    well_ms = timed.healing_ms + 1000 * recipe.recovers_s.get(fault.id, 1.2)

    def proof(at_ms: float, moment: str, measured: float, holds: bool, absent: bool) -> Draft:
        seen = {"measured": measured, "unit": "ms", "holds": holds, "absent": absent, "detail": ""}
        return at_ms, "proof", {**whose, "moment": moment, **seen}

    own = {"routes": ["store"], "effect": "stops" if fault.kind in STOPPING else "crosses"}
    about: dict[str, object] = {"fault_kind": fault.kind, "target": fault.target, "params": {}, "undo": undo}
    about["own_traffic"] = own if fault.kind in CROSSING else None
    yield proof(timed.from_ms + 200, "before", 1.0, False, True)
    yield timed.injecting_ms, "fault_injecting", {**whose, **about}
    yield timed.injecting_ms + 50, "fault_injected", whose
    yield proof(timed.from_ms + 600, "during", 301.0, True, False)
    yield timed.from_ms + 610, "fault_in_force", whose
    yield proof(timed.healing_ms - 50, "still", 302.0, True, False)
    yield timed.healing_ms, "fault_healing", whose
    yield timed.healed_ms, "fault_healed", whose
    yield proof(min(timed.to_ms - 10, well_ms), "after", 1.1, False, True)
    yield timed.to_ms - 5, "settled", {**whose, "recovered": True}


def _chunks(samples: Samples) -> Iterator[Draft]:
    for chunk in sorted({request.source for request in samples.requests}):
        mine = [request for request in samples.requests if request.source == chunk]
        start = mine[0].scheduled_ms
        about = {"chunk": chunk, "profile": LOAD.name, "script": LOAD.script, "load_began_ms": 1000.0}
        about |= {"scheduled_start_ms": start, "duration_ms": 60_000.0, "due": 240}
        counts = {"started": len(mine), "dropped": 0, "rows": len(mine), "truncated": False}
        yield start - 500, "load_chunk_started", about
        yield mine[-1].scheduled_ms + 400, "load_chunk_ended", {"chunk": chunk, "exit_code": 0, **counts}


def with_journal(evidence: Evidence, events: Iterable[Event]) -> Evidence:
    """The same evidence with other events, as they are."""
    return replace(evidence, journal=Journal(tuple(events)))


def edited(evidence: Evidence, edit: Callable[[Event], Event | None]) -> Evidence:
    """The same evidence with each event edited or, where None is returned, left out; numbered anew without
    holes.
    """
    kept = [event for event in map(edit, evidence.journal) if event is not None]
    events = [replace(event, seq=seq) for seq, event in enumerate(kept)]
    last = replace(events[-1], data={**events[-1].data, "last_seq": len(events) - 1})
    return with_journal(evidence, [*events[:-1], last])


def resampled(evidence: Evidence, **tables: Iterable[Any]) -> Evidence:
    """The same evidence with other tables and a journal that agrees with them: the forger's best."""
    samples = replace(evidence.samples, **{name: Rows(rows) for name, rows in tables.items()})

    def agree(event: Event) -> Event:
        if event.kind == "run_ended":
            return replace(event, data={**event.data, "rows": samples.counts()})
        if event.kind == "load_chunk_ended":
            rows = sum(request.source == event.data["chunk"] for request in samples.requests)
            return replace(event, data={**event.data, "rows": rows})
        return event

    return edited(replace(evidence, samples=samples), agree)
