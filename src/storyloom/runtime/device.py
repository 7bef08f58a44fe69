"""The machine: which device, which arithmetic, how many threads, whether there is a compiler. Knows no model."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from storyloom.config import TrainConfig
from storyloom.config.schema import DEVICE_NAMES, is_device_name
from storyloom.errors import ConfigError
from storyloom.runtime.cores import count_cores
from storyloom.runtime.forking import is_forked
from storyloom.runtime.precision import choose_precision

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# More threads than this for a logical CPU are a mistake, and the system may refuse to start them. But a run of a larger
# machine, with up to `ALWAYS_ALLOWED` threads, can be resumed on any other one.
THREADS_PER_CPU, ALWAYS_ALLOWED = 4, 64


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
    why_precision: str = ""
    """The reason for the precision in a few words, such as `the processor has avx512_bf16`."""

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
    """Fill in what the settings leave open, by what the machine says of itself; sets the thread count.

    `compile = "auto"` stays False and `threads = "auto"` all cores here: what pays depends on the run.

    Raises:
        ConfigError: compilation is asked for, and there is no compiler; or the threads are too many for this machine.
    """
    threads = settings.threads if isinstance(settings.threads, int) else count_cores()
    _check_threads(threads)
    if threads > 1 and is_forked():
        raise ConfigError(
            f"a forked process cannot compute on {threads} threads, as PyTorch counts on those of its parent: spawn "
            "the process, or set train.threads = 1"
        )
    torch.set_num_threads(threads)
    device = choose_device(settings.device)
    precision, why = settings.precision, "as train.precision says"
    if precision == "auto":
        precision, why = choose_precision(device)
    if settings.compile is True and not has_compiler(device):
        raise ConfigError(
            f"train.compile = true, but there is no compiler for {device.type} here: install one (g++, "
            "on macOS clang++, on Windows cl; triton for a GPU), or set train.compile = false"
        )
    return Runtime(device, precision, threads, compile=settings.compile is True, why_precision=why)


def has_compiler(device: torch.device) -> bool:
    """Whether `torch.compile` finds what it needs for a device: a C++ compiler, or triton."""
    return find_compiler(device) is not None


def find_compiler(device: torch.device) -> str | None:
    """Where the compiler lies that `torch.compile` would call for a device; None if there is none.

    For a CPU that is what the environment variable `CXX` names, else the system's usual one; for a GPU the package
    triton.
    """
    if device.type == "cuda":
        found = find_spec("triton")
        return found and (found.origin or found.name)
    if device.type != "cpu":
        return None
    usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual))


def _check_threads(threads: int) -> None:
    cpus = os.cpu_count() or 1
    most = max(ALWAYS_ALLOWED, THREADS_PER_CPU * cpus)
    if threads > most:
        raise ConfigError(
            f"train.threads = {threads} is too many for the {cpus} CPUs of this machine (at most {most}): lower it, or "
            "leave it out"
        )
