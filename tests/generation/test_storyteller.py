"""Text in, text out: prompts, streams in whole characters, ends, seeds, errors."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from storyloom.data.tokenization import Tokenizer
from storyloom.errors import ConfigError, PromptError, RunError, TokenizerError
from storyloom.generation import StoryTeller, Strategy, load
from storyloom.generation.storyteller import MAX_NEW_TOKENS


@dataclass(frozen=True)
class Scripted(Strategy):
    """Tells given tokens, whatever the model says."""

    script: Iterator[int] = field(default_factory=lambda: iter(()))

    def choose(self, logits: Tensor, uniforms: Tensor, seen: Tensor | None = None) -> Tensor:
        return torch.full((logits.size(0),), next(self.script))


def scripted(ids: list[int]) -> Scripted:
    return Scripted("multinomial", script=iter(ids))


@pytest.mark.parametrize("prompt", ["", "Once upon", "She had 7 kites! Did they fly? Yes. Once upon a time"])
def test_streaming_gives_the_same_text_as_telling(teller: StoryTeller, prompt: str) -> None:
    options = {"num_stories": 3, "strategy": "multinomial", "seed": 11, "max_new_tokens": 41}
    stories = [prompt] * 3
    for story, piece in teller.stream(prompt, **options):
        stories[story] += piece
    assert teller.tell_all(prompt, **options) == stories
    assert all(story.startswith(prompt) and len(story) > len(prompt) for story in stories)


def test_the_nth_story_does_not_depend_on_how_many_are_told(teller: StoryTeller) -> None:
    seven = teller.tell_all("Once", num_stories=7, strategy="multinomial", seed=3, max_new_tokens=37)
    assert teller.tell("Once", strategy="multinomial", seed=3, max_new_tokens=37) == seven[0]
    assert teller.tell_all("Once", num_stories=3, strategy="multinomial", seed=3, max_new_tokens=37) == seven[:3]
    assert len(set(seven)) == 7
    assert teller.tell_all("Once", num_stories=7, strategy="multinomial", seed=4, max_new_tokens=37) != seven


SPELLED = "Zoë’s naïve 😀 and €5 – né?"


def test_characters_split_over_tokens_come_whole(bpe_teller: StoryTeller) -> None:
    ids = bpe_teller.tokenizer.encode(SPELLED)
    assert any(len(bpe_teller.tokenizer.decode([token]).strip("�")) == 0 for token in ids)  # some tokens are half ones
    pieces = [piece for _, piece in bpe_teller.stream(strategy=scripted(ids), max_new_tokens=len(ids))]
    assert "".join(pieces) == SPELLED
    assert not any("�" in piece for piece in pieces)
    assert bpe_teller.tell("Yes. ", strategy=scripted(ids), max_new_tokens=len(ids)) == "Yes. " + SPELLED


def test_a_story_cut_within_a_character_ends_in_the_replacement_character(bpe_teller: StoryTeller) -> None:
    ids = bpe_teller.tokenizer.encode("a😀")
    assert len(ids) == 5
    assert bpe_teller.tell(strategy=scripted(ids), max_new_tokens=4) == "a�"


def test_streams_keep_the_characters_of_stories_apart(bpe_teller: StoryTeller) -> None:
    """Two stories in step, one byte of a character each at a time."""

    @dataclass(frozen=True)
    class Columns(Scripted):
        def choose(self, logits: Tensor, uniforms: Tensor, seen: Tensor | None = None) -> Tensor:
            return torch.tensor([next(self.script) for _ in range(logits.size(0))])

    one, other = bpe_teller.tokenizer.encode("é😀"), bpe_teller.tokenizer.encode("😀é")
    columns = list(itertools.chain.from_iterable(zip(one, other, strict=True)))
    told = bpe_teller.tell_all(
        num_stories=2, strategy=Columns("multinomial", script=iter(columns)), max_new_tokens=len(one)
    )
    assert told == ["é😀", "😀é"]


def test_a_story_ends_at_the_end_of_text_token(teller: StoryTeller) -> None:
    tokenizer = teller.tokenizer
    ids = [*tokenizer.encode("Yes."), tokenizer.eot, *tokenizer.encode("No")]
    assert teller.tell("Did they fly? ", strategy=scripted(ids)) == "Did they fly? Yes."


def test_max_new_tokens_are_respected(char_teller: StoryTeller) -> None:
    never_ends = scripted(char_teller.tokenizer.encode("a" * (MAX_NEW_TOKENS + 7)))
    assert char_teller.tell("Yes", strategy=never_ends, max_new_tokens=29) == "Yes" + "a" * 29
    assert char_teller.tell("Yes", strategy=scripted([char_teller.tokenizer.encode("a")[0]] * 600)) == "Yes" + "a" * 512


def test_the_model_sees_end_of_text_and_then_the_prompt(teller: StoryTeller) -> None:
    """Evaluation counts the first token behind end-of-text: telling must start there too, also without a prompt."""
    for prompt in ("", "Once upon"):
        ids = [teller.tokenizer.eot, *teller.tokenizer.encode(prompt)]
        best = int(teller.model(torch.tensor([ids]))[0, -1].argmax())
        expected = prompt + teller.tokenizer.decode([best])
        assert teller.tell(prompt, strategy="greedy", max_new_tokens=1) == expected


def test_end_of_text_in_a_prompt_is_ordinary_text(bpe_teller: StoryTeller) -> None:
    assert bpe_teller.tell("<|endoftext|>", strategy=scripted([bpe_teller.tokenizer.eot])) == "<|endoftext|>"
    assert bpe_teller.tokenizer.eot not in bpe_teller.tokenizer.encode("<|endoftext|>")


def test_unknown_characters_of_a_prompt_are_named(char_teller: StoryTeller) -> None:
    with pytest.raises(PromptError, match=r"characters this model has never seen: 'ß' '😀'; write it without them"):
        char_teller.tell("Once 😀 upon a ßß")


def test_half_a_surrogate_pair_is_refused(bpe_teller: StoryTeller) -> None:
    with pytest.raises(TokenizerError, match="half of a surrogate pair"):
        bpe_teller.tell("a \ud83d")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_stories": 0}, "num_stories = 0 must be at least 1"),
        ({"max_new_tokens": 0}, "max_new_tokens = 0 must be at least 1"),
        ({"num_stories": 3, "strategy": "greedy"}, "num_stories = 3 contradicts the strategy greedy"),
        ({"strategy": "gredy"}, "did you mean 'greedy'"),
        (
            {"num_stories": 5, "strategy": "beam"},
            "num_stories = 5 contradicts the strategy beam, which tells 4 here: ask for 4, or choose",
        ),
        ({"beams": 60}, "beams = 60 must be at most 33, the tokens of this model's vocabulary"),
        ({"max_tokens": 5}, "unknown option 'max_tokens'"),
        ({"strategy": Strategy("multinomial"), "temperature": 0.5}, "temperature beside a finished Strategy"),
    ],
)
def test_mistakes_are_named(char_teller: StoryTeller, options: dict[str, object], message: str) -> None:
    """Caught: options beside a `Strategy` were silently ignored, and unknown ones ended in an AttributeError."""
    with pytest.raises(ConfigError, match=message):
        char_teller.tell_all("Once", **options)


@pytest.mark.parametrize("penalty", [1.0, 1.7])
def test_a_beam_search_streams_one_piece_a_story(char_teller: StoryTeller, penalty: float) -> None:
    """The best stories, the best first; one beam tells what greedy does."""
    teller, options = char_teller, {"max_new_tokens": 29, "repetition_penalty": penalty}
    stories = teller.tell_all("Once", num_stories=3, beams=5, **options)
    pieces = [(story, piece) for story, piece in teller.stream("Once", num_stories=3, beams=5, **options) if piece]
    assert pieces == [(story, text.removeprefix("Once")) for story, text in enumerate(stories)]
    assert len(set(stories)) == 3
    assert teller.tell("Once", beams=5, seed=7, **options) == stories[0]
    assert teller.tell("Once", beams=1, **options) == teller.tell("Once", strategy="greedy", **options)


def test_a_finished_beam_strategy_is_searched_by_too(teller: StoryTeller) -> None:
    """The one that was given is the one that goes: three beams, not the four of the name."""
    assert teller.tell(strategy=Strategy("beam", beams=3), max_new_tokens=13) == teller.tell(
        beams=3, length_penalty=0.0, max_new_tokens=13
    )


def test_dropout_is_off_whatever_the_mode(char_tokenizer: Tokenizer, char_teller: StoryTeller) -> None:
    expected = char_teller.tell("Once", seed=3, max_new_tokens=29)
    char_teller.model.train()
    for block in char_teller.model.blocks:
        block.drop.p = block.attn.dropout = 0.5
    assert char_teller.tell("Once", seed=3, max_new_tokens=29) == expected
    stream = char_teller.stream("Once", seed=3)
    next(stream)
    stream.close()
    assert char_teller.model.training


def test_without_a_run_the_way_to_one_is_named() -> None:
    with pytest.raises(RunError, match="storyloom"):
        load("no/such/folder")
