"""Whether each request has an id, and each id only one request."""

from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from lab.model.samples import Request, Stream


def id_problems(requests: Stream[Request]) -> Iterator[str]:
    """What is wrong with the ids; nothing where no request has one, because older runs have none.

    Only the hash of each id is held, because a run can have millions. Ids whose hashes are equal are then compared
    themselves, so the result does not depend on how Python hashes.
    """
    hashes, without_id = array("q"), 0
    for request in requests:
        if request.id is None:
            without_id += 1
        else:
            hashes.append(hash(request.id))
    if not hashes:
        return
    values, times = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    equal = {int(value) for value in values[times > 1]}
    if twice := sorted(_occurring_twice(requests, equal)) if equal else []:
        yield f"{len(twice)} request ids occur twice or more, such as {twice[0]}"
    if without_id:
        yield f"{without_id} requests have no id"


def _occurring_twice(requests: Stream[Request], hashes: set[int]) -> Iterator[str]:
    ids = (request.id for request in requests if request.id is not None)
    uses = Counter(name for name in ids if hash(name) in hashes)
    return (name for name, n in uses.items() if n > 1)
