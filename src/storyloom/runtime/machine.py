"""What this machine is and what training would choose on it: the first thing to read when a run is slow or fails."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from storyloom.runtime.cores import ROOT, cpu_quota, memory_limit, physical_cores, read_sysctl, threads_for, usable_cpus
from storyloom.runtime.device import choose_device, find_compiler
from storyloom.runtime.precision import choose_precision

PACKAGES = ("storyloom", "torch", "numpy", "tokenizers", "tiktoken", "safetensors", "pydantic", "typer", "matplotlib")
# The extras of the package: what each needs, and what it is for.
EXTRAS = {"hub": (("datasets", "huggingface_hub", "pyarrow"), "data sets of the Hugging Face hub, and Parquet files")}
PEERS = {"transformers": "what `storyloom bench train` compares with"}
# What changes speed or choices if it is set.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OMP_PROC_BIND",
    "GOMP_SPINCOUNT",
    "GOMP_CPU_AFFINITY",
    "KMP_BLOCKTIME",
    "KMP_AFFINITY",
    "MKL_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "CXX",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_ENABLE_MPS_FALLBACK",
)


@dataclass(frozen=True)
class Extra:
    """Packages that are not always there."""

    installed: bool
    purpose: str
    versions: dict[str, str]
    """Of those of its packages that are there."""


@dataclass(frozen=True)
class Machine:
    """What `info` found."""

    versions: dict[str, str]
    """Python's and those of the packages that decide results; `not installed` if one is missing."""
    system: str
    processor: str
    logical_cores: int
    """Of the whole machine."""
    usable_cores: int
    """Logical ones that this process may run on."""
    physical_cores: int | None
    """Physical ones among these; None if the system does not say."""
    cpu_quota: float | None
    """CPU seconds a second that its control groups allow this process; None if there is no limit."""
    memory: int | None
    """Bytes of the whole machine."""
    memory_limit: int | None
    """Bytes that its control groups allow this process; None if there is no limit."""
    threads: int
    """CPU threads that training would take by default."""
    devices: tuple[str, ...]
    """All that PyTorch can compute on here."""
    device: str
    """The one that training would take by default."""
    precision: str
    """What `train.precision = auto` comes to on it."""
    why_precision: str
    cpu_capability: str
    """The vector instructions that PyTorch's own CPU kernels use."""
    compiler: str | None
    """What `torch.compile` would call for that device; None if it finds nothing, and training is eager."""
    openmp: str
    """Which library runs PyTorch's CPU threads."""
    variables: dict[str, str]
    """Environment variables that change speed or choices, those that are set."""
    extras: dict[str, Extra]


def info() -> Machine:
    """Look at the machine; times nothing, writes nothing and changes nothing.

    Returns:
        Versions, cores, limits, devices, and what training would choose.

    >>> info().threads >= 1
    True
    """
    cpus, quota = usable_cpus(), cpu_quota()
    cores, device = physical_cores(cpus), choose_device()
    precision, why = choose_precision(device)
    return Machine(
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        system=platform.platform(),
        processor=processor_name(),
        logical_cores=os.cpu_count() or 1,
        usable_cores=len(cpus),
        physical_cores=cores,
        cpu_quota=quota,
        memory=memory(),
        memory_limit=memory_limit(),
        threads=threads_for(len(cpus), cores, quota),
        devices=tuple(_devices()),
        device=str(device),
        precision=precision,
        why_precision=why,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        compiler=find_compiler(device),
        openmp=_openmp(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
        extras=_extras(),
    )


def processor_name(root: Path = ROOT) -> str:
    """The processor as the system calls it."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    # ARM's /proc/cpuinfo has no name, and on Linux platform.processor() may be empty.
    return next(named, None) or read_sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def memory() -> int | None:
    """Bytes of memory that the machine has; None if the system does not say."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _windows_memory() -> int | None:
    import ctypes

    kilobytes = ctypes.c_ulonglong(0)
    ask: Callable[..., int] = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory  # pyright: ignore[reportAttributeAccessIssue]
    return kilobytes.value * 1024 if ask(ctypes.byref(kilobytes)) else None


def _devices() -> list[str]:
    gpus = [f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _openmp() -> str:
    """The line of PyTorch's own report that names the library: `OpenMP 201511 (a.k.a. OpenMP 4.5)`."""
    lines = [line.strip() for line in torch.__config__.parallel_info().splitlines()]
    return next((line for line in lines if line.startswith("OpenMP")), "none: PyTorch runs threads of its own")


def _extras() -> dict[str, Extra]:
    needed: Mapping[str, tuple[tuple[str, ...], str]]
    needed = {**EXTRAS, **{name: ((name,), purpose) for name, purpose in PEERS.items()}}
    extras = {}
    for name, (packages, purpose) in needed.items():
        versions = {package: _version(package) for package in packages}
        present = {package: number for package, number in versions.items() if number != MISSING}
        extras[name] = Extra(len(present) == len(packages), purpose, present)
    return extras


MISSING = "not installed"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
