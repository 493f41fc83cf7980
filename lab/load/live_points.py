"""The raw points of a chunk while k6 writes them: requests as soon as they are settled, and all of them at the end."""

from functools import partial
from pathlib import Path

from lab.boundary import Caught, attempt
from lab.load.chunk_schedule import ChunkSchedule
from lab.load.point_lines import GrowingFile, LineSplitter, pack
from lab.load.points import ChunkReader, read_chunk
from lab.load.request_rows import ChunkRows
from lab.model.samples import Request


class LivePoints:
    """Reads `points-NNNN.json` as it grows. k6 writes each point about 0.2 s after it arose, without a buffer.

    (grafana/k6, internal/output/json/json.go: only a file that k6 packs itself goes through buffers.) k6 writes its
    summary after it has closed its points, so without a summary the points are incomplete.
    """

    def __init__(self, folder: Path, schedule: ChunkSchedule) -> None:
        self._path = folder / f"points-{schedule.source}.json"
        self._summary = folder / f"summary-{schedule.source}.json"
        self._schedule = schedule
        self._file, self._splitter = GrowingFile(self._path), LineSplitter(self._path.name)
        self._reader = ChunkReader(schedule)
        self.grew = False

    @property
    def late_slots(self) -> int:
        """How many requests were due before k6 began, as far as it is known; they are given at the end."""
        return self._reader.late_slots

    def read_on(self) -> list[Request]:
        """The requests that were settled since the last call; raises OSError if the file cannot be read.

        `grew` then says whether the file had anything new, as it has at least once a second while k6 runs.
        """
        self.grew = False
        for piece in self._file.pieces():
            self.grew = True
            for line in self._splitter.lines(piece):
                self._reader.take(line)
        return self._reader.settled()

    def finish(self) -> ChunkRows:
        """All requests of the chunk, once k6 has ended; packs the file as `points-NNNN.json.gz`.

        The packed file is read once more: what is kept must give the same requests, and if it does not, that is a
        problem. A file that cannot be packed (on a full disk, say) stays as it is. Raises OSError if the points cannot
        be read.
        """
        if not self._path.exists():
            return self._reader.finish(f"{self._path.name} is missing")
        self.read_on()
        found = self._reader.finish(self._splitter.end(self._unclosed()))
        packed = attempt(partial(pack, self._path))
        if isinstance(packed, Caught) or read_chunk(packed, self._schedule).rows == found.rows:
            return found
        return self._reader.finish(f"{self._path.name} changed after it was read")

    def _unclosed(self) -> str:
        return (
            "" if self._summary.exists() else f"{self._path.name}: k6 was ended before it had closed the file"
        )
