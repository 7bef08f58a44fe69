"""Which arithmetic training takes: what the processor and this PyTorch say that they have, never how fast they seem.

A short timing is disturbed by any other program, and a wrong choice halves the speed of the whole run.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from storyloom.runtime.cores import ROOT, read_sysctl

# Instructions that multiply bf16, by PyTorch's names and by those of /proc/cpuinfo (x86, then ARM).
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "sve_bf16", "svebf16", "bf16")
# The values of oneDNN's own limit under which it computes bf16 by converting to fp32 and back.
LIMITS_WITHOUT_BF16 = {
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
}


def choose_precision(device: torch.device) -> tuple[str, str]:
    """The fastest arithmetic that is sound for training, and why.

    Args:
        device: where the model is trained.

    Returns:
        `bf16`, `fp16` or `fp32`, and the reason in a few words, such as `the processor has avx512_bf16`.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU has bf16"
        return "fp16", "the GPU has no bf16"
    if device.type != "cpu":
        return "fp32", f"training in bf16 is not tested on {device.type}"
    instruction = bf16_instruction()
    if instruction is None:
        return "fp32", "the processor has no bf16 instructions"
    obstacle = _obstacle(os.environ)
    if obstacle is not None:
        return "fp32", f"the processor has {instruction}, but {obstacle}"
    return "bf16", f"the processor has {instruction}"


def choosable_precisions(device: torch.device) -> tuple[str, ...]:
    """Every precision that `choose_precision` could return for a device of this kind, on whatever machine."""
    if device.type == "cuda":
        return ("fp32", choose_precision(device)[0])
    return ("fp32", "bf16") if device.type == "cpu" else ("fp32",)


def bf16_instruction(root: Path = ROOT) -> str | None:
    """The processor's instruction that multiplies bf16, as its name is written where it was found; None if it has none.

    PyTorch is asked first (newer versions have a table of the processor's capabilities, older ones a function for
    some), then macOS, then Linux's `/proc/cpuinfo`.
    """
    found = _from_torch()
    if platform.system() == "Darwin" and read_sysctl("hw.optional.arm.FEAT_BF16") == "1":
        found.add("bf16")
    found |= _from_cpuinfo(root)
    return next((name for name in INSTRUCTIONS if name in found), None)


def _from_torch() -> set[str]:
    ask = getattr(torch.cpu, "get_capabilities", None)  # PyTorch has it from 2.11 on
    if ask is not None:
        capabilities: Mapping[str, object] = ask()
        return {name for name in INSTRUCTIONS if capabilities.get(name) is True}
    older = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return {"avx512_bf16"} if older is not None and older() else set()


def _from_cpuinfo(root: Path) -> set[str]:
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    words = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return set(words.split()) & set(INSTRUCTIONS)


def _obstacle(environ: Mapping[str, str]) -> str | None:
    """What keeps this PyTorch from the processor's bf16 instructions; None if nothing does."""
    if not torch.backends.mkldnn.is_available():
        return "this PyTorch is built without oneDNN, which would use it"
    if not torch.backends.mkldnn.enabled:
        return "torch.backends.mkldnn.enabled is False"
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):  # the older name counts if the newer one is not set
        if variable in environ:
            limit = environ[variable].upper()
            if limit in LIMITS_WITHOUT_BF16:
                return f"{variable}={limit} switches it off"
            break
    try:
        is_used = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # not every build registers it
        is_used = True
    return None if is_used else "this PyTorch does not use it"
