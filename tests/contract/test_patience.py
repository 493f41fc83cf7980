"""A refusal of the engine that passes is tried again; one that stays makes the fault void, with the reason."""

from typing import Any

import pytest
from docker.errors import APIError

from lab.errors import FaultError, FencedError
from lab.host import patience
from lab.host.containers import DockerContainers
from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.run.loop import execute
from tests.contract.fakes import fake_world
from tests.contract.run_fakes import FakeRecorder, FakeUndos, context, plan

BUSY = APIError(
    "500 Server Error",
    explanation="Cannot pause container x: OCI runtime pause failed: unable to freeze: unknown",
)
REFUSED = APIError("500 Server Error", explanation="Cannot pause container x: no such process")


class FreezerEngine:
    """An engine's API whose freezer refuses `times` times."""

    base_url, api_version, timeout = "http://engine", "1.43", 1

    def __init__(self, times: float, error: Exception = BUSY) -> None:
        self.times, self.error, self.asked, self.paused = times, error, 0, False
        self.api = self

    def inspect_container(self, container_id: str) -> dict[str, Any]:
        labels = {OWNER: OWNER_VALUE, STACK: "p", SERVICE: "mcp"}
        return {"Config": {"Labels": labels}, "Name": "/mcp", "State": {"Paused": self.paused}}

    def pause(self, container_id: str) -> None:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        self.paused = True


def containers_of(engine: FreezerEngine, acts: list[str] | None = None) -> DockerContainers:
    client: Any = engine
    return DockerContainers(client, "p", lambda *act: None if acts is None else acts.append(act[0]))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "EVERY_S", 0.001)


@pytest.mark.parametrize("times", [0, 1, 5, patience.TRIES_MAX - 1])
def test_a_freezer_that_refuses_for_a_moment_is_asked_again(times: int) -> None:
    engine, acts = FreezerEngine(times), list[str]()
    containers_of(engine, acts).pause("mcp", "id")
    assert engine.paused
    assert engine.asked == times + 1
    assert acts == ["paused"] * engine.asked, "each try stands in the journal"


def test_a_freezer_that_refuses_for_ever_is_given_up_with_its_reason() -> None:
    engine = FreezerEngine(float("inf"))
    with pytest.raises(FaultError, match="unable to freeze"):
        containers_of(engine).pause("mcp", "id")
    assert engine.asked == patience.TRIES_MAX


def test_the_time_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WITHIN_S", 0.0)
    engine = FreezerEngine(float("inf"))
    with pytest.raises(FaultError):
        containers_of(engine).pause("mcp", "id")
    assert engine.asked == 1


def test_any_other_refusal_counts_at_once() -> None:
    engine = FreezerEngine(1, REFUSED)
    with pytest.raises(FaultError, match="no such process"):
        containers_of(engine).pause("mcp", "id")
    assert engine.asked == 1


def test_nothing_is_tried_again_once_the_guardian_has_taken_over() -> None:
    engine = FreezerEngine(float("inf"))

    def fenced(*act: str) -> None:
        if engine.asked:
            raise FencedError("the guardian has taken over")

    client: Any = engine
    with pytest.raises(FencedError):
        DockerContainers(client, "p", fenced).pause("mcp", "id")
    assert engine.asked == 1


@pytest.mark.parametrize(("times", "kind"), [(3, "fault_in_force"), (float("inf"), "fault_void")])
def test_in_a_run_a_refusal_that_passes_is_a_fault_and_one_that_stays_is_void(
    monkeypatch: pytest.MonkeyPatch, times: float, kind: str
) -> None:
    world, engine = fake_world(), FreezerEngine(times)
    frozen = world.containers.pause
    refusing = containers_of(engine)

    def pause(service: str, container_id: str) -> None:
        refusing.pause("mcp", "id")
        frozen(service, container_id)

    monkeypatch.setattr(world.containers, "pause", pause)
    recorder, undos = FakeRecorder(world), FakeUndos()
    assert execute(plan([("freeze", {"target": "qdrant"})]), context(world, recorder, undos))
    kinds = {"fault_in_force", "fault_void"} & set(recorder.kinds())
    assert kinds == {kind}
    void = [event.data["why"] for event in recorder.events if event.kind == "fault_void"]
    assert all("unable to freeze" in why for why in void)
    assert not undos.records and not world.containers.state("qdrant").paused
