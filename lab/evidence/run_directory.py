"""A run directory: made, written and read; reading one never causes an effect."""

import hashlib
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from lab.errors import ScenarioError
from lab.evidence.journal_file import read_journal, read_segments
from lab.evidence.older_plans import upgraded
from lab.evidence.runs_folder import require_runs
from lab.evidence.sample_reader import read_samples
from lab.model.encodable import encodable
from lab.model.evidence import Evidence
from lab.model.plan import Plan

_PLAN = TypeAdapter(Plan)
PARTS = ("load", "logs", "profiles", "prometheus")


def create(runs: Path, campaign: str) -> Path:
    """A new run directory under `runs`, its id made of the UTC time, the campaign and four random hex digits."""
    require_runs(runs)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    run = runs / f"{stamp}-{campaign}-{secrets.token_hex(2)}"
    for part in PARTS:
        (run / part).mkdir(parents=True)
    _point_latest(runs, run.name)
    return run


def _point_latest(runs: Path, name: str) -> None:
    link = runs / f".latest-{name}"
    link.symlink_to(name)
    os.replace(link, runs / "latest")


def resolve(runs: Path, name: str) -> Path:
    """The directory of a run given by id, by `latest` or by path; raises ScenarioError when it is none."""
    for candidate in (runs / name, Path(name)):
        if (candidate / "journal.jsonl").is_file():
            return candidate.resolve()
    raise ScenarioError(
        f"{name!r} is not a run directory",
        where=str(runs),
        last_state="no journal.jsonl there",
        try_="give a run id from `ls runs/`, or `latest`",
    )


def write_text(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old text or the new one. Lone surrogates become U+FFFD."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(encodable(text), encoding="utf-8")
    os.replace(draft, path)


def write_plan(run: Path, plan: Plan) -> str:
    """Write `plan.json` and return its SHA-256, which the journal's first event records."""
    text = encodable(json.dumps(_PLAN.dump_python(plan, mode="json"), indent=2, ensure_ascii=False)) + "\n"
    write_text(run / "plan.json", text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_plan(run: Path) -> Plan:
    """The plan of a run; raises ScenarioError where it is missing or is not one."""
    try:
        plan = upgraded((run / "plan.json").read_bytes())
        return _PLAN.validate_json(json.dumps(plan))
    except (OSError, ValueError, RecursionError) as error:
        # A ValidationError of pydantic is a ValueError too.
        raise ScenarioError(
            "the run has no readable plan, so nothing in it can be judged",
            where=str(run / "plan.json"),
            last_state=str(error).splitlines()[0],
            try_="judge a copy of the run directory that is whole",
        ) from error


def read_evidence(run: Path) -> Evidence:
    """Everything that the judge uses, with all damage named."""
    plan = read_plan(run)
    journal = read_segments(run, "journal") or read_journal(run / "journal.jsonl")
    samples, damage = read_samples(run / "samples.sqlite", plan.streams)
    digest = hashlib.sha256((run / "plan.json").read_bytes()).hexdigest()
    started = journal.first("run_started")
    if started is not None and started.data.get("plan_sha256") != digest:
        damage.append("plan.json is not the plan that the run began with")
    if journal.damage:
        damage.append(journal.damage)
    return Evidence(plan, journal, samples, tuple(damage), read_segments(run, "guardian"))
