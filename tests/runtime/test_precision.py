"""The precision follows from what the processor and PyTorch say, on pretended ones."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from storyloom.config import TrainConfig
from storyloom.runtime import choose_runtime, device, precision
from storyloom.runtime.precision import bf16_instruction, choosable_precisions, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """A processor with these capabilities, and a PyTorch that uses them unless told otherwise."""
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)

    def machine(
        *, torch_cpu: object = None, cpuinfo: str | None = None, sysctl: str | None = None, **mkldnn: bool
    ) -> None:
        monkeypatch.setattr(precision.torch, "cpu", torch_cpu or SimpleNamespace())
        if cpuinfo is not None:
            (tmp_path / "proc").mkdir()
            (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
        monkeypatch.setattr(precision, "_from_cpuinfo", lambda root, read=precision._from_cpuinfo: read(tmp_path))
        monkeypatch.setattr(precision.platform, "system", lambda: "Linux" if sysctl is None else "Darwin")
        monkeypatch.setattr(precision, "read_sysctl", {"hw.optional.arm.FEAT_BF16": sysctl}.get)
        built = {"is_available": True, "enabled": True, "uses_bf16": True, **mkldnn}
        backend = SimpleNamespace(is_available=lambda: built["is_available"], enabled=built["enabled"])
        monkeypatch.setattr(precision.torch.backends, "mkldnn", backend)
        operators = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: built["uses_bf16"])
        monkeypatch.setattr(precision.torch.ops, "mkldnn", operators, raising=False)

    return machine


def knows(**capabilities: object) -> SimpleNamespace:
    """PyTorch with a table of capabilities."""
    return SimpleNamespace(get_capabilities=lambda: {"architecture": "x86_64", **capabilities})


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"torch_cpu": knows(avx512_f=True, avx512_bf16=True)}, ("bf16", "the processor has avx512_bf16")),
        ({"torch_cpu": knows(avx512_bf16=True, amx_bf16=True)}, ("bf16", "the processor has amx_bf16")),
        ({"torch_cpu": knows(bf16=True)}, ("bf16", "the processor has bf16")),
        ({"torch_cpu": knows(sve_bf16=True, bf16=False)}, ("bf16", "the processor has sve_bf16")),
        # AVX-512 alone computes bf16 by way of fp32, at a third of its speed.
        (
            {"torch_cpu": knows(avx512_f=True, avx512_bf16=False)},
            ("fp32", "the processor has no bf16 instructions"),
        ),
        # Versions of PyTorch without the table.
        (
            {"torch_cpu": SimpleNamespace(_is_avx512_bf16_supported=lambda: True)},
            ("bf16", "the processor has avx512_bf16"),
        ),
        (
            {"torch_cpu": SimpleNamespace(_is_avx512_bf16_supported=lambda: False)},
            ("fp32", "the processor has no bf16 instructions"),
        ),
        ({}, ("fp32", "the processor has no bf16 instructions")),
        (
            {"cpuinfo": "model name\t: X\nflags\t\t: fpu avx512f avx512_bf16 fsrm\n"},
            ("bf16", "the processor has avx512_bf16"),
        ),
        ({"cpuinfo": "Features\t: fp asimd bf16 sve\n"}, ("bf16", "the processor has bf16")),
        ({"cpuinfo": "flags\t\t: fpu avx512f\n"}, ("fp32", "the processor has no bf16 instructions")),
        ({"sysctl": "1"}, ("bf16", "the processor has bf16")),
        ({"sysctl": "0"}, ("fp32", "the processor has no bf16 instructions")),
        (
            {"sysctl": "1", "is_available": False},
            ("fp32", "the processor has bf16, but this PyTorch is built without oneDNN, which would use it"),
        ),
        (
            {"torch_cpu": knows(avx512_bf16=True), "enabled": False},
            ("fp32", "the processor has avx512_bf16, but torch.backends.mkldnn.enabled is False"),
        ),
        (
            {"torch_cpu": knows(avx512_bf16=True), "uses_bf16": False},
            ("fp32", "the processor has avx512_bf16, but this PyTorch does not use it"),
        ),
    ],
)
def test_bf16_where_processor_and_pytorch_have_it(pretend, machine, expected):
    pretend(**machine)
    assert choose_precision(CPU) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "fp32"),
        ({"DNNL_MAX_CPU_ISA": "avx2"}, "fp32"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, "bf16"),
    ],
)
def test_a_limit_of_the_users_is_kept(pretend, monkeypatch, variables, expected):
    """Below AVX512_CORE_BF16 oneDNN goes by way of fp32: a bf16 product at 0.4 of the fp32 one's speed, measured."""
    pretend(torch_cpu=knows(avx512_bf16=True))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen, why = choose_precision(CPU)
    assert chosen == expected
    assert (chosen == "bf16") == ("switches it off" not in why)


def test_other_devices(monkeypatch):
    assert choose_precision(torch.device("mps"))[0] == "fp32"
    assert choosable_precisions(torch.device("mps")) == ("fp32",)
    for has_bf16, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bf16: has)
        assert choose_precision(torch.device("cuda"))[0] == expected
        assert choosable_precisions(torch.device("cuda")) == ("fp32", expected)
    assert choosable_precisions(CPU) == ("fp32", "bf16")


def test_a_disturbance_changes_nothing(monkeypatch):
    """A program that took the core for the few milliseconds of a timing decided the precision of the whole run."""
    monkeypatch.setattr(device, "choose_device", lambda *_: CPU)

    def no_clock() -> float:
        pytest.fail("the precision was timed")

    monkeypatch.setattr("time.perf_counter", no_clock)
    before = torch.get_num_threads()
    try:
        chosen = {choose_runtime(TrainConfig(threads=1)) for _ in range(20)}
    finally:
        torch.set_num_threads(before)
    (only,) = chosen
    assert (only.precision, only.why_precision) == choose_precision(CPU)


def test_what_is_set_says_so():
    before = torch.get_num_threads()
    try:
        assert choose_runtime(TrainConfig(precision="bf16", threads=1)).why_precision == "as train.precision says"
    finally:
        torch.set_num_threads(before)


def test_this_pytorch_and_linux_agree():
    """Where both tell of the processor, they must have the same bf16 instructions."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        pytest.skip("no /proc/cpuinfo here")
    names = [name for name in precision.INSTRUCTIONS if name in words]
    assert (bf16_instruction() is not None) == bool(names)
