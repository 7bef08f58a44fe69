"""The benchmark of the loss in pieces: what it trains, and that it runs."""

import sys

import large_vocabulary
import pytest
from large_vocabulary import Size, config_of, loss_taken, measure

from storyloom.model import count_parameters, loss

SMALL = ("model.n_layer=1", "model.n_embd=32", "model.n_head=1", "model.block_size=37", "model.vocab_size=16411")
SMALL += ("train.batch_size=2", "train.grad_accum_steps=1", "train.precision=fp32", "train.threads=1")


def test_the_model_has_30_million_parameters():
    assert 29e6 < count_parameters(config_of(Size()).model) < 31e6


def test_a_plain_loss_is_plain_for_any_vocabulary():
    limits = [loss.LARGE_VOCABULARY]
    for way in ("plain", "pieces"):
        with loss_taken(way):
            limits.append(loss.LARGE_VOCABULARY)
    limits.append(loss.LARGE_VOCABULARY)
    assert limits == [limits[0], sys.maxsize, limits[0], limits[0]]


@pytest.mark.slow
def test_it_measures(monkeypatch):
    prepare = large_vocabulary.prepare
    monkeypatch.setattr(large_vocabulary, "prepare", lambda *_, **options: prepare(*_, **{**options, "limit_mb": 0.05}))
    found = measure(Size((*SMALL, "train.max_steps=9999"), seconds=0.01, updates=1))
    assert found["parameters"] == count_parameters(config_of(Size(SMALL)).model)
    assert min(found["peak_bytes"].values()) > 50e6  # torch alone
    assert 0.2 < found["peak_ratio"] < 5
    assert min(found["tokens_per_second"].values()) > 0
    assert found["rounds"] >= 5
