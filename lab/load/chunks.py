"""The load of a run as a chain of k6 containers: each takes over at the moment at which the one before ends.

A chunk's container is started a few seconds before its time and waits for it. Chunks are bounded, so that a lab that
died leaves no load behind for long.
"""

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from lab.boundary import run_sampler
from lab.load.chunk import WIND_UP_MS, Chunk, Stretch
from lab.load.chunk_schedule import ChunkSchedule
from lab.load.containers import Exit, K6Containers, exit_of, keep_log, remove
from lab.load.inputs import LoadInputs, chunk_name
from lab.load.live_points import LivePoints
from lab.load.request_rows import ChunkRows
from lab.model.load import LoadProfile
from lab.ports import Clock, Recorder, Sink

LEAD_MS = 5000.0
# The first chunk takes over from none. If it begins late, some requests of the warm-up are not sent.
FIRST_LEAD_MS = 3000.0
_STOP_GRACE_S, _WITHDRAW_GRACE_S = 15, 3
_TURN_EVERY_S, _READ_EVERY_MS, _SILENT_MS_MAX = 0.25, 500.0, 2000.0


class K6Load:
    """Implements `lab.ports.LoadGenerator`: load from `start` to `stop`, each row into the sink once it is settled.

    When a load ends, because of `stop` or because another one takes over, k6 is ended as soon as every request that was
    due before is settled; one that is not answered has its whole time. What k6 sent in the meantime stays in the raw
    points and is left out of the samples (`after_stop` in the chunk's event). `first_chunk` is the number of the first
    chunk: a later segment of a run must go on where the one before ended, because chunks name files and requests.
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
        first_chunk: int = 0,
    ) -> None:
        self._containers = K6Containers(client, image, project, network or f"{project}_default", directory)
        self._directory, self._recorder, self._sink, self._clock = directory, recorder, sink, clock
        self._inputs = inputs
        self._deaths: list[tuple[str, str]] = []
        self._stretches: list[Stretch] = []
        self._chunks: list[Chunk] = []
        self._next_number = first_chunk
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k6-load", daemon=True)

    def start(self, load: LoadProfile | None) -> None:
        """Begin: the first request is due about three seconds from now. Returns at once."""
        self.change_to(load)
        self._thread.start()

    def change_to(self, load: LoadProfile | None) -> float:
        """Let another load take over; returns when its first request is due. With None, the present load ends now."""
        now_ms = self._clock.now_ms()
        current = self._stretches[-1] if self._stretches else None
        running = current.profile if current is not None and current.stop_ms > now_ms else None
        if load == running:
            return now_ms
        # Rounded as due times are, so that the first request is not due before its load begins.
        lead_ms = FIRST_LEAD_MS if current is None else LEAD_MS
        begins_ms = round(now_ms if load is None else now_ms + lead_ms, 3)
        if current is not None:
            current.stop_ms = min(current.stop_ms, begins_ms)
        if load is not None:
            self._stretches.append(Stretch(load, begins_ms))
        return begins_ms

    def stop(self) -> None:
        """End the load and collect its rows; takes some seconds, and a request's timeout where one is not answered."""
        if not self._thread.ident or self._stopping.is_set():
            return
        now_ms = self._clock.now_ms()
        for stretch in self._stretches:
            stretch.stop_ms = min(stretch.stop_ms, now_ms)
        self._stopping.set()
        grace_ms = max((s.profile.graceful_stop_ms for s in self._stretches), default=0.0)
        timeout_s = (grace_ms + 2 * WIND_UP_MS) / 1000 + 2 * _STOP_GRACE_S
        self._thread.join(timeout=timeout_s)
        if self._thread.is_alive():
            self._died(f"it did not stop within {timeout_s:.0f} s; its last rows are missing")

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
        while not self._stopping.is_set() or self._chunks:
            self._turn()
            if self._stopping.is_set():
                self._clock.sleep_s(_TURN_EVERY_S)
            else:
                self._stopping.wait(_TURN_EVERY_S)

    def _prepare(self) -> None:
        self._containers.input_folder.mkdir(parents=True, exist_ok=True)
        self._inputs.write_texts(self._containers.input_folder)
        self._containers.remove_leftovers()

    def _turn(self) -> None:
        """Do what is due now: launch the next chunk, announce one that begins, collect one that ended."""
        now_ms = self._clock.now_ms()
        for stretch in list(self._stretches):
            if now_ms >= stretch.next_start_ms - LEAD_MS:
                self._launch(stretch)
        for chunk in list(self._chunks):
            if chunk.is_withdrawn():
                self._withdraw(chunk)
            elif now_ms >= chunk.start_ms and not chunk.announced:
                self._announce(chunk)
            else:
                self._read_on(chunk, now_ms)
                self._check(chunk, now_ms)

    def _launch(self, stretch: Stretch) -> None:
        name, part = chunk_name(self._next_number), stretch.profile.chunk(stretch.chunks_launched)
        # Read again for each chunk, because k6 uses the wall clock, which may have moved relative to the run's clock.
        launched_ms = self._clock.now_ms()
        epoch_ms = self._clock.epoch_ms() - launched_ms
        requests = self._inputs.requests(stretch.profile, name, part)
        schedule = ChunkSchedule(name, stretch.began_ms, stretch.profile, part, requests, epoch_ms)
        chunk = Chunk(schedule, stretch, LivePoints(self._directory, schedule), launched_ms=launched_ms)
        self._next_number += 1
        stretch.chunks_launched += 1
        self._chunks.append(chunk)
        try:
            self._inputs.write_chunk(self._containers.input_folder, schedule)
            chunk.container = self._containers.launch(name, stretch.profile.script, stretch.profile.vus)
        except (DockerException, RequestException, OSError) as error:
            self._announce(chunk)
            self._fail(chunk, f"chunk {name} could not be started: {error}")

    def _announce(self, chunk: Chunk) -> None:
        chunk.announced = True
        schedule = chunk.schedule
        self._recorder.record(
            "load_chunk_started",
            chunk=chunk.name,
            profile=schedule.profile.name,
            script=schedule.profile.script,
            load_began_ms=round(schedule.began_ms, 3),
            scheduled_start_ms=round(schedule.start_ms, 3),
            duration_ms=schedule.chunk.duration_ms,
            due=schedule.chunk.due,
        )

    def _withdraw(self, chunk: Chunk) -> None:
        """Take back a chunk whose time will not come; k6 is asked first, so that it ends its sessions."""
        if chunk.container is not None:
            self._end(chunk.container, grace_s=_WITHDRAW_GRACE_S)
        with suppress(OSError):
            chunk.points.finish()
        self._discard(chunk)

    def _read_on(self, chunk: Chunk, now_ms: float) -> None:
        """Hand over the requests that were settled while k6 runs; a file that cannot be read is tried again."""
        if now_ms - chunk.read_ms < _READ_EVERY_MS:
            return
        chunk.read_ms = now_ms
        chunk.schedule.know_steps(self._clock.wall_steps(chunk.launched_ms))
        with suppress(OSError):
            rows = chunk.counted(chunk.points.read_on())
            chunk.handed.update(rows)
            self._sink.add(rows)
            if chunk.points.grew:
                chunk.checked_ms = now_ms

    def _check(self, chunk: Chunk, now_ms: float) -> None:
        """Collect the chunk if k6 has ended; one in the middle of its time is asked for only if it writes nothing."""
        if not chunk.is_ending(now_ms) and now_ms - chunk.checked_ms < _SILENT_MS_MAX:
            return
        chunk.checked_ms = now_ms
        try:
            ended = self._exit(chunk, now_ms)
            if ended is not None:
                self._collect(chunk, ended)
        except (DockerException, RequestException, OSError) as error:
            self._fail(chunk, f"chunk {chunk.name} was lost: {error}")

    def _exit(self, chunk: Chunk, now_ms: float) -> Exit | None:
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

    def _is_over(self, chunk: Chunk, now_ms: float) -> bool:
        """Whether k6 must be ended, because its load ended or because it overran its time."""
        if chunk.must_be_cut(now_ms):
            chunk.cut_ms = now_ms
            return True
        if chunk.has_overrun(now_ms):
            self._died(f"chunk {chunk.name} did not end by itself")
            return True
        return False

    def _end(self, container: Container, *, grace_s: int) -> None:
        try:
            container.stop(timeout=grace_s)
        except (DockerException, RequestException) as error:
            self._died(f"a k6 container could not be stopped: {error}")

    def _collect(self, chunk: Chunk, ended: Exit) -> None:
        """Give the rows to the sink, keep the evidence, journal the chunk, and remove the container."""
        errors = keep_log(chunk.container, self._directory, chunk.name) if chunk.container else []
        chunk.schedule.know_steps(self._clock.wall_steps(chunk.launched_ms))
        found = chunk.points.finish()
        rows = chunk.counted(found.rows)
        self._sink.add(row for row in rows if row not in chunk.handed)
        missing = chunk.missing(len(rows))
        for problem in chunk.problems(ended, found, missing, errors):
            self._died(f"chunk {chunk.name}: {problem}")
        if moved_ms := chunk.unexplained_ms(self._moved_ms(chunk)):
            self._died(f"chunk {chunk.name}: the wall clock moved by {moved_ms:.0f} ms, and nobody saw when")
        if not chunk.announced:
            self._announce(chunk)
        self._record_end(chunk, ended, found, len(rows), missing)
        self._discard(chunk)

    def _record_end(self, chunk: Chunk, ended: Exit, found: ChunkRows, rows: int, missing: int) -> None:
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
            clock_moved_ms=self._moved_ms(chunk),
        )

    def _moved_ms(self, chunk: Chunk) -> float:
        """How far the wall clock has moved against the run's since the chunk was launched."""
        return round(self._clock.epoch_ms() - self._clock.now_ms() - chunk.schedule.epoch_ms, 3)

    def _fail(self, chunk: Chunk, why: str) -> None:
        """Give up a chunk: report it, journal it with the rows that were handed over, and go on with the next one."""
        self._died(why)
        self._recorder.record(
            "load_chunk_ended",
            chunk=chunk.name,
            exit_code=None,
            started=0,
            dropped=0,
            rows=len(chunk.handed),
            truncated=True,
            missing=chunk.missing(len(chunk.handed)),
            why=why,
        )
        self._discard(chunk)

    def _discard(self, chunk: Chunk) -> None:
        self._chunks.remove(chunk)
        if chunk.container is not None:
            try:
                remove(chunk.container)
            except (DockerException, RequestException) as error:
                self._died(f"chunk {chunk.name}: its container could not be removed: {error}")
