"""Whether every request has an id, and no two requests have the same id."""

from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from lab.model.samples import Request, Stream


def id_problems(requests: Stream[Request]) -> Iterator[str]:
    """The problems with the ids, in words. If no request has an id, the run is an older one, and there is no problem.

    Only the hash of each id is kept in memory, because a run can have millions of them. Ids with equal hashes are then
    compared themselves, so the result does not depend on Python's hash function.
    """
    hashes, without_id = array("q"), 0
    for request in requests:
        if request.id is None:
            without_id += 1
        else:
            hashes.append(hash(request.id))
    if not hashes:
        return
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    equal = {int(value) for value in values[counts > 1]}
    if equal and (repeated := sorted(_repeated(requests, equal))):
        yield f"{len(repeated)} request ids occur twice or more, such as {repeated[0]}"
    if without_id:
        yield f"{without_id} requests have no id"


def _repeated(requests: Stream[Request], hashes: set[int]) -> Iterator[str]:
    ids = (request.id for request in requests if request.id is not None)
    uses = Counter(name for name in ids if hash(name) in hashes)
    return (name for name, n in uses.items() if n > 1)
