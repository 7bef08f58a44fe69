"""A trained model that tells: text in, text out."""

import os
import warnings
from collections.abc import Callable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import torch

from storyloom.data.tokenization import StreamingDecoder, Tokenizer
from storyloom.errors import ConfigError, PromptError, RunError
from storyloom.generation.arguments import checked_prompt, given_or_drawn_seed, whole_number
from storyloom.generation.beam import beam_search
from storyloom.generation.decoding import Drawn, decode, first_window
from storyloom.generation.story import Story
from storyloom.generation.strategies import Strategy, make_strategy
from storyloom.model import GPT
from storyloom.runs import ModelFolder, Run, open_model

MAX_NEW_TOKENS = 512
# The strategies that do not go token by token, as `decode` does; called as it is.
SEARCHES: dict[str, Callable[..., Iterator[list[Drawn]]]] = {"beam": beam_search}


class StoryTeller:
    """A model with its tokenizer.

    Args:
        model: the GPT.
        tokenizer: the one it was trained with.
        start: the token before a story; by default the end-of-text, as our own models learn it.
        end: the token behind a story; by default the end-of-text.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, start: int | None = None, end: int | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.start = tokenizer.eot if start is None else start
        self.end = tokenizer.eot if end is None else end

    def tell(self, prompt: str = "", **options: Any) -> str:
        """One story that begins with `prompt`, which is part of it: the text of `generate`.

        Warns (`UserWarning`) where the prompt is longer than the model's block, and so used from its end.

        Args:
            prompt: the beginning; may be empty.
            options: those of `steps`, except `num_stories`. Without a `seed` each call tells another story.

        Raises:
            ConfigError, PromptError: as `steps` does.
        """
        story = self.generate(prompt, **options)
        _warn_of_dropped(story)
        return story.text

    def tell_all(self, prompt: str = "", *, num_stories: int = 1, **options: Any) -> list[str]:
        """Several stories at once, each beginning with `prompt`: the texts of `generate_all`. Warns as `tell` does.

        Args:
            prompt: the beginning; may be empty.
            num_stories: how many.
            options: those of `steps`.

        Raises:
            ConfigError, PromptError: as `steps` does.
        """
        stories = self.generate_all(prompt, num_stories=num_stories, **options)
        _warn_of_dropped(stories[0])
        return [story.text for story in stories]

    def generate(self, prompt: str = "", **options: Any) -> Story:
        """One story with its tokens, their log-probabilities, why it ended, and its seed.

        Args:
            prompt: the beginning; may be empty.
            options: those of `steps`, except `num_stories`.

        Raises:
            ConfigError, PromptError: as `steps` does.
        """
        if "num_stories" in options:
            raise ConfigError("num_stories contradicts a call for one story: take generate_all, or tell_all")
        return self.generate_all(prompt, **options)[0]

    def generate_all(
        self, prompt: str = "", *, num_stories: int = 1, seed: int | None = None, **options: Any
    ) -> list[Story]:
        """Several stories at once. The n-th does not depend on how many are told.

        Args:
            prompt: the beginning; may be empty.
            num_stories: how many.
            seed: of all of them; None draws one.
            options: those of `steps`.

        Raises:
            ConfigError, PromptError: as `steps` does.
        """
        seed = given_or_drawn_seed(seed)
        steps = self.steps(prompt, num_stories=num_stories, seed=seed, **options)
        drawn: list[list[Drawn]] = [[] for _ in range(num_stories)]
        for each in chain.from_iterable(steps):
            drawn[each.story].append(each)
        dropped = self.prompt_tokens_dropped(prompt)
        return [self._story(prompt, told, seed, dropped) for told in drawn]

    def stream(self, prompt: str = "", *, num_stories: int = 1, **options: Any) -> Iterator[tuple[int, str]]:
        """Tell stories piece by piece, as the tokens come, in whole characters and without the prompt.

        Args:
            prompt: the beginning; may be empty. `prompt_tokens_dropped` says whether it is too long.
            num_stories: how many at once.
            options: those of `steps`.

        Yields:
            (story, piece): which story goes on, and by what text.

        Raises:
            ConfigError, PromptError: as `steps` does, when the first piece is asked for.
        """
        steps = self.steps(prompt, num_stories=num_stories, **options)
        decoders = [StreamingDecoder(self.tokenizer) for _ in range(num_stories)]
        for step in steps:
            for story, drawn in groupby(step, key=attrgetter("story")):
                yield (
                    story,
                    "".join(decoders[story].feed(token) for _, token, _ in drawn if token != self.end),
                )
        for story, decoder in enumerate(decoders):
            yield story, decoder.finish()

    def steps(
        self,
        prompt: str = "",
        *,
        num_stories: int = 1,
        strategy: str | Strategy | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        seed: int | None = None,
        **options: Any,
    ) -> Iterator[list[Drawn]]:
        """Tell stories in tokens: what `stream` and `generate` make text of.

        Args:
            prompt: the beginning; may be empty. Of one that is longer than the block only the end is used.
            num_stories: how many at once.
            strategy: a name, a `Strategy`, or None: the one that `make_strategy` takes for the options, by default
                temperature 0.8 with top-p 0.95.
            max_new_tokens: at most so many tokens a story.
            seed: of all chance, any whole number: the same seed tells the same stories. None draws one.
            options: the fields of `Strategy`, where they go with this one; all filters combine.

        Returns:
            For each step, a token of each story still being told. The last one of a story that ends by itself is the
            end-of-text. A beam search takes one step for each story.

        Raises:
            ConfigError: an option is of a wrong type, out of range, or contradicts the strategy.
            PromptError: the prompt is no string, or has characters that the tokenizer does not know.
        """
        chosen = _choose(strategy, options)
        num_stories = _checked_count(num_stories, chosen)
        return SEARCHES.get(chosen.name, decode)(
            self.model,
            [self.start, *self._encode(prompt)],
            chosen,
            eot=self.end,
            max_new_tokens=whole_number("max_new_tokens", max_new_tokens, least=1),
            num_stories=num_stories,
            seed=given_or_drawn_seed(seed),
        )

    def prompt_tokens_dropped(self, prompt: str) -> int:
        """How many tokens at the start of a prompt the model will not see: 0 unless it is longer than the block.

        Raises:
            PromptError: the prompt is no string, or has characters that the tokenizer does not know.
        """
        length = len(self._encode(prompt))
        window = first_window(length + 1, self.model.config.block_size)  # with the end-of-text that stands before it
        return max(0, length - window)

    def _encode(self, prompt: str) -> list[int]:
        unknown = self.tokenizer.unknown_characters(checked_prompt(prompt))
        if unknown:
            shown = " ".join(repr(character) for character in unknown[:5])
            raise PromptError(f"the prompt has characters this model has never seen: {shown}; write it without them")
        return self.tokenizer.encode(prompt)

    def _story(self, prompt: str, told: list[Drawn], seed: int, dropped: int) -> Story:
        ids, log_probabilities = (tuple(column) for column in list(zip(*told, strict=True))[1:])
        has_ended = ids[-1] == self.end
        text = prompt + self.tokenizer.decode(ids[:-1] if has_ended else ids)
        return Story(text, ids, log_probabilities, "stop" if has_ended else "length", seed, dropped)


def load(
    run: str | os.PathLike[str] | Run | ModelFolder | None = None,
    checkpoint: str = "best",
    device: str | torch.device | None = None,
) -> StoryTeller:
    """Load a trained model that tells.

    Args:
        run: what `train` returned, or its folder; or a model folder.
        checkpoint: `best` (lowest validation loss) or `last`.
        device: `cpu`, `cuda`, `cuda:1` or `mps`; None or `auto`: CUDA if there is one, else mps, else the CPU.

    Raises:
        RunError: the run is missing or damaged, or none is named while no model ships with storyloom.
        ConfigError: there is no such checkpoint or device.
    """
    if run is None:
        raise RunError(
            "no model ships with this version: train one with `storyloom demo` (minutes) or `storyloom train`, "
            "then name its folder"
        )
    opened = open_model(run)
    return StoryTeller(opened.load_model(checkpoint, device), opened.tokenizer, opened.start, opened.end)


def _choose(strategy: Any, options: dict[str, Any]) -> Strategy:
    if not isinstance(strategy, Strategy):
        return make_strategy(strategy, **options)
    if options:
        raise ConfigError(f"{', '.join(options)} beside a finished Strategy: set it there, or give the strategy's name")
    return strategy


def _checked_count(num_stories: Any, strategy: Strategy) -> int:
    count, most = whole_number("num_stories", num_stories, least=1), strategy.most_stories
    if most is not None and count > most:
        raise ConfigError(
            f"num_stories = {count} contradicts the strategy {strategy.name}, which tells {most} here: "
            f"ask for {most}, or choose a strategy with chance"
        )
    return count


def _warn_of_dropped(story: Story) -> None:
    """To whoever called `tell` or `tell_all`: they return text alone, which cannot say it."""
    if story.prompt_tokens_dropped:
        warnings.warn(
            f"the prompt is longer than the model's block: its first {story.prompt_tokens_dropped} tokens are not used",
            stacklevel=3,
        )
