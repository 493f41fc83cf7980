"""The worked examples of docs/how-to: the blocks of a page, and their files at the places that the page says."""

import re
from pathlib import Path

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def blocks_of(page: str) -> dict[str, str]:
    """The code blocks of a page by their place: the first line of each is a comment that says where it belongs."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^```\w+\n# ([\w/.-]+)[^\n]*\n(.*?)^```", text, re.M | re.S))


def write_files(blocks: dict[str, str], folder: Path) -> None:
    """Write each block to its place below a folder."""
    for place, text in blocks.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
