"""Debian packages: finds out what is installed and installs what is missing, with a message each time."""

import threading
from collections.abc import Sequence
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.shell import Runner, is_root
from lab.provision.machine.progress import Progress

UPDATE_TIMEOUT_S = 180.0
INSTALL_TIMEOUT_S = 420.0
QUERY_TIMEOUT_S = 20.0
# Another apt may be running; on a fresh machine this is often unattended-upgrades.
LOCK_WAIT = ("-o", "DPkg::Lock::Timeout=120")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}


class Packages:
    """apt, on Debian and related systems; on other systems no package is found and none can be installed."""

    def __init__(self, runner: Runner, progress: Progress) -> None:
        self._runner = runner
        self.progress = progress
        self._lock = threading.Lock()
        self._updated = False

    @property
    def available(self) -> bool:
        """True if this machine has apt."""
        return self._runner.find("apt-get") is not None

    def installed(self, names: Sequence[str]) -> frozenset[str]:
        """The packages among `names` that are installed."""
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package}\n", *names]
        lines = self._runner.run(query, timeout_s=QUERY_TIMEOUT_S).stdout.splitlines()
        found = [line.split() for line in lines if line.startswith("installed ")]
        return frozenset(parts[1].partition(":")[0] for parts in found)

    def candidate(self, name: str) -> str | None:
        """The version that apt would install, or None."""
        if not self.available:
            return None
        with self._lock:
            self._update()
        policy = self._runner.run(
            ["apt-cache", "policy", name], timeout_s=QUERY_TIMEOUT_S, env={"LC_ALL": "C"}
        )
        versions = [
            line.split()[1] for line in policy.stdout.splitlines() if line.strip().startswith("Candidate:")
        ]
        return versions[0] if versions and versions[0] != "(none)" else None

    def install(self, names: Sequence[str], *, why: str) -> None:
        """Install packages without their recommendations; raises WorldError if that fails."""
        wanted = " ".join(names)
        self._require_apt(wanted, why)
        with self._lock:
            self._update()
            with self.progress.step(f"installing {wanted} ({why})"):
                command = ["apt-get", *LOCK_WAIT, "install", "-y", "-q", "--no-install-recommends", *names]
                self._runner.run(command, timeout_s=INSTALL_TIMEOUT_S, env=QUIET).require(
                    f"apt could not install {wanted}, needed for {why}",
                    try_=f"`apt-get install {wanted}` by hand, then run this again",
                )

    def _require_apt(self, wanted: str, why: str) -> None:
        if not self.available:
            raise WorldError(
                f"{wanted} is missing ({why}) and this machine has no apt to install it",
                try_=f"install {wanted} with your system's own means, then run this again",
            )
        if not is_root():
            raise WorldError(
                f"{wanted} is missing ({why}) and only root may install it",
                last_state="not running as root",
                try_=f"`sudo apt-get install {wanted}`, or run this with sudo",
            )

    def _update(self) -> None:
        if self._updated or not is_root():
            return
        with self.progress.step("reading the package lists (apt-get update)"):
            done = self._runner.run(
                ["apt-get", *LOCK_WAIT, "update", "-q"], timeout_s=UPDATE_TIMEOUT_S, env=QUIET
            )
        if not done.ok:
            # The old lists may be good enough; otherwise the installation fails with a message.
            self.progress.note(f"apt-get update failed, going on with the old lists: {done.tail()}")
        self._updated = True


def os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """The fields of os-release(5): ID, VERSION_CODENAME and so on."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value.strip().strip('"') for key, _, value in pairs if key and not key.startswith("#")}
