"""What is chosen about the machine."""

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


def test_what_is_set_is_taken(monkeypatch):
    monkeypatch.setattr(device, "_product_seconds", None)  # nothing is timed
    for precision in ("fp32", "bf16"):
        chosen = choose_runtime(TrainConfig(precision=precision, threads=2))
        assert (chosen.precision, chosen.threads, torch.get_num_threads()) == (precision, 2, 2)


def test_what_is_open_is_filled_in(monkeypatch):
    monkeypatch.setattr(device, "count_cores", lambda: 3)
    assert choose_runtime(TrainConfig(precision="fp32")).threads == 3
    assert choose_runtime(TrainConfig(precision="fp32", threads="auto")).threads == 3


@pytest.mark.parametrize(("bf16", "fp32", "expected"), [(0.69, 1.0, "bf16"), (0.71, 1.0, "fp32"), (3.0, 1.0, "fp32")])
def test_auto_takes_bf16_where_it_is_clearly_faster(monkeypatch, bf16, fp32, expected):
    seconds = {torch.bfloat16: bf16, torch.float32: fp32}
    monkeypatch.setattr(device, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(device, "_product_seconds", seconds.__getitem__)
    assert choose_runtime(TrainConfig(threads=1)).precision == expected


def test_products_are_really_timed():
    assert device._product_seconds(torch.float32, n=64) > 0
    assert device.count_cores() >= 1


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
