"""How each fault kind is made to miss on real containers: every command succeeds, but the proof must fail."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.faults import discover
from lab.host.storage import HostStorage
from lab.ports import Fault, World
from lab.ports.storage import Throttle
from lab.read.campaigns import build_fault
from tests.contract.examples import aimed_elsewhere
from tests.contract.fault_suite import Miss, elsewhere


def build(kind: str, params: dict[str, Any]) -> Fault:
    """A fault as a campaign would build it."""
    return build_fault(kind, params, where="tests", faults=discover())


def misses(kind: str) -> dict[str, Miss]:
    """Every way in which a kind is made to miss, by name."""
    found = dict(BY_HAND.get(kind, {}))
    if (other := aimed_elsewhere(kind, discover()[kind].services)) is not None:
        found[f"on-{other['target']}"] = elsewhere(build(kind, other))
    if discover()[kind].family == "link" and kind != "link_down":
        found["on-a-disabled-proxy"] = on_a_disabled_proxy
    return found


@contextmanager
def on_a_disabled_proxy(meant: Fault, world: World, undo: Any) -> Iterator[None]:
    """Toxiproxy accepts the toxic with status 200; only a measurement shows that nothing happens."""
    world.proxies.disable(meant.target)
    try:
        meant.inject(world, undo)
        yield
    finally:
        type(meant).heal(world, undo)
        world.proxies.enable(meant.target)


@contextmanager
def on_the_wrong_device(meant: Fault, world: World, undo: Any) -> Iterator[None]:
    """The kernel accepts a limit for any device; only a write to the data's own device shows that it misses."""
    root = os.stat("/").st_dev
    wrong = replace(undo, device=f"{os.major(root)}:{os.minor(root)}")
    try:
        meant.inject(world, wrong)
        assert world.storage.throttle(meant.target, wrong.device) != Throttle()
        yield
    finally:
        type(meant).heal(world, wrong)


@contextmanager
def in_the_wrong_cgroup(meant: Fault, world: World, undo: Any) -> Iterator[None]:
    """The right device, limited for another container."""
    wrong = replace(undo, service="mcp", container_id=world.containers.state("mcp").id)
    try:
        meant.inject(world, wrong)
        assert world.storage.throttle("mcp", wrong.device) != Throttle()
        yield
    finally:
        type(meant).heal(world, wrong)


class _Beside(HostStorage):
    """A storage that takes another folder, on a file system of the test, for the service's data."""

    folder: Path

    @contextmanager
    def _data(self, service: str) -> Iterator[Path]:
        yield self.folder

    def device(self, service: str) -> str:
        return "a test's own"


@contextmanager
def on_the_wrong_file_system(meant: Fault, world: World, undo: Any) -> Iterator[None]:
    """The filler fills another file system, a small one in memory, down to the last byte."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "lab-test", folder], check=True)
        beside = _Beside(world.containers, {})
        beside.folder = Path(folder)
        try:
            with elsewhere(meant)(meant, replace(world, storage=beside), undo):
                yield
        finally:
            subprocess.run(["umount", folder], check=True)


BY_HAND: dict[str, dict[str, Miss]] = {
    "disk_slow": {"wrong-device": on_the_wrong_device, "wrong-cgroup": in_the_wrong_cgroup},
    "disk_full": {"wrong-file-system": on_the_wrong_file_system},
}
