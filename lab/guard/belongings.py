"""Ends what belongs to a run as a whole: its load containers and its own processes."""

from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from lab.errors import FaultError
from lab.host.labels import OWNER, OWNER_VALUE, RUN, STACK
from lab.host.processes.marks import end_processes
from lab.load.containers import remove
from lab.model.undo import EndRun


def end_run(client: DockerClient, undo: EndRun) -> list[str]:
    """End all of them and return what there was; none is fine. Raises FaultError if something stays."""
    ended = [f"process {pid}" for pid in end_processes(f"{undo.run_id}.", prefix=True)]
    labels = [f"{OWNER}={OWNER_VALUE}", f"{STACK}={undo.project}", f"{RUN}={undo.run_id}"]
    try:
        # Sparse, so that a container which disappears meanwhile does not make the listing fail.
        for container in client.containers.list(all=True, sparse=True, filters={"label": labels}):
            remove(container)
            ended.append(f"container {container.short_id}")
    except (DockerException, RequestException) as error:
        raise FaultError(
            "the load containers of a dead run could not be removed",
            where=f"run {undo.run_id} on the stack {undo.project}",
            last_state=str(error),
            try_="`lab heal` again, or `lab doctor`",
        ) from error
    return ended
