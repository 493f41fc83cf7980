"""The lab's own processes inside a container's cgroup; run as a script, by itself, on nothing but the standard library.

    python -I -S cgroup_jobs.py MARK JOB SECONDS [PROCS[,PROCS...]] ARGUMENT...

MARK is not read here: whoever has to end the process finds it by this argument. It is empty where nobody has to.
The process ends after SECONDS whatever happens, and joins the cgroups (their `cgroup.procs`) before it works. What it
has to say is one line on standard output.
"""

import errno
import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
PIECE = 1 << 18
SPARSE_BYTES = 1 << 36
# How much page cache the hog leaves behind where no limit takes it away.
BEHIND_BYTES = 128 * MIB
NAP_S = 0.02
EXHAUST_NAP_S = 0.001


def join(procs: str) -> None:
    """Enter the cgroups."""
    for path in filter(None, procs.split(",")):
        Path(path).write_text(str(os.getpid()), encoding="ascii")


def say(word: object) -> None:
    """Say one line at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def nameless(folder: str, flags: int = 0) -> int:
    """A file that nobody can find and that ends with this process."""
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | flags, 0o600)


def holes(folder: str) -> Iterator[int]:
    """Read ever new holes of a sparse file: clean page cache, charged here, at no cost to the disk."""
    handle = nameless(folder)
    os.ftruncate(handle, SPARSE_BYTES)
    at = 0
    while True:
        at += len(os.pread(handle, PIECE, at % SPARSE_BYTES))
        if at > BEHIND_BYTES:
            os.posix_fadvise(handle, at - BEHIND_BYTES - PIECE, PIECE, os.POSIX_FADV_DONTNEED)
        yield at


def counted(directory: Path) -> int:
    """How often a limit was hit so far, as far as this kernel counts it."""
    if (events := directory / "memory.events").exists():
        pairs = dict(line.split() for line in events.read_text(encoding="ascii").splitlines())
        return int(pairs.get("high", 0)) + int(pairs.get("max", 0))
    names = ("memory.failcnt", "memory.memsw.failcnt")
    return sum(int((directory / name).read_text()) for name in names if (directory / name).exists())


def watch(counter: str, folder: str, mib: str, seconds: str) -> None:
    """Demand so much page cache, which the kernel can take back at any time; say how often a limit was hit.

    New kernels count no failures on v1 (none in 6.18), so there the notices of reclaim in this very cgroup count too.
    Source: kernel documentation, cgroup-v1/memory (memory.pressure_level, cgroup.event_control).
    """
    directory, notices = Path(counter), os.eventfd(0, os.EFD_NONBLOCK)
    level = directory / "memory.pressure_level"
    if level.exists():
        with level.open("rb") as file:
            asked = f"{notices} {file.fileno()} low,local"
            (directory / "cgroup.event_control").write_text(asked, encoding="ascii")
    before = counted(directory)
    if int(mib):
        for done in holes(folder):
            if done >= int(mib) * MIB:
                break
    time.sleep(float(seconds))
    heard = 0
    with suppress(BlockingIOError):
        heard = os.eventfd_read(notices)
    say(counted(directory) - before + heard)


def sacrifice(score: int) -> None:
    """Say how gladly the kernel may kill this process when memory runs out."""
    Path("/proc/self/oom_score_adj").write_text(str(score), encoding="ascii")


def hog(folder: str, mib: str) -> None:
    """Hold memory for good and go on demanding page cache; the kernel's first choice when it kills."""
    sacrifice(1000)
    held = mmap.mmap(-1, int(mib) * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1
    say("ready")
    for _ in holes(folder):
        time.sleep(NAP_S)


def oom_kills(directory: Path) -> int:
    """How many processes of a memory cgroup the kernel has killed."""
    for name in ("memory.oom_control", "memory.events"):
        if (file := directory / name).exists():
            pairs = (line.split() for line in file.read_text(encoding="ascii").splitlines())
            return next((int(value) for key, value in pairs if key == "oom_kill"), 0)
    return 0


def exhaust(counter: str, mib: str) -> None:
    """Take memory until the kernel has killed something here.

    It is taken as a file in memory, which no process is blamed for, so that the largest other one is chosen.
    """
    # Without CAP_SYS_RESOURCE that is protection enough.
    with suppress(PermissionError):
        sacrifice(-1000)
    directory, handle, piece = Path(counter), os.memfd_create("lab"), b"\xa5" * MIB
    before = oom_kills(directory)
    for _ in range(int(mib)):
        with suppress(OSError):
            os.write(handle, piece)
        # A cgroup that is gone has lost all its processes but this one.
        if not directory.exists() or oom_kills(directory) > before:
            say("killed")
            return
        time.sleep(EXHAUST_NAP_S)
    say("spared")


def forks(seconds: int, count: str) -> None:
    """Say how many children could be had at once."""
    children: list[int] = []
    for _ in range(int(count)):
        try:
            child = os.fork()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            break
        if child == 0:
            signal.alarm(seconds)
            signal.pause()
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    say(len(children))


def disk(procs: str, folder: str, act: str, block: str, blocks: str) -> None:
    """Say how many seconds so many direct reads or writes take; what is read is written before joining."""
    handle = nameless(folder, os.O_DIRECT)
    size, count = int(block), int(blocks)
    buffer = mmap.mmap(-1, size)
    buffer[:] = b"\xa5" * size
    if act == "read":
        for number in range(count):
            os.pwrite(handle, buffer, number * size)
        os.fsync(handle)
    join(procs)
    # What a limit left unused a moment ago may be used up at once: that is not timed.
    _transfer(handle, act, buffer, count // 2)
    began = time.monotonic()
    _transfer(handle, act, buffer, count)
    say(time.monotonic() - began)


def _transfer(handle: int, act: str, buffer: mmap.mmap, count: int) -> None:
    for number in range(count):
        at = number * len(buffer)
        done = os.preadv(handle, [buffer], at) if act == "read" else os.pwrite(handle, buffer, at)
        if done != len(buffer):
            raise OSError(errno.EIO, f"{done} of {len(buffer)} bytes")


def main(mark: str, job: str, seconds: str, procs: str, *arguments: str) -> None:
    """Do one job."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds))
    if job == "disk":
        disk(procs, *arguments)
        return
    join(procs)
    if job == "forks":
        forks(int(seconds), *arguments)
    elif job == "watch":
        watch(*arguments)
    elif job == "hog":
        hog(*arguments)
    else:
        exhaust(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
