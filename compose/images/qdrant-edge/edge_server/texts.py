"""Text conditions on keys without a text index, as Qdrant 1.15 to 1.18 answer them.

Qdrant splits text into words only by a text index. Without one, `text` and `phrase` match where the value contains
the whole text, letter by letter, and `text_any` where it contains one of the pieces between white space. The engine
splits into words either way (qdrant-edge-py 0.9.0).
"""

from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, engine_call
from edge_server.field_index import PayloadIndexes

TEXT_MATCHES = (edge.MatchText, edge.MatchPhrase, edge.MatchTextAny)


def substring_condition(key: str, match: Any, where: str, indexes: PayloadIndexes) -> Any:
    """The condition that a value at `key` contains the text of `match`. `where` names it in messages."""
    if '"' in key and indexes.text:
        raise MissingFeatureError(f"quotes in `{where}.key` of a text condition where there is a text index")
    if isinstance(match, edge.MatchTextAny):
        pieces = [_contains(key, piece) for piece in match.text_any.split()]
        return edge.Filter(should=pieces) if pieces else edge.HasIdCondition(set())
    return _contains(key, match.text if isinstance(match, edge.MatchText) else match.phrase)


def _contains(key: str, text: str) -> edge.FieldCondition:
    return engine_call(lambda: edge.FieldCondition(key, match=edge.MatchSubstring(text)))
