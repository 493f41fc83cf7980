"""What others took of the CPUs is counted from the readings: to the second, and never more than they can have taken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from lab.judge.windows.host_cpu import (
    Starvation,
    blame,
    least_s,
    remark,
    share_of_others,
    share_waiting,
    starvation,
)
from lab.model.evidence import Evidence
from lab.model.samples import HostReading, Rows
from tests.pure.evidence_factory import Recipe, make, with_journal
from tests.pure.test_starved_host import measured

# Of two CPUs, one idles and 0.3 serve the lab and the target in the first piece; then all are busy with others.
IDLE = (100.0, 105.0, 105.0, 105.0)
MCP, LAB = (0.0, 1.0, 1.0, 1.0), (10.0, 10.5, 10.5, 10.5)
QUIET = (0.0, 0.0, 0.0, 0.0)
WAITING = "host_cpu_waiting_s"


@cache
def run() -> Evidence:
    return make(Recipe(faults=(), baseline_s=20.0, clean_s=0))


def read(metrics: Mapping[str, Sequence[float]], every_ms: float = 5000.0, from_ms: float = 0.0) -> Evidence:
    """A run whose counters had these values, each with a reading every five seconds."""
    rows = [
        HostReading(from_ms + every_ms * n, metric, value)
        for metric, values in metrics.items()
        for n, value in enumerate(values)
    ]
    return replace(run(), samples=replace(run().samples, host=Rows(rows)))


def known_host(host: Any) -> Evidence:
    """The same readings on a machine about which the journal says this."""
    evidence = read({"host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP, "lab_cpu_s": LAB, "load_cpu_s": QUIET})
    start = replace(evidence.journal.events[0], data={"host": host})
    return with_journal(evidence, [start, *evidence.journal.events[1:]])


def test_others_had_what_nobody_else_accounts_for() -> None:
    evidence = read({"host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP, "lab_cpu_s": LAB})
    # 10 s were available, of which 5 s idled, and the target and the lab used 1.5 s. Both ends belong to the time.
    assert share_of_others(evidence, 0.0, 5000.0) == pytest.approx(0.35)
    assert share_of_others(evidence, 5000.0, 10_000.0) == 1.0
    assert share_of_others(evidence, 0.0, 10_000.0) == pytest.approx(0.675)
    later = read({"host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP, "lab_cpu_s": LAB}, from_ms=20_000.0)
    assert share_of_others(later, 20_000.0, 25_000.0) == pytest.approx(0.35)
    often = read({"host_cpu_idle_s": (0.0, 0.1)}, every_ms=100.0)
    assert share_of_others(often, 0.0, 100.0) == pytest.approx(0.5)
    assert remark(evidence, 0.0, 5000.0) == "; all else on this machine took 35% of its CPU meanwhile"
    assert blame(evidence, 0.0, 5000.0) == "all else took 35% of its CPU"


def test_with_one_reading_nothing_is_known() -> None:
    evidence = read({"host_cpu_idle_s": IDLE, "host_cpu_waiting_s": QUIET})
    assert share_of_others(evidence, 0.0, 4999.0) is None
    assert share_waiting(evidence, 0.0, 4999.0) is None
    assert remark(evidence, 0.0, 4999.0) == ""
    assert blame(evidence, 0.0, 4999.0) == "all else took 0% of its CPU"
    # Two readings of the same moment span no time.
    same = read({"host_cpu_idle_s": (1.0, 2.0), "host_cpu_waiting_s": (1.0, 2.0)}, every_ms=0.0)
    assert share_of_others(same, 0.0, 5000.0) is None
    assert share_waiting(same, 0.0, 5000.0) is None


def test_what_is_no_counter_of_cpu_time_accounts_for_nothing() -> None:
    evidence = read(
        {
            "host_cpu_idle_s": IDLE,
            "host_cpu_waiting_s": (0.0, 5.0, 9.0, 9.0),
            "mcp_memory_bytes": (0.0, 3.0, 3.0, 3.0),
            "mcp_cpu_s": QUIET,
        }
    )
    assert share_of_others(evidence, 0.0, 5000.0) == pytest.approx(0.5)


def test_counters_that_began_again_or_went_back() -> None:
    # A service that was restarted used all that its new counter shows; idle time that went back did not grow.
    restarted = read({"host_cpu_idle_s": (100.0, 105.0), "mcp_cpu_s": (50.0, 2.0)})
    assert share_of_others(restarted, 0.0, 5000.0) == pytest.approx(0.3)
    corrected = read({"host_cpu_idle_s": (100.0, 99.0, 103.0), "mcp_cpu_s": (0.0, 2.0, 2.0)})
    assert share_of_others(corrected, 0.0, 10_000.0) == pytest.approx(0.7)
    # More than the machine has cannot be accounted for by others.
    assert share_of_others(read({"host_cpu_idle_s": (0.0, 11.0)}), 0.0, 5000.0) == 0.0


@pytest.mark.parametrize("host", [None, "2 CPUs", {}, {"cpus": "2"}, {"cpus": 0}, {"cpus": 2.0}])
def test_on_an_unknown_number_of_cpus_nothing_is_known(host: object) -> None:
    assert share_of_others(known_host(host), 0.0, 5000.0) is None
    assert starvation(known_host(host), 0.0, 15_000.0) is None
    assert share_of_others(with_journal(known_host({}), []), 0.0, 5000.0) is None


def test_one_cpu_is_a_known_number_of_cpus() -> None:
    # 5 s were available, and no more than those idled.
    assert share_of_others(known_host({"cpus": 1}), 5000.0, 10_000.0) == 1.0
    assert share_of_others(known_host({"cpus": 1}), 0.0, 10_000.0) == pytest.approx(0.35)


def test_the_share_of_the_time_in_which_somebody_waited() -> None:
    evidence = read({"host_cpu_waiting_s": (7.0, 8.0, 12.0, 20.0)})
    assert share_waiting(evidence, 0.0, 5000.0) == pytest.approx(0.2)
    assert share_waiting(evidence, 0.0, 10_000.0) == pytest.approx(0.5)
    assert share_waiting(evidence, 10_000.0, 15_000.0) == 1.0
    often = read({"host_cpu_waiting_s": (0.0, 0.0005)}, every_ms=1.0)
    assert share_waiting(often, 0.0, 1.0) == pytest.approx(0.5)
    # Time is counted since the machine began.
    assert share_waiting(read({"host_cpu_waiting_s": (7000.0, 7001.0)}), 0.0, 5000.0) == pytest.approx(0.2)
    assert share_waiting(read({"host_cpu_waiting_s": (7.0, 6.0)}), 0.0, 5000.0) == 0.0
    assert share_waiting(read({"host_cpu_idle_s": (7.0, 8.0)}), 0.0, 5000.0) is None


def starved(
    metrics: Mapping[str, Sequence[float]], usable: Callable[[Evidence], Evidence] = lambda e: e
) -> list[float]:
    """The seconds that others may have taken from the target up to each reading."""
    found = starvation(usable(read({"load_cpu_s": QUIET, **metrics})), 0.0, 15_000.0)
    assert found is not None
    assert found.edges_ms.tolist() == [0.0, 5000.0, 10_000.0, 15_000.0]
    return [round(ms / 1000, 6) for ms in found.wasted_ms.tolist()]


def test_others_took_the_smaller_of_what_they_had_and_what_somebody_waited() -> None:
    """A target that loses a share of its capacity takes twice that share longer, and at most the whole time."""
    others = {"host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP, "lab_cpu_s": LAB}
    # 3.5 s of two CPUs in the first piece: 1.75 s of its capacity, so 3.5 s; then everything.
    assert starved({**others, WAITING: (0.0, 5.0, 10.0, 15.0)}) == [0.0, 3.5, 8.5, 13.5]
    assert starved({**others, WAITING: (0.0, 1.0, 3.0, 3.0)}) == [0.0, 2.0, 6.0, 6.0]
    # Without PSI nobody waited for longer than the CPUs were busy, half of the first piece.
    assert starved(others) == [0.0, 3.5, 8.5, 13.5]
    assert starved({"host_cpu_idle_s": (0.0, 9.0, 18.0, 18.0)}) == [0.0, 1.0, 2.0, 7.0]
    assert starved({"host_cpu_idle_s": (0.0, 8.0, 16.0, 16.0), "mcp_cpu_s": QUIET}) == [0.0, 2.0, 4.0, 9.0]


def written(evidence: Evidence, cpus: float) -> Evidence:
    """The same run of a target that can use so many CPUs, as its `target.yaml` says."""
    changed = replace(evidence.plan.target, capacity_cpu_cores=cpus)
    return replace(evidence, plan=replace(evidence.plan, target=changed))


def test_a_target_that_can_use_one_cpu_waits_no_longer_than_both_are_busy() -> None:
    idle = (0.0, 8.0, 17.5, 17.5)
    # Others had 2 s, then 0.5 s, then all. The CPUs were busy for 1 s, then 0.25 s, then all the time.
    assert starved({"host_cpu_idle_s": idle}, lambda run: written(run, 1.0)) == [0.0, 2.0, 2.5, 7.5]
    waited = (0.0, 5.0, 10.0, 15.0)
    of_one = starved({"host_cpu_idle_s": idle, WAITING: waited}, lambda run: written(run, 1.0))
    assert of_one == [0.0, 4.0, 5.0, 10.0]


@pytest.mark.parametrize(
    ("cpu_ms", "first_s"),
    [
        (20.0, 4.0),  # 50 calls a second of 20 ms are one CPU,
        (40.0, 2.0),  # of 40 ms two,
        (80.0, 2.0),  # and more than two there are not.
        (0.0, 4.0 / 3),  # Where nothing was measured, the three of `target.yaml` count.
    ],
)
def test_what_the_run_measured_comes_before_what_is_written(cpu_ms: float, first_s: float) -> None:
    idle, waited = (0.0, 8.0, 8.0, 8.0), (0.0, 5.0, 10.0, 15.0)
    wasted_s = starved(
        {"host_cpu_idle_s": idle, WAITING: waited}, lambda run: measured(written(run, 3.0), cpu_ms)
    )
    assert wasted_s[1] == pytest.approx(first_s, abs=1e-6)


def test_nobody_took_less_than_nothing() -> None:
    # More than two CPUs idled or worked for the lab in the first piece: an error of the counters, no time gained.
    busy = (0.0, 14.0, 14.0, 14.0)
    assert starved({"host_cpu_idle_s": QUIET, "mcp_cpu_s": busy}) == [0.0, 0.0, 5.0, 10.0]
    assert starved({"host_cpu_idle_s": (0.0, 12.0, 12.0, 12.0)}) == [0.0, 0.0, 5.0, 10.0]


def test_the_pieces_at_both_ends_belong_to_a_time() -> None:
    evidence = read(dict.fromkeys(("load_cpu_s", "host_cpu_idle_s"), [0.0] * 20))
    found = starvation(evidence, 30_000.0, 40_000.0)
    assert found is not None
    assert (found.edges_ms[0], found.edges_ms[-1]) == (20_000.0, 45_000.0)


def test_a_run_that_did_not_read_the_load_generator_tells_nothing() -> None:
    assert starvation(read({"host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP}), 0.0, 15_000.0) is None
    assert starvation(read({"host_cpu_idle_s": IDLE[:1], "load_cpu_s": QUIET}), 0.0, 15_000.0) is None
    assert starvation(read({"load_cpu_s": QUIET}), 0.0, 15_000.0) is None
    assert starvation(read({"host_cpu_idle_s": IDLE[:2], "load_cpu_s": QUIET}), 0.0, 15_000.0) is not None
    assert least_s(read({"host_cpu_idle_s": IDLE}), 0.0, 15.0) == 15.0


def test_a_time_is_shortened_by_what_was_taken_within_it() -> None:
    others = read({"load_cpu_s": QUIET, "host_cpu_idle_s": IDLE, "mcp_cpu_s": MCP, "lab_cpu_s": LAB})
    # 3.5 of the first five seconds were taken, and all of the next.
    assert least_s(others, 0.0, 5.0) == pytest.approx(1.5)
    assert least_s(others, 0.0, 2.5) == pytest.approx(0.75)
    assert least_s(others, 2500.0, 5.0) == pytest.approx(0.75)
    assert least_s(others, 0.0, 10.0) == pytest.approx(1.5)


def test_all_readings_within_a_long_time_count_and_those_far_beyond_it_do_not() -> None:
    taken = read(dict.fromkeys(("load_cpu_s", "host_cpu_idle_s"), [0.0] * 20))
    assert least_s(taken, 0.0, 60.0) == 0.0
    # The second reading is two periods after the end, too late to say anything.
    rare = read({"load_cpu_s": (0.0, 0.0), "host_cpu_idle_s": (0.0, 0.0)}, every_ms=25_000.0)
    assert least_s(rare, 0.0, 15.0) == 15.0


def test_what_never_ended_still_does_not_unless_everything_was_taken() -> None:
    taken = Starvation(np.array([0.0, 1000.0, 9000.0]), np.array([0.0, 1000.0, 1000.0]))
    from_ms, took_ms = np.array([0.0, 1.0, 5000.0, 500.0]), np.array([np.inf, np.inf, np.inf, 2000.0])
    assert taken.shortened(from_ms, took_ms).tolist() == [0.0, np.inf, np.inf, 1500.0]
