"""Toxiproxy in memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.errors import FaultError
from lab.ports.proxies import Comparison, ConnectionEnd, Exchange, ExchangeResult

BASE_TRIP_MS = 2.0
FREE_BYTES_PER_S = 500_000.0
REQUEST_BYTES, ANSWER_BYTES = 60, 150
PIECE_BYTES = 1400


@dataclass
class _Toxic:
    kind: str
    stream: str
    attributes: dict[str, Any]
    toxicity: float


@dataclass
class FakeProxies:
    """Proxies by name, each a dict of toxics; a disabled proxy takes toxics that change nothing.

    `disabled` are those that a test has taken out of the links' way: exchanges go on past them. `down` are those that
    the lab disabled itself. Toxicity hits the first of the connections, as many as its share makes. `slow_ms` is what
    the services behind take for an answer and for a close; `dead` ones refuse, so that Toxiproxy resets.
    """

    disabled: set[str] = field(default_factory=set)
    added: dict[str, dict[str, _Toxic]] = field(
        default_factory=lambda: {"mcp": {}, "qdrant": {}, "qdrant_grpc": {}}
    )
    down: set[str] = field(default_factory=set)
    kept: dict[str, ConnectionEnd | None] = field(default_factory=dict)
    slow_ms: float = 0.0
    dead: set[str] = field(default_factory=set)

    def require_enabled(self, proxy: str) -> None:
        if not self.is_enabled(proxy):
            raise FaultError(f"the proxy {proxy!r} is disabled")

    def is_enabled(self, proxy: str) -> bool:
        return proxy not in self.disabled | self.down

    def disable(self, proxy: str) -> None:
        if proxy not in self.disabled:
            self.down.add(proxy)
            self.kept.update({proxy: "closed"} if proxy in self.kept else {})

    def enable(self, proxy: str) -> None:
        self.down.discard(proxy)
        self.disabled.discard(proxy)

    def toxics(self, proxy: str) -> list[str]:
        return sorted(self.added[proxy])

    def add_toxic(
        self,
        proxy: str,
        *,
        name: str,
        kind: str,
        stream: str,
        attributes: dict[str, Any],
        toxicity: float = 1.0,
    ) -> None:
        if name in self.added[proxy]:
            raise FaultError(f"the toxic {name!r} exists already")
        self.added[proxy][name] = _Toxic(kind, stream, attributes, toxicity)

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        self.added[proxy].pop(name, None)

    def open_held_connection(self, proxy: str) -> None:
        self.require_enabled(proxy)
        self.kept[proxy] = None

    def held_connection_end(self, proxy: str) -> ConnectionEnd | None:
        return self.kept.get(proxy)

    def reset_connections(self, proxy: str) -> int:
        if proxy in self.disabled or proxy not in self.kept:
            return 0
        self.kept[proxy] = "reset"
        return 1

    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        return [self._one(proxy, what, number, tries) for number in range(tries)]

    def compare(self, proxy: str, what: Exchange, tries: int) -> Comparison:
        past = ExchangeResult("refused") if proxy in self.dead else _clean(what, self.slow_ms)
        return Comparison(self.exchange(proxy, what, tries), [past] * (tries - 1))

    def _one(self, proxy: str, what: Exchange, number: int, tries: int) -> ExchangeResult:
        if proxy in self.down:
            return ExchangeResult("refused")
        if proxy in self.dead:
            return ExchangeResult("reset", ended_ms=BASE_TRIP_MS)
        toxics = [] if proxy in self.disabled else list(self.added[proxy].values())
        seen = _clean(what, self.slow_ms)
        for toxic in toxics:
            if number < math.ceil(toxic.toxicity * tries):
                seen = _hit(seen, toxic, what)
            elif toxic.kind == "reset_peer":
                seen = replace(seen, end="reset")
        return seen


def _clean(what: Exchange, slow_ms: float) -> ExchangeResult:
    count = max(1, math.ceil(what.answer_bytes / 100))
    sent, received = max(REQUEST_BYTES * count, what.request_bytes), ANSWER_BYTES * count
    first_ms = BASE_TRIP_MS + slow_ms
    last_ms, closing_ms = first_ms + (sent + received) / FREE_BYTES_PER_S * 1000, 0.1 + slow_ms
    if last_ms > what.timeout_s * 1000:
        return ExchangeResult("silent", sent)
    pieces = _cut(received, PIECE_BYTES)
    return ExchangeResult(
        "answered", sent, received, first_ms, last_ms, closing_ms, last_ms + closing_ms, pieces
    )


def _cut(size: int, piece: int) -> tuple[int, ...]:
    return (piece,) * (size // piece) + ((size % piece,) if size % piece else ())


def _hit(seen: ExchangeResult, toxic: _Toxic, what: Exchange) -> ExchangeResult:
    """What a connection looks like with one more toxic on it."""
    down, given = toxic.stream == "downstream", toxic.attributes
    moved = seen.received if down else seen.sent
    match toxic.kind:
        case "latency":
            return _later(seen, given["latency"], first=True)
        case "bandwidth":
            return _later(seen, moved / given["rate"])
        case "slicer":
            size = given["average_size"]
            pieces = _cut(seen.received, size) if down else seen.pieces
            return _later(seen, math.ceil(moved / size) * given["delay"] / 1000, pieces=pieces)
        case "slow_close" if down != what.half_close:
            closing = seen.closing_ms + given["delay"]
            return replace(seen, closing_ms=closing, ended_ms=seen.last_ms + closing)
        case "timeout":
            return _cut_off(
                "closed" if given["timeout"] else "silent", seen.sent, given["timeout"] or math.inf
            )
        case "reset_peer":
            return _cut_off("reset", seen.sent, BASE_TRIP_MS + given["timeout"])
        case "limit_data" if moved > given["bytes"]:
            cut = _cut_off("closed", seen.sent, BASE_TRIP_MS)
            return replace(cut, received=given["bytes"]) if down else cut
    return seen


def _later(
    seen: ExchangeResult, by_ms: float, *, first: bool = False, pieces: tuple[int, ...] | None = None
) -> ExchangeResult:
    return replace(
        seen,
        first_ms=seen.first_ms + (by_ms if first else 0),
        last_ms=seen.last_ms + by_ms,
        ended_ms=seen.ended_ms + by_ms,
        pieces=seen.pieces if pieces is None else pieces,
    )


def _cut_off(end: ConnectionEnd, sent: int, ended_ms: float) -> ExchangeResult:
    return ExchangeResult(end, sent, ended_ms=ended_ms)
