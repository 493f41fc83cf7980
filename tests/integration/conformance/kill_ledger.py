"""What was asked of the server and what it acknowledged; and the verdict on what is found after a kill.

Each point has one writer, so that its history is a sequence. After a kill a point must be in the state that
was acknowledged last, or in one that was asked for later and not acknowledged.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

ABSENT = -1
"""The version of a point that is not there."""

DIMENSION = 16


def vector_of(point_id: int, version: int) -> dict[str, Any]:
    """The vectors that a point must have in a version: a torn point shows as a mixture."""
    dense = [float((point_id * 31 + version * 17 + k) % 1009) for k in range(DIMENSION)]
    return {
        "d": dense,
        "s": {"indices": [point_id % 97, 100 + version % 89], "values": [float(version % 9973 + 1), 0.5]},
    }


def payload_of(point_id: int, version: int, writer: int) -> dict[str, Any]:
    """The payload that a point must have in a version."""
    return {"id": point_id, "version": version, "writer": writer, "mark": f"{point_id}/{version}" * 3}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: `kind` is lost, resurrected, phantom, torn or collection."""

    kind: str
    subject: str
    detail: str


@dataclass(slots=True)
class _History:
    acknowledged: int = ABSENT
    asked: set[int] = field(default_factory=set)


class Ledger:
    """The histories of all points, and of all collections (a version is one of its configuration)."""

    def __init__(self) -> None:
        self._points: dict[int, _History] = {}
        self._collections: dict[str, _History] = {}
        self._lock = Lock()
        self.acknowledged = 0

    def ask(self, points: Mapping[int, int]) -> None:
        """Note versions (or ABSENT) before they are asked for."""
        with self._lock:
            for point_id, version in points.items():
                self._points.setdefault(point_id, _History()).asked.add(version)

    def acknowledge(self, points: Mapping[int, int]) -> None:
        """Note versions that the server has acknowledged; nothing older may be found from now on."""
        with self._lock:
            self.acknowledged += len(points)
            for point_id, version in points.items():
                self._points[point_id] = _History(version)

    def ask_collection(self, name: str, version: int) -> None:
        """Note a collection's next version (or ABSENT) before it is asked for."""
        with self._lock:
            self._collections.setdefault(name, _History()).asked.add(version)

    def acknowledge_collection(self, name: str, version: int) -> None:
        """Note an acknowledged version of a collection."""
        with self._lock:
            self.acknowledged += 1
            self._collections[name] = _History(version)

    def present(self, of_writer: int, ids_per_writer: int) -> list[int]:
        """A writer's points that are certainly there."""
        with self._lock:
            known = [(i, h) for i, h in self._points.items() if i // ids_per_writer == of_writer]
        return sorted(i for i, h in known if h.acknowledged != ABSENT and not h.asked)

    def judge_points(self, records: Iterable[Mapping[str, Any]]) -> list[Violation]:
        """Compare with everything that is stored; what is found becomes what was acknowledged."""
        broken: list[Violation] = []
        found: dict[int, int] = {}
        for record in records:
            point_id = int(record["id"])
            version = int(record["payload"].get("version", ABSENT))
            broken += _torn(point_id, version, record)
            found[point_id] = version
            if point_id not in self._points:
                broken.append(
                    Violation("phantom", f"point {point_id}", f"version {version}, never asked for")
                )
        for point_id, history in self._points.items():
            broken += _judge(f"point {point_id}", history, found.get(point_id, ABSENT))
        self._points = {i: _History(found.get(i, ABSENT)) for i in self._points}
        return broken

    def judge_collections(self, found: Mapping[str, int]) -> list[Violation]:
        """Compare with the collections that exist and the versions of their configurations."""
        broken = [
            Violation("phantom", f"collection {n}", "never asked for")
            for n in found.keys() - self._collections
        ]
        for name, history in self._collections.items():
            broken += _judge(f"collection {name}", history, found.get(name, ABSENT))
        self._collections = {n: _History(found.get(n, ABSENT)) for n in self._collections}
        return broken


def _judge(subject: str, history: _History, version: int) -> list[Violation]:
    if version == history.acknowledged or version in history.asked:
        return []
    detail = f"found {version}, acknowledged {history.acknowledged}, asked later {sorted(history.asked)}"
    kind = "resurrected" if history.acknowledged == ABSENT else "lost"
    return [Violation(kind, subject, detail)]


def _torn(point_id: int, version: int, record: Mapping[str, Any]) -> list[Violation]:
    """Payload and vectors must belong to the same version."""
    writer = record["payload"].get("writer")
    payload, vector = payload_of(point_id, version, writer), vector_of(point_id, version)
    stored = record["vector"]
    sparse = (
        {"s": dict(zip(stored["s"]["indices"], stored["s"]["values"], strict=True))} if "s" in stored else {}
    )
    wanted = {"s": dict(zip(vector["s"]["indices"], vector["s"]["values"], strict=True))}
    if record["payload"] == payload and stored.get("d") == vector["d"] and sparse == wanted:
        return []
    return [Violation("torn", f"point {point_id}", f"version {version}: {str(record)[:300]}")]


def summary(violations: Iterable[Violation]) -> str:
    """The violations in a few lines."""
    listed = list(violations)
    counts = Counter(v.kind for v in listed)
    return "\n".join([f"{dict(counts)}", *(f"{v.kind}: {v.subject}: {v.detail}" for v in listed[:10])])
