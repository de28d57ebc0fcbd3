"""What the machine offers, read from made-up system files and from this machine."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine import machine

SMI = """\
0, GPU-aaa, NVIDIA L4, 23034, 22000, 8.9
1, GPU-bbb, Tesla T4, 15360, 15000, 7.5
"""


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_machine_has_cores_memory_and_disk() -> None:
    found = machine.inspect()
    assert found.cores >= 1
    assert 0 < found.memory_available <= found.memory_total <= psutil.virtual_memory().total
    assert found.disk_free > 0


def test_a_container_of_version_2_limits_memory_and_does_not_count_cached_files(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.max": "4000\n",
            "sys/fs/cgroup/box/memory.current": "1500\n",
            "sys/fs/cgroup/box/memory.stat": "anon 900\ninactive_file 500\n",
        },
    )
    assert machine.memory_limit(root) == (4000, 1000)


def test_a_container_of_version_1_limits_memory(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/host/path\n1:cpu,cpuacct:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "8000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "3000\n",
        },
    )
    assert machine.memory_limit(root) == (8000, 3000)


def test_the_tightest_of_nested_limits_counts(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/memory.max": "100\n",
            "sys/fs/cgroup/outer/memory.current": "7\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        },
    )
    assert machine.memory_limit(root) == (100, 7)


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n"])
def test_no_limit_is_no_limit(tmp_path: Path, limit: str) -> None:
    root = _write(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/cpu.max": "max 100000\n"},
    )
    assert machine.memory_limit(root) == (None, 0)
    assert machine.cpu_quota(root) is None


def test_a_quota_of_processors_is_read_in_both_versions(tmp_path: Path) -> None:
    newer = _write(tmp_path / "2", {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"})
    older = _write(
        tmp_path / "1",
        {
            "proc/self/cgroup": "1:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert machine.cpu_quota(newer) == 1.5
    assert machine.cpu_quota(older) == 0.5


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert machine.memory_limit(tmp_path) == (None, 0)
    assert machine.cpu_quota(tmp_path) is None


def test_gpus_are_read_from_the_drivers_table() -> None:
    first, second = machine.parsed_gpus(SMI, None)
    assert (first.name, first.memory_total, first.memory_available, first.capability) == (
        "NVIDIA L4",
        23034 << 20,
        22000 << 20,
        8.9,
    )
    assert second.capability == 7.5


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["Tesla T4"]),
        ("1,0", ["Tesla T4", "NVIDIA L4"]),
        ("GPU-b", ["Tesla T4"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["NVIDIA L4"]),
    ],
)
def test_only_visible_gpus_count_and_in_their_order(visible: str, names: list[str]) -> None:
    assert [gpu.name for gpu in machine.parsed_gpus(SMI, visible)] == names


def test_a_gpu_that_torch_is_not_built_for_is_said_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_gpus", lambda: machine.parsed_gpus(SMI, None))
    monkeypatch.setattr(machine, "_torch_cuda", lambda: False)
    found = machine.inspect()
    assert found.device == "cpu"
    assert "NVIDIA L4" in found.notices[0]


def test_free_memory_is_that_of_the_device_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_gpus", lambda: machine.parsed_gpus(SMI, None))
    monkeypatch.setattr(machine, "_torch_cuda", lambda: True)
    found = machine.inspect()
    assert found.device == "cuda"
    assert found.available == 22000 << 20
