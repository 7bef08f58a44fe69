"""How many threads are started, on machines that are laid out as files."""

import os
from pathlib import Path

import pytest

from storyloom.runtime import cores
from storyloom.runtime.cores import count_cores, cpu_quota, memory_limit, physical_cores, read_sysctl, threads_for

MOUNT_2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
MOUNT_2_HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
MOUNT_1 = "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
MOUNT_1_DOCKER = "33 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct"
MOUNT_1_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
OTHER = "30 23 0:27 / /proc rw - proc proc rw"


@pytest.fixture
def lay_out(tmp_path, monkeypatch):
    """Make a machine's files below a folder, which is where its file system begins."""
    monkeypatch.setattr(cores.platform, "system", lambda: "Linux")

    def make(files: dict[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return tmp_path

    return make


def grouped(group: str, mount: str, files: dict[str, str]) -> dict[str, str]:
    return {
        "proc/self/cgroup": f"9:name=systemd:/\n{group}\n",
        "proc/self/mountinfo": f"{OTHER}\n{mount}\n",
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (grouped("0::/a/b", MOUNT_2, {"a/b/cpu.max": "150000 100000\n"}), 1.5),
        (grouped("0::/a/b", MOUNT_2, {"a/b/cpu.max": "max 100000\n"}), None),
        # The group around this one has less.
        (grouped("0::/a/b", MOUNT_2, {"a/b/cpu.max": "400000 100000", "a/cpu.max": "30000 10000"}), 3.0),
        # A container whose group is the root of what it sees.
        (grouped("0::/", MOUNT_2, {"cpu.max": "50000 100000"}), 0.5),
        (grouped("0::/../../x", MOUNT_2, {"cpu.max": "70000 100000"}), 0.7),
        (grouped("0::/a", MOUNT_2_HYBRID, {"unified/a/cpu.max": "70000 100000"}), 0.7),
        (
            grouped(
                "4:cpuacct,cpu:/j",
                MOUNT_1,
                {"cpu,cpuacct/j/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/j/cpu.cfs_period_us": "100000\n"},
            ),
            2.5,
        ),
        (
            grouped(
                "4:cpuacct,cpu:/j",
                MOUNT_1,
                {"cpu,cpuacct/j/cpu.cfs_quota_us": "-1", "cpu,cpuacct/j/cpu.cfs_period_us": "100000"},
            ),
            None,
        ),
        # A container that is told its path from outside, and sees its own group at the mount.
        (
            grouped(
                "4:cpuacct,cpu:/docker/abc",
                MOUNT_1_DOCKER,
                {"cpu,cpuacct/cpu.cfs_quota_us": "110000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            ),
            1.1,
        ),
        (
            grouped(
                "4:cpu:/j", MOUNT_1, {"cpu,cpuacct/j/cpu.cfs_quota_us": "9", "cpu,cpuacct/j/cpu.cfs_period_us": "0"}
            ),
            None,
        ),
        (grouped("0::/a", MOUNT_2, {"a/cpu.max": "damaged"}), None),
        (grouped("0::/a", "", {"a/cpu.max": "150000 100000"}), None),
        ({"proc/self/cgroup": ":::\n\0"}, None),
        ({}, None),
    ],
)
def test_the_quota_is_the_smallest_of_all_groups_around(lay_out, files, expected):
    assert cpu_quota(lay_out(files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (grouped("0::/a", MOUNT_2, {"a/memory.max": "1073741824\n", "memory.max": "max"}), 2**30),
        (grouped("0::/a", MOUNT_2, {"a/memory.max": "max"}), None),
        (grouped("3:memory:/a", MOUNT_1_MEMORY, {"memory/a/memory.limit_in_bytes": "5000"}), 5000),
        (grouped("3:memory:/a", MOUNT_1_MEMORY, {"memory/a/memory.limit_in_bytes": str(2**63 - 4096)}), None),
    ],
)
def test_the_limit_of_memory(lay_out, files, expected):
    assert memory_limit(lay_out(files)) == expected


def siblings(*cores_of: str) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{core}\n"
        for cpu, core in enumerate(cores_of)
    }


CPUINFO = "\n\n".join(
    f"processor\t: {cpu}\nphysical id\t: {package}\ncore id\t\t: {core}"
    for cpu, (package, core) in enumerate([(0, 0), (0, 0), (0, 1), (1, 1)])
)


@pytest.mark.parametrize(
    ("files", "cpus", "expected"),
    [
        (siblings("0,4", "1,5", "2", "3", "0,4", "1,5"), range(6), 4),
        (siblings("0-1", "0-1", "2-3", "2-3"), {0, 1, 2}, 2),
        (siblings("0-1", "0-1", "2-3", "2-3"), {0, 1}, 1),
        ({"proc/cpuinfo": CPUINFO}, range(4), 3),
        ({"proc/cpuinfo": CPUINFO}, {2, 3}, 2),
        ({"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1"}, {0, 1}, None),
        ({}, {0, 1}, None),
    ],
)
def test_hardware_threads_of_one_core_are_one_core(lay_out, files, cpus, expected):
    """Two threads a core were started on every machine with hyperthreading."""
    assert physical_cores(cpus, lay_out(files)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"hw.perflevel0.physicalcpu": "4", "hw.physicalcpu": "8"}, 4),
        ({"hw.physicalcpu": "6"}, 6),
        ({"hw.physicalcpu": "six"}, None),
        ({}, None),
    ],
)
def test_a_macs_fast_cores(monkeypatch, names, expected):
    monkeypatch.setattr(cores.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(cores, "read_sysctl", names.get)
    assert physical_cores(range(10)) == expected


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ((16, 8, None), 8),
        ((16, None, None), 16),
        ((16, 8, 3.0), 3),
        ((16, 8, 2.4), 2),
        ((16, 8, 2.5), 3),
        ((16, 8, 100.0), 8),
        ((16, 8, 0.1), 1),
    ],
)
def test_one_thread_a_core_within_the_quota(machine, expected):
    assert threads_for(*machine) == expected


def test_the_quota_counts(monkeypatch):
    """In a container with half a CPU all cores of its machine were counted."""
    monkeypatch.setattr(cores, "usable_cpus", lambda: frozenset(range(32)))
    monkeypatch.setattr(cores, "physical_cores", lambda cpus: 16)
    monkeypatch.setattr(cores, "cpu_quota", lambda: 1.5)
    assert count_cores() == 2


def test_this_machine_has_cores_within_its_logical_ones():
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_no_sysctl_is_no_answer(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert read_sysctl("hw.physicalcpu") is None
