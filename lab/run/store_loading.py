"""Brings the truth into the store: copied back from a kept copy, or loaded through the MCP server and then kept.

Either way the run begins on a store and a target that were started after the truth was in the store, and the store's
content is verified after that start.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from lab.boundary import Caught, attempt
from lab.errors import LabError
from lab.host.system_errors import as_world_error
from lab.model.plan import Plan
from lab.ports import Progress
from lab.provision.stack import stack, store_content
from lab.provision.stack.kept_stores import KeptStores, files_digest, key_of
from lab.repository import COMPOSE_FILE
from lab.run.stopwatch import Stopwatch
from lab.truth.corpus import Truth
from lab.truth.loading import load_truth, verify_truth

COPIED, LOADED = "copied", "loaded"


@dataclass(frozen=True, slots=True)
class LoadedStore:
    """How the truth came into the store: `copied` or `loaded`, why so, and the smallest cosine of a stored vector."""

    source: str
    why: str
    cosine_min: float


@dataclass(frozen=True, slots=True)
class StoreLoading:
    """One preparation of a store: the stack, the plan, the truth, and the copies that were kept.

    `before_loading` is called once the stack runs on the empty store; what it raises ends the preparation.
    """

    spec: stack.StackSpec
    plan: Plan
    truth: Truth
    kept: KeptStores
    progress: Progress
    watch: Stopwatch
    before_loading: Callable[[], None] = lambda: None

    def run(self) -> LoadedStore:
        """Copy the store back where a copy fits and is whole; else load it, and keep a copy for the next run."""
        facts = copy_facts(self.spec, self.truth)
        with self.kept.locked(lambda: self.progress.say("another lab uses the kept stores: waiting for it")):
            copied = attempt(lambda: self._copied(key_of(facts)), passing=(InterruptedError,))
            if isinstance(copied, LoadedStore):
                return copied
            why = _why_not(copied)
            if isinstance(copied, Caught):
                self.progress.say(f"the store is loaded anew: {why}")
        self._load()
        kept = self._keep(facts)
        cosine_min = self._verify()
        return LoadedStore(LOADED, f"{why}; {kept}", cosine_min)

    def _copied(self, key: str) -> LoadedStore | None:
        """The store as it was kept, started and verified; None where there is no copy."""
        found = self.kept.find(key)
        if found is None:
            return None
        self.progress.say("copying the kept store back and starting the stack on it")
        with self.watch.part("copy the store back and start on it"):
            stack.reset_store(self.spec, fill=store_content.copied_from(found, self.kept))
        verified = attempt(self._verify)
        if isinstance(verified, Caught):
            raise self.kept.damaged(found.folder, str(verified)) from verified.error
        return LoadedStore(COPIED, f"kept store {key}", verified)

    def _load(self) -> None:
        topology, target = self.spec.topology, self.plan.target
        self.progress.say("emptying the store and restarting the stack on it")
        with self.watch.part("empty the store and start on it"):
            stack.reset_store(self.spec)
        self.before_loading()
        self.progress.say(f"loading {len(self.truth.documents)} documents through the MCP server")
        with self.watch.part("load the documents"):
            url = f"{topology.entrance.through}{target.endpoint}"
            load_truth(url, target, self.truth, self.progress.advance)
        self._verify()

    def _keep(self, facts: dict[str, object]) -> str:
        """Keep a copy of what was loaded and verified, and start the stack again; returns what became of it."""
        with self.watch.part("keep a copy of the store"):
            with self.kept.locked():
                kept = attempt(
                    lambda: stack.keep_store(self.spec, self.kept, key_of(facts), facts),
                    passing=(InterruptedError,),
                )
            stack.start(self.spec)
        outcome = f"not kept for the next run: {_short(kept)}" if isinstance(kept, Caught) else "kept"
        if isinstance(kept, Caught):
            self.progress.say(f"the store is {outcome}")
        else:
            self.progress.say(
                f"kept a copy of the store for the next run ({kept.content.data_bytes / 1e6:.0f} MB)"
            )
        return outcome

    def _verify(self) -> float:
        topology = self.spec.topology
        with self.watch.part("verify what is stored"):
            cosine_min = verify_truth(
                topology.direct_address(topology.store.name), self.plan.target, self.truth
            )
        told = f"{len(self.truth.documents)} documents, smallest cosine {cosine_min:.5f}"
        self.progress.say(f"the store holds the truth: {told}")
        return cosine_min


def copy_facts(spec: stack.StackSpec, truth: Truth) -> dict[str, object]:
    """Everything that decides what a loaded store holds, and how the store and the target are started on it."""
    topology = spec.topology
    with as_world_error(
        "the compose file cannot be read", where=str(COMPOSE_FILE), try_="check its permissions"
    ):
        compose = hashlib.sha256(COMPOSE_FILE.read_bytes()).hexdigest()
    return {
        "target_image": spec.images[topology.target.name].digest,
        "store_image": spec.images[topology.store.name].digest,
        "store_kind": spec.store_kind,
        "target_files": files_digest(spec.target_dir),
        "environment": dict(spec.environment),
        "compose_sha256": compose,
        "documents": len(truth.documents),
        "corpus_sha256": truth.corpus_sha256,
        "model_sha256": truth.model_sha256,
    }


def _why_not(copied: Caught | None) -> str:
    return "no copy was kept of such a store" if copied is None else _short(copied)


def _short(caught: Caught) -> str:
    """What an error says in one line; one of the lab's own without its advice."""
    error = caught.error
    if isinstance(error, LabError):
        return "; ".join(part for part in (error.what, error.where, error.last_state) if part)
    return str(caught)
