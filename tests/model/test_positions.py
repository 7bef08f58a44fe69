"""Positions: RoPE against complex numbers and Llama's formula, and its law; sinusoidal and learned against formulas."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from storyloom.config import ModelConfig
from storyloom.model import KVCache
from storyloom.model.positions import POSITIONS, Position

HEAD = 10


def make_position(kind: str) -> Position:
    return POSITIONS[kind](ModelConfig(block_size=23, n_head=3, n_embd=3 * HEAD, position=kind))


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.double)


def test_rope_multiplies_complex_numbers() -> None:
    q = draw(2, 3, 7, HEAD)
    turned = make_position("rope").double().rotate(q, start=4)
    for t in range(7):
        for i in range(HEAD // 2):
            pair = torch.complex(q[:, :, t, i], q[:, :, t, i + HEAD // 2])
            angle = (4 + t) / 10_000 ** (2 * i / HEAD)
            expected = pair * complex(math.cos(angle), math.sin(angle))
            torch.testing.assert_close(turned[:, :, t, i], expected.real, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(turned[:, :, t, i + HEAD // 2], expected.imag, rtol=1e-5, atol=1e-5)


def test_rope_by_hand_on_one_pair() -> None:
    """With a head of 2 the only angle is the place itself: (1, 0) at place 3 turns to (cos 3, sin 3)."""
    rope = POSITIONS["rope"](ModelConfig(block_size=5, n_head=1, n_embd=2))
    turned = rope.rotate(torch.tensor([[[[1.0, 0.0]]]]), start=3)
    assert turned.flatten().tolist() == pytest.approx([-0.98999250, 0.14112001], abs=1e-6)


def test_rope_equals_llamas_rotate_half() -> None:
    """q cos + rotate_half(q) sin, as in Hugging Face's modeling_llama.py, so that weights can be exported."""
    q = draw(2, 3, 7, HEAD).float()
    inverse = 1.0 / 10_000 ** (torch.arange(0, HEAD, 2).float() / HEAD)
    angles = torch.outer(torch.arange(7).float(), inverse)
    cos, sin = (torch.cat([part, part], dim=-1) for part in (angles.cos(), angles.sin()))
    rotated_half = torch.cat([-q[..., HEAD // 2 :], q[..., : HEAD // 2]], dim=-1)
    torch.testing.assert_close(make_position("rope").rotate(q, 0), q * cos + rotated_half * sin)


def test_ropes_scores_depend_on_the_distance_alone() -> None:
    rope = make_position("rope").double()
    q, k = draw(1, 1, 1, HEAD), draw(2, 1, 1, HEAD)[1:]
    scores = torch.tensor(
        [[float((rope.rotate(q, m) * rope.rotate(k, n)).sum()) for n in range(23)] for m in range(23)]
    )
    for distance in range(-22, 23):
        same = scores.diagonal(distance)
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=0, atol=1e-5)
    assert len({round(float(scores[0, n]), 3) for n in range(23)}) > 11  # and they do depend on it


def test_rope_keeps_lengths_and_adds_nothing() -> None:
    rope, q = make_position("rope").double(), draw(2, 3, 7, HEAD)
    torch.testing.assert_close(rope.rotate(q, 11).norm(dim=-1), q.norm(dim=-1), rtol=1e-6, atol=1e-6)
    x = draw(2, 7, 30)
    assert torch.equal(rope.add(x, 11), x)


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_added_positions_rotate_nothing(kind: str) -> None:
    q = draw(2, 3, 7, HEAD)
    assert torch.equal(make_position(kind).rotate(q, 11), q)


def test_sinusoidal_positions_follow_the_paper() -> None:
    """PE(place, 2i) = sin(place / 10000^(2i/C)), PE(place, 2i + 1) = cos of the same."""
    added = make_position("sinusoidal").add(torch.zeros(2, 7, 30), start=13)
    for t in range(7):
        for feature in range(30):
            angle = (13 + t) / 10_000 ** (2 * (feature // 2) / 30)
            expected = math.cos(angle) if feature % 2 else math.sin(angle)
            assert added[1, t, feature].item() == pytest.approx(expected, abs=2e-5)


def test_learned_positions_add_the_row_of_the_place() -> None:
    learned = make_position("learned")
    x = draw(2, 7, 30).float()
    added = learned.add(x, start=13)
    for t in range(7):
        torch.testing.assert_close(added[:, t], x[:, t] + learned.get_parameter("embedding.weight")[13 + t])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_with_a_cache_places_count_on_and_are_added_after_the_scale(kind: str, make_model: Callable) -> None:
    """What enters the first block is sqrt(C) times the token's embedding plus its place's vector, unscaled."""
    config = ModelConfig(
        vocab_size=53, block_size=23, n_layer=1, n_head=3, n_embd=30, position=kind, embedding_scale=True
    )
    model = make_model(config)
    entered: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    cache = KVCache(config, 1, like=model.embedding.weight)
    model(torch.tensor([[3, 5, 7]]), cache)
    model(torch.tensor([[11, 13]]), cache)
    token = model.embedding.weight[13] * math.sqrt(30)
    place = model.position.add(torch.zeros(1, 1, 30, dtype=torch.double), 4)[0, 0]
    torch.testing.assert_close(entered[1][0, 1], token + place)


def test_tables_are_not_part_of_a_checkpoint() -> None:
    for kind in ("sinusoidal", "rope"):
        assert not make_position(kind).state_dict()
