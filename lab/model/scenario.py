"""What a user asks for: a campaign, before the seed decides the order of its faults."""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field
from typing import Any, ClassVar, Protocol

from lab.model.quantities import MB
from lab.model.recovery import STAYS_WELL_S
from lab.model.samples import ENTRANCE, PAST, STORE
from lab.model.topology import Topology
from lab.model.verdict import Bound


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One resource of one service that a fault acts on or is measured by; only one fault may use it at a time."""

    resource: str
    service: str

    def __str__(self) -> str:
        return f"the {self.resource} of {self.service}"


def claims(service: str, *resources: str) -> frozenset[Claim]:
    """A claim on each of these resources of one service."""
    return frozenset(Claim(resource, service) for resource in resources)


# `stops`: nothing arrives any more. `crosses`: what crosses meets the fault, so something must cross. `disturbs`:
# either of the two. Empty: the fault does not act on these connections, or what it does there cannot be read.
STOPS, CROSSES, DISTURBS, NOTHING = "stops", "crosses", "disturbs", ""


@dataclass(frozen=True, slots=True)
class OwnTraffic:
    """The `effect` of a fault on the target's own connections, and the `routes` on which it shows."""

    routes: tuple[str, ...]
    effect: str


def routes_of_link(topology: Topology, service: str) -> tuple[str, ...]:
    """The routes of the target's connections that go through a link to this service."""
    return (ENTRANCE,) if service == topology.target.name else (STORE,)


def routes_of_network(topology: Topology, service: str) -> tuple[str, ...]:
    """The routes of the target's connections that go through the network of this service."""
    if service == topology.target.name:
        return ENTRANCE, STORE, PAST
    return (ENTRANCE, STORE) if service in topology.with_role("proxy") else (STORE,)


def effect_from_json(value: object) -> OwnTraffic | None:
    """What an event of the journal says of it; None for a fault that has no such effect, and for older journals."""
    if not isinstance(value, Mapping):
        return None
    routes, effect = value.get("routes"), value.get("effect")
    if not isinstance(routes, list) or effect not in (STOPS, CROSSES, DISTURBS):
        return None
    return OwnTraffic(tuple(map(str, routes)), str(effect))


def effect_to_json(own: OwnTraffic | None) -> dict[str, Any] | None:
    """The form in which the journal has it."""
    return None if own is None else {"routes": list(own.routes), "effect": own.effect}


class FaultFacts(Protocol):
    """What the planner must know about one fault: its parameters, and what its kind states beside them.

    A fault kind is a frozen dataclass that inherits from this (through `lab.ports.Fault`), so it states only what
    differs from the defaults here.

    `needs`: the capabilities without which it cannot work (see `lab doctor`). `transient`: the effect passes by itself,
    as that of a restart. `lifetime_s`: seconds after which what the fault starts ends by itself; infinite where it
    starts nothing. `resources`: what a fault claims of its target; a kind that names none claims itself, so that
    two faults of this kind never act on one target together.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    kind: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    transient: ClassVar[bool] = False
    lifetime_s: ClassVar[float] = math.inf
    resources: ClassVar[tuple[str, ...]] = ()

    # No property: a dataclass would take an inherited property for the field's default value.
    target: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name, without the target."""
        return {name: value for name, value in asdict(self).items() if name != "target"}

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The claims of this fault in a stack of this topology; no other fault of its step may make one of them."""
        return claims(self.target, *(self.resources or (self.kind,)))

    @property
    def look_max_s(self) -> float:
        """The longest time in seconds that one observation may take."""
        return 30.0

    @property
    def act_max_s(self) -> float:
        """The longest time in seconds that the injection and one heal may take together."""
        return 30.0


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault as asked for; `params` is an instance of the kind's own class, with its `target` service.

    `companions` are in force together with it: injected after it in their order, and healed in reverse. `where` is the
    place in a file, or the command line, where it was asked for.
    """

    kind: str
    target: str
    params: FaultFacts
    hold_s: float | None = None
    companions: tuple["FaultSpec", ...] = ()
    where: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """The fault in words, for messages."""
        return f"{self.kind} on {self.target}"

    @property
    def together(self) -> tuple["FaultSpec", ...]:
        """This fault and its companions, in the order of injection."""
        return (self, *self.companions)


# The bounds of a campaign or a plan, by their names.
Bounds = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BoundSpec:
    """One key under `bounds` of a campaign.

    `op` says how the observed value is compared with it. A campaign's value must lie between `above` or `at_least` and
    `below` or `at_most`. `means` describes the observed value in a few words.
    """

    name: str
    op: str
    unit: str
    default: float
    means: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def value_of(self, bounds: Bounds) -> float:
        """The value among these bounds; the default where a plan was made before this bound existed."""
        return bounds.get(self.name, self.default)

    def of(self, bounds: Bounds) -> Bound:
        """The bound that the check compares its observations with."""
        return Bound(self.op, self.value_of(bounds))

    def limits(self) -> str:
        """The values that a campaign may set, in words."""
        low = f"more than {self.above:g}" if self.above is not None else f"{self.at_least or 0:g} at least"
        high = f"less than {self.below:g}" if self.below is not None else f"{self.at_most:g} at most"
        return f"{low}, {high}" if self.below is not None or self.at_most is not None else low


@dataclass(frozen=True, slots=True)
class Abort:
    """The conditions on which a run stops and heals by itself, so that the lab never fills a disk or starves its host.

    `canary_dark_s` is the longest time without a right answer to the canary probe; None where there is no limit.
    """

    free_disk_bytes: int = 500 * MB
    host_memory_bytes: int = 250 * MB
    canary_dark_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A campaign: steady load, faults one after the other, bounds, and the checks that the gate requires.

    Each fault is injected `trials` times, and its recovery must hold for `stays_well_s`. A `brief` scenario is one
    whose user waits for it: its warm-up and baseline are short, no clean window follows its faults, and the target's
    capacity is measured by a few calls.
    """

    name: str
    why: str
    duration_s: float
    faults: tuple[FaultSpec, ...]
    bounds: Bounds
    required: tuple[str, ...]
    rate_per_s: float | None = None
    source: str = ""
    abort_if: Abort = Abort()
    trials: int = 1
    stays_well_s: float = STAYS_WELL_S
    brief: bool = False
