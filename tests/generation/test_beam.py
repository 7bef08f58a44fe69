"""Beam search against brute force, by hand, against greedy, and against full forwards over the right windows."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from storyloom.config import ModelConfig
from storyloom.errors import ConfigError
from storyloom.generation import Strategy, make_strategy
from storyloom.generation.beam import beam_search, find_stories, first_largest
from storyloom.generation.decoding import decode
from storyloom.model import GPT, KVCache

PENALTIES = pytest.mark.parametrize("penalty", [1.0, 1.9])


class Chain(nn.Module):
    """Has a model's face; the next token's probabilities depend on the last token alone, by a table (V, V)."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        size = len(table)
        self.config = ModelConfig(vocab_size=size, block_size=23, n_layer=1, n_head=2, n_embd=28)
        self.embedding, self.head = nn.Embedding(1, 1), nn.Linear(size, size, bias=False)
        self.head.weight = nn.Parameter(torch.tensor(table).log().T)

    def hidden(self, ids: Tensor, cache: KVCache) -> Tensor:
        cache.length += ids.size(1)
        return nn.functional.one_hot(ids, len(self.head.weight)).float()

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        return self.head(self.hidden(ids, cache))


def search(model: nn.Module, **changes: object) -> list[tuple[list[int], float]]:
    """What is found behind one end-of-text, token 0, as tokens and scores."""
    options = {"beams": 2, "length_penalty": 1.0, "max_new_tokens": 7, **changes}
    most = options.pop("max_new_tokens")
    strategy = make_strategy("beam", **options)
    found = find_stories(model, [0], strategy, eot=0, max_new_tokens=most)  # type: ignore[arg-type]
    return [(story.tokens, story.score) for story in found]


# Token 0 ends a story, 1 is a, 2 is b. "" has probability 0.4; "a b" has 0.5 x 0.8 x 0.9 = 0.36.
SHORT_OR_LONG = Chain([[0.4, 0.5, 0.1], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]])


@pytest.mark.parametrize(
    ("length_penalty", "winner", "score"),
    [(0.0, [], math.log(0.4)), (0.09, [], math.log(0.4)), (0.11, [1, 2], math.log(0.36) / 3**0.11),
     (1.0, [1, 2], math.log(0.36) / 3), (2.0, [1, 2], math.log(0.36) / 9)],
)  # fmt: skip
def test_the_length_penalty_decides_between_a_short_and_a_long_story(
    length_penalty: float, winner: list[int], score: float
) -> None:
    """By hand: ln 0.4 = -0.916 over 1 token, ln 0.36 = -1.022 over 3; equal where 3 ** penalty = 1.115, at 0.099."""
    found = search(SHORT_OR_LONG, length_penalty=length_penalty)
    assert found[0] == (winner, pytest.approx(score))
    assert sorted(tokens for tokens, _ in found) == [[], [1, 2]]


def test_two_beams_find_what_greedy_misses() -> None:
    """By hand: "a a" has 0.5 x 0.4 = 0.2, and "b" with its end 0.4 x 0.9 = 0.36, though a is the likelier first."""
    chain = Chain([[0.1, 0.5, 0.4], [0.3, 0.4, 0.3], [0.9, 0.06, 0.04]])
    assert search(chain, beams=1, max_new_tokens=2) == [([1, 1], pytest.approx(math.log(0.2) / 2))]
    assert search(chain, max_new_tokens=2) == [
        ([2], pytest.approx(math.log(0.36) / 2)),
        ([1, 1], pytest.approx(math.log(0.2) / 2)),
    ]


def test_equal_stories_come_by_beam_and_token() -> None:
    """All chances are 1/5. The end, 1 and 2 are the first three; then 1's continuations fill the two beams left."""
    found = search(Chain([[0.2] * 5] * 5), beams=3, max_new_tokens=2)
    assert found == [(tokens, pytest.approx(math.log(0.2))) for tokens in ([], [1], [1, 1])]


def test_a_found_story_takes_its_beam_with_it() -> None:
    """The end is always the likeliest: each step one beam of three ends, and the rest goes on."""
    found = search(Chain([[0.6, 0.3, 0.1]] * 3), beams=3, length_penalty=0.0)
    assert [tokens for tokens, _ in found] == [[], [1], [1, 1]]
    chances = [0.6, 0.3 * 0.6, 0.3 * 0.3 * 0.6]
    assert [score for _, score in found] == pytest.approx([math.log(chance) for chance in chances])


def test_a_search_stops_once_every_beam_has_ended(make_model: Callable) -> None:
    """One forward for each token but the first, which comes from the prefill."""
    chain, forwards = Chain([[0.6, 0.3, 0.1]] * 3), []
    chain.register_forward_hook(lambda *_: forwards.append(1))
    search(chain, beams=3, max_new_tokens=31)
    assert len(forwards) == 2
    search(chain, beams=3, max_new_tokens=1)
    assert len(forwards) == 2


def shaken(model: GPT, seed: int) -> GPT:
    """Another random model of the same shape, with more decided opinions."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=dice, dtype=torch.double)
    return model


def log_probabilities(model: GPT, ids: list[int], window: list[int], penalty: float, eot: int) -> list[float]:
    """Of the token after a window, by a full forward; all of `ids` but the end-of-text count as seen."""
    logits = model(torch.tensor([window]))[0, -1].tolist()
    for token in set(ids) - {eot}:
        logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
    total = math.log(sum(math.exp(value) for value in logits))
    return [value - total for value in logits]


@torch.no_grad()
@PENALTIES
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_the_vocabularys_size_over_two_tokens_is_brute_force(
    seed: int, penalty: float, make_model: Callable
) -> None:
    """All 1 + 6 + 36 stories of at most two tokens, each scored by full forwards."""
    model, prompt, eot = shaken(make_model(vocab_size=7, block_size=23), seed), [6, 3, 5, 3, seed], 6
    first = log_probabilities(model, prompt, prompt, penalty, eot)
    nats = {(eot,): first[eot]}
    for token in range(6):
        longer = [*prompt, token]
        second = log_probabilities(model, longer, longer, penalty, eot)
        nats |= {(token, last): first[token] + second[last] for last in range(7)}
    for length_penalty in (0.0, 0.4, 1.0, 2.3):
        scores = {story: value / len(story) ** length_penalty for story, value in nats.items()}
        best = sorted(scores, key=scores.__getitem__, reverse=True)[:6]  # at most six of two tokens can be kept
        strategy = Strategy("beam", beams=7, length_penalty=length_penalty, repetition_penalty=penalty)
        found = find_stories(model, prompt, strategy, eot=eot, max_new_tokens=2)
        assert len(found) == 7
        assert [story.tokens for story in found[:6]] == [[token for token in story if token != eot] for story in best]
        assert [story.score for story in found[:6]] == pytest.approx([scores[story] for story in best])
        assert [story.log_probability for story in found[:6]] == pytest.approx([nats[story] for story in best])


@PENALTIES
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("block", [5, 23])
def test_one_beam_is_greedy(block: int, seed: int, penalty: float, make_model: Callable) -> None:
    model = shaken(make_model(vocab_size=53, block_size=block), seed)
    options = {"eot": 52, "max_new_tokens": 41, "num_stories": 1, "seed": 0}
    greedy = decode(model, [52, 3, 5], make_strategy("greedy", repetition_penalty=penalty), **options)
    one = beam_search(model, [52, 3, 5], make_strategy(beams=1, repetition_penalty=penalty), **options)
    found, expected = (list(itertools.chain.from_iterable(steps)) for steps in (one, greedy))
    assert [drawn[:2] for drawn in found] == [drawn[:2] for drawn in expected]
    own = [drawn.log_probability for drawn in expected]  # whatever the penalty
    assert [drawn.log_probability for drawn in found] == pytest.approx(own, abs=1e-9)


@torch.no_grad()
@PENALTIES
@pytest.mark.parametrize(("block", "half"), [(14, 7), (5, 2), (2, 1)])
@pytest.mark.parametrize("position", ["learned", "rope"])
def test_scores_equal_full_forwards_over_the_windows(
    position: str, block: int, half: int, penalty: float, make_model: Callable
) -> None:
    """The token that no longer fits leaves the last half of the block; the penalty still knows all of the story."""
    model = shaken(make_model(vocab_size=11, block_size=block, position=position), 2)
    prompt, most = [10, 3, 5], 17
    strategy = make_strategy(beams=5, repetition_penalty=penalty)
    found = find_stories(model, prompt, strategy, eot=10, max_new_tokens=most)
    assert len({tuple(story.tokens) for story in found}) == 5
    assert max(len(story.tokens) for story in found) > block
    for story in found:
        told = story.tokens if len(story.tokens) == most else [*story.tokens, 10]
        ids, first, nats, own = prompt, 0 if len(prompt) <= block else len(prompt) - half, 0.0, []
        for token in told:
            first = len(ids) - half if len(ids) - first > block else first
            nats += log_probabilities(model, ids, ids[first:], penalty, 10)[token]
            own.append(log_probabilities(model, ids, ids[first:], 1.0, 10)[token])
            ids = [*ids, token]
        assert story.log_probability == pytest.approx(nats)
        assert story.log_probabilities == pytest.approx(own)  # the model's own, whatever the penalty
        assert story.score == pytest.approx(nats / len(told))


def test_the_best_are_told_one_a_step_whatever_the_seed(make_model: Callable) -> None:
    model, strategy = shaken(make_model(vocab_size=11, block_size=23), 2), make_strategy(beams=5)
    found = find_stories(model, [10, 3], strategy, eot=10, max_new_tokens=13)
    assert [story.score for story in found] == sorted([story.score for story in found], reverse=True)
    for seed in (0, 7):
        steps = beam_search(model, [10, 3], strategy, eot=10, max_new_tokens=13, num_stories=3, seed=seed)
        given = [[(drawn.story, drawn.token) for drawn in step if drawn.token != 10] for step in steps]
        assert given == [[(number, token) for token in story.tokens] for number, story in enumerate(found[:3])]


def test_dropout_is_off_and_the_mode_comes_back(make_model: Callable) -> None:
    model = make_model(vocab_size=53, block_size=23, dropout=0.5)
    strategy = make_strategy(beams=3)
    expected = find_stories(model, [52, 3], strategy, eot=52, max_new_tokens=13)
    model.train()
    steps = beam_search(model, [52, 3], strategy, eot=52, max_new_tokens=13, num_stories=3)
    assert [drawn.token for drawn in next(steps) if drawn.token != 52] == expected[0].tokens
    assert not torch.is_inference_mode_enabled()
    assert all(module.training for module in model.modules())


def test_more_beams_than_tokens_are_refused(make_model: Callable) -> None:
    model = make_model(vocab_size=11, block_size=23)
    with pytest.raises(ConfigError, match=r"^beams = 12 must be at most 11, the tokens of this model's vocabulary$"):
        find_stories(model, [3], make_strategy(beams=12), eot=10, max_new_tokens=3)
    assert len(find_stories(model, [3], make_strategy(beams=11), eot=10, max_new_tokens=1)) == 11


@pytest.mark.parametrize("count", [1, 2, 7, 101])
def test_first_largest_is_the_head_of_a_stable_sort(count: int) -> None:
    values = torch.randint(7, (101,), generator=torch.Generator().manual_seed(3)) * 1.0
    expected = sorted(range(101), key=lambda place: (-values[place].item(), place))[:count]
    assert first_largest(values, count).tolist() == expected
