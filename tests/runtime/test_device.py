"""What is chosen about the machine."""

import pytest
import torch

from storyloom.config import TrainConfig
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
