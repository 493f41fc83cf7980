"""Where the time of one fault by hand goes: `lab fault run freeze target=qdrant --hold 5s`, as a user calls it.

    python -m tests.bench.fault_by_hand [--runs 3] [--target FOLDER] [--hold 5s] [KIND] [NAME=VALUE …]

All runs use one stack. The first one loads the documents where no copy of such a store was kept; the others copy it
back. Each line has the total by the clock, the exit code, the load average of the machine at the end, and the parts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.e2e.stacks import HOME, TARGET, ephemeral_stack, images


def call(arguments: Sequence[str], project: str, target: Path, runs: Path) -> tuple[float, int]:
    """One command: how long it took in seconds, and its exit code."""
    command = [sys.executable, "-m", "lab", "fault", "run", *arguments]
    command += ["--project", project, "--target", str(target), "--runs", str(runs), "--log", "plain"]
    began_s = time.monotonic()
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 10, 11):
        sys.exit(done.stderr[-2000:])
    return time.monotonic() - began_s, done.returncode


def parts(directory: Path) -> Iterator[tuple[str, float]]:
    """The parts of a run in seconds, in order; what lies after the journal's end is not among them."""
    events = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    at_s = {event["kind"]: event["at_ms"] / 1000 for event in events}
    at_s["load_chunk_started"] = next(
        event["at_ms"] / 1000 for event in events if event["kind"] == "load_chunk_started"
    )
    prepared = next(event for event in events if event["kind"] == "prepared")
    known = {part["part"]: part["seconds"] for part in prepared["parts"]}
    measuring_s = known.pop("measure the target's capacity")
    yield "prepare the stack", -prepared["command_began_ms"] / 1000 - measuring_s
    yield "measure the capacity", measuring_s
    marks = [
        ("until the load begins", "load_chunk_started"),
        ("baseline", "fault_injecting"),
        ("prove the fault, hold, heal", "fault_healed"),
        ("recover, and stay well", "settled"),
        ("end the load", "load_chunk_ended"),
        ("end the rest", "run_ended"),
    ]
    before_s = 0.0
    for name, kind in marks:
        yield name, at_s[kind] - before_s
        before_s = at_s[kind]


def line(total_s: float, code: int, found: Sequence[tuple[str, float]]) -> str:
    """One run in words."""
    rest_s = total_s - sum(seconds for _, seconds in found)
    named = ", ".join(f"{name} {seconds:.1f}" for name, seconds in (*found, ("judge and print", rest_s)))
    return f"{total_s:.1f} s, exit code {code}, load average {os.getloadavg()[0]:.1f}: {named}"


def main() -> None:
    """Run the command so many times on one stack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("fault", nargs="*", default=["freeze", "target=qdrant"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hold", default="5s")
    parser.add_argument("--target", type=Path, default=TARGET)
    args = parser.parse_args()
    with ephemeral_stack(images(args.target), args.target) as spec, tempfile.TemporaryDirectory() as folder:
        for number in range(args.runs):
            runs = Path(folder) / str(number)
            total_s, code = call([*args.fault, "--hold", args.hold], spec.project, args.target, runs)
            print(line(total_s, code, list(parts(runs / "latest"))), flush=True)


if __name__ == "__main__":
    main()
