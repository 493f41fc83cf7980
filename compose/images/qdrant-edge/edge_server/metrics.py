"""Prometheus metrics under Qdrant's names, as far as this server can measure them. No name is its own invention.

Left out because they would not be true here: `memory_*` (statistics of an allocator that is not in use),
`cluster_*` beyond `cluster_enabled`, and the hardware counters. Some names are younger than the version that this
server answers like: `process_*`, `collection_points` and `collection_running_optimizations` came after Qdrant 1.15.
"""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_server import ENGINE, VERSION
from edge_server.collection import Collection

# Qdrant's bucket bounds, in seconds.
_BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0)
_LABELS = ("method", "endpoint", "status")


class Metrics:
    """All metrics of one server."""

    def __init__(self, opened: Callable[[], list[Collection]]) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._responses = Counter(
            "rest_responses", "total number of responses", _LABELS, registry=self._registry
        )
        self._durations = Histogram(
            "rest_responses_duration_seconds",
            "response duration histogram",
            _LABELS,
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_State(opened))

    def observe(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Count one response; `endpoint` is the route's pattern, not the path."""
        labels = (method, endpoint, str(status))
        self._responses.labels(*labels).inc()
        self._durations.labels(*labels).observe(seconds)

    def render(self) -> bytes:
        """The text exposition format."""
        return prometheus_client.generate_latest(self._registry)


class _State(Collector):
    """What is read off the collections and the process when asked."""

    def __init__(self, opened: Callable[[], list[Collection]]) -> None:
        self._opened = opened

    def collect(self) -> Iterator[Metric]:
        """One sample per metric and collection."""
        yield _gauge("app_info", "information about qdrant server", {"name": ENGINE, "version": VERSION}, 1)
        yield _gauge("app_status_recovery_mode", "features enabled in qdrant server", {}, 0)
        yield _gauge("cluster_enabled", "is cluster support enabled", {}, 0)
        yield from _process()
        yield from self._collections()

    def _collections(self) -> Iterator[Metric]:
        collections = self._opened()
        yield _gauge("collections_total", "number of collections", {}, len(collections))
        points = GaugeMetricFamily(
            "collection_points", "approximate amount of points per collection", labels=["id"]
        )
        running = GaugeMetricFamily(
            "collection_running_optimizations",
            "number of currently running optimization tasks per collection",
            labels=["id"],
        )
        for collection in collections:
            points.add_metric([collection.name], collection.shard.info().points_count)
            running.add_metric([collection.name], int(collection.optimizing))
        yield points
        yield running


def _gauge(name: str, text: str, labels: dict[str, str], value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _process() -> Iterator[Metric]:
    """What Qdrant tells of its process; like there, page faults include those of ended children."""
    yield _gauge("process_threads", "count of active threads", {}, _entries("task"))
    yield _gauge("process_open_fds", "count of currently open file descriptors", {}, _entries("fd"))
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _gauge("process_max_fds", "limit for open file descriptors", {}, max(soft_limit, 0))
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    minor, major = sum(u.ru_minflt for u in usages), sum(u.ru_majflt for u in usages)
    yield _counter(
        "process_minor_page_faults_total",
        "count of minor page faults which didn't cause a disk access",
        minor,
    )
    yield _counter(
        "process_major_page_faults_total", "count of disk accesses caused by a mmap page fault", major
    )


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _entries(folder: str) -> int:
    return sum(1 for _ in Path("/proc/self", folder).iterdir())
