"""Locks on stacks: one command at a time works on a stack."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from lab.errors import LabError
from lab.host.machine.state import lock_names, machine_lock
from lab.provision.stack.stack_spec import PROJECT, check_project, saved_projects

LOCK = "stack-"


def lock_stack(project: str) -> AbstractContextManager[None]:
    """Hold the lock of a stack; raises LabError while a run or another command works on it.

    A name that no stack can have raises ScenarioError at the call, before it becomes the name of a file.
    """

    def refuse() -> None:
        raise LabError(
            f"the stack {project!r} is in use by another `lab`",
            where="this machine",
            try_="wait for it, or stop it with Ctrl-C (it heals first); or take --project ANOTHER_NAME",
        )

    return machine_lock(f"{LOCK}{check_project(project)}", refuse)


@contextmanager
def lock_all_stacks(project: str) -> Iterator[None]:
    """Hold the locks of this stack and of all saved ones; raises LabError while one of them is in use.

    It never waits for a lock, so two such commands cannot block each other.
    """
    saved = {project, *saved_projects()}
    # A stack that is brought up for the first time is not saved yet, but its lock is taken. Locks of stacks that are
    # gone are tried and released at once, because there may be more of them than files can be open.
    past = {name.removeprefix(LOCK) for name in lock_names() if name.startswith(LOCK)} - saved
    with ExitStack() as held:
        for name in sorted(saved):
            held.enter_context(lock_stack(name))
        for name in sorted(filter(PROJECT.fullmatch, past)):
            with lock_stack(name):
                pass
        yield
