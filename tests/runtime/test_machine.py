"""What is told of the machine, also where much of it cannot be found out."""

import tomllib
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest

import storyloom
from storyloom.runtime import machine, precision
from storyloom.runtime.cores import count_cores, cpu_quota, memory_limit, physical_cores

PROJECT = Path(__file__).parents[2]


def test_it_is_what_training_would_take(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    found = storyloom.info()
    assert found.threads == count_cores()
    assert (found.precision, found.why_precision) == precision.choose_precision(machine.choose_device())
    assert found.versions["torch"].startswith("2.")
    assert found.variables["OMP_WAIT_POLICY"] == "passive"
    assert found.devices[0] == "cpu"
    with pytest.raises(FrozenInstanceError):
        found.threads = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_without_anything_to_read(monkeypatch, tmp_path):
    """No /proc, no control groups, no compiler, no sysconf, no extras: every question has an answer."""

    def fail(*_: object) -> int:
        raise OSError

    def missing(name: str) -> str:
        raise machine.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(machine.os, "sysconf", fail, raising=False)
    monkeypatch.setattr(machine, "version", missing)
    monkeypatch.setattr(machine, "cpu_quota", lambda: cpu_quota(tmp_path))
    monkeypatch.setattr(machine, "memory_limit", lambda: memory_limit(tmp_path))
    monkeypatch.setattr(machine, "physical_cores", lambda cpus: physical_cores(cpus, tmp_path))
    monkeypatch.setattr(machine.sys, "platform", "linux")
    found = asdict(storyloom.info())
    unknown = ("physical_cores", "cpu_quota", "memory", "memory_limit")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert found["compiler"] is None
    assert set(found["versions"].values()) == {machine.platform.python_version(), "not installed"}
    assert not any(extra["installed"] for extra in found["extras"].values())
    assert found["threads"] >= 1


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [("processor\t: 0\nmodel name\t: A: fast one\n", "A: fast one"), (None, "arm")],
)
def test_the_processors_name(monkeypatch, tmp_path, cpuinfo, expected):
    monkeypatch.setattr(machine, "read_sysctl", lambda name: None)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm")
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    assert machine.processor_name(tmp_path) == expected


def test_every_extra_is_listed():
    """Those of pyproject.toml, but for what only developers need."""
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert machine.EXTRAS.keys() == extras.keys() - {"dev"}
    for name, (packages, _) in machine.EXTRAS.items():
        assert sorted(packages) == sorted(line.partition(">")[0] for line in extras[name])
