"""Variety and repetition by hand; the model's own log-probabilities by full forwards and by measure_likelihood."""

import itertools
import math

import numpy as np
import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.data import EncodedStory
from storyloom.data.tokenization import CharTokenizer
from storyloom.errors import ConfigError, PromptError
from storyloom.evaluation import StrategyQuality, compare_strategies, distinct_n, measure_likelihood, repetition
from storyloom.generation import STRATEGIES, StoryTeller
from storyloom.model import GPT

TEXT = "Once upon a time there was a fox. She had 7 kites!"


def make_teller(block: int = 61, seed: int = 3, **choices: object) -> StoryTeller:
    """A random model with decided opinions, in float64."""
    tokenizer = CharTokenizer.train([TEXT], vocab_size=0)
    torch.manual_seed(seed)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, block_size=block, n_layer=2, n_head=2, n_embd=28, **choices)
    model = GPT(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return StoryTeller(model, tokenizer)


def test_distinct_n_by_hand() -> None:
    """5 of 8 words; the cat, cat saw, saw the, the dog, the cat, cat slept: 5 of 6; five triples, all different."""
    stories = ["The cat saw the dog.", "the CAT slept!"]
    assert distinct_n(stories, 1) == pytest.approx(5 / 8)
    assert distinct_n(stories, 2) == pytest.approx(5 / 6)
    assert distinct_n(stories, 3) == 1.0
    assert distinct_n(["a b", "a b"], 2) == 0.5
    assert distinct_n(["a b a b a b"], 2) == pytest.approx(2 / 5)


def test_an_apostrophe_is_part_of_a_word_and_marks_are_none() -> None:
    assert distinct_n(["Don't, don’t, Tom's – Tom s"], 1) == pytest.approx(5 / 5)
    assert distinct_n(["Zoë! zoë? ZOË..."], 1) == pytest.approx(1 / 3)


def test_no_n_gram_crosses_from_one_story_into_the_next() -> None:
    assert distinct_n(["a b", "b a"], 2) == 1.0
    assert math.isnan(distinct_n(["a b", "c d"], 3))
    assert math.isnan(distinct_n([], 1))
    assert math.isnan(repetition(["a b c", "", "d e f"]))


def test_repetition_by_hand() -> None:
    """abcd bcda cdab dabc abcd: the last stood before, 1 of 5. In another story it would be no repetition."""
    assert repetition(["a b c d a b c d"]) == pytest.approx(1 / 5)
    assert repetition(["a b c d", "a b c d"]) == 0.0
    assert repetition(["a b c d a b c d", "e f g h"]) == pytest.approx(1 / 6)
    assert repetition(["so so so so so so so so so"]) == pytest.approx(5 / 6)


@torch.no_grad()
def slow_nats(model: GPT, ids: list[int], told: list[int]) -> float:
    """One full forward a token, over the window that the story's teller had."""
    block, first, nats = model.config.block_size, 0, 0.0
    if len(ids) > block:
        first = len(ids) - block // 2
    for token in told:
        if len(ids) - first > block:
            first = len(ids) - block // 2
        nats += float(model(torch.tensor([ids[first:]]))[0, -1].log_softmax(-1)[token])
        ids = [*ids, token]
    return nats


def told_ids(teller: StoryTeller, prompt: str, quality: StrategyQuality, **options: object) -> list[list[int]]:
    """The tokens of each story, without its prompt and its end: not all of them can be seen in the text."""
    stories: list[list[int]] = [[] for _ in quality.stories]
    steps = teller.steps(prompt, num_stories=len(stories), strategy=quality.strategy, **options)
    for story, token, _ in itertools.chain.from_iterable(steps):
        if token != teller.tokenizer.eot:
            stories[story].append(token)
    assert [prompt + teller.tokenizer.decode(story) for story in stories] == list(quality.stories)
    return stories


@pytest.mark.parametrize("penalty", [1.0, 1.7])
@pytest.mark.parametrize(("block", "prompt"), [(61, "Once"), (7, "Once"), (7, "Once upon a time"), (61, "")])
def test_log_probabilities_equal_full_forwards(block: int, prompt: str, penalty: float) -> None:
    """The model's own, without temperature, truncation or penalty; whether or not a story outgrows the block."""
    teller, options = make_teller(block), {"seed": 7, "max_new_tokens": 29, "repetition_penalty": penalty}
    ids = [teller.tokenizer.eot, *teller.tokenizer.encode(prompt)]
    lengths = set()
    for quality in compare_strategies(teller, prompt, num_stories=3, **options):
        stories = told_ids(teller, prompt, quality, **options)
        lengths |= set(map(len, stories))
        told = [story if len(story) == 29 else [*story, teller.tokenizer.eot] for story in stories]
        assert quality.tokens == sum(map(len, told))
        nats = sum(slow_nats(teller.model, ids, story) for story in told)
        assert quality.log_probability == pytest.approx(nats / quality.tokens)
        assert quality.log_probability < 0
    assert max(lengths) == 29 > min(lengths)  # some came to an end, some did not


def test_whole_stories_have_the_likelihood_that_evaluation_measures() -> None:
    """Without a prompt, within the block, and ended: each strategy's stories are scored as validation stories are."""
    teller, whole = make_teller(block=127), 0
    for seed in range(2):
        options = {"seed": seed, "max_new_tokens": 113}
        for quality in compare_strategies(teller, num_stories=3, **options):
            told = told_ids(teller, "", quality, **options)
            if max(map(len, told)) < 113:
                whole += 1
                stories = [EncodedStory("x", np.array(ids, np.int64)) for ids in told]
                measured = measure_likelihood(teller.model, stories, teller.tokenizer.eot)
                assert quality.log_probability == pytest.approx(-measured.nats_per_token, rel=1e-5)
                assert quality.tokens == measured.tokens.sum()
    assert whole > 3


def test_the_stories_are_those_that_each_strategy_tells() -> None:
    teller = make_teller()
    options = {"seed": 5, "max_new_tokens": 23, "repetition_penalty": 1.2}
    compared = compare_strategies(teller, "Once", num_stories=7, **options)
    assert [quality.strategy for quality in compared] == list(STRATEGIES)
    counts = {"greedy": 1, "beam": 4}
    for quality in compared:
        count = counts.get(quality.strategy, 7)
        told = teller.tell_all("Once", num_stories=count, strategy=quality.strategy, **options)
        assert quality.stories == tuple(told)
        added = [story.removeprefix("Once") for story in told]
        expected = [*(distinct_n(added, n) for n in (1, 2, 3)), repetition(added)]
        found = [quality.distinct_1, quality.distinct_2, quality.distinct_3, quality.repetition]
        assert found == pytest.approx(expected, nan_ok=True)


def test_strategies_that_take_the_likeliest_find_likelier_stories_than_chance() -> None:
    means = {
        quality.strategy: quality.log_probability
        for quality in compare_strategies(make_teller(), num_stories=5, max_new_tokens=101)
    }
    assert means["multinomial"] < means["top-p"] < means["greedy"]


def test_a_compared_model_is_left_as_it_was() -> None:
    teller = make_teller(dropout=0.5)
    options = {"num_stories": 2, "max_new_tokens": 13, "seed": 3}
    expected = compare_strategies(teller, "Once", **options)
    teller.model.train()
    before = torch.get_rng_state()
    again = compare_strategies(teller, "Once", **options)
    assert [quality.stories for quality in again] == [quality.stories for quality in expected]
    assert [quality.log_probability for quality in again] == [quality.log_probability for quality in expected]
    assert all(module.training for module in teller.model.modules())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_stories": 0}, ConfigError, "num_stories = 0 must be at least 1"),
        ({"num_stories": "3"}, ConfigError, "num_stories = '3' must be a whole number"),
        ({"seed": 1.5}, ConfigError, "seed = 1.5 must be a whole number"),
        ({"max_new_tokens": 0}, ConfigError, "max_new_tokens = 0 must be at least 1"),
        ({"repetition_penalty": 0.0}, ConfigError, "repetition_penalty = 0 must be above 0"),
        ({"prompt": "ß"}, PromptError, "never seen: 'ß'"),
    ],
)
def test_mistakes_are_named(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compare_strategies(make_teller(), **options)


def test_what_is_no_teller_is_refused() -> None:
    """It ended in an AttributeError."""
    with pytest.raises(ConfigError, match="teller = 'R' must be a StoryTeller: what `load` returns"):
        compare_strategies("R")  # pyright: ignore[reportArgumentType]


def test_two_comparisons_without_a_seed_are_the_same() -> None:
    """Unlike `tell`: reports and notebooks count on it."""
    one, other = (compare_strategies(make_teller(), "Once", max_new_tokens=13) for _ in range(2))
    assert one == other == compare_strategies(make_teller(), "Once", max_new_tokens=13, seed=0)
