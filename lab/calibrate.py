"""What the lab measures of outages whose times are known: its own path, against a reference server.

The observer probes at its fast rate, and the judge's clocks turn the probes into intervals, with a hold of 1 s.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lab.adapters.calibration_server import KINDS
from lab.adapters.clock import RunClock
from lab.adapters.guardian_journal import origin_ns
from lab.adapters.observer import TargetObserver
from lab.errors import WorldError
from lab.judge.recovered import Rule, Seen, clocks, within_slo
from lab.model.plan import ObserverPlan
from lab.model.samples import Probe
from lab.probes.recall import TruthQuery
from lab.targets import load_target

RULE = Rule(window=20, enough=19, hold_ms=1000.0)
SLO_MS, WIDTH_MS, INSIDE, MISSABLE_MS = 250.0, 150.0, 0.99, 200.0
GAP_S, LEAD_S = (3.0, 4.0), 3.0
TARGET = Path(__file__).parents[1] / "compose" / "targets" / "workspace-qdrant-mcp"
PLAN = ObserverPlan(2.0, 10.0, 500, SLO_MS, 5, 0.1, 10, 3600.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One outage: whether it was seen, whether the true duration lies in the interval, its width in ms less latency."""

    kind: str
    true_ms: float
    seen: bool
    inside: bool
    width_ms: float | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """All outages as measured, and how many probes were bad in quiet time."""

    outages: tuple[Measured, ...]
    planned: int
    invented: int
    quiet_s: float
    quiet_probes: int

    @property
    def passed(self) -> bool:
        """Whether the bar is met; what was not measured is never inside."""
        widths = [one.width_ms for one in self.outages if one.width_ms is not None]
        whole = len(self.outages) == self.planned and len(widths) == self.planned > 0
        missed = any(not one.seen and one.true_ms >= MISSABLE_MS for one in self.outages)
        inside = sum(one.inside for one in self.outages) / max(1, len(self.outages))
        if not whole or missed or self.invented or self.quiet_probes < self.quiet_s * 9:
            return False
        return inside >= INSIDE and float(np.percentile(widths, 95)) <= WIDTH_MS

    def lines(self) -> list[str]:
        """The table by kind, and the verdict."""
        rows = [_row(kind, [one for one in self.outages if one.kind == kind]) for kind in KINDS]
        quiet = f"quiet {self.quiet_s:g} s: {self.quiet_probes} probes, {self.invented} bad"
        verdict = "PASS" if self.passed else "FAIL"
        return [*rows, _row("all", self.outages), quiet, f"{len(self.outages)} of {self.planned}: {verdict}"]


def _row(kind: str, rows: Sequence[Measured]) -> str:
    widths = [one.width_ms for one in rows if one.width_ms is not None]
    told = " / ".join(f"{value:.0f}" for value in np.percentile(widths, (50, 95, 100))) if widths else "-"
    missed = sum(not one.seen and one.true_ms >= MISSABLE_MS for one in rows)
    return f"{kind:7} n {len(rows)}, inside {sum(o.inside for o in rows)}, width {told} ms, missed {missed}"


class _Kept:
    """A sink that keeps probes in memory."""

    def __init__(self) -> None:
        self.probes: list[Probe] = []

    def add(self, rows: Iterable[object]) -> None:
        self.probes += [row for row in rows if isinstance(row, Probe)]


def recovery(
    directory: Path, *, outages: int, quiet_s: float, seed: int, say: Callable[[str], None], shift_ms: float = 0.0
) -> Certificate:
    """Measure, write `calibration.json` into `directory`; `shift_ms` falsifies the stated truth, as a control."""
    command = [sys.executable, "-m", "lab.adapters.calibration_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            certificate = _measure(server, outages, quiet_s, seed, shift_ms, say)
        finally:
            server.kill()
    directory.mkdir(parents=True, exist_ok=True)
    stated = {**asdict(certificate), "passed": certificate.passed, "seed": seed, "hold_ms": RULE.hold_ms}
    (directory / "calibration.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    return certificate


def _measure(
    server: "subprocess.Popen[str]", n: int, quiet_s: float, seed: int, shift_ms: float, say: Callable[[str], None]
) -> Certificate:
    assert server.stdin is not None
    assert server.stdout is not None
    clock, sink = RunClock(), _Kept()
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/mcp"
    query = TruthQuery("q", "a query", frozenset(f"d{number}" for number in range(10)))
    observer = TargetObserver(
        url=url, target=load_target(TARGET), plan=PLAN, queries=[query], clock=clock, sink=sink, on_memory=lambda: None
    )
    observer.watch_closely(True)
    observer.start()
    clock.sleep_s(LEAD_S)
    quiet_from = clock.now_ms()
    clock.sleep_s(quiet_s)
    quiet_to = clock.now_ms()
    server.stdin.write(json.dumps(_schedule(n, seed)) + "\n")
    server.stdin.flush()
    origin_ms, truths = origin_ns(clock) / 1e6, []
    for number in range(n):
        kind, start, end = json.loads(server.stdout.readline())
        truths.append((kind, start - origin_ms, end - origin_ms + shift_ms))
        say(f"outage {number + 1} of {n}: {kind}, {(end - start) / 1000:.2f} s")
    clock.sleep_s(GAP_S[0])
    end_ms = clock.now_ms()
    observer.stop()
    if observer.died():
        raise WorldError("the observer died", where=url, last_state=str(observer.died()), try_="run again")
    seen = within_slo(sink.probes, SLO_MS)
    quiet = [one for one in seen if quiet_from <= one.sent_ms < quiet_to]
    ends = [*(truth[1] for truth in truths[1:]), end_ms]
    rows = tuple(_one(*truth, until, seen) for truth, until in zip(truths, ends, strict=True))
    return Certificate(rows, n, sum(not one.good for one in quiet), quiet_s, len(quiet))


def _schedule(n: int, seed: int) -> list[tuple[str, float, float]]:
    dice, at_ms, planned = random.Random(seed), time.monotonic_ns() / 1e6 + 1000, []
    for number in range(n):
        end_ms = at_ms + 1000 * 0.1 * 120 ** dice.random()
        planned.append((KINDS[number % len(KINDS)], at_ms, end_ms))
        at_ms = end_ms + 1000 * dice.uniform(*GAP_S)
    return planned


def _one(kind: str, start_ms: float, end_ms: float, until_ms: float, seen: Sequence[Seen]) -> Measured:
    mine = [one for one in seen if start_ms <= one.sent_ms < until_ms]
    found = clocks(mine, start_ms, start_ms, RULE)
    bad = any(one.asked and not one.good for one in mine)
    if found is None or found[0].hi_s is None:
        return Measured(kind, end_ms - start_ms, bad, False, None)
    lo_ms, hi_ms = 1000 * found[0].lo_s, 1000 * found[0].hi_s
    first = next(one for one in mine if abs(one.done_ms - start_ms - hi_ms) < 1e-3)
    width_ms = hi_ms - lo_ms - (first.done_ms - first.sent_ms)
    return Measured(kind, end_ms - start_ms, bad, lo_ms <= end_ms - start_ms <= hi_ms, width_ms)
