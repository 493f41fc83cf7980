"""Turns the `plan.json` of an older lab into the form of today, so that its run can still be judged.

Where an older plan says nothing, an upgrade adds what the older lab did. The file itself is never changed: its SHA-256
stands in the journal.
"""

import json
from typing import Any

# What every run did before the steps of a plan named their load.
_NORMAL = {"name": "normal", "script": "mix.js", "vus_max": 500, "sessions": 5, "connection_reuse": False}
_EXECUTOR = "constant-arrival-rate"


def upgraded(text: bytes) -> Any:
    """The JSON value of a plan in today's form; raises ValueError where the text is no JSON."""
    plan = json.loads(text)
    return _with_load_in_each_step(plan) if isinstance(plan, dict) and "load" in plan else plan


def _with_load_in_each_step(plan: dict[str, Any]) -> dict[str, Any]:
    """Upgrade a plan with one `load` (`rate_per_s`, `chunk_s`, `mix`, `request_timeout_ms`) for all of its steps."""
    rest = {key: value for key, value in plan.items() if key != "load"}
    load, steps = plan["load"], plan.get("steps")
    if not isinstance(load, dict) or not isinstance(steps, list):
        return rest
    same = {key: value for key, value in load.items() if key != "rate_per_s"}
    schedule = {"executor": _EXECUTOR, "rate_per_s": load.get("rate_per_s")}
    profile = {**_NORMAL, **same, "schedule": schedule}
    return {
        **rest,
        "steps": [{**step, "load": profile} if isinstance(step, dict) else step for step in steps],
    }
