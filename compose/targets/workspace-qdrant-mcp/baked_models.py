"""Loads embedding models from the image alone: no hub is asked, and none is waited for."""

from functools import wraps

from fastembed.common import model_management

_download = model_management.ModelManagement.download_model.__func__


@wraps(_download)
def _from_the_image(cls, model, cache_dir, retries=1, **options):  # type: ignore[no-untyped-def]
    options["local_files_only"] = True
    return _download(cls, model, cache_dir, retries, **options)


model_management.ModelManagement.download_model = classmethod(_from_the_image)
