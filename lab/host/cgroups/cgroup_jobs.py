"""Processes of the lab inside a container's cgroup; a script that needs nothing but the standard library.

    python -I -S cgroup_jobs.py MARK JOB SECONDS [PROCS[,PROCS...]] ARGUMENT...

The script does not read MARK: another process finds it by this argument in order to end it. MARK is empty if nobody has
to. The script ends after SECONDS in any case, and joins the cgroups (their `cgroup.procs`) before it works. Its result
is one line on standard output.
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
# How much page cache the hog keeps if no limit makes the kernel take it back.
BEHIND_BYTES = 128 * MIB
NAP_S = 0.02
EXHAUST_NAP_S = 0.001


def join(procs: str) -> None:
    """Move this process into the cgroups."""
    for path in filter(None, procs.split(",")):
        Path(path).write_text(str(os.getpid()), encoding="ascii")


def say(word: object) -> None:
    """Write one line to standard output, and flush it."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def nameless(folder: str, flags: int = 0) -> int:
    """A file without a name, which the kernel removes when this process ends."""
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | flags, 0o600)


def holes(folder: str) -> Iterator[int]:
    """Read new holes of a sparse file again and again: this fills page cache of this cgroup, without disk access."""
    handle = nameless(folder)
    os.ftruncate(handle, SPARSE_BYTES)
    at = 0
    while True:
        at += len(os.pread(handle, PIECE, at % SPARSE_BYTES))
        if at > BEHIND_BYTES:
            os.posix_fadvise(handle, at - BEHIND_BYTES - PIECE, PIECE, os.POSIX_FADV_DONTNEED)
        yield at


def counted(directory: Path) -> int:
    """How often a limit was hit so far; not every kernel counts it."""
    if (events := directory / "memory.events").exists():
        pairs = dict(line.split() for line in events.read_text(encoding="ascii").splitlines())
        return int(pairs.get("high", 0)) + int(pairs.get("max", 0))
    names = ("memory.failcnt", "memory.memsw.failcnt")
    return sum(int((directory / name).read_text()) for name in names if (directory / name).exists())


def watch(counter: str, folder: str, mib: str, seconds: str) -> None:
    """Ask for `mib` of page cache, which the kernel can take back at any time, and report how often a limit was hit.

    On v1, new kernels count no failures (none in 6.18). There the notifications of reclaim in this cgroup count too.
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
    notified = 0
    with suppress(BlockingIOError):
        notified = os.eventfd_read(notices)
    say(counted(directory) - before + notified)


def sacrifice(score: int) -> None:
    """Set how early the kernel kills this process when memory runs out (proc_pid_oom_score_adj(5))."""
    Path("/proc/self/oom_score_adj").write_text(str(score), encoding="ascii")


def hog(folder: str, mib: str) -> None:
    """Hold memory and keep asking for page cache; if the kernel has to kill, it kills this process first."""
    sacrifice(1000)
    memory = mmap.mmap(-1, int(mib) * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
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
    """Take memory until the kernel has killed a process of this cgroup.

    The memory is a file in memory, which belongs to no process, so the kernel chooses the largest other process.
    """
    # Without CAP_SYS_RESOURCE this is refused; the file in memory is then the only protection.
    with suppress(PermissionError):
        sacrifice(-1000)
    directory, handle, piece = Path(counter), os.memfd_create("lab"), b"\xa5" * MIB
    before = oom_kills(directory)
    for _ in range(int(mib)):
        with suppress(OSError):
            os.write(handle, piece)
        # If the cgroup is gone, all its processes but this one are dead.
        if not directory.exists() or oom_kills(directory) > before:
            say("killed")
            return
        time.sleep(EXHAUST_NAP_S)
    say("spared")


def forks(seconds: int, count: str) -> None:
    """Report how many child processes the kernel allows at the same time."""
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
    """Report how many seconds `blocks` O_DIRECT reads or writes take; data to read is written before joining."""
    handle = nameless(folder, os.O_DIRECT)
    size, count = int(block), int(blocks)
    buffer = mmap.mmap(-1, size)
    buffer[:] = b"\xa5" * size
    if act == "read":
        for number in range(count):
            os.pwrite(handle, buffer, number * size)
        os.fsync(handle)
    join(procs)
    # A limit allows a burst after a quiet time; this uses the burst up before the measurement.
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
    """Run one job."""
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
