"""Payload indexes: the request's schema for the engine, and the engine's as Qdrant shows it."""

from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, bad_format, engine_call
from edge_server.fields import MISSING, Fields

_TYPES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "geo": edge.PayloadSchemaType.Geo,
    "text": edge.PayloadSchemaType.Text,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "uuid": edge.PayloadSchemaType.Uuid,
}
_TOKENIZERS = {
    "prefix": edge.TokenizerType.Prefix,
    "whitespace": edge.TokenizerType.Whitespace,
    "word": edge.TokenizerType.Word,
    "multilingual": edge.TokenizerType.Multilingual,
}
_TEXT_FLAGS = ("lowercase", "phrase_matching", "on_disk")
# Per type: the engine's parameter class and the boolean parameters that Qdrant 1.15 knows.
_PARAMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "keyword": (edge.KeywordIndexParams, ("is_tenant", "on_disk")),
    "integer": (edge.IntegerIndexParams, ("lookup", "range", "is_principal", "on_disk")),
    "float": (edge.FloatIndexParams, ("is_principal", "on_disk")),
    "geo": (edge.GeoIndexParams, ("on_disk",)),
    "bool": (edge.BoolIndexParams, ("on_disk",)),
    "datetime": (edge.DatetimeIndexParams, ("is_principal", "on_disk")),
    "uuid": (edge.UuidIndexParams, ("is_tenant", "on_disk")),
    "text": (edge.TextIndexParams, _TEXT_FLAGS),
}


@dataclass(frozen=True, slots=True)
class PayloadIndexes:
    """The payload keys that have an index, by what the index can find: that decides what some conditions mean."""

    keys: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    strings: frozenset[str] = frozenset()
    integers: frozenset[str] = frozenset()

    # In quotes: the stubs know this class, the module does not have it.
    @classmethod
    def of(cls, info: "edge.ShardInfo") -> "PayloadIndexes":
        """The indexes of a shard. An integer index finds single values unless it was made for ranges only."""
        kinds = {key: index.data_type for key, index in info.payload_schema.items()}
        ranges = {k for k, i in info.payload_schema.items() if getattr(i.params, "lookup", None) is False}

        def of_type(*types: edge.PayloadSchemaType) -> frozenset[str]:
            return frozenset(key for key, kind in kinds.items() if kind in types)

        return cls(
            frozenset(kinds),
            of_type(edge.PayloadSchemaType.Text),
            of_type(edge.PayloadSchemaType.Keyword, edge.PayloadSchemaType.Uuid),
            of_type(edge.PayloadSchemaType.Integer) - ranges,
        )

    def inside(self, array: str) -> "PayloadIndexes":
        """For conditions of a nested filter, whose keys begin at an element: Qdrant asks only text indexes there."""
        prefix = f"{array.removesuffix('[]')}[]."
        text = frozenset(key.removeprefix(prefix) for key in self.text if key.startswith(prefix))
        return PayloadIndexes(text=text)


def parse_create_index(body: object) -> edge.UpdateOperation:
    """`PUT /collections/{c}/index`: a type by name, or an object with parameters."""
    fields = Fields(body, "body")
    name, schema = fields.text("field_name", MISSING), fields.take("field_schema", MISSING)
    fields.done()
    wanted = _schema(schema)
    return engine_call(lambda: edge.UpdateOperation.create_field_index(name, wanted))


def parse_delete_index(field_name: str) -> edge.UpdateOperation:
    """`DELETE /collections/{c}/index/{field}`."""
    return engine_call(lambda: edge.UpdateOperation.delete_field_index(field_name))


def _schema(schema: object) -> Any:
    if isinstance(schema, str):
        if schema not in _TYPES:
            raise bad_format(
                "body.field_schema", f"unknown variant `{schema}`, expected one of {sorted(_TYPES)}"
            )
        return _TYPES[schema]
    fields = Fields(schema, "body.field_schema")
    kind = fields.choice("type", {name: name for name in _TYPES}, MISSING)
    build, flags = _PARAMS[kind]
    options = {flag: fields.flag(flag) for flag in flags}
    if kind == "text":
        options |= {
            "tokenizer": fields.choice("tokenizer", _TOKENIZERS),
            "min_token_len": fields.integer("min_token_len"),
            "max_token_len": fields.integer("max_token_len"),
        }
        fields.refuse("stopwords", "stemmer", "ascii_folding")
    fields.done()
    return build(**options)


# In quotes: the stubs know this class, the module does not have it.
def render_schema(indexes: "dict[str, edge.PayloadIndexInfo]") -> dict[str, Any]:
    """The indexes of a collection, as `payload_schema` shows them."""
    return {name: _render_index(index) for name, index in indexes.items()}


def _render_index(index: "edge.PayloadIndexInfo") -> dict[str, Any]:
    kind = next((name for name, schema in _TYPES.items() if schema == index.data_type), None)
    if kind is None:
        raise MissingFeatureError(f"payload index type {index.data_type}")
    shown: dict[str, Any] = {"data_type": kind, "points": index.points}
    if index.params is not None:
        shown["params"] = _render_params(kind, index.params)
    return shown


def _render_params(kind: str, params: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": kind}
    shown |= {flag: getattr(params, flag) for flag in _PARAMS[kind][1]}
    if kind == "text":
        shown["tokenizer"] = next((name for name, t in _TOKENIZERS.items() if t == params.tokenizer), None)
        shown |= {name: getattr(params, name) for name in ("min_token_len", "max_token_len")}
    return {name: value for name, value in shown.items() if value is not None}
