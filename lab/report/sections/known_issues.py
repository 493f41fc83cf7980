"""The target's defects: those that are declared and occurred, those that are new, and those that did not occur."""

from collections.abc import Iterator, Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Paragraph, Report, Row, Section
from lab.report.shapes import COUNT, TEXT, list_of, object_of

# What these checks find is about the lab and its machine, and no defect of the target.
_NOT_ABOUT_THE_TARGET = ("integrity", "in_force", "load_arrived", "observer_share", "tables", "required")

_SCHEMA = list_of(
    object_of(
        id=TEXT,
        check=TEXT,
        n=COUNT,
        seen={"type": "boolean"},
        explanation=TEXT,
        date=TEXT,
        target_version=TEXT,
    )
)


def _declared(report: Report) -> Iterator[Paragraph]:
    """Each declared defect that occurred, listed once even if several checks found it."""
    found: dict[tuple[str, str], list[str]] = {}
    for issue in _issues(report, seen=True):
        counts = f"{issue['id']}: {issue['n']}x in {issue['check']}"
        found.setdefault((issue["explanation"], issue["date"]), []).append(counts)
    for (explanation, date), counted in found.items():
        yield Paragraph(explanation, f"known since {date}; {', '.join(counted)}")


def _not_seen(report: Report) -> Iterator[Paragraph]:
    for issue in _issues(report, seen=False):
        yield Paragraph(f"did not occur: {issue['id']} ({issue['check']}, known since {issue['date']})")


def _issues(report: Report, *, seen: bool) -> list[Row]:
    return [issue for issue in report["known_issues"] if issue["seen"] is seen]


def _new(report: Report) -> Iterator[Paragraph]:
    for finding in wording.by_gate(report, "fail"):
        if finding["check"] not in _NOT_ABOUT_THE_TARGET:
            yield Paragraph(f"NEW: {wording.name(finding)}, see below", loud=True)


def _defects(report: Report) -> Sequence[Block]:
    return [*_declared(report), *_new(report), *_not_seen(report)]


SECTIONS = (
    Section(
        "Defects of the target",
        100,
        _defects,
        _defects,
        colour="red",
        key=JsonKey("known_issues", 800, _SCHEMA),
    ),
)
