"""How long each fault takes from the call to in force, to proven, and to healed, beside what others take for the same.

    python -m tests.bench.fault_times [--repeats 10] [--kinds latency,kill] [--chaos PATH] [--pumba PATH] [--json FILE]

Everything happens on one stack in one run, so that ratios mean something on a shared machine. `in force` is when the
injecting call returned, which for all kinds is after the kernel, the engine or Toxiproxy took it; `proven` is when a
measurement of the effect first held. `--chaos` is the Chaos Toolkit's program (with its toxiproxy extension), `--pumba`
that of pumba; without them the rows are left out. Peers take their turns with the lab's own fault of the same kind; a
peer whose effect was not seen from outside gets no time. No assertion on time stands here or in any test.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker

from lab.errors import LabError
from lab.faults import discover
from lab.host.world import world_of
from lab.observe.clock import RunClock
from lab.ports import Fault, World
from lab.read.campaigns import build_fault
from tests.bench import peers
from tests.contract.examples import EXAMPLES
from tests.e2e.stacks import ephemeral_stack, images

PROOF_S, SETTLED_S = 20.0, 60.0


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one repetition; `proven` and `gone` count from the call of inject and of heal.

    `before` is what came before the injection: the baseline of the measurement, and the undo.
    """

    before: float
    in_force: float
    proven: float
    healed: float
    gone: float


def once(fault: Fault, world: World) -> Times:
    """One life of a fault, timed; raises LabError where its effect was never seen, or stayed."""
    asked = time.perf_counter()
    before = fault.observe(world, None)
    undo = fault.prepare(world)
    prepared = _ms(asked)
    began = time.perf_counter()
    try:
        fault.inject(world, undo)
        in_force = _ms(began)
        _until(lambda: fault.observe(world, before).holds, PROOF_S, f"{fault.kind} never held")
        proven = _ms(began)
    finally:
        healing = time.perf_counter()
        type(fault).heal(world, undo)
        healed = _ms(healing)
    _until(lambda: fault.observe(world, before).absent, SETTLED_S, f"{fault.kind} never went away")
    return Times(prepared, in_force, proven, healed, _ms(healing))


def _until(seen: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > end:
            raise LabError(what, try_="run the contract suite for this kind alone")
        time.sleep(0.02)


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def measure(
    kinds: Sequence[str], repeats: int, world: World, beside: Sequence[peers.Peer] = ()
) -> dict[str, list[Times]]:
    """Every kind `repeats` times, in turns, so that a busy minute of the machine hits all alike, peers too."""
    found: dict[str, list[Times]] = {kind: [] for kind in kinds}
    for turn in range(repeats):
        for kind in kinds:
            fault = build_fault(kind, EXAMPLES[kind], where="bench", faults=discover())
            try:
                found[kind].append(once(fault, world))
            except LabError as error:
                print(f"{kind}, turn {turn + 1}: {error}", file=sys.stderr)
            time.sleep(0.2)
            _take_turns(kind, turn, beside)
        _take_turns(peers.NO_KIND, turn, beside)
    return found


def _take_turns(kind: str, turn: int, beside: Sequence[peers.Peer]) -> None:
    for peer in beside:
        if peer.kind == kind:
            failed = len(peer.failures)
            peer.once()
            for why in peer.failures[failed:]:
                print(f"{peer.name}, turn {turn + 1}: {why}", file=sys.stderr)
            time.sleep(0.2)


def lives(times: Sequence[Times]) -> dict[str, list[peers.Life]]:
    """The lab's own lives as they stand beside those of peers, by what is counted."""
    return {
        "inject, prove, heal": [peers.Life(one.in_force, one.proven + one.healed) for one in times],
        "the same, with the baseline before and seen gone after": [
            peers.Life(one.before + one.in_force, one.before + one.proven + one.gone) for one in times
        ],
    }


def table(found: dict[str, list[Times]], floors: dict[str, float]) -> list[str]:
    """Median and worst per kind in milliseconds, with the ratio of in force to the floor of its mechanism."""
    lines = [
        "| fault | n | in force | worst | floor | ratio | proven | worst | healed | worst | seen gone |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, times in found.items():
        if not times:
            lines.append(f"| {kind} | 0 | never proven |")
            continue
        names = ("in_force", "proven", "healed", "gone")
        columns = [sorted(getattr(one, name) for one in times) for name in names]
        in_force, proven, healed, gone = ((statistics.median(c), c[-1]) for c in columns)
        floor = floors.get(peers.MECHANISM.get(kind, ""))
        bare = "| | |" if floor is None else f"| {floor:.1f} | {in_force[0] / floor:.1f} |"
        lines.append(
            f"| {kind} | {len(times)} | {in_force[0]:.1f} | {in_force[1]:.1f} {bare} {proven[0]:.0f} | {proven[1]:.0f} "
            f"| {healed[0]:.1f} | {healed[1]:.1f} | {gone[0]:.0f} |"
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--chaos", type=Path)
    parser.add_argument("--pumba", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    kinds = asked.kinds.split(",") if asked.kinds else [kind for kind in EXAMPLES if kind in discover()]
    with ephemeral_stack(images()) as spec, tempfile.TemporaryDirectory() as folder:
        client = docker.from_env()
        world = world_of(client, spec.topology, RunClock())
        floors = peers.floors(client, spec, world, asked.repeats)
        beside = peers.at_hand(client, spec, world, chaos=asked.chaos, pumba=asked.pumba, folder=Path(folder))
        found = measure(kinds, asked.repeats, world, beside)
    side_by_side = peers.table(beside, floors, {kind: lives(times) for kind, times in found.items()})
    print("\n".join([*table(found, floors), "", *side_by_side]))
    if asked.json:
        rows: dict[str, Any] = {kind: [asdict(one) for one in times] for kind, times in found.items()}
        others = {
            f"{peer.kind or 'start'}: {peer.name}": {
                "lives": [asdict(life) for life in peer.lives],
                "failures": peer.failures,
            }
            for peer in beside
        }
        asked.json.write_text(json.dumps({"floors_ms": floors, "faults": rows, "others": others}, indent=1))


if __name__ == "__main__":
    main()
