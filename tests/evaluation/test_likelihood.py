"""Likelihood against a slow reference, by hand, and its laws: each token once, with half a block of context."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyloom.config import ModelConfig
from storyloom.data import EncodedStory
from storyloom.evaluation import Likelihood, likelihood, measure_likelihood
from storyloom.evaluation.likelihood import as_dict, ratio_stderr
from storyloom.model import GPT

EOT = 52
LENGTHS = [1, 2, 9, 21, 22, 23, 24, 33, 34, 47, 71]  # with a block of 23 and both ends: below, at and above every edge


def make_stories(lengths: list[int]) -> list[EncodedStory]:
    dice = np.random.default_rng(7)
    return [EncodedStory("é" * n, dice.integers(EOT, size=n)) for n in lengths]


def make_model(position: str = "rope", block: int = 23, **choices: object) -> GPT:
    """A model in training mode whose logits depend on all of its context."""
    config = ModelConfig(vocab_size=53, block_size=block, n_layer=2, n_head=2, n_embd=28, position=position, **choices)
    torch.manual_seed(3)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return model


def slow_nats(model: GPT, story: EncodedStory) -> float:
    """One forward a scored token. Windows: the first block, then ever another half block, each a full block long."""
    block = model.config.block_size
    ids = [EOT, *story.ids.tolist(), EOT]
    nats = 0.0
    for target in range(1, len(ids)):
        start = 0
        if target > block:
            windows_before = (target - block - 1) // (block // 2)
            end = min(block + 1 + (windows_before + 1) * (block // 2), len(ids))
            start = end - block - 1
        assert target - start >= min(target, block / 2)
        logits = model(torch.tensor([ids[start:target]]))[0, -1].double()
        nats -= float(logits.log_softmax(-1)[ids[target]])
    return nats


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope"])
def test_likelihood_equals_one_forward_a_token(position: str) -> None:
    model, stories = make_model(position), make_stories(LENGTHS)
    found = measure_likelihood(model.train(), stories, EOT)
    assert found.nats.tolist() == pytest.approx([slow_nats(model.eval(), story) for story in stories], rel=1e-5)
    assert found.tokens.tolist() == [n + 1 for n in LENGTHS]
    assert found.bytes.tolist() == [2 * n for n in LENGTHS]


@torch.no_grad()
@pytest.mark.parametrize("block", [2, 3, 14])
def test_short_and_even_blocks_too(block: int) -> None:
    model, stories = make_model(block=block), make_stories(LENGTHS)
    found = measure_likelihood(model, stories, EOT)
    assert found.nats.tolist() == pytest.approx([slow_nats(model, story) for story in stories], rel=1e-5)


class Stub(nn.Module):
    """Has a model's face and gives logits by the token's place in its window alone; V = 53."""

    def __init__(self, block: int, surprise_at: Callable[[int], float]) -> None:
        super().__init__()
        self.config, self.embedding = ModelConfig(vocab_size=53, block_size=block), nn.Embedding(1, 1)
        self.surprise_at, self.rows = surprise_at, 0

    def forward(self, ids: Tensor) -> Tensor:
        """Token 1 has the wanted surprise, all others share the rest."""
        self.rows += len(ids)
        chances = torch.tensor([math.exp(-self.surprise_at(place)) for place in range(ids.size(1))])
        logits = ((1 - chances) / 52).log().unsqueeze(1).repeat(1, 53)
        logits[:, 1] = chances.log()
        return logits.expand(len(ids), -1, -1)


@pytest.mark.parametrize("block", [2, 3, 14, 23])
@pytest.mark.parametrize("length", [*LENGTHS, 211])
def test_each_token_is_scored_once_with_half_a_block_of_context(block: int, length: int) -> None:
    """Tokens with less context than half a block are surprising by 5 nats, others by 1: few are, at the start only.

    The token at place p of a window is scored from the logits at place p - 1, with p tokens of context.
    """
    stub = Stub(block, lambda place: 5.0 if place + 1 < block / 2 else 1.0)
    ones = EncodedStory("x", np.ones(length, np.int64))
    found = measure_likelihood(stub, [ones], eot=1)  # type: ignore[arg-type]
    poor = min(length + 1, math.ceil(block / 2) - 1)
    assert found.nats.sum() == pytest.approx(5 * poor + (length + 1 - poor), rel=1e-5)
    assert stub.rows == 1 + max(0, math.ceil((length + 1 - block) / (block // 2)))  # and no window is in vain


@pytest.mark.parametrize("vocab_size", [53, 4099])
def test_a_uniform_model_gives_the_logarithm_of_the_vocabulary(vocab_size: int) -> None:
    model = GPT(ModelConfig(vocab_size=vocab_size, block_size=23, n_layer=1, n_head=2, n_embd=28, tie_embeddings=False))
    nn.init.zeros_(model.head.weight)
    found = measure_likelihood(model, make_stories(LENGTHS), EOT)
    assert found.nats_per_token == pytest.approx(math.log(vocab_size), rel=1e-6)
    assert found.perplexity == pytest.approx(vocab_size, rel=1e-5)
    bits = sum(n + 1 for n in LENGTHS) * math.log2(vocab_size)
    assert found.bits_per_byte == pytest.approx(bits / sum(2 * n for n in LENGTHS), rel=1e-6)


def test_order_and_company_of_stories_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, stories = make_model(), make_stories(LENGTHS)
    nats = measure_likelihood(model, stories, EOT).nats
    backwards = measure_likelihood(model, stories[::-1], EOT).nats[::-1]
    alone = [measure_likelihood(model, [story], EOT).nats[0] for story in stories]
    monkeypatch.setattr(likelihood, "TOKENS_AT_ONCE", 3 * 23)
    threes = measure_likelihood(model, stories, EOT).nats
    for other in (backwards, alone, threes):
        assert list(other) == pytest.approx(list(nats), rel=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_dropout_is_off_and_the_mode_comes_back(training: bool) -> None:
    model, stories = make_model(dropout=0.5).train(training), make_stories([9, 33])
    before = torch.get_rng_state()
    first = measure_likelihood(model, stories, EOT).nats
    assert first.tolist() == measure_likelihood(model, stories, EOT).nats.tolist()
    assert first.tolist() == measure_likelihood(model.eval(), stories, EOT).nats.tolist()
    model.train(training)
    measure_likelihood(model, stories, EOT)
    assert all(module.training is training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture
def example() -> Likelihood:
    """Three stories: 2, 6 and 4 bits; 3, 5 and 7 tokens; 1, 2 and 3 bytes."""
    return Likelihood(np.array([2.0, 6.0, 4.0]) * math.log(2), np.array([3, 5, 7]), np.array([1, 2, 3]))


def test_figures_by_hand(example: Likelihood) -> None:
    """12 bits over 15 tokens and 6 bytes. Residuals from 2 bits/byte: 0, 2, -2; sqrt(3/2 x 8) / 6 = 0.577."""
    assert example.nats_per_token == pytest.approx(12 * math.log(2) / 15)
    assert example.perplexity == pytest.approx(2 ** (12 / 15))
    assert example.bits_per_byte == pytest.approx(2.0)
    assert example.bits_per_byte_stderr == pytest.approx(math.sqrt(12) / 6)
    assert as_dict(example) == {
        "nats_per_token": example.nats_per_token,
        "perplexity": example.perplexity,
        "bits_per_byte": example.bits_per_byte,
        "bits_per_byte_stderr": example.bits_per_byte_stderr,
        "tokens": 15,
        "bytes": 6,
        "stories": 3,
    }


def test_perplexity_of_a_hopeless_model_is_finite() -> None:
    assert math.isfinite(Likelihood(np.array([1e6]), np.array([1]), np.array([1])).perplexity)


def test_ratio_stderr_is_that_of_the_mean_where_weights_are_equal() -> None:
    values = np.random.default_rng(3).normal(size=97)
    assert ratio_stderr(values, np.ones(97)) == pytest.approx(values.std(ddof=1) / math.sqrt(97))
    assert ratio_stderr(values, np.full(97, 13)) == pytest.approx(values.std(ddof=1) / math.sqrt(97) / 13)


def test_ratio_stderr_agrees_with_the_bootstrap() -> None:
    """Stories of very different lengths, whose bits follow their bytes with noise; 2,003 resamples."""
    dice = np.random.default_rng(5)
    weights = dice.integers(50, 1500, size=401).astype(float)
    values = weights * (0.7 + 0.1 * dice.normal(size=401)) + 20 * dice.normal(size=401)
    picks = dice.integers(401, size=(2003, 401))
    bootstrap = (values[picks].sum(1) / weights[picks].sum(1)).std()
    assert ratio_stderr(values, weights) == pytest.approx(bootstrap, rel=0.06)


def test_one_story_has_no_standard_error() -> None:
    assert math.isnan(ratio_stderr(np.array([3.0]), np.array([2.0])))
