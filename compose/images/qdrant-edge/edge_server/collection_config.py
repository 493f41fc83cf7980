"""A collection's configuration: strict parsing of create and update requests, and what is shown of it.

The stored form is the JSON that Qdrant itself shows under `result.config`, with every default filled in, so
that what is reported is what is used.
"""

from copy import deepcopy
from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, OutOfBoundsError, wrong_input
from edge_server.fields import MISSING, Fields

Config = dict[str, Any]

DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Euclid": edge.Distance.Euclid,
    "Dot": edge.Distance.Dot,
    "Manhattan": edge.Distance.Manhattan,
}
_DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
# Qdrant 1.15's defaults (its config/config.yaml and the reference of its REST interface).
_HNSW_DEFAULT = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
_OPTIMIZER_DEFAULT = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 20000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
}
_MAX_DIMENSION = 65536


def parse_create(body: object) -> Config:
    """The full configuration that a create request asks for."""
    fields = Fields(body, "body")
    params: Config = {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1}
    for key in list(params):
        _only_one(fields, key)
    params["on_disk_payload"] = fields.flag("on_disk_payload", default=True)
    params["vectors"] = _vectors(fields.take("vectors"), fields.path("vectors"))
    sparse = _sparse_vectors(fields.take("sparse_vectors", {}), fields.path("sparse_vectors"))
    if sparse:
        params["sparse_vectors"] = sparse
    if not params["vectors"] and not sparse:
        raise MissingFeatureError("a collection without vectors")
    clash = set(sparse) & set(dense_names(params["vectors"]))
    if clash:
        raise wrong_input(f"vector name(s) {sorted(clash)} used for both dense and sparse vectors")
    config = {
        "params": params,
        "hnsw_config": _HNSW_DEFAULT | _hnsw(fields.take("hnsw_config", {}), fields.path("hnsw_config")),
        "optimizer_config": _OPTIMIZER_DEFAULT
        | _optimizers(fields.take("optimizers_config", {}), "body.optimizers_config"),
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        "quantization_config": None,
    }
    _only_method_auto(fields)
    fields.refuse("wal_config", "init_from", "quantization_config", "strict_mode_config")
    fields.done()
    return config


def apply_update(config: Config, body: object) -> Config:
    """The configuration after an update request; the one given stays as it was."""
    fields = Fields(body, "body")
    updated = deepcopy(config)
    updated["hnsw_config"] |= _hnsw(fields.take("hnsw_config", {}), fields.path("hnsw_config"))
    updated["optimizer_config"] |= _optimizers(fields.take("optimizers_config", {}), "body.optimizers_config")
    _update_params(updated["params"], fields.take("params", {}))
    _update_vectors(updated["params"], fields.take("vectors", {}))
    fields.refuse("quantization_config", "sparse_vectors", "strict_mode_config")
    fields.done()
    return updated


def dense_names(vectors: Config | None) -> list[str]:
    """The names of the dense vectors; the unnamed one is ""."""
    if not vectors:
        return []
    return [""] if "size" in vectors else list(vectors)


def dense_vectors(config: Config) -> dict[str, Config]:
    """Dense vector parameters by name; the unnamed one is ""."""
    vectors = config["params"]["vectors"]
    if not vectors:
        return {}
    return {"": vectors} if "size" in vectors else vectors


def sparse_vectors(config: Config) -> dict[str, Config]:
    """Sparse vector parameters by name."""
    sparse: dict[str, Config] = config["params"].get("sparse_vectors", {})
    return sparse


def engine_config(config: Config) -> edge.EdgeConfig:
    """The same configuration for the engine.

    `memmap_threshold` has no counterpart (the engine always maps its files), `flush_interval_sec` and
    `max_optimization_threads` are honoured by this server.
    """
    optimizer = config["optimizer_config"]
    return edge.EdgeConfig(
        vectors={name: _engine_vector(params) for name, params in dense_vectors(config).items()} or None,
        sparse_vectors={name: _engine_sparse(params) for name, params in sparse_vectors(config).items()}
        or None,
        on_disk_payload=config["params"]["on_disk_payload"],
        hnsw_config=edge.HnswIndexConfig(**config["hnsw_config"]),
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
            default_segment_number=optimizer["default_segment_number"],
            max_segment_size=optimizer["max_segment_size"],
            indexing_threshold=optimizer["indexing_threshold"],
        ),
    )


def _engine_vector(params: Config) -> edge.EdgeVectorParams:
    hnsw = params.get("hnsw_config")
    return edge.EdgeVectorParams(
        params["size"],
        DISTANCES[params["distance"]],
        on_disk=params.get("on_disk"),
        datatype=_DATATYPES.get(params.get("datatype", "")),
        hnsw_config=edge.HnswIndexConfig(**(_HNSW_DEFAULT | hnsw)) if hnsw else None,
    )


def _engine_sparse(params: Config) -> edge.EdgeSparseVectorParams:
    index = params.get("index", {})
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        modifier=edge.Modifier.Idf if params.get("modifier") == "idf" else None,
        datatype=_DATATYPES.get(index.get("datatype", "")),
    )


def _only_one(fields: Fields, key: str) -> None:
    """Shards and replicas: this server has one of each."""
    value = fields.integer(key, 1, minimum=1)
    if value != 1:
        raise MissingFeatureError(f"field `{fields.path(key)}` = {value}")


def _only_method_auto(fields: Fields) -> None:
    if fields.text("sharding_method", "auto") != "auto":
        raise MissingFeatureError("field `body.sharding_method` = custom")


def _vectors(body: Any, where: str) -> Config | None:
    """One unnamed vector's parameters, or several by name; Qdrant tells them apart by the key `size`."""
    if body is None:
        return {}
    fields = Fields(body, where)
    if fields.has("size") and not isinstance(body["size"], dict):
        return _vector(body, where)
    return {name: _vector(params, f"{where}.{name}") for name, params in body.items()}


def _vector(body: object, where: str) -> Config:
    fields = Fields(body, where)
    params: Config = {"size": fields.integer("size", MISSING, minimum=1, maximum=_MAX_DIMENSION)}
    params["distance"] = fields.choice("distance", {name: name for name in DISTANCES}, MISSING)
    optional = {
        "hnsw_config": _hnsw(fields.take("hnsw_config", {}), fields.path("hnsw_config")) or None,
        "on_disk": fields.flag("on_disk"),
        "datatype": fields.choice("datatype", {name: name for name in _DATATYPES}),
    }
    fields.refuse("quantization_config", "multivector_config")
    fields.done()
    return params | {key: value for key, value in optional.items() if value is not None}


def _sparse_vectors(body: Any, where: str) -> Config:
    Fields(body, where)
    return {name: _sparse_vector(params, f"{where}.{name}") for name, params in body.items()}


def _sparse_vector(body: object, where: str) -> Config:
    fields = Fields(body if body is not None else {}, where)
    params: Config = {}
    modifier = fields.choice("modifier", {"idf": "idf", "none": None})
    if modifier:
        params["modifier"] = modifier
    if fields.has("index"):
        index = Fields(fields.take("index"), fields.path("index"))
        given = {
            "full_scan_threshold": index.integer("full_scan_threshold"),
            "on_disk": index.flag("on_disk"),
            "datatype": index.choice("datatype", {name: name for name in _DATATYPES}),
        }
        index.done()
        params["index"] = {key: value for key, value in given.items() if value is not None}
    fields.take("index")
    fields.done()
    return params


def _hnsw(body: object, where: str) -> Config:
    """The HNSW parameters that are given."""
    fields = Fields(body, where)
    given = {
        "m": fields.integer("m"),
        "ef_construct": fields.integer("ef_construct", minimum=4),
        "full_scan_threshold": fields.integer("full_scan_threshold"),
        "max_indexing_threads": fields.integer("max_indexing_threads"),
        "on_disk": fields.flag("on_disk"),
        "payload_m": fields.integer("payload_m"),
    }
    fields.done()
    return {key: value for key, value in given.items() if value is not None}


def _optimizers(body: object, where: str) -> Config:
    """The optimizer parameters that are given; sizes are in kilobytes, as in Qdrant."""
    fields = Fields(body, where)
    given = {
        "deleted_threshold": fields.number("deleted_threshold"),
        "vacuum_min_vector_number": fields.integer("vacuum_min_vector_number", minimum=100),
        "default_segment_number": fields.integer("default_segment_number"),
        "max_segment_size": fields.integer("max_segment_size", minimum=1),
        "memmap_threshold": fields.integer("memmap_threshold"),
        "indexing_threshold": fields.integer("indexing_threshold"),
        "flush_interval_sec": fields.integer("flush_interval_sec"),
    }
    threads = fields.take("max_optimization_threads")
    fields.done()
    changed = {key: value for key, value in given.items() if value is not None}
    if threads is not None:
        changed["max_optimization_threads"] = _threads(threads, f"{where}.max_optimization_threads")
    return changed


def _threads(value: object, where: str) -> int | None:
    """0 stops optimizing, `auto` and any other number let it run: here always one at a time."""
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OutOfBoundsError(
            f"Validation error in JSON body: [{where}: {value!r} is neither `auto` nor a number]"
        )
    return value


def _update_params(params: Config, body: object) -> None:
    fields = Fields(body, "body.params")
    for key in ("replication_factor", "write_consistency_factor"):
        _only_one(fields, key)
    params["on_disk_payload"] = fields.flag("on_disk_payload", params["on_disk_payload"])
    fields.refuse("read_fan_out_factor")
    fields.done()


def _update_vectors(params: Config, body: object) -> None:
    """Per-vector changes, by vector name."""
    wanted = body if isinstance(body, dict) else {}
    fields = Fields(body, "body.vectors")
    for name in wanted:
        known = dense_vectors({"params": params})
        if name not in known:
            raise wrong_input(f"Not existing vector name error: {name}")
        change = Fields(fields.take(name), fields.path(name))
        hnsw = _hnsw(change.take("hnsw_config", {}), change.path("hnsw_config"))
        if hnsw:
            known[name]["hnsw_config"] = known[name].get("hnsw_config", {}) | hnsw
        on_disk = change.flag("on_disk")
        if on_disk is not None:
            known[name]["on_disk"] = on_disk
        change.refuse("quantization_config")
        change.done()
