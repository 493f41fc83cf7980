"""Rules for a target that types cannot express: sums, references, and which variables an operation may use."""

from collections.abc import Iterator, Sequence

from lab.faults import discover
from lab.model.target import VARIABLES
from lab.read.strict_yaml import Document, Location, Problem, accepted
from lab.read.targets.shapes import KnownIssueShape, TargetShape

_COLLECTIONS = ("truth_collection", "writes_collection")
# The variables that are filled when an operation is called in each role. The load fills all variables.
FILLED = {
    "canary": (*_COLLECTIONS, "query", "k"),
    "recall": ("query", "k", "truth_collection"),
    "add": ("text", "document_id", *_COLLECTIONS),
}
NEEDED = {"canary": (), "recall": ("query", "k"), "add": ("text", "document_id", "writes_collection")}


def target_problems(target: TargetShape, document: Document) -> Iterator[Problem]:
    """All problems of a target whose types are right."""
    for where, name in _references(target):
        if name not in target.operations:
            problem = f"there is no operation {name!r}"
            yield Problem(problem, document.where(where), accepted(name, target.operations))
    if (total := sum(target.mix.values())) != 100:
        yield Problem(f"the mix sums to {total}, not 100", document.where(("mix",)))
    if target.rate.normal_per_s > target.rate.capacity_per_s:
        yield Problem("the normal rate is above the capacity", document.where(("rate", "normal_per_s")))
    if target.collections.truth == target.collections.writes:
        yield Problem("truth and writes must be two collections", document.where(("collections",)))
    recall = target.operations.get(target.recall.operation)
    if recall is not None and not recall.document_ids:
        place = document.where(("operations", target.recall.operation))
        yield Problem("the recall operation needs document_ids, the path to the ids that it found", place)
    yield from _variable_problems(target, document)
    yield from _role_problems(target, document)


def _references(target: TargetShape) -> list[tuple[Location, str]]:
    roles: list[tuple[Location, str]] = [
        (("canary",), target.canary),
        (("add",), target.add),
        (("recall", "operation"), target.recall.operation),
    ]
    return [*roles, *((("mix", name), name) for name in target.mix)]


def _variable_problems(target: TargetShape, document: Document) -> Iterator[Problem]:
    for place, name in _variables(target):
        if name not in VARIABLES:
            problem = f"there is no variable {name!r}"
            yield Problem(problem, document.where(place), accepted(name, VARIABLES))
    for name, operation in target.operations.items():
        for place, node in _mappings(operation.arguments, ("operations", name, "arguments")):
            misplaced = [key for key, item in node.items() if key[:1] == "$" and item in VARIABLES]
            if misplaced and set(node) != {"$var"}:
                problem = f"a variable is written {{$var: NAME}} and stands alone, not {misplaced[0]!r}"
                yield Problem(problem, document.where((*place, misplaced[0])))


def _role_problems(target: TargetShape, document: Document) -> Iterator[Problem]:
    roles = {"canary": target.canary, "recall": target.recall.operation, "add": target.add}
    # Unknown names have been reported already.
    known = [
        (name, place) for place, name in _variables(target) if isinstance(name, str) and name in VARIABLES
    ]
    for role, operation in roles.items():
        used = {name: place for name, place in known if place[1] == operation}
        for name, place in used.items():
            if name not in FILLED[role]:
                problem = f"the {role} operation {operation!r} cannot use the variable {name!r}"
                filled = f"filled for it: {', '.join(FILLED[role])}"
                yield Problem(problem, document.where(place), filled)
        for name in NEEDED[role]:
            if operation in target.operations and name not in used:
                problem = f"the {role} operation {operation!r} must use the variable {name!r}"
                yield Problem(problem, document.where(("operations", operation)))


def _variables(target: TargetShape) -> Iterator[tuple[Location, object]]:
    """Each `{$var: NAME}`, with its place."""
    for name, operation in target.operations.items():
        home: Location = ("operations", name)
        trees: list[tuple[Location, object]] = [((*home, "arguments"), operation.arguments)]
        trees += [
            ((*home, "success", number, test), getattr(condition, test))
            for number, condition in enumerate(operation.success)
            for test in condition.tests()
        ]
        for start, tree in trees:
            for place, node in _mappings(tree, start):
                if set(node) == {"$var"}:
                    yield place, node["$var"]


def _mappings(node: object, place: Location) -> Iterator[tuple[Location, dict[str, object]]]:
    if isinstance(node, dict):
        yield place, node
        for key, item in node.items():
            yield from _mappings(item, (*place, key))
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _mappings(item, (*place, number))


def issue_problems(
    issues: Sequence[KnownIssueShape], target: TargetShape, document: Document
) -> Iterator[Problem]:
    """All problems of known issues whose types are right."""
    kinds, ids, entries = sorted(discover()), set[str](), set[tuple[str, ...]]()
    for number, issue in enumerate(issues):
        yield from _issue_references(issue, target, document, number)
        for kind in issue.faults:
            if kind not in kinds:
                place = document.where((number, "faults"))
                yield Problem(f"there is no fault kind {kind!r}", place, accepted(kind, kinds))
        if issue.faults and issue.check != "accuracy":
            problem = f"{issue.check} is judged in the steady phases alone, never while a fault is in force"
            yield Problem(problem, document.where((number, "faults")), "leave out `faults`")
        if issue.target_version != target.version:
            problem = f"declared for version {issue.target_version}, but the target is {target.version}"
            yield Problem(problem, document.where((number, "target_version")))
        same = (issue.check, issue.operation, issue.layer, issue.message, *issue.faults)
        if issue.id in ids:
            yield Problem(f"the id {issue.id!r} is there twice", document.where((number, "id")))
        elif same in entries:
            yield Problem(f"{issue.id!r} repeats an entry above", document.where((number, "message")))
        ids.add(issue.id)
        entries.add(same)


def _issue_references(
    issue: KnownIssueShape, target: TargetShape, document: Document, number: int
) -> Iterator[Problem]:
    """Problems of an issue that can never match anything; such an issue is a mistake."""
    place = document.where((number, "operation"))
    if issue.operation not in target.operations:
        problem = f"there is no operation {issue.operation!r}"
        yield Problem(problem, place, accepted(issue.operation, target.operations))
    elif issue.check == "accuracy" and issue.operation != target.recall.operation:
        problem = f"accuracy is judged by {target.recall.operation!r} alone, not {issue.operation!r}"
        yield Problem(problem, place)
    elif issue.check != "accuracy" and issue.operation not in target.mix:
        problem = f"the operation {issue.operation!r} is not in the mix, so {issue.check} never sees it"
        yield Problem(problem, place, accepted(issue.operation, target.mix))
    if issue.check == "accuracy" and issue.layer != "payload":
        problem = "only an answer that claims success counts for accuracy, so its layer is payload"
        yield Problem(problem, document.where((number, "layer")))
