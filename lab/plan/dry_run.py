"""Describes a plan in words, as `lab soak --dry-run` shows it."""

from collections.abc import Iterator

from lab.model.plan import Plan, PlannedFault
from lab.model.quantities import format_duration


def describe(plan: Plan) -> list[str]:
    """The plan in words: which step begins when, and what the plan can decide."""
    load = "; ".join(f"load {profile.in_words()}" for profile in plan.loads()) or "no load"
    target = f"{plan.target.name} {plan.target.version}"
    head = [
        f"{plan.campaign}: {plan.why}",
        f"seed {plan.seed}, {format_duration(plan.duration_s)}, {load} on {target}",
    ]
    return [
        *head,
        *_capacity(plan),
        "",
        *_timetable(plan),
        "",
        "what this duration can decide:",
        *_decided(plan),
    ]


def _capacity(plan: Plan) -> Iterator[str]:
    """What the load and the lab's own calls take of the target; by `target.yaml` until it is measured."""
    load_per_s, observer_hz = plan.load_per_s(), plan.observer_hz()
    if plan.capacity is not None:
        yield f"this machine: {plan.capacity.in_words(load_per_s, observer_hz)}"
        return
    documented_per_s = plan.target.capacity_per_s
    yield (
        f"by target.yaml, not measured: {documented_per_s:g} calls/s of this mix; load {load_per_s:g}/s = "
        f"{load_per_s / documented_per_s:.0%}, observer {sum(observer_hz.values()) / documented_per_s:.1%}; "
        "a run measures this at its beginning, and its own rates follow from that"
    )


def _timetable(plan: Plan) -> Iterator[str]:
    """One line for each step; its load is named where the steps differ in it."""
    loads_differ = len({step.load.name if step.load else None for step in plan.steps}) > 1
    at_s = 0.0
    for step in plan.steps:
        duration = format_duration(round(step.duration_s))
        parts = [" with ".join(_fault_in_words(fault) for fault in step.faults)]
        if loads_differ:
            parts.append(f"load {step.load.name}" if step.load else "no load")
        yield f"{at_s:7.0f} s  {step.name:16} {duration:>12}  {'; '.join(filter(None, parts))}".rstrip()
        at_s += step.duration_s


def _fault_in_words(fault: PlannedFault) -> str:
    params = ", ".join(f"{name} {value}" for name, value in fault.params.items())
    in_force = f"{fault.kind} on {fault.target}, in force for {format_duration(round(fault.hold_s))}"
    return in_force + (f" ({params})" if params else "")


def _decided(plan: Plan) -> Iterator[str]:
    """What the plan can decide, and what that means for the gate."""
    for decision in plan.decisions:
        mark = "yes" if decision.decidable else "NO "
        advice = f"; a campaign with --duration {decision.needs_s:.0f}s can" if decision.needs_s else ""
        yield f"  {mark} {decision.check:10} {decision.subject:12} {decision.reason}{advice}"
    able = {decision.check for decision in plan.decisions if decision.decidable}
    unable = {decision.check for decision in plan.decisions if not decision.decidable} - able
    for check in sorted(unable.intersection(plan.required)):
        yield f"  the gate can be INCONCLUSIVE at best: {check} is required and cannot be decided"
