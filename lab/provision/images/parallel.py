"""Runs independent tasks in parallel; the first failure stops the others."""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from lab.host.machine.shell import Runner
from lab.provision.machine.progress import Progress

T = TypeVar("T")


def run_all(tasks: Mapping[str, Callable[[], T]], runner: Runner, progress: Progress) -> dict[str, T]:
    """Run every task in a thread of its own, and return the results by name.

    If a task raises, or the user interrupts, the programs of the other tasks are stopped, their drafts are removed, and
    the first exception is raised on.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(tasks)), thread_name_prefix="provision") as threads:
        futures = {name: threads.submit(task) for name, task in tasks.items()}
        over = False
        try:
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            failed = [future for future in futures.values() if future in done and future.exception()]
            if failed:
                failed[0].result()
            over = True
            return {name: future.result() for name, future in futures.items()}
        finally:
            if not over:
                progress.cancel()
                runner.stop_all()
