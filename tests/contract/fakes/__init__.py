"""A world in memory: one container per service, one proxy per link, with the effects that faults have on real ones.

`tests/contract/test_faults.py` runs the same suite against this world and against Docker's, so that a fake which lies
is caught.
"""

from lab.ports import World
from lab.read.compose_file import read_topology
from tests.contract.fakes.cgroups import FakeCgroups
from tests.contract.fakes.clock import FakeClock
from tests.contract.fakes.containers import FakeContainers, FakeReach
from tests.contract.fakes.netns import FakeNetns
from tests.contract.fakes.processes import FakeProcesses
from tests.contract.fakes.proxies import FakeProxies
from tests.contract.fakes.storage import FakeStorage
from tests.contract.fakes.traffic import FakeTargetTraffic

__all__ = [
    "FakeCgroups",
    "FakeClock",
    "FakeContainers",
    "FakeNetns",
    "FakeProcesses",
    "FakeProxies",
    "FakeReach",
    "FakeStorage",
    "FakeTargetTraffic",
    "fake_world",
]


def fake_world(*, deaf: set[str] | None = None, disabled: set[str] | None = None) -> World:
    """A healthy stack in memory; `deaf` services ignore commands, `disabled` proxies ignore toxics."""
    ignoring = deaf or set()
    clock = FakeClock()
    containers = FakeContainers(deaf=ignoring)
    return World(
        topology=read_topology("fake"),
        clock=clock,
        containers=containers,
        proxies=FakeProxies(disabled=disabled or set()),
        cgroups=FakeCgroups(containers, clock),
        reach=FakeReach(containers),
        netns=FakeNetns(deaf=ignoring, clock=clock),
        processes=FakeProcesses(deaf=ignoring),
        storage=FakeStorage(deaf=ignoring),
        traffic=FakeTargetTraffic(clock),
    )
