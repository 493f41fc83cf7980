"""Measures what the target can answer on this machine, before the load of a run begins.

Each operation is called by one caller (its latency and CPU time), then by several callers in a closed loop (how many
calls a second it takes at most), and at last the load's whole mix. What one call takes of the target is then known as a
share of its capacity, whatever limits it: CPU, a queue in which one call is answered at a time, or the store.
"""

import asyncio
import itertools
import secrets
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import WorldError
from lab.model.capacity import Capacity, OperationCost
from lab.model.samples import Layer
from lab.model.target import Target
from lab.observe.mcp import McpSession
from lab.ports import CallOutcome

CALLERS = 6
# With one caller at least so many calls, and at most so many; with several at most so many, which bounds a server that
# refuses quickly.
ALONE_MIN, ALONE_MAX, TOGETHER_MAX = 3, 40, 2000
# How long each of the timers is that show how late this machine wakes the lab.
NOISE_TIMER_S = 0.01
# A slow target takes longer, for each measurement waits for its last answers. One that takes this long is no target.
TOOK_MAX_S = 90.0
# After a call without an answer its caller waits a little, so that a refusing server is not hammered.
PAUSE_S = 0.05
# A call that ended at one of these layers was not worked on by the server's tool.
_UNANSWERED = (Layer.TRANSPORT, Layer.HTTP_STATUS)


@dataclass(frozen=True, slots=True)
class Rounds:
    """How long each operation is called by one caller and by several, and then the mix, in seconds.

    `timers` is how many timers show the lateness of this machine. `short` is what the capacity says of itself.
    """

    alone_s: float
    together_s: float
    mix_s: float
    timers: int
    short: bool = False


FULL = Rounds(0.4, 0.8, 3.0, 60)
# For one fault by hand, whose user waits. Its rates are less exact, so the lab's own share is as well.
SHORT = Rounds(0.1, 0.25, 1.0, 20, short=True)


@dataclass(frozen=True, slots=True)
class Questions:
    """What the calls carry: the texts of queries and of new documents, and how many documents a search asks for."""

    queries: Sequence[str]
    texts: Sequence[str]
    k: int


@dataclass(slots=True)
class _Round:
    """The calls of one measurement: how long each answered one took, and until when answers came."""

    asked: int = 0
    took_ms: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def answered_per_s(self) -> float:
        """Answered calls a second; 0 if there was none."""
        return len(self.took_ms) / self.elapsed_s if self.took_ms else 0.0


def measure(
    url: str, target: Target, questions: Questions, cpu_us: Callable[[], float], rounds: Rounds = FULL
) -> Capacity:
    """The target's capacity; `cpu_us` reads its CPU time so far, in microseconds.

    An operation that gives no answer is taken to occupy the target for the whole time limit of a request. Raises
    WorldError if the target answers no call at all.
    """
    return asyncio.run(_measure(url, target, questions, cpu_us, rounds))


async def _measure(
    url: str, target: Target, questions: Questions, cpu_us: Callable[[], float], rounds: Rounds
) -> Capacity:
    sessions = [McpSession(url, target.protocol_version) for _ in range(CALLERS)]
    try:
        async with asyncio.timeout(TOOK_MAX_S):
            return await _Measurement(sessions, target, questions, cpu_us, rounds).run(url)
    except TimeoutError:
        raise WorldError(
            "the capacity of the target could not be measured: it answers too slowly",
            where=url,
            last_state=f"not done after {TOOK_MAX_S:g} s",
            try_="`lab status`, and look at the MCP server's log",
        ) from None
    finally:
        await asyncio.gather(*(session.close() for session in sessions))


class _Measurement:
    """One measurement of a target by several callers, each with a session of its own."""

    def __init__(
        self,
        sessions: Sequence[McpSession],
        target: Target,
        questions: Questions,
        cpu_us: Callable[[], float],
        rounds: Rounds,
    ) -> None:
        self._sessions, self._target, self._cpu_us, self._rounds = sessions, target, cpu_us, rounds
        self._values = _values(target, questions)
        self._timeout_s = target.request_timeout_ms / 1000

    async def run(self, url: str) -> Capacity:
        """All rounds, one after the other."""
        began_s, target, noise_ms = _now_s(), self._target, await _noise_ms(self._rounds.timers)
        names = sorted({*target.mix, target.canary, target.recall})
        answering = await self._first_answers(url, names)
        costs, alone_per_s = {}, {}
        for name in names:
            silent = OperationCost(1 / self._timeout_s, 1000 * self._timeout_s, 0.0, 0)
            costs[name] = silent
            if name in answering:
                costs[name], alone_per_s[name] = await self._cost(name, silent)
        mix = {name: percent / sum(target.mix.values()) for name, percent in target.mix.items()}
        mix_per_s = await self._mix_per_s(mix, costs)
        alone_s = sum(share / alone_per_s[name] for name, share in mix.items() if alone_per_s.get(name))
        together_s = sum(
            share / costs[name].calls_per_s for name, share in mix.items() if alone_per_s.get(name)
        )
        side_by_side = max(1.0, alone_s / together_s) if together_s else 1.0
        took_s = round(_now_s() - began_s, 3)
        return Capacity(
            costs, mix_per_s, round(side_by_side, 3), took_s, round(noise_ms, 3), self._rounds.short
        )

    async def _first_answers(self, url: str, names: Sequence[str]) -> set[str]:
        """The operations that answer a first call, which also opens the sessions; all are asked at once."""
        places = zip(names, itertools.cycle(self._sessions), strict=False)
        outcomes = await asyncio.gather(*(self._call(session, name) for name, session in places))
        answering = {name for name, found in zip(names, outcomes, strict=True) if _answered(found)}
        if not answering:
            told = "; ".join(
                f"{name}: {found.layer.value} {found.message}"
                for name, found in zip(names, outcomes, strict=True)
            )
            raise WorldError(
                f"the target answered none of {len(names)} calls with which its capacity is measured",
                where=url,
                last_state=told,
                try_="`lab status`, and look at the MCP server's log",
            )
        await asyncio.gather(*(self._call(session, min(answering)) for session in self._sessions))
        return answering

    async def _cost(self, name: str, silent: OperationCost) -> tuple[OperationCost, float]:
        """What an operation costs, and how many calls a second one caller had answered."""
        before_us, rounds = self._cpu_us(), self._rounds
        alone = await self._round(itertools.repeat(name, ALONE_MAX), 1, rounds.alone_s, at_least=ALONE_MIN)
        used_us = self._cpu_us() - before_us
        if not alone.took_ms:
            return silent, 0.0
        latency_ms = statistics.median(alone.took_ms)
        callers = max(2, min(CALLERS, round(1000 * rounds.together_s / latency_ms)))
        together = await self._round(itertools.repeat(name, TOGETHER_MAX), callers, rounds.together_s)
        per_s = max(together.answered_per_s, alone.answered_per_s)
        calls = len(alone.took_ms) + len(together.took_ms)
        cost = OperationCost(
            round(per_s, 4), round(latency_ms, 3), round(used_us / 1000 / alone.asked, 3), calls
        )
        return cost, alone.answered_per_s

    async def _mix_per_s(self, mix: Mapping[str, float], costs: Mapping[str, OperationCost]) -> float:
        """Calls of the mix a second; an operation that never answers has its share added by its cost alone."""
        answering = {name: share for name, share in mix.items() if costs[name].calls}
        silent_s = sum(
            share / costs[name].calls_per_s for name, share in mix.items() if name not in answering
        )
        if not answering:
            return round(1 / silent_s, 4)
        slowest_ms = max(costs[name].latency_ms for name in answering)
        callers = max(2, min(CALLERS, round(1000 * self._rounds.mix_s / slowest_ms)))
        calls = itertools.islice(_in_turn(answering), TOGETHER_MAX)
        found = await self._round(calls, callers, self._rounds.mix_s)
        # Where nothing of the mix was answered, though each operation by itself was, these tell what it takes.
        per_call_s = sum(share / costs[name].calls_per_s for name, share in answering.items())
        if found.took_ms:
            per_call_s = sum(answering.values()) / found.answered_per_s
        return round(1 / (per_call_s + silent_s), 4)

    async def _round(
        self, names: Iterator[str], callers: int, seconds: float, *, at_least: int = 0
    ) -> _Round:
        """Call these operations in turn, each caller its next one as soon as its last is answered."""
        found, began_s = _Round(), _now_s()

        async def caller(session: McpSession) -> None:
            while _now_s() < began_s + seconds or found.asked < at_least:
                name = next(names, None)
                if name is None:
                    return
                found.asked += 1
                sent_s = _now_s()
                if _answered(await self._call(session, name)):
                    found.took_ms.append(1000 * (_now_s() - sent_s))
                    found.elapsed_s = _now_s() - began_s
                else:
                    await asyncio.sleep(PAUSE_S)

        await asyncio.gather(*(caller(session) for session in self._sessions[:callers]))
        return found

    async def _call(self, session: McpSession, name: str) -> CallOutcome:
        operation = self._target.operations[name]
        return await session.call(operation, next(self._values), timeout_s=self._timeout_s)


def _values(target: Target, questions: Questions) -> Iterator[Mapping[str, Any]]:
    """The variables of one call after the other. No document has the id of one that a run's load writes."""
    mark = f"capacity-{secrets.token_hex(4)}"
    same = {"truth_collection": target.truth_collection, "writes_collection": target.writes_collection}
    pairs = zip(itertools.cycle(questions.queries), itertools.cycle(questions.texts), strict=False)
    for number, (query, text) in enumerate(pairs):
        yield {**same, "query": query, "text": text, "k": questions.k, "document_id": f"{mark}-{number}"}


def _in_turn(mix: Mapping[str, float]) -> Iterator[str]:
    """Operations without end, each as often as its share says, also within a few calls."""
    due = dict.fromkeys(mix, 0.0)
    while True:
        for name, share in mix.items():
            due[name] += share
        chosen = max(due, key=lambda name: (due[name], name))
        due[chosen] -= sum(mix.values())
        yield chosen


def _answered(outcome: CallOutcome) -> bool:
    return outcome.layer not in _UNANSWERED


async def _noise_ms(timers: int) -> float:
    """How much later than asked this machine wakes a timer; P95 of some timers while the lab does nothing else."""
    late_ms = []
    for _ in range(timers):
        due_s = _now_s() + NOISE_TIMER_S
        await asyncio.sleep(NOISE_TIMER_S)
        late_ms.append(1000 * (_now_s() - due_s))
    return max(0.0, statistics.quantiles(late_ms, n=20)[-1])


def _now_s() -> float:
    return asyncio.get_running_loop().time()
