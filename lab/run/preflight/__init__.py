"""Before a run: does the target use the proxy, and do k6 and the observer get answers as the run will need them?"""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker

from lab.boundary import Caught, attempt
from lab.host.containers import DockerContainers
from lab.host.machine.state import state_dir
from lab.host.network.target_traffic import HostTraffic
from lab.load import preflight as of_k6
from lab.model.plan import Plan
from lab.model.samples import Layer
from lab.observe import preflight as of_observer
from lab.observe.clock import RunClock
from lab.observe.preflight import Attempt, Call
from lab.ports import Progress
from lab.provision.stack.stack import StackSpec
from lab.run.preflight.advice import problem_of, traffic_problem
from lab.truth.corpus import Truth

# One call that hangs must not take up the whole time. To start k6 and to end the sessions takes up to 4 s more.
CALL_TIMEOUT_S, TOTAL_S = 4.0, 10.0
# The first call of all may be slow, because the target has just started.
FIRST_TOTAL_S = 15.0
# How long bytes may need from the target's call to the kernel's counts.
COUNTED_WITHIN_S = 1.0
SILENT = (Layer.TRANSPORT.value, Layer.UNSENT.value)


def require_own_traffic(client: docker.DockerClient, spec: StackSpec, plan: Plan) -> None:
    """Make one call that needs the store, and look which way the target went; raises ScenarioError or WorldError.

    Nothing has to be in the store: the call may fail, but it must be answered. Where the plan expects no readings of
    the target's connections, only the call is looked at.
    """
    target, topology, file = plan.target, spec.topology, _file(spec)
    url = f"{topology.entrance.through}{target.endpoint}"
    clock = RunClock()
    traffic = HostTraffic(topology, DockerContainers(client, spec.project), clock)
    call = Call(target.recall, _values(plan, "which one is it", "", "preflight"))
    before = traffic.read() if plan.reads_traffic else ()
    made = of_observer.attempts(url, target, [call], target.request_timeout_ms / 1000, FIRST_TOTAL_S)
    if (problem := problem_of(made[:1], target, file)) is not None:
        raise problem
    give_up_ms = clock.now_ms() + 1000 * COUNTED_WITHIN_S
    while plan.reads_traffic and (
        problem := traffic_problem(before, traffic.read(), made[-1], topology, file)
    ):
        if clock.now_ms() > give_up_ms:
            raise problem
        clock.sleep_s(0.1)
    unanswered = [attempt for attempt in made if attempt.layer in SILENT]
    if (problem := problem_of(unanswered, target, file)) is not None:
        raise problem


def require_answers(
    client: docker.DockerClient, spec: StackSpec, plan: Plan, truth: Truth, progress: Progress
) -> None:
    """One call of each operation from k6's place, and one from the observer's; raises ScenarioError or WorldError.

    The store must hold the truth. Each call that adds leaves a document in the collection for writes.
    """
    progress.say("calling each operation once, from k6's place and from the observer's")
    target, topology = plan.target, spec.topology
    url = f"{topology.entrance.through}{target.endpoint}"
    with ThreadPoolExecutor(max_workers=1) as pool:
        k6 = pool.submit(lambda: attempt(lambda: _of_k6(client, spec, plan, truth)))
        seen = of_observer.attempts(url, target, _calls(plan, truth, "observer"), CALL_TIMEOUT_S, TOTAL_S)
        also = k6.result()
    if isinstance(also, Caught):
        raise also.error
    if (problem := problem_of([*seen, *also], target, _file(spec))) is not None:
        raise problem
    for failed in also:
        if failed.layer != Layer.OK.value:
            progress.say(
                f"{failed.what} fails, and the run will judge that: {failed.layer}: {failed.message}"
            )


def _of_k6(client: docker.DockerClient, spec: StackSpec, plan: Plan, truth: Truth) -> list[Attempt]:
    with TemporaryDirectory(prefix="preflight-", dir=state_dir()) as folder:
        return of_k6.attempts(
            client,
            spec.images["k6"].ref,
            spec.project,
            Path(folder),
            spec.topology.entrance.inside,
            plan.target,
            _calls(plan, truth, "k6"),
            timeout_s=CALL_TIMEOUT_S,
            total_s=TOTAL_S,
            clock=RunClock(),
        )


def _calls(plan: Plan, truth: Truth, place: str) -> list[Call]:
    """Each operation that the run will call, once."""
    target = plan.target
    names = dict.fromkeys((*target.mix, target.canary, target.recall, target.add))
    query, text = truth.queries[0].text, truth.to_write[0].text
    token = secrets.token_hex(4)
    return [Call(name, _values(plan, query, text, f"preflight-{place}-{token}-{name}")) for name in names]


def _values(plan: Plan, query: str, text: str, document_id: str) -> Mapping[str, Any]:
    return {
        "query": query,
        "text": text,
        "document_id": document_id,
        "k": plan.observer.recall_k,
        "truth_collection": plan.target.truth_collection,
        "writes_collection": plan.target.writes_collection,
    }


def _file(spec: StackSpec) -> str:
    return str(spec.target_dir / "target.yaml")
