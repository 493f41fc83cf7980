"""The engine of this machine is recognised as such, and as one from outside by a lab in another process namespace."""

import json
import subprocess
import sys

import pytest

from lab.host.machine.shell import Subprocesses, is_root
from lab.provision.machine.engine import require_engine
from lab.provision.machine.engine_place import EnginePlace, place_of
from lab.repository import ROOT

pytestmark = pytest.mark.docker


def test_the_engine_of_this_machine_is_accepted() -> None:
    assert place_of(require_engine(Subprocesses())) == EnginePlace("", "")


@pytest.mark.skipif(not is_root(), reason="missing capability: root")
def test_an_engine_whose_processes_are_in_another_namespace_is_recognised() -> None:
    """As in a container into which the engine's socket is mounted."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "lab", "doctor", "--json"]
    done = subprocess.run(apart, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    for name in ("engine_processes", "engine_paths", "root", "cgroup_cpu", "nsenter", "store_ext4"):
        assert not found[name]["ok"], name
    assert "NOT_TESTED here: the faults" in found["engine_processes"]["detail"]
