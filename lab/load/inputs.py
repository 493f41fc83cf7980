"""What k6 reads: one set of texts for the run and one schedule per chunk (the formats stand in k6/README.md).

All randomness is spent here: the order of operations comes from the seed by hashing, so that it is the same
on every machine and any chunk can be computed without the ones before it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any

from lab import __version__
from lab.errors import ScenarioError
from lab.model.plan import Plan
from lab.model.target import VARIABLES, Operation
from lab.truth.corpus import Truth

BASE_URL = "http://toxiproxy:8000"
# Few, for a server keeps a little of every session for ever; several, for one client alone is no load.
SESSIONS = 5
# Beyond this many virtual users k6 itself becomes the load; what is due and finds none free counts as unsent.
VUS_MAX = 500
# How long a client may be busy beyond its request: parsing, and giving its turn back.
_SLACK_S = 1.0
_GRACE_MS = 2000
_CHUNK_MS_MIN = 1000

Turn = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Text:
    """A query or a document, by its id."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class LoadInputs:
    """The load of one run. `values` fills the variables that are the same in every request."""

    run_id: str
    seed: int
    endpoint: str
    protocol_version: str
    rate_per_s: float
    chunk_s: float
    mix: Mapping[str, int]
    request_timeout_ms: int
    operations: Mapping[str, Operation]
    values: Mapping[str, Any]
    queries: tuple[Text, ...]
    documents: tuple[Text, ...]
    base_url: str = BASE_URL
    sessions: int = SESSIONS

    def __post_init__(self) -> None:
        where = f"load of run {self.run_id}"
        for problem in _problems(self):
            raise ScenarioError(problem, where=where, try_="`lab target check` on the target's folder")

    @classmethod
    def of(cls, plan: Plan, truth: Truth, *, run_id: str, base_url: str = BASE_URL) -> "LoadInputs":
        """The load that a plan asks for, with the truth's queries and the documents meant for writing."""
        target = plan.target
        return cls(
            run_id=run_id,
            seed=plan.seed,
            endpoint=target.endpoint,
            protocol_version=target.protocol_version,
            rate_per_s=plan.load.rate_per_s,
            chunk_s=plan.load.chunk_s,
            mix=plan.load.mix,
            request_timeout_ms=plan.load.request_timeout_ms,
            operations={name: target.operations[name] for name in plan.load.mix if name in target.operations},
            values={
                "truth_collection": target.truth_collection,
                "writes_collection": target.writes_collection,
                "k": plan.observer.recall_k,
            },
            queries=tuple(Text(query.id, query.text) for query in truth.queries),
            documents=tuple(Text(document.id, document.text) for document in truth.to_write),
            base_url=base_url,
        )

    @property
    def slots(self) -> int:
        """Requests due in one chunk."""
        return max(1, round(self.rate_per_s * self.chunk_s))

    @property
    def period_ms(self) -> float:
        """Milliseconds between two requests that are due."""
        return 1000.0 / self.rate_per_s

    @property
    def duration_ms(self) -> float:
        """The length of a chunk: a whole number of periods, so that chunks abut without a seam."""
        return self.slots * self.period_ms

    @property
    def vus(self) -> int:
        """Virtual users: as many as can be busy at once when every request takes its whole time."""
        return min(VUS_MAX, math.ceil(self.rate_per_s * (self.request_timeout_ms / 1000 + _SLACK_S)) + 2)

    @property
    def graceful_stop_ms(self) -> int:
        """How long k6 waits at a chunk's end for requests under way: longer than any may take."""
        return self.request_timeout_ms + _GRACE_MS

    def sequence(self, chunk: int) -> list[Turn]:
        """The operation due in each slot of a chunk, and a running number by which it picks its text."""
        first = chunk * self.slots
        return [turn for turn, _ in zip(_turns(self.mix, self.seed, first), range(self.slots), strict=False)]

    def write_texts(self, folder: Path) -> None:
        """Write `queries.json` and `documents.json`, which every chunk reads."""
        for name, texts in (("queries", self.queries), ("documents", self.documents)):
            _write(folder / f"{name}.json", [asdict(text) for text in texts])

    def write_chunk(
        self,
        folder: Path,
        chunk: int,
        start_epoch_ms: float,
        *,
        seen_as: str = "/input",
        output: str = "/output",
    ) -> Path:
        """Write a chunk's `load-NNNN.json` and `sequence-NNNN.json`; k6 sees the folder as `seen_as`."""
        name = chunk_name(chunk)
        _write(folder / f"sequence-{name}.json", self.sequence(chunk))
        path = folder / f"load-{name}.json"
        _write(path, self._chunk_json(name, start_epoch_ms, seen_as, output))
        return path

    def _chunk_json(self, name: str, start_epoch_ms: float, seen_as: str, output: str) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "chunk": name,
            "base_url": self.base_url,
            "endpoint": self.endpoint,
            "protocol_version": self.protocol_version,
            "client_version": __version__,
            "start_epoch_ms": start_epoch_ms,
            "duration_ms": self.duration_ms,
            "slots": self.slots,
            "vus": self.vus,
            "sessions": self.sessions,
            "request_timeout_ms": self.request_timeout_ms,
            "graceful_stop_ms": self.graceful_stop_ms,
            "queries": f"{seen_as}/queries.json",
            "documents": f"{seen_as}/documents.json",
            "sequence": f"{seen_as}/sequence-{name}.json",
            "output": output,
            "values": dict(self.values),
            "operations": {name: asdict(operation) for name, operation in self.operations.items()},
        }


def chunk_name(chunk: int) -> str:
    """A chunk's number as it stands in file names and in `Request.source`."""
    return f"{chunk:04d}"


def block_of(mix: Mapping[str, int]) -> tuple[str, ...]:
    """The smallest block of operations in the mix's exact proportions: 40/30/20/10 becomes 4, 3, 2 and 1."""
    divisor = reduce(math.gcd, mix.values())
    return tuple(name for name, share in sorted(mix.items()) for _ in range(share // divisor))


def _turns(mix: Mapping[str, int], seed: int, first: int) -> Iterator[Turn]:
    """Operations from number `first` on, in blocks that hold the mix exactly, each ordered by the seed."""
    names = block_of(mix)
    block, within = divmod(first, len(names))
    while True:
        yield from _shuffled_block(names, seed, block)[within:]
        block, within = block + 1, 0


def _shuffled_block(names: Sequence[str], seed: int, block: int) -> list[Turn]:
    rank = [sha256(f"{seed}/{block}/{place}".encode()).digest() for place in range(len(names))]
    counts = {name: block * names.count(name) for name in names}
    turns: list[Turn] = []
    for place in sorted(range(len(names)), key=rank.__getitem__):
        name = names[place]
        turns.append((name, counts[name]))
        counts[name] += 1
    return turns


def _problems(inputs: LoadInputs) -> Iterator[str]:
    if inputs.rate_per_s <= 0 or inputs.chunk_s <= 0:
        yield f"{inputs.rate_per_s:g} requests/s in chunks of {inputs.chunk_s:g} s is no load"
    elif inputs.duration_ms < _CHUNK_MS_MIN:
        yield f"a chunk of {inputs.duration_ms:g} ms is too short; k6 wants one second at least"
    if not inputs.mix or min(inputs.mix.values()) <= 0:
        yield f"the mix {dict(inputs.mix)} needs at least one operation, and every share above 0"
    for name in inputs.mix:
        if name not in inputs.operations:
            yield f"the mix names {name!r}; the target's operations are {', '.join(inputs.operations)}"
    if not inputs.queries or not inputs.documents:
        yield f"{len(inputs.queries)} queries, {len(inputs.documents)} documents; the load needs one of each"
    known = [*inputs.values, "query", "text", "document_id"]
    for name, operation in inputs.operations.items():
        templates = [operation.arguments, *(condition.operand for condition in operation.success)]
        for variable in _variables(templates):
            if variable not in known:
                yield f"operation {name!r} uses the variable {variable!r}; there are {', '.join(VARIABLES)}"


def _variables(template: Any) -> Iterator[Any]:
    if isinstance(template, Mapping):
        if set(template) == {"$var"}:
            yield template["$var"]
        else:
            for item in template.values():
                yield from _variables(item)
    elif isinstance(template, Sequence) and not isinstance(template, str):
        for item in template:
            yield from _variables(item)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
