"""Make untrusted text harmless for the place where it is shown."""

import re

_ANYWHERE = re.compile(r"[\\`*_\[\]|~$]")
# Characters that begin a heading, a list, a quotation or a rule when they are first in a line.
_AT_START = re.compile(r"^([#+\-=>]|\d+(?=[.)](?:\s|$)))")
# Text that GitHub turns into a link or a mention by itself.
_LINKS = re.compile(r"(?<=\w)(://)|(?<=www)(\.)|(@)(?=[a-z])", re.IGNORECASE)
CHARS_MAX = 400


def one_line(text: object, chars_max: int = CHARS_MAX) -> str:
    """The text on one line, without control or direction characters, and cut after `chars_max` characters."""
    line = " ".join(str(text).split())
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def markdown(text: object, chars_max: int = CHARS_MAX) -> str:
    """The text escaped, so that Markdown shows it as it is: without markup, links, HTML or new table cells."""
    escaped = _ANYWHERE.sub(r"\\\g<0>", one_line(text, chars_max))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;")
    escaped = _AT_START.sub(lambda found: _entities(found.group()), escaped)
    return _LINKS.sub(lambda found: _entities(found.group()[0]) + found.group()[1:], escaped)


def _entities(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)
