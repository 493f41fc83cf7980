"""Whether the load generator's own counts agree with the requests in the table."""

from lab.judge.stats.request_ids import id_problems
from lab.judge.windows import references
from lab.judge.windows.planned_load import chunks_in_other_steps, is_planned
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, Verdict, undecided


def chunks_delivered(check: str, evidence: Evidence, windows: Windows) -> Finding:
    """Whether the table has the rows that the chunks delivered. A broken chunk is an incident and not judged here."""
    journal = evidence.journal
    started, ended = journal.of("load_chunk_started"), journal.of("load_chunk_ended")
    where = references.events([*started, *ended])
    counted, rows = sum(event.data["rows"] for event in ended), len(evidence.samples.requests)
    problems = []
    if not ended:
        problems.append("no chunk of load was delivered")
    elif rows == 0:
        problems.append(f"{len(ended)} chunks of load delivered no request at all")
    started_ids, ended_ids = ({(e.segment, e.data["chunk"]) for e in events} for events in (started, ended))
    if not started_ids >= ended_ids:
        problems.append(f"{len(started)} chunks started and {len(ended)} ended")
    if counted != rows:
        problems.append(f"the chunks delivered {counted} rows, the table has {rows}")
    others = [event for event in started if not is_planned(event, evidence.plan)]
    if any("profile" not in event.data for event in others):
        problems.append("a chunk ran at another rate than planned")
    elif others:
        problems.append(
            f"chunk {', '.join(str(e.data['chunk']) for e in others)} ran another load than planned"
        )
    if misplaced := list(chunks_in_other_steps(evidence, windows.phases)):
        problems.append(f"chunk {', '.join(misplaced)} sent its load in a step with another load")
    problems += id_problems(evidence.samples.requests)
    if problems:
        return undecided(check, "chunks", "; ".join(problems), evidence=where, n=rows)
    codes = sorted({str(event.data["exit_code"]) for event in ended})
    reason = f"{len(ended)} chunks delivered the {rows} rows of the table (exit codes {', '.join(codes)})"
    if cut := [event.data["chunk"] for event in ended if event.data["truncated"]]:
        reason += f"; the raw points of chunk {', '.join(map(str, cut))} are cut off"
    if len(ended) < len(started):
        reason += f"; {len(started) - len(ended)} chunks have no recorded end"
    return Finding(check, "chunks", Verdict.PASS, Verdict.PASS, reason, n=rows, evidence=where)
