"""A trained model that tells: text in, text out."""

import os
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from storyloom.data.tokenization import StreamingDecoder, Tokenizer
from storyloom.errors import ConfigError, PromptError, RunError
from storyloom.generation.beam import beam_search
from storyloom.generation.decoding import decode
from storyloom.generation.sampling import Strategy, make_strategy
from storyloom.model import GPT
from storyloom.runtime import Run

MAX_NEW_TOKENS = 512
# The strategies that do not go token by token, as `decode` does; called as it is.
SEARCHES: dict[str, Callable[..., Iterator[list[tuple[int, int]]]]] = {"beam": beam_search}


class StoryTeller:
    """A model with its tokenizer.

    Args:
        model: the GPT.
        tokenizer: the one it was trained with.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    def tell(self, prompt: str = "", **options: Any) -> str:
        """One story that begins with `prompt`, which is part of it.

        Args:
            prompt: the beginning; may be empty.
            options: those of `tell_all`, but for `num_stories`.
        """
        return self.tell_all(prompt, num_stories=1, **options)[0]

    def tell_all(self, prompt: str = "", *, num_stories: int = 1, **options: Any) -> list[str]:
        """Several stories at once, each beginning with `prompt`. The n-th does not depend on how many are told.

        Args:
            prompt: the beginning; may be empty.
            num_stories: how many.
            options: those of `steps`.
        """
        stories = [[prompt] for _ in range(num_stories)]
        for story, piece in self.stream(prompt, num_stories=num_stories, **options):
            stories[story].append(piece)
        return ["".join(pieces) for pieces in stories]

    def stream(self, prompt: str = "", *, num_stories: int = 1, **options: Any) -> Iterator[tuple[int, str]]:
        """Tell stories piece by piece, as the tokens come, in whole characters and without the prompt.

        Args:
            prompt: the beginning; may be empty.
            num_stories: how many at once.
            options: those of `steps`.

        Yields:
            (story, piece): which story goes on, and by what text.
        """
        steps = self.steps(prompt, num_stories=num_stories, **options)
        decoders = [StreamingDecoder(self.tokenizer) for _ in range(num_stories)]
        for step in steps:
            for story, tokens in groupby(step, key=itemgetter(0)):
                yield story, "".join(decoders[story].feed(token) for _, token in tokens)
        for story, decoder in enumerate(decoders):
            yield story, decoder.finish()

    def steps(
        self,
        prompt: str = "",
        *,
        num_stories: int = 1,
        strategy: str | Strategy | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        seed: int = 0,
        **options: Any,
    ) -> Iterator[list[tuple[int, int]]]:
        """Tell stories in tokens: what `stream` makes text of.

        Args:
            prompt: the beginning; may be empty.
            num_stories: how many at once.
            strategy: a name, by default temperature 0.8 with top-p 0.95, or a `Strategy`.
            max_new_tokens: at most so many tokens a story.
            seed: of all chance; the same seed tells the same stories.
            options: the fields of `Strategy`, where they go with this one.

        Returns:
            For each step, (story, token) of the stories still being told. A story with fewer than `max_new_tokens` has
            ended by itself. A beam search takes one step for each story.

        Raises:
            ConfigError: an option is out of range or contradicts the strategy.
            PromptError: the prompt has characters that the tokenizer does not know.
        """
        chosen = _choose(strategy, options)
        _check(num_stories, max_new_tokens, chosen)
        return SEARCHES.get(chosen.name, decode)(
            self.model,
            [self.tokenizer.eot, *self._encode(prompt)],
            chosen,
            eot=self.tokenizer.eot,
            max_new_tokens=max_new_tokens,
            num_stories=num_stories,
            seed=seed,
        )

    def _encode(self, prompt: str) -> list[int]:
        unknown = self.tokenizer.unknown_characters(prompt)
        if unknown:
            shown = " ".join(repr(character) for character in unknown[:5])
            raise PromptError(f"the prompt has characters this model has never seen: {shown}; write it without them")
        return self.tokenizer.encode(prompt)


def load(run: str | os.PathLike[str] | None = None, checkpoint: str = "best") -> StoryTeller:
    """Load a trained model that tells.

    Args:
        run: a folder that `train` made.
        checkpoint: `best` (lowest validation loss) or `last`.

    Raises:
        RunError: the run is missing or damaged, or none is named while no model ships with storyloom.
    """
    if run is None:
        raise RunError(
            "no model ships with this version: train one with `storyloom demo` (minutes) or `storyloom train`, "
            "then name its folder with --model"
        )
    opened = Run(run)
    return StoryTeller(opened.load_model(checkpoint), opened.tokenizer)


def _choose(strategy: str | Strategy | None, options: dict[str, Any]) -> Strategy:
    if not isinstance(strategy, Strategy):
        return make_strategy(strategy, **options)
    if options:
        raise ConfigError(f"{', '.join(options)} beside a finished Strategy: set it there, or give the strategy's name")
    return strategy


def _check(num_stories: int, max_new_tokens: int, strategy: Strategy) -> None:
    if num_stories < 1:
        raise ConfigError(f"num_stories = {num_stories} must be at least 1")
    if max_new_tokens < 1:
        raise ConfigError(f"max_new_tokens = {max_new_tokens} must be at least 1")
    most = strategy.most_stories
    if most is not None and num_stories > most:
        raise ConfigError(
            f"num_stories = {num_stories} contradicts the strategy {strategy.name}, which tells {most} here: "
            f"ask for {most}, or choose a strategy with chance"
        )
