"""Network namespaces in memory: chains and queueing disciplines by service, with what they do to traffic."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.errors import FaultError, GoneError
from lab.ports.netns import ConnectOutcome, Echoes, NameAnswer, Rules
from tests.contract.fakes.clock import FakeClock

FRAME_BYTES = 1014


@dataclass
class FakeNetns:
    """`deaf` services accept rules that match nothing; `netem` says whether the kernel has it."""

    deaf: set[str] = field(default_factory=set)
    netem: bool = False
    holders: dict[str, str] = field(default_factory=dict)
    chains: dict[str, dict[str, Rules]] = field(default_factory=dict)
    qdiscs: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)
    denying: dict[str, str] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    delays_s: dict[str, float] = field(default_factory=dict)

    def holder_id(self, service: str) -> str:
        return self.holders.get(service, f"net-{service}")

    def add_chain(self, service: str, container_id: str, rules: Rules) -> None:
        self._check(service, container_id)
        self.chains.setdefault(service, {})[rules.chain] = rules

    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None:
        self.chains.get(service, {}).pop(chain, None)
        self._check(service, container_id)

    def packets(self, service: str, kind: str) -> int:
        return self.counted.get((service, kind), 0)

    def has_netem(self) -> bool:
        return self.netem

    def require_plain(self, service: str, device: str) -> None:
        if service in self.qdiscs:
            raise FaultError(f"{device} of {service} has a queueing discipline already")

    def add_qdisc(
        self, service: str, container_id: str, device: str, kind: str, options: Sequence[str]
    ) -> None:
        self._check(service, container_id)
        self.qdiscs[service] = (kind, tuple(options))

    def remove_qdisc(self, service: str, container_id: str, device: str, kind: str) -> None:
        if self.qdiscs.get(service, ("",))[0] == kind:
            del self.qdiscs[service]
        self._check(service, container_id)

    def connects(
        self, service: str, tries: int, timeout_s: float, *, outward: bool
    ) -> Sequence[ConnectOutcome]:
        if self._hit(service, "partition"):
            self._count(service, "partition", tries)
            return ["silent"] * tries
        if self._hit(service, "reject") and not outward:
            self._count(service, "reject", tries)
            return ["refused"] * tries
        return ["connected"] * tries

    def echo(self, service: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes:
        answered = count - round(count * self._loss(service))
        arrivals_ms = self._arrivals_ms(service, answered, per_s)
        trips_ms = [at_ms - number / per_s * 1000 for number, at_ms in enumerate(arrivals_ms)]
        return Echoes(count, size_bytes, tuple(arrivals_ms), tuple(trips_ms))

    def resolve(self, service: str, name: str, timeout_s: float) -> NameAnswer:
        if self._hit(service, "dns-failure"):
            return "silent"
        if self._hit(service, "slow-dns"):
            self._count(service, "slow_dns", 1)
            delay_s = self.delays_s[service]
            self.clock.sleep_s(min(delay_s, timeout_s))
            return "address" if delay_s <= timeout_s else "silent"
        return "no_such_name" if self._hit(service, "dns-nxdomain") else "address"

    def deny_names(self, service: str, container_id: str, token: str, seconds: float) -> int:
        self._check(service, container_id)
        self.denying[token] = service
        return 20_053

    def delay_names(
        self, service: str, container_id: str, token: str, delay_s: float, seconds: float
    ) -> tuple[int, int]:
        self._check(service, container_id)
        self.delays_s[service] = delay_s
        return 20_053, 20_054

    def _hit(self, service: str, kind: str) -> bool:
        ours = (chain for chain in self.chains.get(service, {}) if chain.startswith(f"LAB-{kind}-"))
        return service not in self.deaf and any(ours)

    def _count(self, service: str, kind: str, packets: int) -> None:
        self.counted[(service, kind)] = self.packets(service, kind) + packets

    def _loss(self, service: str) -> float:
        if service in self.deaf:
            return 0.0
        if self.qdiscs.get(service, ("",))[0] == "netem":
            return float(self.qdiscs[service][1][1].removesuffix("%")) / 100
        lines = [line for rules in self.chains.get(service, {}).values() for line in rules.lines]
        found = [line.split("--probability ")[1].split()[0] for line in lines if "--probability" in line]
        return float(found[0]) if found else 0.0

    def _arrivals_ms(self, service: str, answered: int, per_s: float) -> list[float]:
        kind, options = self.qdiscs.get(service, ("", ()))
        if kind == "tbf" and service not in self.deaf:
            limit = float(options[1].removesuffix("kbit")) * 125 / FRAME_BYTES
            free = int(options[3]) // FRAME_BYTES
            return [max(number / per_s, (number - free) / limit) * 1000 for number in range(answered)]
        return [number / per_s * 1000 for number in range(answered)]

    def _check(self, service: str, container_id: str) -> None:
        if container_id != self.holder_id(service):
            raise GoneError(f"the network of {service} was replaced")
