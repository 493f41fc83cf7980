"""The reports: complete by the contract, the same bytes each time, and deaf to what a target says."""

import io
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.judge import judge
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.report import report_json, summary, terminal, wording
from lab.report.escaping import markdown, one_line
from lab.report.schema import report_schema
from tests.pure.evidence_factory import EMPTY_ISSUE, STATUS_ISSUES, Recipe, make, resampled, with_journal

REPORT = report_schema()
EVIL = (
    "[bold red]x[/] | `a` <script>alert(1)</script> **b** [l](http://e.x)\n# head\x1b[31m\x07\u202e"
    " ![i](j) @you $x$"
)
KEYS = [
    *(
        "schema",
        "run_id",
        "campaign",
        "seed",
        "started_at",
        "ended_at",
        "duration_s",
        "lab_version",
        "target",
    ),
    *("images", "host", "truth", "verdict", "gate", "score", "coverage", "grade", "interrupted", "phases"),
    *("capacity", "findings", "faults", "load", "accuracy", "writes", "memory", "gaps", "preparation"),
    "known_issues",
]


@cache
def evidence() -> Evidence:
    issues = (*STATUS_ISSUES, EMPTY_ISSUE)
    return make(
        Recipe(status_fails=True, lies_when_down=True, known_issues=issues, recovers_s={"f1-latency": 1e5})
    )


def built(run: Evidence) -> dict[str, Any]:
    return report_json.build(run, judge(run))


def shown(report: dict[str, Any], width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(
        terminal.render(report, Path("runs/latest"), width), soft_wrap=True
    )
    return stream.getvalue()


def problems(value: Any, schema: dict[str, Any], where: str = "report") -> list[str]:
    """What breaks the part of JSON schema that the report uses; an unknown keyword is a problem too."""
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    found: list[str] = []
    for keyword, operand in schema.items():
        match keyword:
            case "$schema" | "title" | "properties":
                pass
            case "anyOf":
                if all(problems(value, option, where) for option in operand):
                    found.append(f"{where}: {value!r} fits no option")
            case "type":
                names = operand if isinstance(operand, list) else [operand]
                boolean_as_number = isinstance(value, bool) and "boolean" not in names
                if boolean_as_number or not any(isinstance(value, types[name]) for name in names):
                    return [f"{where}: {value!r} is no {operand}"]
            case "enum" | "const":
                if value not in (operand if keyword == "enum" else [operand]):
                    found.append(f"{where}: {value!r} is not among {operand}")
            case "required":
                found += [f"{where}: no {key}" for key in operand if key not in value]
            case "items":
                found += [p for n, item in enumerate(value) for p in problems(item, operand, f"{where}[{n}]")]
            case "additionalProperties":
                found += [p for key, item in value.items() for p in problems(item, operand, f"{where}.{key}")]
            case "minimum" | "maximum":
                if value < operand if keyword == "minimum" else value > operand:
                    found.append(f"{where}: {value!r} beyond {operand}")
            case "minItems" | "maxItems":
                if len(value) < operand if keyword == "minItems" else len(value) > operand:
                    found.append(f"{where}: {len(value)} items")
            case _:
                found.append(f"{where}: keyword {keyword}")
    for key, inner in schema.get("properties", {}).items():
        if isinstance(value, dict) and key in value:
            found += problems(value[key], inner, f"{where}.{key}")
    return found


def test_the_report_is_complete_and_as_the_schema_says() -> None:
    report = json.loads(report_json.dumps(built(evidence())))
    assert list(report) == KEYS
    assert problems(report, REPORT) == []
    assert report["faults"][0]["recovery"]["from_heal"]["slo"] == {
        "lo_s": 65.18,
        "hi_s": None,
        "censored": True,
    }


@pytest.mark.parametrize("length", [0, 1, 2, 9, 17, 30])
def test_the_report_of_a_torn_run_is_as_the_schema_says(length: int) -> None:
    torn = with_journal(evidence(), evidence().journal.events[:length])
    report = json.loads(report_json.dumps(built(torn)))
    assert list(report) == KEYS
    assert problems(report, REPORT) == []
    assert report["gate"] != "pass"
    assert report["interrupted"] is True
    assert shown(report)
    assert summary.render(report)


def test_the_small_schema_check_sees_what_is_wrong() -> None:
    report = built(evidence())
    for key in KEYS:
        assert problems({k: v for k, v in report.items() if k != key}, REPORT)
    assert problems({**report, "gate": "not_tested"}, REPORT)
    assert problems({**report, "seed": True}, REPORT)
    assert problems({**report, "coverage": 1.5}, REPORT)


def test_the_same_evidence_gives_the_same_bytes() -> None:
    first, second = built(evidence()), built(make(Recipe(**vars_of(evidence()))))
    assert report_json.dumps(first) == report_json.dumps(second)
    assert summary.render(first) == summary.render(second)
    assert report_json.dumps(first).endswith("}\n")


def vars_of(run: Evidence) -> dict[str, Any]:
    return {
        "status_fails": True,
        "lies_when_down": True,
        "known_issues": run.plan.target.known_issues,
        "recovers_s": {"f1-latency": 1e5},
    }


def test_numbers_have_six_digits_and_no_infinities() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, float):
            assert float(f"{value:.6g}") == value
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(built(evidence()))


def test_people_read_the_verdict_first_then_why_then_where() -> None:
    failing = make(Recipe(recovers_s={"f2-kill": 45.0}))
    report = built(failing)
    for text in (shown(report), summary.render(report)):
        assert text.lstrip("# ").strip().startswith("FAIL")
        assert text.index("FAIL") < text.index("Failed") < text.index("recovered between")
        assert "recovery / f2-kill" in text
        assert "Not tested" in text
    assert shown(built(make())).strip().startswith("PASS")


def test_the_terminal_names_the_targets_defects_and_what_is_new() -> None:
    text = shown(built(evidence()))
    assert "Defects of the target" in text
    assert "status-errors: " in text
    assert "NEW: recovery / f1-latency" in text
    gone = shown(built(make(Recipe(known_issues=STATUS_ISSUES))))
    assert "did not occur: status-errors" in gone


def test_what_the_lab_itself_did_is_no_defect_of_the_target() -> None:
    report = built(make())
    for finding in report["findings"]:
        if finding["check"] in ("observer_share", "latency"):
            finding["gate_verdict"] = "fail"
    for text in (shown(report), summary.render(report)):
        assert "NEW: latency / steady" in text
        assert "NEW: observer" not in text
        assert "observer_share / steady" in text.replace("\\", ""), "it has failed all the same"


@pytest.mark.parametrize(
    ("clock", "text"),
    [
        (None, "—"),
        ({"lo_s": 0.0, "hi_s": 0.0, "censored": False}, "0.00…0.00"),
        ({"lo_s": 0.4263, "hi_s": 0.5532, "censored": False}, "0.42…0.56"),
        ({"lo_s": 29.96, "hi_s": 29.97, "censored": False}, "29.9…30.0"),
        ({"lo_s": 9.999, "hi_s": 10.01, "censored": False}, "9.99…10.1"),
        ({"lo_s": 65.18, "hi_s": None, "censored": True}, "≥ 65.1"),
    ],
)
def test_a_clock_is_rounded_outwards_and_a_censored_one_is_no_number(clock: Any, text: str) -> None:
    assert wording.clock(clock) == text
    recovery = {"detected": clock}
    assert wording.detected(recovery) == ("no bad answer" if clock and clock["censored"] else text)


def test_people_see_every_clock_of_each_fault() -> None:
    report = built(make(Recipe(recovers_s={"f2-kill": 12.34}, store_busy_s={"f2-kill": 20.0})))
    for row in report["faults"]:
        # The longest name and times that a campaign can bring must not break the lines of a usual terminal.
        row["id"] = f"{row['id'][:2]}-connection_exhaustion"
    for text in (shown(report), summary.render(report)):
        line = next(line for line in text.splitlines() if "f2-" in line and "12.3…12.5" in line)
        for cell in ("0.00…0.12", "12.3…12.5", "12.1…12.9", "19.7…20.3", "43.0…43.2"):
            assert cell in line


def test_a_narrow_terminal_loses_no_name_and_no_number() -> None:
    report = built(make(Recipe(recovers_s={"f2-kill": 12.34}, store_busy_s={"f2-kill": 20.0})))
    for row in report["faults"]:
        row["id"] = f"{row['id'][:2]}-connection_exhaustion"
    for width in (72, 80):
        text = shown(report, width=width)
        table = text[text.index("Recovery in") : text.index("\nPassed")].splitlines()
        (line,) = [number for number, line in enumerate(table) if "f2-connection_exhaustion" in line]
        cells = ["0.00…0.12", "12.3…12.5", "12.3…12.5", "12.1…12.9", "19.7…20.3", "43.0…43.2"]
        assert table[line + 1].split() == cells, "the name has a line of its own, and no number is cut"


def evil_report() -> dict[str, Any]:
    run = make(
        Recipe(
            known_issues=tuple(replace(issue, explanation=EVIL) for issue in STATUS_ISSUES), status_fails=True
        )
    )
    requests = [replace(r, message=r.message + EVIL, op=r.op) for r in run.samples.requests]
    events = [
        replace(e, data={**e.data, "run_id": EVIL}) if e.kind == "run_started" else e for e in run.journal
    ]
    run = resampled(replace(run, journal=Journal(tuple(events))), requests=requests)
    report = built(run)
    for finding in report["findings"]:
        finding["reason"] += EVIL
    report["gaps"] = [{"from_ms": 0.0, "to_ms": 1.0, "why": EVIL}]
    return report


def test_what_a_target_says_never_becomes_markdown_or_html() -> None:
    text = summary.render(evil_report())
    for forbidden in (
        "<script",
        "\x1b",
        "\x07",
        "\u202e",
        "\n# head",
        "`a`",
        " **b** ",
        "://e.x",
        " @you",
    ):
        assert forbidden not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for row in rows:
        assert row.replace("\\|", "").count("|") in (5, 6, 7, 8, 12)


def test_what_a_target_says_never_becomes_markup_or_a_control_sequence() -> None:
    text = shown(evil_report())
    assert "[bold red]x[/]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_escaping() -> None:
    assert one_line("a\nb\t c\x1b[0m") == "a b c\N{REPLACEMENT CHARACTER}[0m"
    assert len(one_line("x" * 999)) == 400
    assert markdown("1. a") == "&#49;. a"
    assert markdown("- a") == "&#45; a"
    assert markdown("0.98 < 1 & f1-latency recall@10") == "0.98 &lt; 1 &amp; f1-latency recall@10"
    assert markdown("a_b|c") == "a\\_b\\|c"
