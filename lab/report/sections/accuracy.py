"""The recall of each subject and mode of search."""

from collections.abc import Callable, Mapping, Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Report, Row, Section, grid
from lab.report.shapes import COUNT, INTERVAL, NUMBER, TEXT, list_of, object_of, or_null

_RECALLED = {"answered": COUNT, "unanswered": COUNT, "recall_mean": or_null(NUMBER)}
_SCHEMA = list_of(
    object_of(
        subject=TEXT,
        mode=TEXT,
        **_RECALLED,
        recall_ci=or_null(INTERVAL),
        recall_p10=or_null(NUMBER),
        windows=list_of(object_of(window=TEXT, **_RECALLED)),
    )
)
_COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "subject": lambda row: row["subject"],
    "mode": lambda row: row["mode"],
    "answered": lambda row: wording.percent(row["answered"], row["answered"] + row["unanswered"]),
    "answers": lambda row: row["answered"],
    "mean recall": lambda row: wording.number(row["recall_mean"], absent="—"),
    "95 % interval": lambda row: "—" if row["recall_ci"] is None else wording.interval(row["recall_ci"]),
    "worst tenth": lambda row: wording.number(row["recall_p10"], absent="—"),
}


def _accuracy(report: Report) -> Sequence[Block]:
    return grid(_COLUMNS, report["accuracy"])


SECTIONS = (Section("Accuracy", 600, summary=_accuracy, key=JsonKey("accuracy", 400, _SCHEMA)),)
