"""What the optimizer owes a collection, by the rules that make Qdrant start optimizing.

The engine tells its plan only by running it, holding the global lock all the while; so the need is estimated
here, on the side of too early, and a run that changed nothing raises the bar for the next.
"""

from dataclasses import dataclass
from typing import Any

from edge_server.collection_config import Config, dense_vectors


@dataclass(slots=True)
class Debt:
    """Counts since the present generation of a collection's files was built.

    `indexed_points` were in indexed segments then; `upserts` and `deletes` count points since, in this
    process: a restart remembers only what the point count itself shows. `built_with` is the part of the
    configuration that shapes an index, or None while nothing is indexed.
    """

    indexed_points: int = 0
    built_with: Any = None
    upserts: int = 0
    deletes: int = 0
    tried_at: int = 0

    def reason(self, points: int, config: Config) -> str | None:
        """Why the optimizer should run (`indexing`, `vacuum`, `configuration`), or None."""
        if self.built_with is not None and self.built_with != index_shape(config):
            return "configuration"
        unindexed = min(points, max(self.upserts, points - self.indexed_points))
        if unindexed > 2 * self.tried_at and over_threshold(unindexed, config):
            return "indexing"
        optimizer = config["optimizer_config"]
        total = points + self.deletes
        enough = total > optimizer["vacuum_min_vector_number"]
        if enough and self.deletes > optimizer["deleted_threshold"] * total:
            return "vacuum"
        return None

    def tried_in_vain(self, config: Config) -> None:
        """A run changed nothing, or failed: ask again only after as many more points."""
        self.tried_at = max(self.upserts, 1)
        self.deletes = 0
        if self.built_with is not None:
            self.built_with = index_shape(config)


def over_threshold(points: int, config: Config) -> bool:
    """Whether so many points in one segment call for an index; a threshold of 0 turns indexing off."""
    threshold_kb = config["optimizer_config"]["indexing_threshold"]
    largest = max((_bytes(params) for params in dense_vectors(config).values()), default=0)
    return bool(threshold_kb) and points * largest > threshold_kb * 1024


def index_shape(config: Config) -> Any:
    """The part of the configuration that an index is built from."""
    vectors = {name: [p.get("hnsw_config"), p.get("on_disk")] for name, p in dense_vectors(config).items()}
    return [config["hnsw_config"], vectors, config["params"]["on_disk_payload"]]


def _bytes(params: Config) -> int:
    width = {"uint8": 1, "float16": 2}.get(params.get("datatype", ""), 4)
    return int(params["size"]) * width
