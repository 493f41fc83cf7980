"""Columns of samples that are held in memory answer as the rows do; one with too many words is read from the file."""

from pathlib import Path

import pytest

from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.evidence.stored_stream import StoredStream
from lab.model.samples import Probe, Rows, Stream

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
