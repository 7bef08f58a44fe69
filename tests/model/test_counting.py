"""Parameters and arithmetic, by hand and against the models themselves."""

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT, count_flops_per_token, count_parameters

from .choices import over_models


def count_built(config: ModelConfig) -> int:
    with torch.device("meta"):  # shapes alone, no memory
        return sum(parameter.numel() for parameter in GPT(config).parameters())


GPT2_SMALL = ModelConfig(
    vocab_size=50_257, block_size=1024, n_layer=12, n_head=12, n_embd=768,
    bias=True, position="learned", norm="layernorm", mlp="gelu",
)  # fmt: skip


def test_gpt2_small_has_the_published_number_of_parameters() -> None:
    """124,439,808, as Hugging Face's `gpt2` counts them."""
    assert count_parameters(GPT2_SMALL) == count_built(GPT2_SMALL) == 124_439_808


def test_gpt2_small_by_hand() -> None:
    embeddings = 50_257 * 768 + 1024 * 768
    attention = 768 * 2304 + 2304 + 768 * 768 + 768
    mlp = 768 * 3072 + 3072 + 3072 * 768 + 768
    norms = 2 * (768 + 768)
    assert count_parameters(GPT2_SMALL) == embeddings + 12 * (attention + mlp + norms) + 2 * 768


def test_a_grouped_swiglu_model_by_hand() -> None:
    """Untied, RoPE, RMSNorm, qk_norm, no biases; 6 query heads of 10 share 2 key heads; post-norm: no last norm."""
    config = ModelConfig(
        vocab_size=53, block_size=23, n_layer=3, n_head=6, n_kv_head=2, n_embd=60, n_mlp=41,
        qk_norm=True, tie_embeddings=False, norm_placement="post",
    )  # fmt: skip
    queries, keys, values, out = 60 * 60, 60 * 20, 60 * 20, 60 * 60
    block = queries + keys + values + out + 10 + 10 + 3 * 60 * 41 + 60 + 60
    expected = 53 * 60 + 3 * block + 60 * 53
    assert count_parameters(config) == count_built(config) == expected == 57_720


@over_models
def test_every_choice_in_every_shape_is_counted(config: ModelConfig, seed: int) -> None:
    assert count_parameters(config) == count_built(config)


def test_default_mlp_widths_are_counted() -> None:
    """4 C; for swiglu 8/3 C rounded up to a multiple of 32: 8/3 of 60 is 160, of 62 it is 165.3, hence 192."""
    one = ModelConfig(vocab_size=53, block_size=23, n_layer=1, n_head=1, n_embd=60)
    assert count_parameters(one) == count_built(one) == 53 * 60 + 4 * 60 * 60 + 3 * 60 * 160 + 3 * 60
    other = one.with_(n_embd=62)
    assert count_parameters(other) == count_built(other) == 53 * 62 + 4 * 62 * 62 + 3 * 62 * 192 + 3 * 62
    plain = one.with_(mlp="relu2")
    assert count_parameters(plain) == count_built(plain) == 53 * 60 + 4 * 60 * 60 + 2 * 60 * 240 + 3 * 60


def test_flops_by_hand() -> None:
    """Forward: 2 for each weight of a matrix and, over t tokens seen, 2 C t for scores and as many for values.

    Backward costs twice the forward; half of the window is seen on average. Embeddings are looked up, not multiplied.
    """
    config = ModelConfig(
        vocab_size=53, block_size=23, n_layer=3, n_head=6, n_kv_head=2, n_embd=60, n_mlp=41, mlp="relu"
    )
    matrices = 3 * (60 * 60 + 2 * 60 * 20 + 60 * 60 + 2 * 60 * 41) + 53 * 60
    attention = 3 * (2 * 60 + 2 * 60)  # a token seen, in all layers
    assert count_flops_per_token(config) == 3 * (2 * matrices + attention * 23 / 2) == 305_280
    assert count_flops_per_token(config, tokens=7) == 3 * (2 * matrices + attention * 7 / 2)


def test_gpt2_smalls_flops_by_hand() -> None:
    matrices = 12 * (4 * 768 * 768 + 8 * 768 * 768) + 50_257 * 768
    assert count_flops_per_token(GPT2_SMALL) == 6 * matrices + 6 * 12 * 768 * 1024 == 797_815_296


@pytest.mark.parametrize("change", [{"tie_embeddings": False}, {"norm": "layernorm"}, {"position": "learned"}])
def test_flops_do_not_depend_on_what_multiplies_nothing(change: dict[str, object], small_model: ModelConfig) -> None:
    assert count_flops_per_token(small_model.with_(**change)) == count_flops_per_token(small_model)
