"""Journal events as sentences for people: one line per event, with what was measured and how long it lasts."""

from collections.abc import Callable, Mapping
from typing import Any

from lab.model.journal import Event
from lab.model.plan import FAULT, Plan, PlannedFault, Step
from lab.model.quantities import format_duration
from lab.report.escaping import one_line

CHARS_MAX = 200
MEASURED_CHARS_MAX = 120


class EventLines:
    """Words for the events of one run; remembers what later lines need, and where the run is.

    `step` is the step that runs. `in_force` are the faults that were injected and not yet healed, in that order.
    """

    def __init__(self) -> None:
        self.step = "starting"
        self.in_force: list[str] = []
        self._steps: Mapping[str, Step] = {}
        self._faults: Mapping[str, PlannedFault] = {}
        self._measured: dict[str, str] = {}
        self._healed_ms: dict[str, float] = {}

    def follow(self, plan: Plan) -> None:
        """Take in the plan, so that lines can name a fault's service and how long something lasts."""
        self._steps = {step.name: step for step in plan.steps}
        self._faults = {fault.id: fault for fault in plan.faults()}

    @property
    def state(self) -> str:
        """Which faults are in force."""
        return f"in force: {', '.join(self.in_force)}" if self.in_force else "no fault in force"

    def line(self, event: Event) -> str | None:
        """The event in one line without control characters; None for an event that is for machines only."""
        self._remember(event)
        words = _WORDS.get(event.kind)
        if words is None:
            return None
        text = words(self, event) if callable(words) else words.format_map(_Fields(self, event))
        return None if text is None else one_line(text, CHARS_MAX)

    def _remember(self, event: Event) -> None:
        fault = str(event.data.get("fault"))
        match event.kind:
            case "phase_started":
                self.step = str(event.data.get("step"))
            case "fault_injecting":
                self.in_force.append(fault)
            case "fault_healed":
                self._healed_ms[fault] = event.at_ms
                self.in_force = [other for other in self.in_force if other != fault]
            case "proof" if event.data.get("moment") == "during":
                self._measured[fault] = one_line(event.data.get("detail", ""), MEASURED_CHARS_MAX)

    def fault(self, event: Event) -> str:
        """The fault of an event and the service that it acts on."""
        fault = str(event.data.get("fault"))
        planned = self._faults.get(fault)
        return fault if planned is None else f"{fault} on {planned.target}"

    def step_started(self, event: Event) -> str | None:
        """The line of a step without faults; a fault's own events say enough about its step."""
        if event.data.get("phase") == FAULT:
            return None
        step = self._steps.get(self.step)
        return f"{self.step}: started" + ("" if step is None else f", {_seconds(step.duration_s)}")

    def injecting(self, event: Event) -> str:
        """The line of a fault that is about to be injected, with its parameters."""
        params = event.data.get("params")
        listed = [f"{name} {value}" for name, value in params.items()] if isinstance(params, Mapping) else []
        return f"{self.fault(event)}: injecting" + (f" ({', '.join(listed)})" if listed else "")

    def proven(self, event: Event) -> str:
        """The line of a fault that is in force: what was measured of it, and how long it will be held."""
        fault = str(event.data.get("fault"))
        measured, planned = self._measured.get(fault), self._faults.get(fault)
        held = "" if planned is None else f"; held for {_seconds(planned.hold_s)}"
        return f"{self.fault(event)}: in force" + (f", {measured}" if measured else "") + held

    def settled(self, event: Event) -> str:
        """The line of the end of a fault step: whether the target recovered, and how long that was watched."""
        healed_ms = self._healed_ms.get(str(event.data.get("fault")))
        watched = "" if healed_ms is None else f"; watched for {_seconds((event.at_ms - healed_ms) / 1000)}"
        recovered = "recovered" if event.data.get("recovered") else "NOT recovered"
        return f"{self.fault(event)}: {recovered}{watched}"


class _Fields(dict[str, Any]):
    """What a sentence may name: the event's fields, and `who` for the fault and its service."""

    def __init__(self, lines: EventLines, event: Event) -> None:
        super().__init__(event.data)
        self["who"] = lines.fault(event)

    def __missing__(self, name: str) -> str:
        return "?"


def _seconds(seconds: float) -> str:
    return format_duration(round(seconds))


def _cost(lines: EventLines, event: Event) -> str | None:
    share = event.data.get("share")
    return f"the lab's own probes take {share:.1%} of the target's CPU" if isinstance(share, float) else None


def _capacity(lines: EventLines, event: Event) -> str:
    too_much = "; TOO MUCH LOAD: no latency, error or recovery can be judged"
    return f"this machine: {event.data.get('words')}" + (too_much if event.data.get("overload") else "")


def _prepared(lines: EventLines, event: Event) -> str | None:
    first_s, store = event.data.get("first_request_s"), event.data.get("store")
    if not isinstance(first_s, float):
        return None
    return f"the first request was sent {first_s:.1f} s after the command began; the store was {store}"


def _chunk_ended(lines: EventLines, event: Event) -> str | None:
    dropped, truncated = event.data.get("dropped"), event.data.get("truncated")
    problems = [f"{dropped} requests were not sent"] if dropped else []
    problems += ["its output breaks off"] if truncated else []
    return f"load chunk {event.data.get('chunk')}: {' and '.join(problems)}" if problems else None


_WORDS: Mapping[str, str | Callable[[EventLines, Event], str | None]] = {
    "run_started": "run {run_id}: started, seed {seed}",
    "prepared": _prepared,
    "observer_cost": _cost,
    "capacity_measured": _capacity,
    "phase_started": EventLines.step_started,
    "fault_injecting": EventLines.injecting,
    "fault_in_force": EventLines.proven,
    "fault_void": "{who}: VOID, {why}",
    "fault_healing": "{who}: healing",
    "fault_healed": "{who}: healed",
    "heal_failed": "{who}: HEAL FAILED, {why}",
    "settled": EventLines.settled,
    "load_chunk_ended": _chunk_ended,
    "sampler_died": "SAMPLER DIED, {sampler}: {why}",
    "clock_stepped": "the wall clock stepped by {by_ms} ms",
    "machine_suspended": "THE MACHINE WAS SUSPENDED for {by_ms} ms",
    "lab_stalled": "the lab itself stood still from {from_ms} to {to_ms} ms of the run",
    "aborted": "ABORTED, {why}; healing, then judging what there is",
    "guardian_lost": "THE GUARDIAN DIED: {why}",
    "interrupted": "interrupted; healing, then judging what there is",
    "lab_error": "AN ERROR OF THE LAB in {where}, {error}: {detail} ({place})",
    "lab_failed": "THE LAB FAILED: {why}",
    "run_ended": "the run ended; judging it",
}


def for_machines(event: Event) -> bool:
    """Whether `--log json` shows an event: all that have a line for people, and the measurements between them."""
    return event.kind in _WORDS or event.kind == "proof"
