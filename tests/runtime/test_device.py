"""What is chosen about the machine."""

import os
import sys

import pytest
import torch

from storyloom.config import TrainConfig
from storyloom.errors import ConfigError
from storyloom.runtime import Runtime, choose_runtime, device


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_what_is_set_is_taken():
    for precision in ("fp32", "bf16"):
        chosen = choose_runtime(TrainConfig(precision=precision, threads=2))
        assert (chosen.precision, chosen.threads, torch.get_num_threads()) == (precision, 2, 2)


def test_what_is_open_is_filled_in(monkeypatch):
    monkeypatch.setattr(device, "count_cores", lambda: 3)
    assert choose_runtime(TrainConfig(precision="fp32")).threads == 3
    assert choose_runtime(TrainConfig(precision="fp32", threads="auto")).threads == 3


def test_too_many_threads_are_refused(monkeypatch):
    """40,000 ended the process in the middle of OpenMP."""
    with pytest.raises(ConfigError, match="threads = 40000 must be at most 1024, or auto: lower it"):
        TrainConfig(threads=40_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"train\.threads = 1024 is too many for the 2 CPUs of .* \(at most 64\)"):
        choose_runtime(TrainConfig(threads=1024))
    monkeypatch.setattr(os, "cpu_count", lambda: 47)
    with pytest.raises(ConfigError, match=r"train\.threads = 189 .* 47 CPUs .* \(at most 188\)"):
        choose_runtime(TrainConfig(threads=189))


def test_a_run_of_a_larger_machine_can_be_continued(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert choose_runtime(TrainConfig(threads=64)).threads == 64
    assert asked == [64]


@pytest.mark.parametrize(("system", "usual"), [("linux", "g++"), ("darwin", "clang++"), ("win32", "cl")])
def test_the_compiler_is_the_one_that_pytorch_calls(monkeypatch, system, usual):
    """clang++ on Linux counted as a compiler, though PyTorch calls g++ there, or what CXX names."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(device.shutil, "which", lambda name: f"/bin/{name}" if name in (usual, "mine") else None)
    monkeypatch.delenv("CXX", raising=False)
    assert device.find_compiler(torch.device("cpu")) == f"/bin/{usual}"
    monkeypatch.setenv("CXX", "mine")
    assert device.find_compiler(torch.device("cpu")) == "/bin/mine"
    monkeypatch.setenv("CXX", "not-there")
    assert not device.has_compiler(torch.device("cpu"))
    assert device.find_compiler(torch.device("mps")) is None


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_changes_products_not_weights(precision, dtype):
    layer = torch.nn.Linear(3, 5)
    with Runtime(torch.device("cpu"), precision, 1).autocast():
        assert layer(torch.ones(2, 3)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def machine(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, mps: bool = False) -> None:
    """What PyTorch says of itself on such a machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, {"auto": "cpu", "cpu": "cpu"}),
        ({"mps": True}, {"auto": "mps", "mps": "mps", "cpu": "cpu"}),
        ({"gpus": 3}, {"auto": "cuda", "cuda": "cuda", "cuda:0": "cuda:0", "cuda:2": "cuda:2", "cpu": "cpu"}),
        ({"gpus": 1, "mps": True}, {"auto": "cuda", "mps": "mps"}),
    ],
)
def test_a_device_is_chosen_by_its_name(monkeypatch, there, chosen):
    machine(monkeypatch, **there)
    for name, expected in chosen.items():
        assert device.choose_device(name) == torch.device(expected)
        if name != "auto":
            assert device.choose_device(torch.device(name)) == torch.device(expected)
    assert device.choose_device() == torch.device(chosen["auto"])


@pytest.mark.parametrize(
    ("there", "name", "message"),
    [
        ({}, "cuda", r"^device = 'cuda' is not there: this machine has cpu; take one, or auto$"),
        ({}, "mps", r"^device = 'mps' is not there: this machine has cpu;"),
        ({"gpus": 2}, "cuda:2", r"^device = 'cuda:2' is not there: this machine has cuda:0, cuda:1, cpu;"),
        ({"mps": True}, "cuda:0", r"^device = 'cuda:0' is not there: this machine has mps, cpu;"),
        ({}, "gpu", r"^device = 'gpu' is not a device: give auto, cpu, cuda, cuda:1 \(or another index\) or mps$"),
        ({}, "cuda:-1", r"^device = 'cuda:-1' is not a device"),
        ({}, "CPU", r"^device = 'CPU' is not a device"),
        ({}, "", r"^device = '' is not a device"),
        ({}, 3, r"^device = 3 is not a device"),
        ({}, torch.device("meta"), r"^device = 'meta' is not a device"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, there, name, message):
    """There was no choice of device; what PyTorch says of one that is missing is a page long."""
    machine(monkeypatch, **there)
    with pytest.raises(ConfigError, match=message):
        device.choose_device(name)
