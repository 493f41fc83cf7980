"""Mutation of `lab/judge`: `python -m tests.sweep.mutation [FOLDER OR MODULE...] [-j PROCESSES] [--fresh]`.

Everything happens in a scratch copy, never in the checkout. A run that is stopped goes on where it was. What was killed
is not tested again until its function changes or with --fresh; survivors are tested again each time.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.sweep.mutants import EQUIVALENT, SURVIVED, Mutant, listed, problems, table
from tests.sweep.mutation_files import forget, forget_tests, mutants_of, open_for_mutation

CHECKOUT = Path(__file__).parents[2]
JUDGE = Path("lab/judge")
SKIPPED = {"runs", "__pycache__"}
# They judge nothing, and import the judge for something else.
OTHER_TESTS = {"test_schedule_decisions.py", "test_scenarios_files.py"}
USES_JUDGE = re.compile(r"lab\.judge|from lab import judge|evidence_factory")
# One example of another kind is worth more than a hundred of one kind: there are thousands of mutants.
EXAMPLES = 5
PROFILE = f"""
settings.register_profile("mutation", deadline=None, derandomize=True, database=None, max_examples={EXAMPLES})
settings.load_profile("mutation")
"""
# Errors of types that the generated copies of functions have and the mutation itself has not.
COPIES = ("unused-ignore", "comparison-overlap", "no-any-return", "no-redef", "has-type", "var-annotated")
TYPES = ["--config-file=", "--strict", *(f"--disable-error-code={code}" for code in COPIES)]


def scratch_of(checkout: Path) -> Path:
    """One for each checkout. LAB_MUTATION_DIR names another place, for example a file system in memory."""
    place = os.environ.get("LAB_MUTATION_DIR") or f"/tmp/lab-mutation-{os.getuid()}"
    return Path(place) / str(checkout.resolve()).strip("/").replace("/", "-")


def files_of(checkout: Path) -> Iterator[Path]:
    """The files that the copy needs, relative. Hidden ones are the tools' own."""
    for directory, folders, names in os.walk(checkout):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        yield from (Path(directory, name).relative_to(checkout) for name in names if not name.startswith("."))


def copied(path: Path, content: bytes) -> bytes:
    """What stands in the copy: fewer examples in tests, and decorated functions of the judge opened."""
    if path.suffix != ".py":
        return content
    text = content.decode()
    if path.is_relative_to("tests/pure"):
        text = re.sub(r"max_examples=\d+", f"max_examples={EXAMPLES}", text)
    elif path == Path("tests/conftest.py"):
        text += PROFILE
    elif path.is_relative_to(JUDGE):
        text = open_for_mutation(text)
    return text.encode()


def synchronize(checkout: Path, scratch: Path) -> None:
    """Copies what changed and nothing else, because the tool goes by the times of files."""
    wanted = {path: copied(path, (checkout / path).read_bytes()) for path in files_of(checkout)}
    old = {path for path in files_of(scratch) if path.parts[0] not in ("mutants", "setup.cfg", "mutmut.log")}
    changed = [p for p in wanted if p not in old or (scratch / p).read_bytes() != wanted[p]]
    forget_tests(scratch, [*changed, *(old - wanted.keys())])
    for path in changed:
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_bytes(wanted[path])
    for path in old - wanted.keys():
        (scratch / path).unlink()
        (scratch / "mutants" / path).unlink(missing_ok=True)


def judge_tests(checkout: Path) -> list[str]:
    files = sorted((checkout / "tests/pure").glob("test_*.py"))
    judging = [f for f in files if f.name not in OTHER_TESTS and USES_JUDGE.search(f.read_text())]
    return [str(f.relative_to(checkout)) for f in judging]


def configure(scratch: Path, tests: Sequence[str]) -> None:
    others = [
        p.name
        for p in scratch.iterdir()
        if p.name not in ("lab", "tests", "mutants", "setup.cfg") and p.name[0] != "."
    ]
    options = {
        "source_paths": ["lab"],
        "only_mutate": [f"{JUDGE}/*"],
        "also_copy": sorted(others),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--timeout=120"],
        "pytest_add_cli_args_test_selection": tests,
        "type_check_command": [sys.executable, "-m", "mypy", str(JUDGE), "--output", "json", *TYPES],
        "on_dependency_change": ["ignore"],
        "use_git_change_detection": ["false"],
        "track_dependencies": ["false"],
        "timeout_multiplier": ["5"],
        "timeout_constant": ["2"],
    }
    multiple = {"only_mutate", "also_copy", "source_paths", "type_check_command"}
    lines = ["[mutmut]"]
    for name, values in options.items():
        many = name in multiple or name.startswith("pytest")
        lines.append(f"{name}=" + ("".join(f"\n    {value}" for value in values) if many else values[0]))
    (scratch / "setup.cfg").write_text("\n".join(lines) + "\n")


def modules_of(checkout: Path, wanted: Sequence[str]) -> list[Path]:
    """Every module below the given folders (relative to lab/judge or to the checkout), or all."""
    found: list[Path] = []
    for name in wanted or [str(JUDGE)]:
        place = Path(name) if Path(name).is_relative_to(JUDGE) else JUDGE / name
        below = (
            sorted((checkout / place).rglob("*.py")) if (checkout / place).is_dir() else [checkout / place]
        )
        found += [path.relative_to(checkout) for path in below]
    if missing := [str(path) for path in found if not (checkout / path).exists()]:
        raise SystemExit(f"no such module: {', '.join(missing)}")
    return found


def patterns_of(modules: Sequence[Path]) -> list[str]:
    dotted = [".".join(m.with_suffix("").parts).removesuffix(".__init__") for m in modules]
    return [f"{name}.x[_ǁ]*" for name in dotted]


def mutate(modules: Sequence[Path], processes: int, fresh: bool = False) -> list[Mutant]:
    """Generates and tests the mutants of these modules, and returns what became of each."""
    scratch = scratch_of(CHECKOUT)
    if fresh:
        shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    synchronize(CHECKOUT, scratch)
    configure(scratch, judge_tests(CHECKOUT))
    forget(scratch, modules)
    command = [sys.executable, "-m", "tests.sweep.mutate_here", str(processes)]
    with (scratch / "mutmut.log").open("w") as log:
        print(
            f"testing mutants; progress and, where the tests of the unchanged code fail, their output: {log.name}",
            flush=True,
        )
        subprocess.run(
            [*command, *patterns_of(modules)], cwd=scratch, check=True, stdout=log, stderr=subprocess.STDOUT
        )
    return [mutant for module in modules for mutant in mutants_of(scratch, module)]


def report(mutants: Sequence[Mutant], modules: Sequence[Path]) -> list[str]:
    """Prints the table and the survivors, and returns what is wrong."""
    names = {str(module) for module in modules}
    equivalent = {change: reason for change, reason in listed(EQUIVALENT).items() if change.module in names}
    print(table(mutants))
    for mutant in mutants:
        if mutant.status == SURVIVED and mutant.change not in equivalent:
            print(f"{mutant.change}\n  ({mutant.name})")
    return problems(mutants, equivalent)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep.mutation", description=__doc__)
    parser.add_argument("places", nargs="*", help="folders or modules below lab/judge; all without any")
    parser.add_argument("-j", "--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fresh", action="store_true", help="forget every earlier result")
    options = parser.parse_args(arguments)
    modules = modules_of(CHECKOUT, options.places)
    wrong = report(mutate(modules, options.processes, options.fresh), modules)
    print("\n".join(line.splitlines()[0] for line in wrong) or "every rule is met")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
