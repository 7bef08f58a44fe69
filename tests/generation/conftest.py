"""Story tellers with small random models, by characters and by BPE."""

from collections.abc import Callable

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.data.tokenization import BPETokenizer, CharTokenizer, Tokenizer
from storyloom.generation import StoryTeller
from storyloom.model import GPT

TEXT = "Once upon a time there was a fox named Zoë. She had 7 kites! Did they fly? Yes."


def random_model(**choices: object) -> GPT:
    """A float64 model in evaluation mode whose logits depend on all of its context."""
    model = GPT(ModelConfig(**{"n_layer": 2, "n_head": 2, "n_embd": 28, **choices})).double().eval()
    dice = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=dice, dtype=torch.double)
            parameter.copy_(noise * 0.15 if parameter.dim() > 1 else 0.5 + noise.abs())
    return model


@pytest.fixture
def make_model() -> Callable[..., GPT]:
    return random_model


@pytest.fixture(scope="session")
def char_tokenizer() -> Tokenizer:
    return CharTokenizer.train([TEXT], vocab_size=0)


@pytest.fixture(scope="session")
def bpe_tokenizer() -> Tokenizer:
    return BPETokenizer.train([TEXT] * 5, vocab_size=277)


@pytest.fixture(params=["char", "bpe"])
def teller(request: pytest.FixtureRequest) -> StoryTeller:
    """By characters, and by BPE."""
    tokenizer: Tokenizer = request.getfixturevalue(f"{request.param}_tokenizer")
    return StoryTeller(random_model(vocab_size=tokenizer.vocab_size, block_size=23), tokenizer)


@pytest.fixture
def char_teller(char_tokenizer: Tokenizer) -> StoryTeller:
    return StoryTeller(random_model(vocab_size=char_tokenizer.vocab_size, block_size=23), char_tokenizer)


@pytest.fixture
def bpe_teller(bpe_tokenizer: Tokenizer) -> StoryTeller:
    return StoryTeller(random_model(vocab_size=bpe_tokenizer.vocab_size, block_size=23), bpe_tokenizer)
