"""cgroup v1 and v2 paths on recorded trees: one machine has only one of them."""

from pathlib import Path

import pytest

from lab.errors import FaultError, GoneError
from lab.host.cgroups import cgroup_jobs
from lab.host.cgroups.cgroup_files import (
    NO_LIMIT_BYTES,
    for_engine,
    read_memory,
    read_pids,
    read_throttle,
    write_throttle,
)
from lab.host.cgroups.cgroups import (
    HostCgroups,
    cgroup_dir,
    own_directory,
    read_anonymous_bytes,
    read_quota,
    read_usage,
)
from lab.ports import CpuQuota, MemoryLimit
from lab.ports.storage import Throttle
from tests.contract.fakes import FakeClock, FakeContainers

ID = "f" * 64
V1 = f"12:memory:/docker/{ID}\n5:cpu,cpuacct:/docker/{ID}\n0::/\n"
V1_SPLIT = f"9:memory:/docker/{ID}\n6:cpuacct:/docker/{ID}\n5:cpu:/docker/{ID}\n"
V2 = f"0::/system.slice/docker-{ID}.scope\n"


def tree(tmp_path: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /sys/fs/cgroup and a /proc with one process 42."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (proc / "42").mkdir(parents=True)
    (proc / "42" / "cgroup").write_text(cgroup, encoding="utf-8")
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root, proc


def test_version_1_with_joined_controllers(tmp_path: Path) -> None:
    folder = f"cpu,cpuacct/docker/{ID}"
    files = {
        f"{folder}/cpu.cfs_quota_us": "50000\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
        f"{folder}/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 900\n",
        f"{folder}/cpuacct.usage": "1234567000\n",
        f"memory/docker/{ID}/memory.stat": "rss 1\ntotal_rss 4096\ntotal_swap 512\ntotal_cache 9999\n",
    }
    root, proc = tree(tmp_path, V1, files)
    cpu = cgroup_dir(42, "cpu", root=root, proc=proc)
    assert read_quota(cpu) == CpuQuota(50_000, 100_000)
    usage = read_usage(cpu, cgroup_dir(42, "cpuacct", root=root, proc=proc), 1.0)
    assert (usage.usage_us, usage.periods, usage.throttled_periods) == (1_234_567, 10, 4)
    assert read_anonymous_bytes(cgroup_dir(42, "memory", root=root, proc=proc)) == 4608


def test_version_1_with_controllers_apart(tmp_path: Path) -> None:
    files = {
        f"cpu/docker/{ID}/cpu.stat": "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n",
        f"cpuacct/docker/{ID}/cpuacct.usage": "5000\n",
    }
    root, proc = tree(tmp_path, V1_SPLIT, files)
    cpu, cpuacct = (cgroup_dir(42, name, root=root, proc=proc) for name in ("cpu", "cpuacct"))
    assert cpu != cpuacct
    assert read_usage(cpu, cpuacct, 0.0).usage_us == 5


def test_version_2(tmp_path: Path) -> None:
    folder = f"system.slice/docker-{ID}.scope"
    files = {
        f"{folder}/cpu.max": "max 100000\n",
        f"{folder}/cpu.stat": "usage_usec 77\nuser_usec 70\nnr_periods 3\nnr_throttled 2\nthrottled_usec 5\n",
        f"{folder}/memory.stat": "anon 8192\nfile 1\n",
        f"{folder}/memory.swap.current": "100\n",
    }
    root, proc = tree(tmp_path, V2, files)
    folder_path = cgroup_dir(42, "cpu", root=root, proc=proc)
    assert read_quota(folder_path) == CpuQuota(-1, 100_000)
    usage = read_usage(folder_path, cgroup_dir(42, "cpuacct", root=root, proc=proc), 0.0)
    assert (usage.usage_us, usage.throttled_periods) == (77, 2)
    assert read_anonymous_bytes(cgroup_dir(42, "memory", root=root, proc=proc)) == 8292


def test_a_process_that_is_gone_is_said_so(tmp_path: Path) -> None:
    root, proc = tree(tmp_path, V2, {})
    with pytest.raises(FaultError, match="gone"):
        cgroup_dir(43, "cpu", root=root, proc=proc)
    with pytest.raises(FaultError, match="no cpu cgroup"):
        cgroup_dir(42, "cpu", root=root, proc=proc)


def folder(tmp_path: Path, files: dict[str, str]) -> Path:
    """One cgroup directory."""
    tmp_path.mkdir(exist_ok=True)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_memory_of_version_1(tmp_path: Path) -> None:
    """Unlimited is the largest whole page; both counters count, for with equal limits only the second is hit."""
    files = {
        "memory.limit_in_bytes": "314572800\n",
        "memory.memsw.limit_in_bytes": "9223372036854771712\n",
        "memory.usage_in_bytes": "1000\n",
        "memory.failcnt": "3\n",
        "memory.memsw.failcnt": "4\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    seen = read_memory(folder(tmp_path, files))
    assert seen.limit == MemoryLimit(314_572_800, -1)
    assert (seen.usage_bytes, seen.ceiling_bytes) == (1000, 314_572_800)
    assert (seen.limit_events, seen.oom_kills) == (7, 2)


def test_memory_of_version_1_without_swap_accounting(tmp_path: Path) -> None:
    files = {"memory.limit_in_bytes": "9223372036854771712\n", "memory.oom_control": "under_oom 0\n"}
    seen = read_memory(folder(tmp_path, files))
    assert seen.limit == MemoryLimit(-1, -1)
    assert (seen.ceiling_bytes, seen.limit_events, seen.oom_kills) == (-1, 0, 0)


def test_memory_of_version_2(tmp_path: Path) -> None:
    files = {
        "memory.current": "5000\n",
        "memory.max": "8000\n",
        "memory.high": "6000\n",
        "memory.swap.max": "0\n",
        "memory.events": "low 0\nhigh 5\nmax 6\noom 1\noom_kill 1\noom_group_kill 0\n",
    }
    seen = read_memory(folder(tmp_path, files))
    assert seen.limit == MemoryLimit(8000, 8000)
    assert (seen.usage_bytes, seen.ceiling_bytes, seen.limit_events, seen.oom_kills) == (5000, 6000, 11, 1)


def test_reclaim_of_version_2_begins_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers, heard = FakeContainers(), list[tuple[str, str, str]]()
    high = folder(tmp_path / containers.state("mcp").id, {"memory.high": "max\n"}) / "memory.high"
    monkeypatch.setattr("lab.host.cgroups.cgroups.cgroup_dir", lambda pid, controller: high.parent)
    cgroups = HostCgroups(containers, FakeClock(), lambda *said: heard.append(said))
    assert cgroups.set_memory_high("mcp", "id-mcp", 6000)
    assert high.read_text(encoding="ascii") == "6000"
    assert cgroups.set_memory_high("mcp", "id-mcp", -1)
    assert high.read_text(encoding="ascii") == "max"
    assert heard == [("memory.high set", "mcp", "6000"), ("memory.high set", "mcp", "-1")]
    high.unlink()
    assert not cgroups.set_memory_high("mcp", "id-mcp", 6000), "version 1 has no such thing"


@pytest.mark.parametrize(
    ("files", "hits", "kills"),
    [
        ({"memory.events": "low 1\nhigh 5\nmax 6\noom 2\noom_kill 3\noom_group_kill 0\n"}, 11, 3),
        ({"memory.events": "low 0\nmax 6\n"}, 6, 0),
        (
            {
                "memory.failcnt": "3\n",
                "memory.memsw.failcnt": "4\n",
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            },
            7,
            2,
        ),
        ({"memory.failcnt": "3\n"}, 3, 0),
    ],
)
def test_a_job_inside_counts_the_same_on_both_versions(
    tmp_path: Path, files: dict[str, str], hits: int, kills: int
) -> None:
    directory = folder(tmp_path, files)
    assert (cgroup_jobs.counted(directory), cgroup_jobs.oom_kills(directory)) == (hits, kills)


def test_version_2_under_the_engines_own_driver(tmp_path: Path) -> None:
    """Without systemd the engine makes the cgroups itself, below `docker`."""
    root, proc = tree(tmp_path, f"0::/docker/{ID}\n", {f"docker/{ID}/cpu.max": "50000 100000\n"})
    for controller in ("cpu", "cpuacct", "memory", "pids", "blkio"):
        assert cgroup_dir(42, controller, root=root, proc=proc) == root / "docker" / ID
    assert read_quota(root / "docker" / ID) == CpuQuota(50_000, 100_000)


def test_a_job_without_a_cgroup_joins_none() -> None:
    cgroup_jobs.join("")


def test_memory_of_version_2_without_limits(tmp_path: Path) -> None:
    files = {"memory.max": "max\n", "memory.high": "max\n", "memory.swap.max": "max\n"}
    seen = read_memory(folder(tmp_path, {**files, "memory.events": "high 0\nmax 0\n"}))
    assert (seen.limit, seen.ceiling_bytes) == (MemoryLimit(-1, -1), -1)


def test_pids_of_both_versions(tmp_path: Path) -> None:
    seen = read_pids(folder(tmp_path, {"pids.current": "7\n", "pids.max": "9\n", "pids.events": "max 2\n"}))
    assert (seen.current, seen.limit, seen.refusals) == (7, 9, 2)
    seen = read_pids(folder(tmp_path, {"pids.max": "max\n"}))
    assert seen.limit == -1


def test_throttle_of_version_1_names_its_device(tmp_path: Path) -> None:
    files = {
        f"blkio.throttle.{act}_{what}_device": "" for act in ("read", "write") for what in ("bps", "iops")
    }
    directory = folder(tmp_path, {**files, "blkio.throttle.write_bps_device": "254:0 99\n7:1 2000000\n"})
    assert read_throttle(directory, "7:1") == Throttle(write_bps=2_000_000)
    assert read_throttle(directory, "7:2") == Throttle()
    write_throttle(directory, "7:1", Throttle(read_iops=10))
    assert (directory / "blkio.throttle.read_iops_device").read_text(encoding="ascii") == "7:1 10\n"
    assert (directory / "blkio.throttle.write_bps_device").read_text(encoding="ascii") == "7:1 0\n"


def test_throttle_of_version_2(tmp_path: Path) -> None:
    directory = folder(
        tmp_path, {"io.max": "254:0 rbps=9 wbps=9 riops=9 wiops=9\n7:1 rbps=max wbps=5 riops=max wiops=6\n"}
    )
    assert read_throttle(directory, "7:1") == Throttle(write_bps=5, write_iops=6)
    assert read_throttle(directory, "7:2") == Throttle()
    write_throttle(directory, "7:1", Throttle(write_bps=5))
    assert (directory / "io.max").read_text(encoding="ascii") == "7:1 rbps=max wbps=5 riops=max wiops=max\n"


def test_an_absent_limit_of_memory_is_said_to_the_engine_as_the_largest() -> None:
    """On version 2 the engine takes swap for the difference of the two, so there an absent one of both stays."""
    assert for_engine(MemoryLimit(-1, -1), 1) == MemoryLimit(NO_LIMIT_BYTES, NO_LIMIT_BYTES)
    assert for_engine(MemoryLimit(-1, -1), 2) == MemoryLimit(NO_LIMIT_BYTES, -1)
    assert for_engine(MemoryLimit(5, 8), 1) == for_engine(MemoryLimit(5, 8), 2) == MemoryLimit(5, 8)


def test_a_cgroup_that_is_not_the_containers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process id that was reused, or the root cgroup: the path does not bear the container's id."""
    monkeypatch.setattr("lab.host.cgroups.cgroups.cgroup_dir", lambda pid, controller: Path("/sys/fs/cgroup"))
    with pytest.raises(FaultError, match="is not that of"):
        own_directory(FakeContainers(), "qdrant", "memory")
    with pytest.raises(GoneError, match="replaced"):
        own_directory(FakeContainers(), "qdrant", "memory", "another-id")
