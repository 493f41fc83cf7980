"""How the truth comes into the store: from a copy that fits and is whole, else loaded and kept; verified always."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.cli.console import JsonLines
from lab.errors import ScenarioError, WorldError
from lab.model.plan import Plan
from lab.model.topology import Topology
from lab.plan import schedule
from lab.provision.images.image_specs import ImageUsed
from lab.provision.stack import stack, store_content
from lab.provision.stack.kept_stores import KeptStore, KeptStores
from lab.provision.stack.sparse_copy import copy_sparse
from lab.provision.stack.store_content import empty
from lab.read.campaigns import load_campaign
from lab.read.compose_file import default_ports, read_topology
from lab.read.targets import load_target
from lab.repository import ROOT, TARGETS
from lab.run import preparation, store_loading
from lab.run.stopwatch import Stopwatch
from lab.run.store_loading import COPIED, LOADED, LoadedStore, StoreLoading
from lab.truth.corpus import Document, Truth
from tests.contract.fakes import FakeClock

TARGET = TARGETS / "workspace-qdrant-mcp"


class FakeStack:
    """A store in memory: `content` is what its volume holds, and `done` what was done to it."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path, self.content, self.done = tmp_path, b"", list[str]()
        self.refuses_copies = ""

    def reset_store(self, spec: stack.StackSpec, *, fill: Any = empty) -> None:
        if fill is empty:
            self.content = b""
            self.done.append("empty")
        else:
            fill(self)
            self.done.append("copy back")

    def copied_from(self, kept: KeptStore, stores: KeptStores) -> Callable[["FakeStack"], None]:
        def fill(fake: FakeStack) -> None:
            back = self.tmp_path / "back"
            back.unlink(missing_ok=True)
            stores.check(kept, copy_sparse(kept.path, back, durable=False))
            fake.content = back.read_bytes()

        return fill

    def keep_store(
        self, spec: stack.StackSpec, stores: KeptStores, key: str, facts: dict[str, Any]
    ) -> KeptStore:
        self.done.append("keep")
        if self.refuses_copies:
            raise WorldError(self.refuses_copies)
        volume = self.tmp_path / "volume"
        volume.write_bytes(self.content)
        return stores.save(key, facts, lambda path: copy_sparse(volume, path, durable=True))

    def start(self, spec: stack.StackSpec) -> None:
        self.done.append("start")

    def load_truth(self, url: str, target: object, truth: Truth, say: object) -> None:
        self.done.append("load")
        self.content = truth.documents[0].text.encode()

    def verify_truth(self, url: str, target: object, truth: Truth) -> float:
        self.done.append("verify")
        if self.content != truth.documents[0].text.encode():
            raise WorldError("the store does not hold the truth")
        return 1.0


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    made = FakeStack(tmp_path)
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    for name in ("reset_store", "keep_store", "start"):
        monkeypatch.setattr(stack, name, getattr(made, name))
    monkeypatch.setattr(store_content, "copied_from", made.copied_from)
    monkeypatch.setattr(store_loading, "load_truth", made.load_truth)
    monkeypatch.setattr(store_loading, "verify_truth", made.verify_truth)
    return made


def truth(text: str = "the truth") -> Truth:
    return Truth((Document("1", text),), (), (), np.zeros((1, 3), dtype="<f4"), f"corpus of {text}", "model")


def spec(**images: str) -> stack.StackSpec:
    used = {
        name: ImageUsed(name, f"{name}:1", images.get(name, "sha256:1"), "built")
        for name in read_topology().names
    }
    return stack.StackSpec("one", dict(default_ports()), used, TARGET, "one_store", "plain", grafana=False)


@pytest.fixture(scope="module")
def plan() -> Plan:
    campaign = load_campaign(ROOT / "chaos" / "soak.yaml")
    return schedule(campaign, load_target(TARGET), 1, capabilities={}, documents=1, queries=1, corpus="")


def prepared(plan: Plan, of: Truth, on: stack.StackSpec, log: io.StringIO | None = None) -> LoadedStore:
    progress = JsonLines(log or io.StringIO())
    return StoreLoading(on, plan, of, KeptStores(), progress, Stopwatch(clock=FakeClock())).run()


COLD = ["empty", "load", "verify", "keep", "start", "verify"]
WARM = ["copy back", "verify"]


def test_the_second_run_copies_the_store_back_and_verifies_it(fake: FakeStack, plan: Plan) -> None:
    first = prepared(plan, truth(), spec())
    assert (first.source, fake.done) == (LOADED, COLD)
    fake.done.clear()
    fake.content = b"what the run wrote"
    second = prepared(plan, truth(), spec())
    assert (second.source, second.cosine_min, fake.done) == (COPIED, 1.0, WARM)
    assert fake.content == b"the truth"


@pytest.mark.parametrize("changed", ["corpus", "target image", "store image", "environment", "target file"])
def test_another_store_is_never_served_the_old_copy(
    fake: FakeStack, plan: Plan, changed: str, tmp_path: Path
) -> None:
    prepared(plan, truth(), spec())
    fake.done.clear()
    of, on = truth(), spec()
    match changed:
        case "corpus":
            of = truth("another truth")
        case "target image":
            on = spec(mcp="sha256:2")
        case "store image":
            on = spec(qdrant="sha256:2")
        case "environment":
            on = replace(on, environment={"MODEL": "another"})
        case "target file":
            folder = tmp_path / "target"
            folder.mkdir()
            (folder / "target.yaml").write_text("another")
            on = replace(on, target_dir=folder)
    assert prepared(plan, of, on).source == LOADED
    assert fake.done == COLD


def test_a_damaged_copy_is_told_and_replaced(fake: FakeStack, plan: Plan, tmp_path: Path) -> None:
    prepared(plan, truth(), spec())
    (content,) = (tmp_path / "state" / "cache" / "stores").glob("*/content")
    content.write_bytes(b"the trutH")
    fake.done.clear()
    log = io.StringIO()
    again = prepared(plan, truth(), spec(), log)
    assert again.source == LOADED and "damaged" in again.why
    assert fake.done == COLD
    assert "the store is loaded anew: the kept copy of the store is damaged" in log.getvalue()
    assert prepared(plan, truth(), spec()).source == COPIED, "a good copy has taken its place"


def test_a_copy_that_does_not_hold_the_truth_is_not_used(
    fake: FakeStack, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whole by its digest, and wrong all the same: only the truth itself tells."""
    prepared(plan, truth(), spec())
    (kept,) = (tmp_path / "state" / "cache" / "stores").iterdir()
    monkeypatch.setattr(store_loading, "key_of", lambda facts: kept.name)
    fake.done.clear()
    assert prepared(plan, truth("another truth"), spec()).source == LOADED
    assert fake.done == [*WARM, *COLD]


def test_a_store_that_cannot_be_kept_is_used_all_the_same(fake: FakeStack, plan: Plan) -> None:
    fake.refuses_copies = "the target keeps files of its own"
    log = io.StringIO()
    first = prepared(plan, truth(), spec(), log)
    assert first.source == LOADED and "the target keeps files of its own" in first.why
    assert "not kept for the next run" in log.getvalue()
    fake.done.clear()
    assert prepared(plan, truth(), spec()).source == LOADED
    assert fake.done == COLD


def test_a_truth_that_was_not_stored_is_an_error_and_is_not_kept(
    fake: FakeStack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_loading, "load_truth", lambda *a: None)
    with pytest.raises(WorldError, match="does not hold the truth"):
        prepared(plan, truth(), spec())
    assert fake.done == ["empty", "verify"]


def test_the_parts_are_timed_also_where_one_fails() -> None:
    clock = FakeClock()
    watch = Stopwatch(head_start_s=1.5, clock=clock)
    with watch.part("first"):
        clock.sleep_s(2)

    def fail() -> None:
        with watch.part("second"):
            clock.sleep_s(3)
            raise WorldError("no")

    with pytest.raises(WorldError):
        fail()
    assert watch.parts == [("first", 2.0), ("second", 3.0)]
    assert watch.total_s == 6.5


def test_the_topology_of_these_tests_is_the_real_one() -> None:
    topology: Topology = spec().topology
    assert (topology.target.name, topology.store.name) == ("mcp", "qdrant")


@pytest.fixture
def preparing(fake: FakeStack, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    """`prepare` on the fake stack; its two looks at the target are noted."""
    monkeypatch.setattr(preparation, "build_truth", lambda *a: truth())
    monkeypatch.setattr(preparation, "require_own_traffic", lambda *a: fake.done.append("the way"))
    monkeypatch.setattr(preparation, "require_answers", lambda *a: fake.done.append("answers"))
    return fake


def prepare_on_fake(plan: Plan) -> preparation.PreparedStack:
    client: Any = None
    return preparation.prepare(client, spec(), plan, None, JsonLines(io.StringIO()))


def test_the_target_is_asked_only_once_the_stack_runs_and_before_it_is_loaded(
    preparing: FakeStack, plan: Plan
) -> None:
    """The stack may not exist before: a run starts it on the store that it has filled."""
    cold = prepare_on_fake(plan)
    assert preparing.done == ["empty", "the way", *COLD[1:], "answers"]
    preparing.done.clear()
    warm = prepare_on_fake(plan)
    assert preparing.done == [*WARM, "the way", "answers"]
    assert (cold.store.source, warm.store.source) == (LOADED, COPIED)
    assert cold.watch.first_request_s is not None and warm.watch.first_request_s is not None


@pytest.mark.parametrize("warm", [False, True])
def test_a_target_that_goes_another_way_ends_the_preparation(
    preparing: FakeStack, plan: Plan, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    if warm:
        prepare_on_fake(plan)
        preparing.done.clear()

    def refuse(*args: object) -> None:
        raise ScenarioError("the target goes around its proxy")

    monkeypatch.setattr(preparation, "require_own_traffic", refuse)
    with pytest.raises(ScenarioError, match="around its proxy"):
        prepare_on_fake(plan)
    assert preparing.done == (WARM if warm else ["empty"])
