"""Where a report comes from: run, lab, images, and the evidence beside it."""

from collections.abc import Sequence

from lab.report.blocks import Block, Paragraph, Report, Section


def _provenance(report: Report) -> Sequence[Block]:
    run, lab, started = report["run_id"], report["lab_version"], report["started_at"]
    images = [
        f"{image['service']}: {image['ref']} ({image['source']}, {image['digest']})"
        for image in report["images"]
    ]
    beside = (
        "evidence beside this file: journal.jsonl, samples.sqlite, load/, logs/; all numbers: report.json"
    )
    return [Paragraph(text) for text in (f"run {run}, lab {lab}, started {started}", *images, beside)]


SECTIONS = (Section("Where this comes from", 1100, summary=_provenance),)
