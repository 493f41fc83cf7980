"""Stand-ins for programs of the machine, for the tests of provisioning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.host.machine.shell import Outcome


@dataclass
class FakeDaemon:
    """A detached program; `status` is what `poll` says."""

    pid: int = 4242
    status: int | None = None
    terminated: bool = False

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.terminated = True


@dataclass
class FakeRunner:
    """Knows some programs, remembers what was asked of them, and lets apt bring more."""

    programs: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)
    installs: Mapping[str, set[str]] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    daemon_dies_with: str = ""
    daemon: FakeDaemon = field(default_factory=FakeDaemon)
    ran: list[list[str]] = field(default_factory=list)
    detached: list[list[str]] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Outcome:
        parts = tuple(command)
        self.ran.append(list(parts))
        name = Path(parts[0]).name
        if name == "dpkg-query":
            known = [package for package in parts if package in self.installed]
            return Outcome(parts, 0, "".join(f"installed {package}\n" for package in known))
        if name in self.fails:
            return Outcome(parts, 100, "", self.fails[name])
        if name not in self.programs:
            return Outcome(parts, 127, "", f"{name}: not found")
        if name == "apt-get" and "install" in parts:
            self.programs |= self.installs.get(parts[-1], set())
        return Outcome(parts, 0, self.says.get(" ".join(parts), self.says.get(name, "")))

    def find(self, program: str) -> str | None:
        return f"/fake/{program}" if program in self.programs else None

    def detach(self, command: Sequence[str], log: Path) -> FakeDaemon:
        self.detached.append(list(command))
        log.write_text(self.daemon_dies_with, encoding="utf-8")
        self.daemon = FakeDaemon(status=1 if self.daemon_dies_with else None)
        return self.daemon

    def stop_all(self) -> None:
        raise AssertionError("nothing runs here")
