"""Parts of the JSON schema of `report.json` that its sections share."""

from typing import Any

Schema = dict[str, Any]

VERDICT: Schema = {"enum": ["pass", "fail", "inconclusive", "not_tested"]}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}


def or_null(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(items: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": items}


def object_of(**properties: Schema) -> Schema:
    """An object that has all of these keys; others may be added within one version of the contract."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def map_of(values: Schema) -> Schema:
    """An object with any keys, whose values are of one kind."""
    return {"type": "object", "additionalProperties": values}


INTERVAL: Schema = {"type": "array", "items": or_null(NUMBER), "minItems": 2, "maxItems": 2}
