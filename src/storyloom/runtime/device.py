"""The machine: which device, which arithmetic, how many threads, whether there is a compiler. Knows no model."""

import os
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from storyloom.config import TrainConfig
from storyloom.config.schema import DEVICE_NAMES, is_device_name
from storyloom.errors import ConfigError

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Choices about the machine, made once before training and kept in the run's configuration."""

    device: torch.device
    precision: str
    """`fp32`, `bf16` or `fp16`."""
    threads: int
    """CPU threads."""
    compile: bool = False
    """Whether the training step is compiled."""

    def autocast(self) -> torch.autocast:
        """Arithmetic of the forward pass: bf16 or fp16 matrix products over fp32 weights, or plain fp32."""
        dtype = AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of a name: `auto` is CUDA where there is one, else Apple's mps, else the CPU.

    Args:
        name: `auto`, `cpu`, `cuda` (the current one), `cuda:1` (by its index), `mps`, or a `torch.device`.

    Raises:
        ConfigError: the name is none of these, or this machine has no such device.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    asked = str(name) if isinstance(name, torch.device) else name
    if not isinstance(asked, str) or not is_device_name(asked):
        raise ConfigError(f"device = {asked!r} is not a device: give {DEVICE_NAMES}")
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    present = [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
    if asked == "auto":
        return torch.device("cuda" if cuda else present[0])
    if asked not in present and not (asked == "cuda" and cuda):
        raise ConfigError(f"device = {asked!r} is not there: this machine has {', '.join(present)}; take one, or auto")
    return torch.device(asked)


def choose_runtime(settings: TrainConfig) -> Runtime:
    """Fill in what the settings leave open, by looking at and briefly timing the machine; sets the thread count.

    `compile = "auto"` stays False and `threads = "auto"` all cores here: what pays depends on the run.

    Raises:
        ConfigError: compilation is asked for, and there is no compiler.
    """
    threads = settings.threads if isinstance(settings.threads, int) else count_cores()
    torch.set_num_threads(threads)
    device = choose_device()
    precision = settings.precision
    if precision == "auto":
        precision = _choose_precision(device)
    if settings.compile is True and not has_compiler(device):
        raise ConfigError(
            f"train.compile = true, but there is no compiler for {device.type} here: install one (g++ or clang++ for a "
            "CPU, triton for a GPU), or take --set train.compile=false"
        )
    return Runtime(device, precision, threads, compile=settings.compile is True)


def has_compiler(device: torch.device) -> bool:
    """Whether `torch.compile` finds what it needs for a device: a C++ compiler, or triton."""
    if device.type == "cuda":
        return find_spec("triton") is not None
    return device.type == "cpu" and any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl")))


def count_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_precision(device: torch.device) -> str:
    """bf16 where the machine has it: a bf16 product takes at most 0.7 of the fp32 one's time. Older GPUs have fp16."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "mps":
        return "fp32"
    return "bf16" if _product_seconds(torch.bfloat16) < 0.7 * _product_seconds(torch.float32) else "fp32"


def _product_seconds(dtype: torch.dtype, n: int = 512) -> float:
    """The fastest of a few n x n products."""
    a = torch.ones(n, n, dtype=dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
