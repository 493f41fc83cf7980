"""Copies the content of a store's volume to a file and back, for both kinds of volumes.

An `ext4` volume is a file already, and is copied as a file. A `plain` one belongs to the engine, which gives and takes
it as a tar archive. The containers of store and target must not run meanwhile.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from lab.errors import WorldError
from lab.host.machine.shell import Runner
from lab.host.system_errors import as_world_error
from lab.provision.machine.engine import Engine
from lab.provision.stack import owned, store_volume
from lab.provision.stack.compose_cli import StackCompose
from lab.provision.stack.kept_stores import KeptStore, KeptStores
from lab.provision.stack.sparse_copy import Content, copy_sparse
from lab.provision.stack.stack_spec import StackSpec

CHUNK_BYTES = 2 * 1024**2
# Fills the volume of a stack whose containers of store and target were removed.
Fill = Callable[[StackSpec, Engine, Runner], None]


def empty(spec: StackSpec, engine: Engine, runner: Runner) -> None:
    """Fill the store's volume with nothing."""
    if spec.store_kind == "ext4":
        store_volume.ensure(spec.volume, engine, runner)
        store_volume.empty(spec.volume, runner)
    else:
        store_volume.remove(spec.volume, engine, runner)


def copied_from(kept: KeptStore, stores: KeptStores) -> Fill:
    """Fill the store's volume with a kept copy; for a damaged one raise DamagedCopy and leave the volume as it is."""

    def fill(spec: StackSpec, engine: Engine, runner: Runner) -> None:
        if spec.store_kind == "ext4":
            _image_in(kept, stores, spec, engine, runner)
        else:
            _archive_in(kept, stores, spec, engine, runner)

    return fill


def _image_in(kept: KeptStore, stores: KeptStores, spec: StackSpec, engine: Engine, runner: Runner) -> None:
    # Not `.draft`, which is the name of an image while it is made: that of a stack without a volume is made here too.
    draft = spec.volume.image.with_suffix(".copied")
    with as_world_error(
        "the copy of the store cannot be copied back", where=str(draft), try_="free disk space"
    ):
        draft.unlink(missing_ok=True)
        try:
            stores.check(kept, copy_sparse(kept.path, draft, durable=False))
            store_volume.ensure(spec.volume, engine, runner)
            store_volume.replace(spec.volume, draft, runner)
        finally:
            draft.unlink(missing_ok=True)


def _archive_in(kept: KeptStore, stores: KeptStores, spec: StackSpec, engine: Engine, runner: Runner) -> None:
    with as_world_error("the copy of the store cannot be read", where=str(kept.path), try_="run again"):
        stores.check(kept, _content(kept.path))
    store_volume.remove(spec.volume, engine, runner)
    store_volume.ensure(spec.volume, engine, runner)
    store, folder = _data_folder(spec)
    StackCompose(spec, engine, runner, [store]).create()
    with owned.client_of(engine) as client, kept.path.open("rb") as archive:
        container = owned.container_of(client, spec.project, store)
        if not container.put_archive(str(folder.parent), archive):
            raise WorldError(
                "the engine did not take the copy of the store", where=str(folder), try_="`lab down`"
            )


def copy_out(spec: StackSpec, engine: Engine, runner: Runner) -> Callable[[Path], Content]:
    """Write the content of the store's volume to the path that is given, and return what it is."""

    def write(path: Path) -> Content:
        if spec.store_kind == "ext4":
            store_volume.unmounted(spec.volume, runner)
            return copy_sparse(spec.volume.image, path, durable=True)
        return _archive_out(spec, engine, path)

    return write


def _archive_out(spec: StackSpec, engine: Engine, path: Path) -> Content:
    store, folder = _data_folder(spec)
    digest, size = hashlib.sha256(), 0
    with owned.client_of(engine) as client, path.open("xb") as file:
        chunks, _ = owned.container_of(client, spec.project, store).get_archive(str(folder), CHUNK_BYTES)
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return Content(digest.hexdigest(), size)


def _content(path: Path) -> Content:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Content(digest.hexdigest(), path.stat().st_size)


def _data_folder(spec: StackSpec) -> tuple[str, PurePosixPath]:
    """The store's service, and the folder in it where its volume is mounted."""
    store = spec.topology.store
    if store.data is None:
        raise WorldError("the store has no volume", where=store.name, try_="give it one in the compose file")
    return store.name, PurePosixPath(store.data.path)
