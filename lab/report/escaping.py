"""Untrusted text made harmless for the place where it is shown."""

import html
import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|~$:@])")
CHARS_MAX = 400


def one_line(text: object, chars_max: int = CHARS_MAX) -> str:
    """Text on one line without control or direction characters, cut where it is too long."""
    line = " ".join(str(text).split())
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def markdown(text: object, chars_max: int = CHARS_MAX) -> str:
    """Text that Markdown shows as it is: no markup, links, HTML or table cells come out of it."""
    return html.escape(_MARKDOWN.sub(r"\\\1", one_line(text, chars_max)), quote=False)
