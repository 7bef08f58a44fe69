"""How stories read, in figures: their variety, their repetition, and how likely the model itself finds them.

Words are runs of letters, digits and apostrophes, in lower case; n-grams never cross from one story into the next.
"""

import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from storyloom.errors import ConfigError
from storyloom.generation import STRATEGIES, StoryTeller, Strategy, make_strategy
from storyloom.generation.arguments import given_or_drawn_seed, whole_number
from storyloom.generation.storyteller import MAX_NEW_TOKENS

WORD = re.compile(r"\w+(?:['’]\w+)*")
REPEATED = 4  # words: fewer recur in any story, "there was a" say


def distinct_n(stories: Sequence[str], n: int) -> float:
    """Different n-grams of words over all n-grams, those of all stories together: 1 where no two are the same.

    Li et al., 2016 (arXiv 1510.03055). It falls with the amount of text: compare only like amounts.

    Args:
        stories: texts.
        n: words in a row.

    Returns:
        From 0 to 1; nan where no story has n words.

    >>> distinct_n(["The cat saw the dog.", "The cat slept."], 1)
    0.625
    """
    ngrams = list(chain.from_iterable(_ngrams(story, n) for story in stories))
    return len(set(ngrams)) / len(ngrams) if ngrams else math.nan


def repetition(stories: Sequence[str]) -> float:
    """The share of 4-grams of words that stood in the same story before.

    Welleck et al., 2019 (arXiv 1908.04319), whose seq-rep-4 is this share of one text; here it is that of all 4-grams
    of all stories, so that a long one counts for more.

    Args:
        stories: texts.

    Returns:
        From 0 to 1; nan where no story has four words.

    >>> repetition(["He ran and he ran and he ran and he ran."])
    0.625
    """
    ngrams = [list(_ngrams(story, REPEATED)) for story in stories]
    total = sum(map(len, ngrams))
    return 1 - sum(len(set(of_one)) for of_one in ngrams) / total if total else math.nan


def _ngrams(story: str, n: int) -> Iterator[tuple[str, ...]]:
    words = WORD.findall(story.lower())
    return zip(*(words[start:] for start in range(n)), strict=False)


@dataclass(frozen=True)
class StrategyQuality:
    """What one strategy told, and how it reads. The figures are of what was told, without the prompt."""

    strategy: str
    stories: tuple[str, ...]
    """Each begins with the prompt."""
    distinct_1: float
    distinct_2: float
    distinct_3: float
    repetition: float
    log_probability: float
    """Mean log-probability of a token, in nats: the model's own, whatever the strategy made of it."""
    tokens: int
    """How many were told; the end-of-text of each story that came to its end counted in."""


def compare_strategies(
    teller: StoryTeller,
    prompt: str = "",
    *,
    num_stories: int = 1,
    seed: int | None = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
    repetition_penalty: float = 1.0,
) -> list[StrategyQuality]:
    """Let every strategy go on from one prompt, with its defaults, in the order of `STRATEGIES`.

    Args:
        teller: what `load` returns.
        prompt: the beginning; may be empty.
        num_stories: of each strategy; a greedy one tells 1, a beam search at most as many as it has beams.
        seed: of all chance, the same for each strategy; None draws one. Unlike `tell` it is 0 by default, so that two
            calls compare the same stories.
        max_new_tokens: at most so many tokens a story.
        repetition_penalty: for all of them.

    Raises:
        ConfigError, PromptError: as `StoryTeller.steps` does.
    """
    if not isinstance(teller, StoryTeller):
        raise ConfigError(f"teller = {reprlib.repr(teller)} must be a StoryTeller: what `load` returns")
    num_stories, seed = whole_number("num_stories", num_stories, least=1), given_or_drawn_seed(seed)
    strategies = [make_strategy(name, repetition_penalty=repetition_penalty) for name in STRATEGIES]
    return [_try(teller, prompt, strategy, num_stories, max_new_tokens, seed) for strategy in strategies]


def _try(
    teller: StoryTeller, prompt: str, strategy: Strategy, num_stories: int, max_new_tokens: int, seed: int
) -> StrategyQuality:
    count = min(num_stories, strategy.most_stories or num_stories)
    options = {"num_stories": count, "strategy": strategy, "max_new_tokens": max_new_tokens, "seed": seed}
    stories = teller.generate_all(prompt, **options)
    texts = [story.text[len(prompt) :] for story in stories]
    log_probabilities = [nats for story in stories for nats in story.log_probabilities]
    return StrategyQuality(
        strategy.name,
        tuple(story.text for story in stories),
        *(distinct_n(texts, n) for n in (1, 2, 3)),
        repetition=repetition(texts),
        log_probability=math.fsum(log_probabilities) / len(log_probabilities),
        tokens=len(log_probabilities),
    )
