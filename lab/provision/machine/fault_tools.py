"""The host's programs that faults on networks and disks need, each with the Debian package that contains it."""

from lab.host.machine.shell import Runner, is_root
from lab.provision.machine.packages import Packages

TOOLS = {
    "iptables": "iptables",
    "nsenter": "util-linux",
    "tc": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
}


def ensure_fault_tools(runner: Runner, packages: Packages) -> None:
    """Install the missing programs if possible; otherwise the faults that need them are not tested."""
    missing = [name for name in TOOLS if runner.find(name) is None]
    if not missing:
        return
    if not (packages.available and is_root()):
        packages.progress.note(f"{', '.join(missing)} missing: `lab fault list` says what that leaves out")
        return
    packages.install(sorted({TOOLS[name] for name in missing}), why="faults need them")
