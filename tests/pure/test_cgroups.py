"""cgroup v1 and v2 paths on recorded trees: one machine has only one of them."""

from pathlib import Path

import pytest

from lab.adapters.cgroups import cgroup_dir, read_anonymous_bytes, read_quota, read_usage
from lab.errors import FaultError
from lab.ports import CpuQuota

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
