"""Makes any text writable as UTF-8: a target's JSON may contain half a surrogate pair, which UTF-8 cannot encode."""

import re

_LONE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD; any other text is unchanged."""
    return _LONE.sub("\ufffd", text)
