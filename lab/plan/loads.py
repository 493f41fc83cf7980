"""The load profiles that the planner knows."""

from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.target import Target

# A server may keep a little of every session for ever, so there are few; one client alone would be no load.
SESSIONS = 5
# With more virtual users k6 itself would load the machine. A request that is due and finds none free is not sent.
VUS_MAX = 500
CHUNK_S = 60.0


def normal(target: Target, rate_per_s: float | None) -> LoadProfile:
    """The target's usual mix at a constant rate, by default the target's normal one.

    A kept connection that the server closes just when it is used again fails without the server's fault, so none is
    kept.
    """
    return LoadProfile(
        name="normal",
        script="normal.js",
        schedule=ConstantArrivalRate(target.normal_rate_per_s if rate_per_s is None else rate_per_s),
        mix=dict(target.mix),
        vus_max=VUS_MAX,
        sessions=SESSIONS,
        connection_reuse=False,
        request_timeout_ms=target.request_timeout_ms,
        chunk_s=CHUNK_S,
    )
