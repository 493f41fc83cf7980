"""Whatever any single effect of a run raises: it is healed, it gets a verdict, and nothing that it concerns passes.

Every effect of a run in memory is made to raise in its turn: those on the world, and those of guardian, undo store,
journal, load, observer, watchdog, clock, engine log and sample store.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from lab import boundary
from lab.errors import LabError
from lab.faults import discover
from lab.guard.heal import heal_pending
from lab.judge import Check, judge, judge_by
from lab.judge import discover as checks
from lab.model.plan import Plan
from lab.model.samples import TABLES
from lab.model.verdict import Judgement, Verdict
from lab.ports import World
from lab.ports.storage import Throttle
from lab.run.recovered import WellSince
from tests.contract.examples import EXAMPLES, FAMILY
from tests.contract.fragile import ERRORS, Effects, Ran, run, short_plan

# What concerns the whole run when it fails, wherever it does.
OF_THE_RUN = (
    "recorder.",
    "guard.lost",
    "guard.close",
    "store.",
    "observer.start",
    "load.start",
    "traffic.start",
    "watchdog.start",
)
# What concerns a sampler: then its streams are touched from then on, and nothing that rests on them passes.
STREAMS = {
    "observer.stop": {"probes", "recall", "memory", "host"},
    "load.stop": {"requests"},
    "traffic.stop": {"traffic"},
    "watchdog.stop": set[str](),
    "run.clock_jumps": {"requests"},
    "run.deaths": set(TABLES),
}
# The end of the journal: everything before it, or itself, is on disk by then, and the exit code is 12 all the same.
LAST = ("recorder.close",)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that was well for half a second has recovered, so that a run has hundreds of effects, not thousands."""
    monkeypatch.setattr(WellSince, "must_hold_ms", 500.0)


@cache
def judged_by() -> dict[str, Check]:
    found = checks()
    return {name: found[name] for name in ("integrity", "in_force")}


def traces(world: World) -> dict[str, object]:
    """What faults have left in a fake world; in one that is healed every value is empty."""
    containers, netns, processes = world.containers, world.netns, world.processes
    states = containers.states.values()  # type: ignore[attr-defined]
    limits = [
        *(quota for quota in containers.quotas.values() if quota.quota_us != -1),  # type: ignore[attr-defined]
        *(limit for limit in containers.memory.values() if limit.memory_bytes != -1),  # type: ignore[attr-defined]
        *(number for number in containers.pids_max.values() if number != -1),  # type: ignore[attr-defined]
        *(pair for pair in processes.limits.values() if pair != (1024, 4096)),  # type: ignore[attr-defined]
        *(given for given in world.storage.limits.values() if given != Throttle()),  # type: ignore[attr-defined]
    ]
    return {
        "toxics": [name for toxics in world.proxies.added.values() for name in toxics],  # type: ignore[attr-defined]
        "disabled": list(world.proxies.down),  # type: ignore[attr-defined]
        "rules": [name for chains in netns.chains.values() for name in chains],  # type: ignore[attr-defined]
        "qdiscs": dict(netns.qdiscs),  # type: ignore[attr-defined]
        "stopped": [state.service for state in states if not state.running or state.paused],
        "crashing": [*containers.crashing, *containers.starved],  # type: ignore[attr-defined]
        "limits": limits,
        "fillers": dict(world.storage.fillers),  # type: ignore[attr-defined]
        "processes": [token for token in processes.alive if processes.alive[token]],  # type: ignore[attr-defined]
    }


def left(world: World) -> dict[str, object]:
    return {what: found for what, found in traces(world).items() if found}


def concerned(effects: Effects) -> set[tuple[str, str]]:
    """The findings that the failed effect concerns, by where it was in the run; they must not pass."""
    name = effects.raised_in
    if name in LAST or (effects.after and name.startswith("recorder.")):
        # What was to be written is on disk.
        return set()
    found = {("integrity", "run")} if name.startswith(OF_THE_RUN) else set()
    story = [event for event in effects.told if event.kind.startswith("fault_")]
    if name == "undos.record":
        begun = not story and not any(event.kind == "phase_started" for event in effects.told)
        found |= {("integrity", "run")} if begun else set()
    if story and story[-1].kind == "fault_injecting" and name.startswith(("world.", "guard.check")):
        # Between these two events nothing happens but the injection itself, with the fence before it.
        found.add(("in_force", str(story[-1].data["fault"])))
    return found


def require_healed(ran: Ran, *, for_good: bool = False) -> None:
    """Nothing is left of any fault; after an effect that never works again, what is left is named and pending."""
    pending = set(ran.undos.records)
    if not for_good:
        assert not left(ran.world), left(ran.world)
        assert pending <= {"run"} and (not pending or ran.failures), pending
        return
    said = " ".join(str(event.data) for event in ran.events) + " ".join(map(str, ran.failures))
    assert all(fault in said for fault in pending), (pending, said)
    healed = heal_pending(ran.undos, discover(), lambda project: ran.world, lambda record: False)
    assert not left(ran.world) and not ran.undos.records, (left(ran.world), healed)


def require_verdict(ran: Ran, effects: Effects) -> Judgement:
    if (streams := STREAMS.get(effects.raised_in)) is not None:
        died = [set(event.data["streams"]) for event in ran.events if event.kind == "sampler_died"]
        assert streams in died or ran.failures, (effects.raised_in, died)
    judgement = judge_by(ran.evidence, judged_by())
    # A run in which a part of the evidence is damaged is whole besides, where the damage is listed as an incident.
    passed = {
        (f.check, f.subject)
        for f in judgement.findings
        if f.gate_verdict is Verdict.PASS and "; incidents: " not in f.reason
    }
    assert not passed & concerned(effects), (passed & concerned(effects), effects.raised_in)
    if judgement.gate is Verdict.PASS and effects.raised_in not in (*LAST, "recorder.run_ended"):
        assert ran.finished and not ran.failures, ran.failures
    return judgement


def require_words(ran: Ran) -> None:
    """What the user is told is an error of the lab's, or is made one by the command line; and the journal has it."""
    for caught in ran.failures:
        assert str(caught) and (isinstance(caught.error, LabError) or caught.place)


def every_run(plan: Plan, *, modes: tuple[bool, ...]) -> Iterator[tuple[Ran, Effects]]:
    """The run with each of its effects broken in its turn, by another exception each time."""
    clean = Effects()
    assert run(plan, clean).finished
    for after in modes:
        for at in range(1, clean.count + 1):
            error = ERRORS[(at + 5 * after) % len(ERRORS)]()
            effects = Effects(at, error, after)
            yield run(plan, effects), effects


def family_plan() -> Plan:
    together = [("latency", EXAMPLES["latency"]), ("cpu_cap", EXAMPLES["cpu_cap"])]
    return short_plan(
        [together, *([(kind, EXAMPLES[kind])] for kind in FAMILY if kind not in dict(together))]
    )


def test_a_run_in_which_nothing_breaks_passes() -> None:
    """Without this, a fuzz that never sees a PASS would show nothing."""
    ran = run(family_plan(), Effects())
    judgement = require_verdict(ran, Effects())
    assert judgement.gate is Verdict.PASS, [f.reason for f in judgement.findings]
    assert ran.finished and not ran.failures and not left(ran.world) and not ran.undos.records


def test_every_effect_of_a_run_breaks_once(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts: Counter[str] = Counter()
    errors: set[str] = set()
    broken: set[str] = set()
    runs = 0
    for ran, effects in every_run(family_plan(), modes=(False, True)):
        where = f"effect {effects.at} ({effects.raised_in}), after={effects.after}, {effects.error!r}"
        try:
            require_healed(ran)
            verdicts[require_verdict(ran, effects).gate.value] += 1
            require_words(ran)
            if effects.at % 10 == 0:
                assert judge(ran.evidence).gate is not Verdict.PASS
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
        runs += 1
        errors.add(type(effects.error).__name__)
        broken.add(effects.raised_in)
    with capsys.disabled():
        told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))
        print(f"\nexception fuzz: {runs} runs, {len(broken)} effects, {len(errors)} exceptions; {told}")
    assert set(verdicts) == {"pass", "inconclusive"}, "a run whose spoilt measurement was repeated may pass"


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_every_effect_of_every_fault_breaks_once(kind: str) -> None:
    plan = short_plan([[(kind, EXAMPLES[kind])]])
    for number, (ran, effects) in enumerate(every_run(plan, modes=(len(kind) % 2 == 0,))):
        try:
            require_healed(ran)
            if number % 4 == 0:
                require_verdict(ran, effects)
        except AssertionError as error:
            raise AssertionError(f"effect {effects.at} ({effects.raised_in}): {error}") from error


class ForGood(Effects):
    """From the first failure on, every effect of the same name fails."""

    def have(self, name, effect, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        if self.raised_in == name:
            raise self.error
        return super().have(name, effect, *args, **kwargs)


def test_every_effect_of_a_run_breaks_for_good() -> None:
    plan = short_plan([[("latency", EXAMPLES["latency"]), ("kill", EXAMPLES["kill"])]])
    clean = Effects()
    run(plan, clean)
    for at in range(1, clean.count + 1, 3):
        effects = ForGood(at, ERRORS[at % len(ERRORS)]())
        ran = run(plan, effects)
        try:
            require_healed(ran, for_good=True)
            require_verdict(ran, effects)
        except AssertionError as error:
            raise AssertionError(f"effect {at} ({effects.raised_in}): {error}") from error


def test_without_the_boundary_the_fuzz_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: where `attempt` lets exceptions through, the same runs break."""
    monkeypatch.setattr(boundary, "attempt", lambda work, **_: work())
    for module in ("loop", "fault_step", "heal_faults", "context", "closing"):
        monkeypatch.setattr(f"lab.run.{module}.attempt", lambda work, **_: work())
    broken = 0
    plan = short_plan([[("latency", EXAMPLES["latency"])]])
    clean = Effects()
    run(plan, clean)
    for at in range(1, clean.count + 1):
        effects = Effects(at, KeyError("x"))
        try:
            ran = run(plan, effects)
            require_healed(ran)
            require_verdict(ran, effects)
        except (AssertionError, KeyError, UnboundLocalError):
            broken += 1
    assert broken > clean.count / 2, f"only {broken} of {clean.count} runs broke"
