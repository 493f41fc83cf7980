"""Copies of loaded stores: complete or absent, checked by digest, bounded, and never served for another store."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import WorldError
from lab.provision.stack import kept_stores, owned
from lab.provision.stack.kept_stores import DamagedCopy, KeptStores, files_digest, key_of
from lab.provision.stack.sparse_copy import BLOCK_BYTES, Content, copy_sparse

FACTS = {"target_image": "sha256:1", "store_image": "sha256:2", "corpus_sha256": "3", "model_sha256": "4"}


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptStores:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    return KeptStores()


def filling(source: Path) -> Callable[[Path], Content]:
    return lambda path: copy_sparse(source, path, durable=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "store.ext4"
    with path.open("wb") as file:
        file.truncate(64 * 1024**2)
        file.seek(5 * BLOCK_BYTES + 17)
        file.write(b"the truth" * 9000)
    return path


def test_a_store_is_kept_and_found_by_the_same_facts_alone(
    stores: KeptStores, source: Path, tmp_path: Path
) -> None:
    assert stores.find(key_of(FACTS)) is None
    stores.save(key_of(FACTS), FACTS, filling(source))
    kept = stores.find(key_of(FACTS))
    assert kept is not None
    back = tmp_path / "back"
    stores.check(kept, copy_sparse(kept.path, back, durable=False))
    assert back.read_bytes() == source.read_bytes()
    assert back.stat().st_blocks * 512 < 1024**2, "holes stay holes"
    for name in FACTS:
        assert stores.find(key_of({**FACTS, name: "another"})) is None, name


@pytest.mark.parametrize("place", [0, 5 * BLOCK_BYTES + 18, 64 * 1024**2 - 1])
def test_one_wrong_byte_anywhere_is_noticed_and_the_copy_is_gone(
    stores: KeptStores, source: Path, tmp_path: Path, place: int
) -> None:
    kept = stores.save(key_of(FACTS), FACTS, filling(source))
    with kept.path.open("r+b") as file:
        file.seek(place)
        file.write(b"!")
    with pytest.raises(DamagedCopy, match="damaged"):
        stores.check(kept, copy_sparse(kept.path, tmp_path / "back", durable=False))
    assert stores.find(key_of(FACTS)) is None


@pytest.mark.parametrize("text", ["", "{}", '{"sha256": 1', '{"sha256": "1", "data_bytes": "x"}', "[]"])
def test_a_copy_whose_description_is_no_good_is_damaged(stores: KeptStores, source: Path, text: str) -> None:
    kept = stores.save(key_of(FACTS), FACTS, filling(source))
    (kept.folder / kept_stores.FACTS).write_text(text)
    with pytest.raises(DamagedCopy):
        stores.find(key_of(FACTS))
    assert stores.find(key_of(FACTS)) is None
    kept = stores.save(key_of(FACTS), FACTS, filling(source))
    kept.path.unlink()
    with pytest.raises(DamagedCopy):
        stores.find(key_of(FACTS))


def test_a_copy_cut_short_is_damaged(stores: KeptStores, source: Path, tmp_path: Path) -> None:
    kept = stores.save(key_of(FACTS), FACTS, filling(source))
    os.truncate(kept.path, 1024**2)
    with pytest.raises(DamagedCopy):
        stores.check(kept, copy_sparse(kept.path, tmp_path / "back", durable=False))


KILLED = """
import sys, time
from pathlib import Path
from lab.provision.stack.kept_stores import KeptStores
def fill(path):
    path.write_bytes(b"half of it")
    print("writing", flush=True)
    time.sleep(60)
stores = KeptStores()
with stores.locked():
    stores.save("key", {}, fill)
"""


def test_a_lab_killed_while_it_saves_leaves_no_copy_and_no_lock(stores: KeptStores, source: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert stores.find("key") is None
    with stores.locked(lambda: pytest.fail("the lock of the dead lab is held")):
        stores.save("key", {}, filling(source))
    assert stores.find("key") is not None
    assert [path.name for path in stores.find("key").folder.parent.iterdir()] == ["key"]  # type: ignore[union-attr]


def test_a_save_that_fails_leaves_the_older_copy_alone(stores: KeptStores, source: Path) -> None:
    kept = stores.save("key", {}, filling(source))

    def fail(path: Path) -> Content:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        stores.save("key", {}, fail)
    assert stores.find("key") == kept
    assert len(list(kept.folder.parent.iterdir())) == 1


def test_the_copies_that_were_used_last_are_kept(
    stores: KeptStores, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, key in enumerate("abc"):
        kept = stores.save(key, {}, filling(source))
        os.utime(kept.folder / kept_stores.FACTS, (number, number))
    assert stores.find("a") is not None, "used again, so `b` is now the oldest"
    stores.save("d", {}, filling(source))
    assert [key for key in "abcd" if stores.find(key)] == ["a", "c", "d"]
    monkeypatch.setattr(kept_stores, "BYTES_MAX", 300_000)
    os.utime(stores.find("a").folder / kept_stores.FACTS, (1, 1))  # type: ignore[union-attr]
    stores.save("e", {}, filling(source))
    left = [key for key in "abcde" if stores.find(key)]
    assert "e" in left and "a" not in left and len(left) < 3
    monkeypatch.setattr(kept_stores, "BYTES_MAX", 1000)
    with pytest.raises(WorldError, match="too large"):
        stores.save("f", {}, filling(source))
    assert stores.remove_all() == [f"kept store {key}" for key in left]
    assert not any(stores.find(key) for key in left)


def test_the_copies_of_a_kind_take_nobody_elses_place(
    stores: KeptStores, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = list("abc")
    for key in own:
        stores.save(key, {}, filling(source))
    monkeypatch.setenv(kept_stores.KIND, "tests")
    of_tests = KeptStores()
    assert of_tests.folder == stores.folder / "tests"
    for key in "defg":
        of_tests.save(key, {}, filling(source))
    assert [key for key in "abcdefg" if of_tests.find(key)] == list("efg")
    assert [key for key in "abcdefg" if stores.find(key)] == own
    stores.save("h", {}, filling(source))
    assert [key for key in "efgh" if of_tests.find(key)] == list("efg"), "nor somebody's own theirs"
    of_tests.remove_all()
    assert len([key for key in "abch" if stores.find(key)]) == kept_stores.COPIES_MAX
    of_tests.save("i", {}, filling(source))
    assert "kept store tests" in stores.remove_all() and list(stores.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["..", "a/b", "/tmp", "Tests", "0123456789abcdef"])
def test_a_kind_that_leads_elsewhere_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kept_stores.KIND, kind)
    with pytest.raises(WorldError, match=kept_stores.KIND):
        KeptStores()


def test_a_full_disk_keeps_nothing(stores: KeptStores, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_stores, "FREE_BYTES_MIN", 10**18)
    with pytest.raises(WorldError, match="too little room"):
        stores.save("key", {}, filling(source))
    assert stores.find("key") is None


def test_every_change_of_the_targets_files_is_seen(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "target.yaml").write_text("a")
    (tmp_path / "below" / "server.py").write_text("b")
    digests = [files_digest(tmp_path)]
    (tmp_path / "below" / "server.pyc").write_text("bytecode")
    assert files_digest(tmp_path) == digests[0]
    (tmp_path / "below" / "server.py").write_text("c")
    digests.append(files_digest(tmp_path))
    (tmp_path / "below" / "server.py").rename(tmp_path / "server.py")
    digests.append(files_digest(tmp_path))
    (tmp_path / "empty").touch()
    digests.append(files_digest(tmp_path))
    assert len(set(digests)) == 4


@given(
    data=st.lists(st.tuples(st.integers(0, 12), st.binary(min_size=1, max_size=40)), max_size=5),
    size=st.integers(0, 13 * BLOCK_BYTES),
)
def test_a_sparse_copy_is_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, data: list[tuple[int, bytes]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("sparse")
    with (folder / "a").open("wb") as file:
        for block, content in data:
            file.seek(block * BLOCK_BYTES - min(block, 5))
            file.write(content)
        file.truncate(size)
    first = copy_sparse(folder / "a", folder / "b", durable=False)
    dense = folder / "dense"
    dense.write_bytes((folder / "a").read_bytes())
    assert (folder / "b").read_bytes() == dense.read_bytes()
    assert copy_sparse(folder / "b", folder / "c", durable=False) == first
    assert copy_sparse(dense, folder / "d", durable=False) == first


def test_files_that_a_target_keeps_are_told_from_caches_and_logs() -> None:
    """As `docker diff` reports them of the default target, which keeps nothing; then of one that keeps a database."""
    passing = [
        *("/root", "/root/.cache", "/root/.cache/Microsoft", "/root/.cache/Microsoft/onnxruntime.db"),
        *("/opt", "/opt/venv", "/opt/venv/__pycache__", "/opt/venv/__pycache__/baked_models.cpython-311.pyc"),
        *(
            "/usr",
            "/usr/sbin",
            "/usr/sbin/docker-init",
            "/tmp",
            "/tmp/.ses",
            "/var",
            "/var/log",
            "/var/log/x",
        ),
    ]
    assert owned.lasting(passing) == []
    kept = ["/root/.wqm", "/root/.wqm/state.db", "/data"]
    assert owned.lasting([*passing, *kept]) == ["/data", "/root/.wqm/state.db"]
