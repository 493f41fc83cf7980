"""Columns of samples that are held in memory answer as the rows do; one with too many words is read from the file."""

from pathlib import Path

import pytest

from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.evidence.stored_stream import StoredStream
from lab.model.samples import Layer, Probe, Recall, Request, Rows, Stream

# Two probes of one time, an unanswered one, one out of order, and two names.
PROBES = [
    Probe(3000.0, 3012.0, "list", "ok", ""),
    Probe(1000.0, 1012.0, "list", "ok", ""),
    Probe(2000.0, None, "list", "unsent", "no room"),
    Probe(2000.0, 2005.0, "store_idle", "busy", ""),
    Probe(4000.0, 4460.0, "list", "transport", "reset"),
]
NAMES = ("sent_ms", "done_ms", "outcome")


def stored(tmp_path: Path, probes: list[Probe]) -> Stream[Probe]:
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add(probes)
    store.close()
    samples, damage = read_samples(tmp_path / "samples.sqlite")
    assert damage == [] and isinstance(samples.probes, StoredStream)
    return samples.probes


@pytest.mark.parametrize("name", ["list", "store_idle", "nobody"])
@pytest.mark.parametrize("ends", [(0.0, 9000.0), (1000.0, 3000.0), (5000.0, 9000.0), (3000.0, 1000.0)])
def test_held_columns_answer_as_rows_in_memory_do(
    tmp_path: Path, name: str, ends: tuple[float, float]
) -> None:
    stream = stored(tmp_path, PROBES)
    assert list(stream.fields(NAMES, *ends, probe=name)) == list(
        Rows(PROBES).fields(NAMES, *ends, probe=name)
    )
    assert stream.times(probe=name) == Rows(PROBES).times(probe=name)


@pytest.mark.parametrize("words", [256, 257])
def test_a_column_with_too_many_words_is_read_from_disk(tmp_path: Path, words: int) -> None:
    probes = [Probe(float(n), None, f"canary {n}", "ok", "") for n in range(words)]
    stream = stored(tmp_path, probes)
    assert isinstance(stream, StoredStream)
    assert ("probe" in stream._held) == (words <= 256)
    assert list(stream.fields(NAMES, 0.0, 1e9, probe="canary 255")) == [(255.0, None, "ok")]
    assert list(stream.times(probe="canary 255")) == [255.0]


def test_a_field_is_the_same_in_memory_and_on_disk(tmp_path: Path) -> None:
    """Once, `unsent` was a text on disk and a layer in memory, and a slot without a query counted as one that waits."""
    recall = [
        Recall(1.0, None, "dense", "q1", False, 0, 10, Layer.UNSENT, ""),
        Recall(2.0, 3.0, "dense", "q2", True, 9, 10, Layer.OK, ""),
    ]
    requests = [
        Request(1.0, 1.5, 5.0, "search", True, Layer.OK, "", "0000", 0, "0000-0-search", 0, 10, "q1"),
        Request(
            2.0, None, None, "add", False, Layer.UNSENT, "no virtual user was free", "0000", 0, "0000-1-add"
        ),
    ]
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([*recall, *requests])
    store.close()
    samples, damage = read_samples(tmp_path / "samples.sqlite")
    assert not damage
    for table, rows in (("recall", recall), ("requests", requests)):
        names = type(rows[0]).__slots__
        found = list(getattr(samples, table).fields(names, 0.0, 9.0))
        assert found == list(Rows(rows).fields(names, 0.0, 9.0))
        assert [list(map(type, row)) for row in found] == [
            [type(getattr(row, name)) for name in names] for row in rows
        ]
