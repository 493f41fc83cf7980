"""What the lab's own calls do to a recovery: the same fault with the observer on and off, in pairs.

    python -m tests.bench.observer_effect [--pairs 5] [--cores 0.5] [--target FOLDER] [--kinds freeze,partition]

The recovery is told by the load's rows alone, in both halves of each pair, so that the two are measured alike. "Off" is
one call of the lab at the beginning of a run and none later. Everything happens on one stack, and the halves of a pair
take turns in going first. `--cores` caps the target's CPU for all runs, as a slower machine would.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.cli.console import JsonLines
from lab.cli.fault import by_hand
from lab.errors import LabError
from lab.host.world import docker_client, world_of
from lab.model.plan import BY_LOAD, Plan
from lab.observe.clock import RunClock
from lab.ports import CpuQuota
from lab.run import session
from lab.run.preparation import PreparedStack
from lab.run.stopwatch import Stopwatch
from tests.e2e.stacks import TARGET, ephemeral_stack, images

# With 16 s of baseline the rarest search of the default mix is answered about 13 times, which gives a limit.
HOLD_S, MORE_BASELINE_S, STAYS_WELL = 20.0, 8.0, "10s"
NEVER_HZ = 1 / 3600
PERIOD_US = 100_000
# The medians of both halves may differ by this much: the larger of a time and of a share.
APART_MAX_S, APART_MAX_SHARE = 0.5, 0.05


@dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery in seconds from the heal, told by the load: it lies between `lo_s` and `hi_s`."""

    lo_s: float
    hi_s: float

    @property
    def middle_s(self) -> float:
        """The middle of the interval, which is what the medians are made of."""
        return (self.lo_s + self.hi_s) / 2


def told_by_the_load(plan: Plan, *, observed: bool) -> Plan:
    """The plan with the load as its only witness, with or without the lab's own calls."""
    observer = replace(plan.observer, witnesses=(BY_LOAD,))
    if not observed:
        observer = replace(observer, canary_slow_hz=NEVER_HZ, canary_fast_hz=NEVER_HZ, recall_hz=NEVER_HZ)
    return replace(plan, observer=observer)


def measure(prepared: PreparedStack, plan: Plan, runs: Path) -> Recovery:
    """One run of the plan; raises LabError where it gives no recovery."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        outcome = session.carry_out(prepared, plan, runs, JsonLines(nowhere))
    fault = outcome.report["faults"][0]
    clock = fault["recovery"]["from_heal"]["slo"]
    if not fault["effect"]["holds"] or clock is None or clock["censored"]:
        raise LabError(
            f"{fault['id']} gave no recovery",
            where=str(outcome.directory),
            last_state=str(clock),
            try_="`lab judge` on that directory says why",
        )
    return Recovery(clock["lo_s"], clock["hi_s"])


def pairs(
    prepared: PreparedStack, plan: Plan, number: int, runs: Path
) -> Iterator[tuple[Recovery, Recovery]]:
    """The recoveries with the observer on and off, pair by pair."""
    for pair in range(number):
        order = (True, False) if pair % 2 == 0 else (False, True)
        found = {on: measure(prepared, told_by_the_load(plan, observed=on), runs) for on in order}
        yield found[True], found[False]


def verdict(on_s: Sequence[float], off_s: Sequence[float]) -> str:
    """One line: both medians, by how much they differ, and whether that is within what is allowed."""
    on, off = statistics.median(on_s), statistics.median(off_s)
    allowed = max(APART_MAX_S, APART_MAX_SHARE * off)
    word = "within" if abs(on - off) <= allowed else "BEYOND"
    return f"median on {on:.2f} s, off {off:.2f} s: {on - off:+.2f} s, {word} the {allowed:.2f} s allowed"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cores", type=float, default=None)
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--kinds", default="freeze,partition")
    return parser.parse_args()


def main() -> None:
    """Print each pair, and the medians of each kind."""
    args = _arguments()
    client = docker_client()
    with ephemeral_stack(images(args.target), args.target) as spec, tempfile.TemporaryDirectory() as runs:
        kinds = args.kinds.split(",")
        plans = {kind: _request(kind, args.target, spec.project, Path(runs)) for kind in kinds}
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            progress, plan = JsonLines(nowhere), session.make_plan(next(iter(plans.values())))
            prepared = session.prepare(client, spec, plan, None, progress, Stopwatch())
            if args.cores is not None:
                _cap(prepared, args.cores)
            capacity = session.measure_capacity(prepared, plan, progress)
        print(f"{capacity.mix_per_s:.3g} calls/s of the mix, about {capacity.side_by_side:.2g} at a time")
        for kind, request in plans.items():
            plan = session.make_plan(request, capacity)
            on_s, off_s = [], []
            for on, off in pairs(prepared, plan, args.pairs, Path(runs)):
                on_s.append(on.middle_s)
                off_s.append(off.middle_s)
                print(
                    f"{kind}: on {on.lo_s:.2f}…{on.hi_s:.2f} s, off {off.lo_s:.2f}…{off.hi_s:.2f} s",
                    flush=True,
                )
            print(f"{kind}: {verdict(on_s, off_s)}", flush=True)


def _request(kind: str, target: Path, project: str, runs: Path) -> session.RunRequest:
    scenario = by_hand(kind, ["target=qdrant"], f"{HOLD_S:g}s", STAYS_WELL)
    scenario = replace(scenario, duration_s=scenario.duration_s + MORE_BASELINE_S)
    return session.RunRequest(scenario, target, project=project, runs=runs)


def _cap(prepared: PreparedStack, cores: float) -> None:
    """Cap the target's CPU for all runs; the stack is thrown away at the end, and the cap with it."""
    topology = prepared.spec.topology
    containers = world_of(prepared.client, topology, RunClock()).containers
    state = containers.state(topology.target.name)
    quota = CpuQuota(round(cores * PERIOD_US), PERIOD_US)
    containers.set_cpu_quota(topology.target.name, state.id, quota)


if __name__ == "__main__":
    main()
