"""How many threads are worth starting: what the system lets this process use of the processor.

Reads what the system says of itself and times nothing. Every function takes the place where the file system begins, so
that a test can lay out another machine's files. Knows no model and imports no torch.
"""

import os
import platform
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
SYSCTL_SECONDS = 5.0  # it answers at once; a broken one must not keep anybody waiting


def count_cores() -> int:
    """Threads that this process should compute with: see `threads_for`."""
    cpus = usable_cpus()
    return threads_for(len(cpus), physical_cores(cpus), cpu_quota())


def threads_for(logical: int, physical: int | None, quota: float | None) -> int:
    """One thread for each physical core, and no more than the quota pays for.

    Two hardware threads of one core share its arithmetic units, which matrix products fill already; threads above a
    quota are all stopped together for a part of every period.

    Args:
        logical: CPUs that the scheduler may put this process on.
        physical: cores among them; None if the system does not say.
        quota: CPU seconds a second; None if there is no limit.

    >>> threads_for(16, 8, None), threads_for(16, 8, 2.5), threads_for(4, None, 0.2)
    (8, 3, 1)
    """
    cores = physical or logical
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))


def usable_cpus() -> frozenset[int]:
    """The numbers of the logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))  # macOS and Windows: nothing is held back


def physical_cores(cpus: Collection[int], root: Path = ROOT) -> int | None:
    """How many physical cores some logical CPUs belong to; None if the system does not say, as on Windows.

    On a Mac with two kinds of cores only the fast ones count: a product waits for the slowest of its threads.
    """
    if platform.system() == "Darwin":
        found = read_sysctl("hw.perflevel0.physicalcpu") or read_sysctl("hw.physicalcpu")
        return int(found) if found and found.isdigit() else None
    cores = set()
    for cpu in cpus:
        siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if siblings is None:
            return _cores_in_cpuinfo(cpus, root)
        cores.add(siblings)  # the same words for each hardware thread of a core
    return len(cores) or None


def _cores_in_cpuinfo(cpus: Collection[int], root: Path) -> int | None:
    """The same from `/proc/cpuinfo`, a block of fields for each logical CPU; None if it names no cores."""
    cores = set()
    for block in (_read(root / "proc/cpuinfo") or "").split("\n\n"):
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.split("\n"))}
        if fields.get("processor", "") in map(str, cpus):
            if "core id" not in fields:
                return None
            cores.add((fields.get("physical id"), fields["core id"]))
    return len(cores) or None


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPU seconds a second that this process's control groups allow it, as containers have it; None if no limit is set.

    The smallest limit holds of its own group and of all groups around it, whichever of the two versions of control
    groups the system mounts.
    """
    found = [_quota_of(group) for group in _groups(root, "cpu")]
    return min((quota for quota in found if quota is not None), default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Bytes of memory that this process's control groups allow it; None if no limit is set."""
    limits = []
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(group / name) or ""
            if text.isdigit() and int(text) < 2**60:  # version 1 writes a number near 2^63 for no limit
                limits.append(int(text))
    return min(limits, default=None)


def _quota_of(group: Path) -> float | None:
    both = (_read(group / "cpu.max") or "").split()
    if len(both) != 2:
        both = [_read(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    quota, period = both
    if quota.isdigit() and period.isdigit() and int(period) > 0:  # "max", or -1, is no limit
        return int(quota) / int(period)
    return None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control groups that may limit a controller, the innermost first."""
    for line in (_read(root / "proc/self/cgroup") or "").split("\n"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        is_second = number == "0" and not controllers
        if not is_second and controller not in controllers.split(","):
            continue
        for mounted, folder in _mounts(root, None if is_second else controller):
            inner = PurePosixPath(path)
            # A container sees its own group as the root of the mount, but may still be told the path from outside.
            inner = inner.relative_to(mounted) if inner.is_relative_to(mounted) else PurePosixPath()
            parts = [part for part in inner.parts if part not in ("/", "..")]
            for depth in range(len(parts), -1, -1):
                yield folder.joinpath(*parts[:depth])


def _mounts(root: Path, controller: str | None) -> Iterator[tuple[str, Path]]:
    """Where a controller of version 1 is mounted, or version 2 for None: what lies at the mount's root, and where."""
    for line in (_read(root / "proc/self/mountinfo") or "").split("\n"):
        before, _, after = line.partition(" - ")
        places, kinds = before.split(), after.split()
        if len(places) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2" if controller is None else controller in kinds[2].split(","):
            yield places[3], root / places[4].lstrip("/")


def read_sysctl(name: str) -> str | None:
    """What macOS says of itself under a name; None if it has no such name, or this is no macOS."""
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=SYSCTL_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
