"""What the target could answer on the machine of the run, and what the load and the lab's own calls took of it."""

from collections.abc import Sequence

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

KEY = "capacity"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row by the plan; none where the capacity was not measured, as in older runs."""
    plan, capacity = evidence.plan, evidence.plan.capacity
    if capacity is None:
        return []
    load_per_s, observer_hz = plan.load_per_s(), plan.observer_hz()
    mix = plan.target.mix
    return [
        {
            "words": capacity.in_words(load_per_s, observer_hz),
            "mix_per_s": capacity.mix_per_s,
            "side_by_side": capacity.side_by_side,
            "took_s": capacity.took_s,
            "short": capacity.short,
            "load_per_s": load_per_s,
            "load_share": capacity.load_share(load_per_s),
            "observer_share": capacity.share(observer_hz),
            "operations": [
                {
                    "op": name,
                    "mix_percent": mix.get(name, 0),
                    "observer_hz": observer_hz.get(name, 0.0),
                    "calls_per_s": cost.calls_per_s,
                    "latency_ms": cost.latency_ms,
                    "cpu_ms": cost.cpu_ms,
                    "calls": cost.calls,
                }
                for name, cost in sorted(capacity.operations.items())
            ],
        }
    ]
