"""A step begins when its own load does, and the load goes on where two steps have the same."""

from dataclasses import replace

from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.run.loop import execute
from tests.contract.examples import EXAMPLES
from tests.contract.fakes import fake_world
from tests.contract.run_fakes import LOAD, FakeLoad, FakeRecorder, FakeUndos, context, plan

STRESS = replace(LOAD, name="stress", schedule=ConstantArrivalRate(40))


def begun(*loads: LoadProfile | None) -> tuple[list[tuple[float, LoadProfile | None]], list[float]]:
    """Carry out a plan of three steps: when each load began, and when each step did."""
    world = fake_world()
    recorder = FakeRecorder(world)
    asked = plan([("latency", EXAMPLES["latency"])])
    steps = tuple(replace(step, load=load) for step, load in zip(asked.steps, loads, strict=True))
    load = FakeLoad(clock=world.clock, change_ms=5000)
    assert execute(replace(asked, steps=steps), replace(context(world, recorder, FakeUndos()), load=load))
    return load.loads, [e.at_ms for e in recorder.events if e.kind == "phase_started"]


def test_the_same_load_goes_on_and_no_step_waits() -> None:
    loads, steps = begun(LOAD, LOAD, LOAD)
    assert [load for _, load in loads] == [LOAD]
    assert steps[0] == loads[0][0]


def test_a_step_with_another_load_begins_with_it() -> None:
    loads, steps = begun(LOAD, STRESS, LOAD)
    assert [load for _, load in loads] == [LOAD, STRESS, LOAD]
    assert [at_ms for at_ms, _ in loads[1:]] == steps[1:]


def test_a_step_may_have_no_load() -> None:
    loads, _ = begun(LOAD, None, LOAD)
    assert [load for _, load in loads] == [LOAD, None, LOAD]
