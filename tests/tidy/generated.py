"""The generated parts of documents; `python -m tests.tidy.generated` writes them anew."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lab.faults import discover

HOME = Path(__file__).resolve().parents[2]
END = "<!-- end -->"


def fault_kinds() -> str:
    """A table of all fault kinds with their parameters, read off their classes."""
    rows = ["| kind | hits | parameters | needs |", "|---|---|---|---|"]
    for kind, fault in discover().items():
        schema = TypeAdapter(fault).json_schema()
        listed = [
            _parameter(name, value, required=name in schema.get("required", ()))
            for name, value in schema.get("properties", {}).items()
            if name != "target"
        ]
        needs = ", ".join(f"`{need}`" for need in fault.needs) or "nothing special"
        rows.append(f"| `{kind}` | {', '.join(fault.services)} | {'; '.join(listed) or 'none'} | {needs} |")
    return "\n".join(rows)


def _parameter(name: str, value: dict[str, Any], *, required: bool) -> str:
    kind = (
        " or ".join(map(str, value["enum"])) if "enum" in value else str(value.get("type", "see its class"))
    )
    for word, key in (("from", "minimum"), ("to", "maximum")):
        kind += f" {word} {value[key]}" if key in value else ""
    given = "required" if required else f"default {value['default']}"
    return f"`{name}` ({kind}, {given})"


PARTS = {"docs/campaigns.md": {"fault kinds": fault_kinds}}


def renewed(path: str) -> str:
    """A document's text with its generated parts as they should be; raises ValueError where one has no place."""
    text = (HOME / path).read_text(encoding="utf-8")
    for name, render in PARTS[path].items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = text.partition(start)
        if not found or END not in rest:
            raise ValueError(f"{path} needs the lines {start.strip()} and {END}")
        text = f"{before}{start}{render()}\n{END}{rest.partition(END)[2]}"
    return text


if __name__ == "__main__":
    for document in PARTS:
        (HOME / document).write_text(renewed(document), encoding="utf-8")
