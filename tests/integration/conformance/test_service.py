"""What the server says of itself: identity, health, metrics."""

import warnings

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from qdrant_client import QdrantClient, models


def test_the_client_accepts_the_version_without_a_warning(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connected = QdrantClient(url=url, check_compatibility=True)
    info = connected.info()
    connected.close()
    assert info.version
    assert info.title


def test_the_identity_cannot_be_mistaken_for_the_qdrant_server(raw: httpx.Client, edge_only: None) -> None:
    identity = raw.get("/").json()
    assert identity["title"] == "qdrant-edge 0.9.0, embedded"
    assert "edge" in identity["version"]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health(raw: httpx.Client, path: str) -> None:
    assert raw.get(path).status_code == 200


def test_metrics_have_qdrants_names_and_count_what_happens(
    raw: httpx.Client, client: QdrantClient, name: str
) -> None:
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(name, [models.PointStruct(id=i, vector=[1.0, 2.0]) for i in range(7)])
    before = metric(raw, "rest_responses_total", method="POST", status="200")
    for _ in range(3):
        client.count(name)
    assert metric(raw, "rest_responses_total", method="POST", status="200") >= before + 3
    assert metric(raw, "collections_total") >= 1
    assert metric(raw, "collection_points", id=name) == 7
    assert metric(raw, "collection_running_optimizations", id=name) == 0
    assert metric(raw, "app_info") == 1


def test_the_metrics_of_the_process_are_measured(raw: httpx.Client) -> None:
    assert metric(raw, "process_threads") >= 1
    assert 3 <= metric(raw, "process_open_fds") < metric(raw, "process_max_fds")
    assert metric(raw, "process_minor_page_faults_total") > 0
    assert metric(raw, "process_major_page_faults_total") >= 0


# Those of Qdrant 1.18.3 that the embedded engine can measure. Histograms add suffixes.
QDRANT_METRICS = frozenset(
    (
        "app_info",
        "app_status_recovery_mode",
        "cluster_enabled",
        "collection_points",
        "collection_running_optimizations",
        "collections_total",
        "process_major_page_faults_total",
        "process_max_fds",
        "process_minor_page_faults_total",
        "process_open_fds",
        "process_threads",
        "rest_responses_duration_seconds_bucket",
        "rest_responses_duration_seconds_count",
        "rest_responses_duration_seconds_sum",
        "rest_responses_total",
    )
)


def test_no_metric_has_a_name_that_qdrant_does_not_know(raw: httpx.Client, edge_only: None) -> None:
    raw.get("/collections")
    families = text_string_to_metric_families(raw.get("/metrics").text)
    names = {sample.name for family in families for sample in family.samples}
    assert names - QDRANT_METRICS == set()


def metric(raw: httpx.Client, wanted: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels; fails where there are none."""
    families = text_string_to_metric_families(raw.get("/metrics").text)
    samples = [
        s for f in families for s in f.samples if s.name == wanted and labels.items() <= s.labels.items()
    ]
    assert samples, f"no sample of {wanted} with {labels}"
    return float(sum(sample.value for sample in samples))


def test_durations_are_a_histogram(raw: httpx.Client) -> None:
    raw.get("/collections/there-is-none")
    raw.get("/collections")
    text = raw.get("/metrics").text
    assert "# TYPE rest_responses_duration_seconds histogram" in text
    assert "rest_responses_duration_seconds_bucket" in text


def test_a_path_that_nobody_has_is_404(raw: httpx.Client) -> None:
    assert raw.get("/no-such-thing").status_code == 404
