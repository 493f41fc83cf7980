"""Untrusted text made harmless for the place where it is shown."""

import re

_ANYWHERE = re.compile(r"[\\`*_\[\]|~$]")
# What begins a heading, a list, a quotation or a rule where it stands first.
_AT_START = re.compile(r"^([#+\-=>]|\d+(?=[.)](?:\s|$)))")
# What GitHub turns into a link or a mention without being asked.
_LINKS = re.compile(r"(?<=\w)(://)|(?<=www)(\.)|(@)(?=[a-z])", re.IGNORECASE)
CHARS_MAX = 400


def one_line(text: object, chars_max: int = CHARS_MAX) -> str:
    """Text on one line without control or direction characters, cut where it is too long."""
    line = " ".join(str(text).split())
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def markdown(text: object, chars_max: int = CHARS_MAX) -> str:
    """Text that Markdown shows as it is: no markup, links, HTML or table cells come out of it."""
    escaped = _ANYWHERE.sub(r"\\\g<0>", one_line(text, chars_max))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;")
    escaped = _AT_START.sub(lambda found: _entities(found.group()), escaped)
    return _LINKS.sub(lambda found: _entities(found.group()[0]) + found.group()[1:], escaped)


def _entities(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)
