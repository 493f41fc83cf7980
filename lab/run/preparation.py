"""A stack made ready for a run: an empty store with the truth in it, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import docker

from lab.host.machine.state import state_dir
from lab.model.plan import Plan
from lab.ports import Progress
from lab.provision.stack import stack
from lab.truth.corpus import CorpusRequest, Truth, build_truth
from lab.truth.loading import load_truth, verify_truth


@dataclass(frozen=True, slots=True)
class PreparedStack:
    """A running stack whose store holds the truth; `cosine_min` is how well the stored vectors agree with it."""

    client: docker.DockerClient
    spec: stack.StackSpec
    truth: Truth
    cosine_min: float


def prepare(
    client: docker.DockerClient, spec: stack.StackSpec, plan: Plan, corpus: Path | None, progress: Progress
) -> PreparedStack:
    """Empty the store, load the truth through the MCP server, and check what is stored."""
    topology = spec.topology
    image = spec.images[topology.target.name]
    progress.say("emptying the store and restarting the stack on it")
    stack.reset_store(spec)
    request = CorpusRequest(
        image=image.ref,
        image_id=image.digest,
        documents=plan.documents,
        to_write=plan.documents,
        queries=plan.queries,
        k=plan.observer.recall_k,
        folder=corpus,
    )
    truth = build_truth(client, request, state_dir() / "cache" / "truth", spec.project, progress.say)
    url = f"{topology.entrance.through}{plan.target.endpoint}"
    progress.say(f"loading {len(truth.documents)} documents through the MCP server")
    load_truth(url, plan.target, truth, progress.advance)
    worst = verify_truth(topology.direct_address(topology.store.name), plan.target, truth)
    progress.say(f"the store holds the truth: {len(truth.documents)} documents, smallest cosine {worst:.5f}")
    return PreparedStack(client, spec, truth, worst)
