"""The load per window and operation; a failed request counts in the percentiles as one that was never answered."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from lab.judge.checks.latency import P95_MAX
from lab.judge.stats.intervals import percentile, percentile_interval
from lab.judge.windows.steady_load import in_order, latencies, least_latencies, succeeded
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.plan import FAULT
from lab.model.samples import Layer, Request
from lab.model.verdict import Finding

KEY = "load"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per window and operation with a request due; the window of a fault reaches to the end of its step."""
    shown = [window for window in windows.phases if window.phase != FAULT]
    shown += [fault.span for fault in windows.faults if fault.span is not None]
    kinds: dict[str | None, str] = {fault.planned.id: fault.planned.kind for fault in windows.faults}
    limit_ms = P95_MAX.value_of(evidence.plan.bounds)
    return [
        {**_head(window, kinds), "op": op, **_figures(rows, limit_ms)}
        for window in sorted(shown, key=lambda window: window.from_ms)
        for op, rows in _by_operation(evidence, window)
    ]


def _head(window: Window, kinds: dict[str | None, str]) -> dict[str, object]:
    return {"window": window.name, "phase": window.phase, "fault": kinds.get(window.fault)}


def _by_operation(evidence: Evidence, window: Window) -> Iterator[tuple[str, list[Request]]]:
    """The requests that were due in a window, in order, by operation."""
    due = in_order(evidence.samples.requests.between(window.from_ms, window.to_ms))
    by_operation: dict[str, list[Request]] = defaultdict(list)
    for request in due:
        by_operation[request.op].append(request)
    yield from sorted(by_operation.items())


def _figures(rows: Sequence[Request], limit_ms: float) -> dict[str, object]:
    took = latencies(rows)
    interval = percentile_interval(least_latencies(rows), took, 0.95)
    layers = Counter(r.layer.value for r in rows if not succeeded(r) and r.layer is not Layer.UNSENT)
    return {
        "n": len(rows),
        "ok": sum(succeeded(request) for request in rows),
        "late": int(((took >= limit_ms) & (took < float("inf"))).sum()),
        "dropped": sum(request.layer is Layer.UNSENT for request in rows),
        "errors": {layer: layers[layer] for layer in sorted(layers)},
        "p50_ms": percentile(took, 0.5),
        "p95_ms": percentile(took, 0.95),
        "p95_ci": [interval.lo, interval.hi],
        "p99_ms": percentile(took, 0.99),
    }
