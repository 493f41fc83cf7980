"""The load of a run as a chain of k6 containers: each takes over at the moment at which the one before ends.

A chunk's container is made a few seconds before its time and waits for it. Chunks are bounded, so that a lab
that died leaves no load behind for long, and so that raw points become samples while the run goes on.
"""

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from lab.boundary import run_sampler
from lab.load.containers import Exit, K6Containers, exit_of, keep_log, remove
from lab.load.inputs import LoadInputs, chunk_name
from lab.load.points import ChunkRows, ChunkSchedule, read_chunk
from lab.ports import Clock, Recorder, Sink

LEAD_MS = 5000.0
# k6's own work after the last request: ending sessions, flushing the points.
_WIND_UP_MS = 20_000.0
_STOP_GRACE_S = 15
_LOOK_EVERY_S, _LOOK_AT_RUNNING_EVERY_MS = 0.25, 2000.0
_EARLY_MS = 500.0


@dataclass(slots=True)
class _Chunk:
    """One chunk from launch to collection; `cut_ms` is when its load was ended by `stop`, if it was."""

    schedule: ChunkSchedule
    container: Container | None
    announced: bool = False
    looked_ms: float = 0.0
    cut_ms: float | None = None

    @property
    def name(self) -> str:
        return self.schedule.source


class K6Load:
    """Implements `lab.ports.LoadGenerator`: load from `start` to `stop`, rows into the sink as chunks end.

    `stop` lets every request that was due before it have its whole time, then ends k6; what k6 sent in the
    meantime stays in the raw points and is left out of the samples (`after_stop` in the chunk's event).
    """

    def __init__(
        self,
        *,
        client: docker.DockerClient,
        image: str,
        project: str,
        directory: Path,
        recorder: Recorder,
        sink: Sink,
        clock: Clock,
        inputs: LoadInputs,
        network: str | None = None,
    ) -> None:
        self._containers = K6Containers(client, image, project, network or f"{project}_default", directory)
        self._directory, self._recorder, self._sink, self._clock = directory, recorder, sink, clock
        self._inputs = inputs
        self._deaths: list[tuple[str, str]] = []
        self._chunks: list[_Chunk] = []
        self._next, self._first_ms = 0, 0.0
        self._stop_ms: float | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k6-load", daemon=True)

    def start(self) -> None:
        """Begin: the first request is due about five seconds from now. Returns at once."""
        self._first_ms = self._clock.now_ms() + LEAD_MS
        self._thread.start()

    def stop(self) -> None:
        """End the load and collect its rows; takes up to a request's time-out and some seconds."""
        if not self._thread.ident or self._stop_ms is not None:
            return
        self._stop_ms = self._clock.now_ms()
        self._wake.set()
        patience_s = (self._inputs.graceful_stop_ms + 2 * _WIND_UP_MS) / 1000 + 2 * _STOP_GRACE_S
        self._thread.join(timeout=patience_s)
        if self._thread.is_alive():
            self._died(f"it did not stop within {patience_s:.0f} s; its last rows are missing")

    def died(self) -> list[tuple[str, str]]:
        """What went wrong with the generator itself; each entry means that load or evidence is missing."""
        return list(self._deaths)

    def _died(self, why: str) -> None:
        self._deaths.append(("load", why))

    def _run(self) -> None:
        run_sampler(self._keep_up, self._died)
        for chunk in list(self._chunks):
            run_sampler(partial(self._discard, chunk), self._died)

    def _keep_up(self) -> None:
        self._prepare()
        while self._stop_ms is None or self._chunks:
            self._turn()
            if self._stop_ms is None:
                self._wake.wait(_LOOK_EVERY_S)
            else:
                self._clock.sleep_s(_LOOK_EVERY_S)

    def _prepare(self) -> None:
        self._containers.input_folder.mkdir(parents=True, exist_ok=True)
        self._inputs.write_texts(self._containers.input_folder)
        self._containers.remove_leftovers()

    def _turn(self) -> None:
        """Whatever is due now: launch the next chunk, announce one that begins, collect one that ended."""
        now_ms = self._clock.now_ms()
        if self._stop_ms is None and now_ms >= self._start_ms(self._next) - LEAD_MS:
            self._launch(self._next)
            self._next += 1
        for chunk in list(self._chunks):
            if self._stop_ms is not None and chunk.schedule.start_ms >= self._stop_ms:
                self._withdraw(chunk)
            elif now_ms >= chunk.schedule.start_ms and not chunk.announced:
                self._announce(chunk)
            else:
                self._look_after(chunk, now_ms)

    def _start_ms(self, number: int) -> float:
        return self._first_ms + self._inputs.profile.chunk(number).start_ms

    def _launch(self, number: int) -> None:
        name, profile = chunk_name(number), self._inputs.profile
        # Asked anew for each chunk: the wall clock, by which k6 goes, may have moved against the run's.
        epoch_ms = self._clock.epoch_ms() - self._clock.now_ms()
        part = profile.chunk(number)
        requests = self._inputs.requests(name, part)
        schedule = ChunkSchedule(name, self._first_ms, profile, part, requests, epoch_ms)
        chunk = _Chunk(schedule, None)
        self._chunks.append(chunk)
        try:
            self._inputs.write_chunk(self._containers.input_folder, name, part, epoch_ms + schedule.start_ms)
            chunk.container = self._containers.launch(name, profile.script, self._inputs.vus)
        except (DockerException, RequestException, OSError) as error:
            self._announce(chunk)
            self._fail(chunk, f"chunk {name} could not be started: {error}")

    def _announce(self, chunk: _Chunk) -> None:
        chunk.announced = True
        self._recorder.record(
            "load_chunk_started",
            chunk=chunk.name,
            profile=chunk.schedule.profile.name,
            script=chunk.schedule.profile.script,
            load_began_ms=round(chunk.schedule.began_ms, 3),
            scheduled_start_ms=round(chunk.schedule.start_ms, 3),
            duration_ms=chunk.schedule.chunk.duration_ms,
            due=chunk.schedule.chunk.due,
        )

    def _withdraw(self, chunk: _Chunk) -> None:
        """Take back a chunk whose time never came; k6 is asked first, so that it ends its sessions."""
        if chunk.container is not None:
            self._end(chunk.container, grace_s=3)
        self._discard(chunk)

    def _look_after(self, chunk: _Chunk, now_ms: float) -> None:
        ending = now_ms >= chunk.schedule.end_ms or self._stop_ms is not None
        if not ending and now_ms - chunk.looked_ms < _LOOK_AT_RUNNING_EVERY_MS:
            return
        chunk.looked_ms = now_ms
        try:
            ended = self._exit(chunk, now_ms)
            if ended is not None:
                self._collect(chunk, ended)
        except (DockerException, RequestException, OSError) as error:
            self._fail(chunk, f"chunk {chunk.name} was lost: {error}")

    def _exit(self, chunk: _Chunk, now_ms: float) -> Exit | None:
        """How k6 ended, or None while it may go on; ends it when its time is over."""
        if chunk.container is None:
            raise OSError("it has no container")
        ended = exit_of(chunk.container)
        if ended is not None or not self._is_over(chunk, now_ms):
            return ended
        self._end(chunk.container, grace_s=_STOP_GRACE_S)
        ended = exit_of(chunk.container)
        if ended is None:
            raise OSError("its container still runs after it was stopped")
        return ended

    def _is_over(self, chunk: _Chunk, now_ms: float) -> bool:
        """Whether k6 must be ended: all that was due before `stop` had its time, or k6 overran its own."""
        grace_ms = self._inputs.graceful_stop_ms
        if self._stop_ms is not None and self._stop_ms + grace_ms <= now_ms < chunk.schedule.end_ms:
            chunk.cut_ms = now_ms
            return True
        if now_ms >= chunk.schedule.end_ms + grace_ms + _WIND_UP_MS:
            self._died(f"chunk {chunk.name} did not end by itself")
            return True
        return False

    def _end(self, container: Container, *, grace_s: int) -> None:
        try:
            container.stop(timeout=grace_s)
        except (DockerException, RequestException) as error:
            self._died(f"a k6 container could not be stopped: {error}")

    def _collect(self, chunk: _Chunk, ended: Exit) -> None:
        """Rows to the sink, evidence to the run directory, the event to the journal; the container goes."""
        errors = keep_log(chunk.container, self._directory, chunk.name) if chunk.container else []
        found = read_chunk(self._directory / f"points-{chunk.name}.json.gz", chunk.schedule)
        limit_ms = (
            chunk.schedule.end_ms if self._stop_ms is None else min(self._stop_ms, chunk.schedule.end_ms)
        )
        rows = [row for row in found.rows if self._stop_ms is None or row.scheduled_ms < self._stop_ms]
        self._sink.add(rows)
        missing = max(0, chunk.schedule.due_before(limit_ms) - len(rows))
        for problem in self._problems(chunk, ended, found, missing, errors):
            self._died(f"chunk {chunk.name}: {problem}")
        if not chunk.announced:
            self._announce(chunk)
        self._record_end(chunk, ended, found, len(rows), missing)
        self._discard(chunk)

    def _problems(
        self, chunk: _Chunk, ended: Exit, found: ChunkRows, missing: int, errors: list[str]
    ) -> list[str]:
        """What makes this chunk's evidence incomplete; k6's exit code alone does not."""
        problems = list(found.problems)
        if ended.out_of_memory:
            problems.append("k6 ran out of memory")
        finished_ms = None if ended.at_epoch_ms is None else ended.at_epoch_ms - chunk.schedule.epoch_ms
        if (
            chunk.cut_ms is None
            and finished_ms is not None
            and finished_ms < chunk.schedule.end_ms - _EARLY_MS
        ):
            said = f"; it said: {errors[-1][:300]}" if errors else ""
            early_s = (chunk.schedule.end_ms - finished_ms) / 1000
            problems.append(f"k6 ended {early_s:.1f} s early with exit code {ended.code}{said}")
        if missing:
            problems.append(
                f"{missing} of {len(chunk.schedule.requests)} requests that were due left no trace"
            )
        return problems

    def _record_end(self, chunk: _Chunk, ended: Exit, found: ChunkRows, rows: int, missing: int) -> None:
        self._recorder.record(
            "load_chunk_ended",
            chunk=chunk.name,
            exit_code=ended.code,
            started=found.started,
            dropped=found.dropped,
            rows=rows,
            truncated=found.truncated,
            lost=found.lost,
            late_slots=found.late_slots,
            missing=missing,
            after_stop=len(found.rows) - rows,
            clock_moved_ms=round(self._clock.epoch_ms() - self._clock.now_ms() - chunk.schedule.epoch_ms, 3),
        )

    def _fail(self, chunk: _Chunk, why: str) -> None:
        """Give a chunk up: say so, journal it with what is known (nothing), and go on with the next one."""
        self._died(why)
        self._recorder.record(
            "load_chunk_ended",
            chunk=chunk.name,
            exit_code=None,
            started=0,
            dropped=0,
            rows=0,
            truncated=True,
            missing=len(chunk.schedule.requests),
            why=why,
        )
        self._discard(chunk)

    def _discard(self, chunk: _Chunk) -> None:
        self._chunks.remove(chunk)
        if chunk.container is not None:
            try:
                remove(chunk.container)
            except (DockerException, RequestException) as error:
                self._died(f"chunk {chunk.name}: its container could not be removed: {error}")
