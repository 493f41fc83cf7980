"""A stack made ready for a run: a store with the truth in it, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import docker

from lab.host.machine.state import state_dir
from lab.model.plan import Plan
from lab.ports import Progress
from lab.provision.stack import stack
from lab.provision.stack.kept_stores import KeptStores
from lab.run.preflight import require_answers, require_own_traffic
from lab.run.stopwatch import Stopwatch
from lab.run.store_loading import COPIED, LoadedStore, StoreLoading
from lab.truth.corpus import CorpusRequest, Truth, build_truth


@dataclass(frozen=True, slots=True)
class PreparedStack:
    """A running stack whose store holds the truth; `watch` knows how long each part of the preparation took."""

    client: docker.DockerClient
    spec: stack.StackSpec
    truth: Truth
    store: LoadedStore
    watch: Stopwatch


def prepare(
    client: docker.DockerClient,
    spec: stack.StackSpec,
    plan: Plan,
    corpus: Path | None,
    progress: Progress,
    watch: Stopwatch | None = None,
) -> PreparedStack:
    """Make the truth, bring it into the store of the stack, and check what is stored.

    Raises ScenarioError or WorldError where the target goes around its proxy, or does not answer as the run needs it.
    """
    watch = watch or Stopwatch()
    image = spec.images[spec.topology.target.name]
    request = CorpusRequest(
        image=image.ref,
        image_id=image.digest,
        documents=plan.documents,
        to_write=plan.documents,
        queries=plan.queries,
        k=plan.observer.recall_k,
        folder=corpus,
    )
    with watch.part("make the truth"):
        truth = build_truth(client, request, state_dir() / "cache" / "truth", spec.project, progress.say)

    def see_the_way() -> None:
        with watch.part("see which way the target goes"):
            require_own_traffic(client, spec, plan)

    # Before the minutes of loading, and as soon as the stack runs: until then it may not exist.
    loaded = StoreLoading(spec, plan, truth, KeptStores(), progress, watch, before_loading=see_the_way).run()
    watch.first_request()
    if loaded.source == COPIED:
        see_the_way()
    with watch.part("call each operation once"):
        require_answers(client, spec, plan, truth, progress)
    return PreparedStack(client, spec, truth, loaded, watch)
