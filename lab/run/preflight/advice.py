"""What the calls before a run say: nothing, or what is wrong and what to change in which file."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from lab.errors import LabError, ScenarioError, WorldError
from lab.model.samples import OTHER, PAST, STORE, Layer, Traffic
from lab.model.target import Target
from lab.model.topology import Topology
from lab.observe.preflight import HANDSHAKE, Attempt

# What the two layers of a lab's own reading say where the answer has no such payload.
_NOT_THE_PAYLOAD = ("no structuredContent in the result", "the result's text is not JSON")
_UNANSWERED: Mapping[str, str] = {
    Layer.TRANSPORT.value: "{place} gets no answer from the target",
    Layer.UNSENT.value: "the calls before a run take so long that {place} cannot make each of them",
}
# What the lab's clients say of an answer such as a web page.
_NO_MESSAGE = "no message with the request's id in the answer"
# What servers say of a tool or an argument that they do not have.
_UNKNOWN_TOOL = (
    "unknown tool",
    "tool not found",
    "validation error",
    "unexpected keyword",
    "missing required",
)
_STATUS: Mapping[int, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "asks for a token, and the lab sends none",
        "switch the server's authentication off with a variable under `environment`",
    ),
    HTTPStatus.FORBIDDEN: (
        "refuses the request, as servers do that check its Origin or Host",
        "allow the host {host} with a variable under `environment`",
    ),
    HTTPStatus.MISDIRECTED_REQUEST: (
        "refuses the Host header",
        "allow the host {host} with a variable under `environment`",
    ),
    HTTPStatus.NOT_FOUND: ("has nothing at this path", "`endpoint`"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("takes no messages at this path", "`endpoint`"),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "limits the rate of requests",
        "switch the limit off, or raise it, with a variable under `environment`",
    ),
}


def problem_of(attempts: Sequence[Attempt], target: Target, file: str) -> LabError | None:
    """The first thing that is wrong with these calls from all places; None where the run can begin.

    An operation that fails as a declared known issue says, or that answers an error of its own, is the target's doing:
    the run will judge that.
    """
    for attempt in attempts:
        if (problem := _problem(attempt, target, file)) is not None:
            return problem
    return next(_disagreements(attempts, target), None)


def _problem(attempt: Attempt, target: Target, file: str) -> LabError | None:
    if attempt.ok or _is_known(attempt, target):
        return None
    if attempt.layer in _UNANSWERED:
        return WorldError(
            _UNANSWERED[attempt.layer].format(place=attempt.place),
            where=f"{attempt.what} at {attempt.address}",
            last_state=attempt.message,
            try_="`lab status`, and look at the MCP server's log",
        )
    if "revision" in attempt.message or "protocol version" in attempt.message.lower():
        return _wrong(attempt, "does not speak the revision", file, "`protocol_version`")
    if (status := _status_of(attempt)) is not None:
        return _of_status(attempt, status, file)
    return _of_operation(attempt, file)


def _of_status(attempt: Attempt, status: int, file: str) -> LabError:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        to = attempt.location or "another address"
        return _wrong(attempt, f"redirects to {to}", file, f"`endpoint` to the path of {to}")
    what, change = _STATUS.get(status, (f"answers HTTP {status}", "what the server's message says"))
    host = urlsplit(attempt.address).netloc
    return _wrong(attempt, what, file, change.format(host=host))


def _status_of(attempt: Attempt) -> int | None:
    if attempt.layer != Layer.HTTP_STATUS.value:
        return None
    digits = attempt.message.removeprefix("HTTP ")[:3]
    return attempt.status or (int(digits) if digits.isdigit() else 0)


def _of_operation(attempt: Attempt, file: str) -> LabError | None:
    name, message = attempt.what, attempt.message
    if attempt.layer == Layer.PAYLOAD.value and message in _NOT_THE_PAYLOAD:
        return _wrong(attempt, "answers in another form", file, f"`operations.{name}.payload`")
    if attempt.layer == Layer.PAYLOAD.value and message.startswith("expected "):
        what = "gives an answer that breaks a condition of success"
        return _wrong(attempt, what, file, f"the paths in `operations.{name}.success`")
    if any(said in message.lower() for said in _UNKNOWN_TOOL):
        what = "does not accept the call"
        return _wrong(attempt, what, file, f"`operations.{name}`, its `tool` and its `arguments`")
    if attempt.layer == Layer.JSONRPC.value and message == _NO_MESSAGE:
        what = "answers with something that is no message of the protocol"
        return _wrong(
            attempt, what, file, f"`endpoint`, if another path is the server's; else `operations.{name}`"
        )
    if attempt.layer == Layer.JSONRPC.value:
        return _wrong(attempt, "answers with a protocol error", file, f"`operations.{name}`")
    return None


def _wrong(attempt: Attempt, what: str, file: str, change: str) -> ScenarioError:
    return ScenarioError(
        f"the target {what}, as {attempt.place} calls it",
        where=f"{attempt.what} at {attempt.address}",
        last_state=attempt.message,
        try_=f"change in {file}: {change}",
    )


def _is_known(attempt: Attempt, target: Target) -> bool:
    return any(
        (issue.operation, issue.layer) == (attempt.what, attempt.layer) and issue.message in attempt.message
        for issue in target.known_issues
    )


def _disagreements(attempts: Sequence[Attempt], target: Target) -> Iterator[WorldError]:
    """Operations that do not end at the same layer everywhere; a known issue may come and go."""
    by_operation: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.what != HANDSHAKE and not _is_known(attempt, target):
            by_operation.setdefault(attempt.what, []).append(attempt)
    for name, found in by_operation.items():
        if len({attempt.layer for attempt in found}) > 1:
            yield WorldError(
                f"the places from which the lab calls the target disagree about {name}",
                where=", ".join(dict.fromkeys(attempt.address for attempt in found)),
                last_state="; ".join(f"{a.place}: {a.layer} {a.message}".strip() for a in found),
                try_="run again; if it stays, look at the MCP server's log",
            )


def traffic_problem(
    before: Sequence[Traffic], after: Sequence[Traffic], call: Attempt, topology: Topology, file: str
) -> LabError | None:
    """What the target's connections say after one call that needs the store; None where its bytes crossed the proxy."""
    links = [link for link in topology.links if link.behind in topology.with_role("store")]
    proxies = " or ".join(f"{link.carrier}:{link.listen}" for link in links)
    change = f"change in {file}: the variable under `environment` that names the store must lead to {proxies}"
    past = sorted({row.peer for row in after if row.route == PAST})
    if past:
        return ScenarioError(
            "the target's own connections go past the proxy, so no fault of a link would hit it",
            where=f"network of {topology.target.name}",
            last_state=f"connected to the store at {', '.join(past)}",
            try_=change,
        )
    if _crossed(after) > _crossed(before):
        return None
    others = sorted({row.peer for row in after if row.route == OTHER})
    used = f"connected to {', '.join(others)}" if others else "no connection leaves the target"
    reached = others or call.layer in (Layer.OK.value, Layer.PAYLOAD.value)
    return (ScenarioError if reached else WorldError)(
        f"nothing of the target's own traffic crossed the proxy of the store when {call.what} was called",
        where=f"network of {topology.target.name}",
        last_state=f"{used}; the call ended with {call.layer} {call.message}".strip(),
        try_=change,
    )


def _crossed(rows: Sequence[Traffic]) -> int:
    return sum(row.sent_bytes + row.received_bytes for row in rows if row.route == STORE)
