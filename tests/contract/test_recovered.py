"""A run waits for recovery by the load's requests and the truth queries as well as by the canary."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lab.evidence.recent_rows import KEPT_MS, RecentRows
from lab.evidence.sample_tables import Row
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, Plan
from lab.model.samples import HostReading, Layer, Probe, Recall, Request
from lab.run.recovered import WellSince
from tests.contract.run_fakes import plan

HEALED_MS = 100_000.0
HANGS = [
    Probe(HEALED_MS + 500 * n, HEALED_MS + 500 * n + 9000, "list", "transport", "no answer") for n in (0, 1)
]


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        self.rows += rows


def recent(rows: Sequence[Request | Probe | Recall]) -> RecentRows:
    """The newest rows of a run that has these."""
    found = RecentRows(Kept())
    found.add(rows)
    return found


def witnessed(*witnesses: str) -> Plan:
    """A plan whose recovery is told by these."""
    usual = plan([("latency", {"target": "qdrant"})])
    return replace(usual, observer=replace(usual.observer, witnesses=witnesses, canary_slo_ms=200.0))


def request(at_ms: float, *, ok: bool = True, took_ms: float = 50.0, late_ms: float = 1.0) -> Request:
    """One request of the load that was due at this time."""
    layer = Layer.OK if ok else Layer.TRANSPORT
    return Request(
        at_ms,
        at_ms + late_ms,
        at_ms + took_ms if ok else None,
        "search",
        ok,
        layer,
        "",
        "0000",
        id=f"{at_ms}",
    )


def load(from_ms: float, n: int, **how: float) -> list[Request]:
    """Requests every quarter of a second."""
    return [request(from_ms + 250 * place, **how) for place in range(n)]  # type: ignore[arg-type]


def well_since(rows: Sequence[Request | Probe | Recall], *witnesses: str) -> float | None:
    """Since when a run says that the target is well; the steady phase lasted until 20 s before the heal."""
    well = WellSince(witnessed(*witnesses), recent(rows))
    well.add_steady(HEALED_MS - 60_000.0, HEALED_MS - 20_000.0)
    return well.ms("f1-latency", HEALED_MS)


def test_the_load_shows_a_recovery_that_two_hanging_canary_calls_hide() -> None:
    bad = [request(HEALED_MS + 250 * n, ok=False) for n in range(4)]
    rows: list[Request | Probe | Recall] = [*HANGS, *bad, *load(HEALED_MS + 2000, 130)]
    assert well_since(rows, BY_CANARY) is None
    assert well_since(rows, BY_CANARY, BY_LOAD, BY_TRUTH) == HEALED_MS + 2000


def test_a_load_that_fails_is_not_recovered_though_the_canary_is_well() -> None:
    canary = [Probe(HEALED_MS + 500 * n, HEALED_MS + 500 * n + 20, "list", "ok", "") for n in range(80)]
    bad = [request(HEALED_MS + 250 * n + 7, ok=False) for n in range(160)]
    rows: list[Request | Probe | Recall] = [*canary, *bad]
    assert well_since(rows, BY_CANARY) == HEALED_MS
    assert well_since(rows, BY_CANARY, BY_LOAD) is None


def test_in_time_is_what_was_usual_before_the_fault() -> None:
    slow = {"took_ms": 400.0}
    assert well_since(load(HEALED_MS, 130, **slow), BY_LOAD) is None, "nothing says that this is usual"
    before = load(HEALED_MS - 40_000, 60, **slow)
    assert well_since([*before, *load(HEALED_MS, 130, **slow)], BY_LOAD) == HEALED_MS
    assert well_since([*before, *load(HEALED_MS, 130, took_ms=700.0)], BY_LOAD) is None


def test_what_the_load_generator_did_late_or_not_at_all_is_no_evidence() -> None:
    late = [request(HEALED_MS + 250 * n + 3, took_ms=900.0, late_ms=850.0) for n in range(20)]
    unsent = [replace(row, sent_ms=None, done_ms=None, ok=False, layer=Layer.UNSENT) for row in late]
    assert well_since([*late, *unsent, *load(HEALED_MS, 130)], BY_LOAD) == HEALED_MS


def test_truth_queries_without_an_answer_are_bad_and_those_without_room_are_nothing() -> None:
    lost = [
        Recall(HEALED_MS + 1000 * n + 1, None, "dense", "q", False, 0, 10, Layer.UNSENT, "")
        for n in range(30)
    ]
    assert well_since([*lost, *load(HEALED_MS, 130)], BY_LOAD, BY_TRUTH) == HEALED_MS
    bad = [replace(row, layer=Layer.TRANSPORT, sent_ms=row.sent_ms + 9) for row in lost]
    assert well_since([*bad, *load(HEALED_MS, 130)], BY_LOAD, BY_TRUTH) is None


def test_only_the_newest_rows_are_remembered_in_order_and_all_are_passed_on() -> None:
    sink = Kept()
    found = RecentRows(sink)
    rows = load(0.0, int(2 * KEPT_MS / 250))
    for first in range(0, len(rows), 100):
        found.add(reversed(rows[first : first + 100]))
    found.add([HostReading(0.0, "lab_cpu_s", 1.0), Probe(1e6, 1e6, "store_idle", "ok", "")])
    assert len(sink.rows) == len(rows) + 2
    kept = list(found.since(0.0).requests)
    assert kept == rows[-len(kept) :]
    assert KEPT_MS / 250 <= len(kept) <= 1.3 * KEPT_MS / 250
    assert list(found.since(rows[-3].scheduled_ms).requests) == rows[-3:]
    assert list(found.since(0.0).probes) == [], "what the store says is no observation of the target"


def test_what_has_not_arrived_is_not_known_though_the_canary_goes_on() -> None:
    """A relapse in rows that k6 has not handed over yet would be found by the judge alone."""
    canary = [Probe(HEALED_MS + 500 * n, HEALED_MS + 500 * n + 20, "list", "ok", "") for n in range(60)]
    rows: list[Request | Probe | Recall] = [*canary, *load(HEALED_MS, 81)]
    every = WellSince(witnessed(BY_CANARY, BY_LOAD, BY_TRUTH), recent(rows))
    assert every.known_until_ms(HEALED_MS) == HEALED_MS + 20_000
    alone = WellSince(witnessed(BY_CANARY), recent(rows))
    assert alone.known_until_ms(HEALED_MS) == HEALED_MS + 29_500
    without_load = WellSince(witnessed(BY_CANARY, BY_LOAD), recent(canary))
    assert without_load.known_until_ms(HEALED_MS) == HEALED_MS + 29_500, "a step may have no load"
    assert WellSince(witnessed(BY_LOAD), recent([])).known_until_ms(HEALED_MS) == HEALED_MS
