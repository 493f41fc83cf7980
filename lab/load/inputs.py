"""Writes what k6 reads: the texts of the run, and one schedule for each chunk (k6/README.md has the formats).

All random choices are made here. The order of operations is computed from the seed by hashing, so it is the same on
every machine, and each chunk can be computed without the chunks before it.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from lab import __version__
from lab.errors import ScenarioError
from lab.load.chunk_schedule import ChunkSchedule, DueRequest, request_id
from lab.model.load import ChunkOfLoad, LoadProfile
from lab.model.plan import Plan
from lab.model.target import VARIABLES, Operation
from lab.truth.corpus import Truth

_CHUNK_MS_MIN = 1000

_SCRIPT, _NAME = re.compile(r"[a-z0-9_]+\.js"), re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Text:
    """A query or a document, by its id; `accepted` are the ids of the documents that are right answers to a query."""

    id: str
    text: str
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadInputs:
    """The loads of one run. `values` fills the variables that are the same in every request."""

    run_id: str
    seed: int
    endpoint: str
    protocol_version: str
    profiles: tuple[LoadProfile, ...]
    operations: Mapping[str, Operation]
    values: Mapping[str, Any]
    queries: tuple[Text, ...]
    documents: tuple[Text, ...]
    base_url: str

    def __post_init__(self) -> None:
        where = f"load of run {self.run_id}"
        for problem in _problems(self):
            raise ScenarioError(problem, where=where, try_="`lab target check` on the target's folder")

    @classmethod
    def of(cls, plan: Plan, truth: Truth, *, run_id: str, base_url: str) -> "LoadInputs":
        """The loads that a plan asks for, with the truth's queries and the documents meant for writing."""
        target, profiles = plan.target, plan.loads()
        names = {name for profile in profiles for name in profile.mix}
        return cls(
            run_id=run_id,
            seed=plan.seed,
            endpoint=target.endpoint,
            protocol_version=target.protocol_version,
            profiles=profiles,
            operations={name: found for name, found in target.operations.items() if name in names},
            values={
                "truth_collection": target.truth_collection,
                "writes_collection": target.writes_collection,
                "k": plan.observer.recall_k,
            },
            queries=tuple(Text(q.id, q.text, tuple(sorted(q.accepted))) for q in truth.queries),
            documents=tuple(Text(document.id, document.text) for document in truth.to_write),
            base_url=base_url,
        )

    def requests(self, profile: LoadProfile, name: str, chunk: ChunkOfLoad) -> list[DueRequest]:
        """The requests that are due in a chunk, in order; `name` is the chunk's name in the run."""
        due_ms, start_ms = profile.schedule.due_ms, chunk.start_ms
        operations = islice(_operations(profile.mix, self.seed, chunk.first), chunk.due)
        return [
            DueRequest(
                request_id(name, place, op), op, number, round(due_ms(chunk.first + place) - start_ms, 3)
            )
            for place, (op, number) in enumerate(operations)
        ]

    def write_texts(self, folder: Path) -> None:
        """Write `queries.json` and `documents.json`, which every chunk reads."""
        _write(folder / "queries.json", [asdict(query) for query in self.queries])
        _write(folder / "documents.json", [{"id": text.id, "text": text.text} for text in self.documents])

    def write_chunk(
        self, folder: Path, schedule: ChunkSchedule, *, seen_as: str = "/input", output: str = "/output"
    ) -> Path:
        """Write a chunk's `load-NNNN.json` and `sequence-NNNN.json`; k6 sees the folder as `seen_as`."""
        name, requests = schedule.source, schedule.requests
        _write(folder / f"sequence-{name}.json", [[r.id, r.op, r.number, r.due_after_ms] for r in requests])
        path = folder / f"load-{name}.json"
        files = {
            "queries": f"{seen_as}/queries.json",
            "documents": f"{seen_as}/documents.json",
            "sequence": f"{seen_as}/sequence-{name}.json",
            "output": output,
        }
        _write(path, {**_of_chunk(schedule), **files, **self._of_run()})
        return path

    def _of_run(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "base_url": self.base_url,
            "endpoint": self.endpoint,
            "protocol_version": self.protocol_version,
            "client_version": __version__,
            "values": dict(self.values),
            "operations": {name: asdict(operation) for name, operation in self.operations.items()},
        }


def _of_chunk(schedule: ChunkSchedule) -> dict[str, Any]:
    return {
        "chunk": schedule.source,
        "profile": asdict(schedule.profile),
        "vus": schedule.profile.vus,
        "graceful_stop_ms": schedule.profile.graceful_stop_ms,
        "start_epoch_ms": schedule.epoch_ms + schedule.start_ms,
        "duration_ms": schedule.chunk.duration_ms,
        "due": schedule.chunk.due,
    }


def chunk_name(chunk: int) -> str:
    """A chunk's number as it is written in file names and in `Request.source`."""
    return f"{chunk:04d}"


def block_of(mix: Mapping[str, int]) -> tuple[str, ...]:
    """The smallest list of operations in the mix's exact proportions: 40/30/20/10 becomes 4, 3, 2 and 1 of each."""
    divisor = reduce(math.gcd, mix.values())
    return tuple(name for name, share in sorted(mix.items()) for _ in range(share // divisor))


def _operations(mix: Mapping[str, int], seed: int, first: int) -> Iterator[tuple[str, int]]:
    """Operations from request number `first` on, each with the count of its earlier uses.

    They come in blocks that contain the mix exactly. The seed decides the order within each block.
    """
    names = block_of(mix)
    block, within = divmod(first, len(names))
    while True:
        yield from _shuffled_block(names, seed, block)[within:]
        block, within = block + 1, 0


def _shuffled_block(names: Sequence[str], seed: int, block: int) -> list[tuple[str, int]]:
    rank = [sha256(f"{seed}/{block}/{place}".encode()).digest() for place in range(len(names))]
    counts = {name: block * names.count(name) for name in names}
    operations: list[tuple[str, int]] = []
    for place in sorted(range(len(names)), key=rank.__getitem__):
        name = names[place]
        operations.append((name, counts[name]))
        counts[name] += 1
    return operations


def _problems(inputs: LoadInputs) -> Iterator[str]:
    for profile in inputs.profiles:
        yield from _problems_of_profile(profile)
        for name in profile.mix:
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


def _problems_of_profile(profile: LoadProfile) -> Iterator[str]:
    if not _SCRIPT.fullmatch(profile.script):
        yield f"{profile.script!r} is not the name of a script in k6/, such as normal.js"
    if not _NAME.fullmatch(profile.name):
        yield f"k6 accepts no scenario with the name {profile.name!r}"
    if profile.chunk_s <= 0 or profile.schedule.expected(0, 1000 * profile.chunk_s) <= 0:
        yield f"{profile.in_words()} in chunks of {profile.chunk_s:g} s is no load"
    elif profile.chunk_ms < _CHUNK_MS_MIN:
        yield f"a chunk of {profile.chunk_ms:g} ms is too short; k6 wants one second at least"
    if profile.vus_max < 1 or profile.sessions < 1:
        yield f"{profile.vus_max} virtual users with {profile.sessions} sessions; both must be at least 1"
    if not profile.mix or min(profile.mix.values()) <= 0:
        yield f"the mix {dict(profile.mix)} needs at least one operation, and every share above 0"


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
