"""Text in, text out: prompts, streams in whole characters, ends, seeds, errors."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from storyloom.data.tokenization import Tokenizer
from storyloom.errors import ConfigError, PromptError, RunError, TokenizerError
from storyloom.generation import Story, StoryTeller, Strategy, load
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
    assert [story.text for story in teller.generate_all(prompt, **options)] == stories
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
        ({"num_stories": 1.5}, "num_stories = 1.5 must be a whole number"),
        ({"num_stories": True}, "num_stories = True must be a whole number"),
        ({"max_new_tokens": "3"}, "max_new_tokens = '3' must be a whole number"),
        ({"max_new_tokens": None}, "max_new_tokens = None must be a whole number"),
        ({"temperature": "x"}, "temperature = 'x' must be a number"),
        ({"strategy": 3}, "strategy = 3 must be a Strategy or its name: greedy, "),
        ({"seed": True}, "seed = True must be a whole number"),
        ({"seed": 1.0}, "seed = 1.0 must be a whole number"),
        ({"seed": "7"}, "seed = '7' must be a whole number"),
    ],
)
def test_mistakes_are_named(char_teller: StoryTeller, options: dict[str, object], message: str) -> None:
    """Caught: options beside a `Strategy` were silently ignored, and unknown ones ended in an AttributeError.

    Wrong types ended in a TypeError, or went on: 1.5 stories, and the seed 1.0, which is another story than 1.
    """
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


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("", r'^run = "" is empty: name a path'),
        (3, r"^run = 3 must be a path: a string or a pathlib.Path$"),
        (b"", r"^run = b'' must be a path"),
        (b"R", r"^run = b'R' must be a path"),
        (["R"], r"^run = \['R'\] must be a path"),
    ],
)
def test_what_is_no_path_is_no_run(run: Any, message: str) -> None:
    """The empty path was the working directory, and other types ended in a TypeError."""
    with pytest.raises(RunError, match=message):
        load(run)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, r'^prompt = None must be a string: for no prompt give ""$'),
        (b"x", r"^prompt = b'x' must be a string: decode it first$"),
        (Path("x"), r"^prompt = .*Path\('x'\) must be a string"),
        (3, r"^prompt = 3 must be a string"),
    ],
)
@pytest.mark.parametrize("verb", ["tell", "tell_all", "generate", "generate_all", "steps", "prompt_tokens_dropped"])
def test_a_prompt_is_a_string(char_teller: StoryTeller, verb: str, prompt: Any, message: str) -> None:
    """An AttributeError, a TypeError, or the ids of None."""
    with pytest.raises(PromptError, match=message):
        getattr(char_teller, verb)(prompt)


@pytest.mark.parametrize("verb", ["tell", "generate"])
def test_one_story_is_one(char_teller: StoryTeller, verb: str) -> None:
    with pytest.raises(ConfigError, match="num_stories contradicts a call for one story: take generate_all"):
        getattr(char_teller, verb)("Once", num_stories=2)


def log_probability(teller: StoryTeller, story: Story, prompt: str) -> float:
    """Of all that a story within the block adds to its prompt, by one full forward."""
    before = [teller.tokenizer.eot, *teller.tokenizer.encode(prompt)]
    ids = torch.tensor([[*before, *story.ids]])
    with torch.no_grad():
        log_probabilities = teller.model(ids[:, :-1])[0].log_softmax(-1)
    return float(log_probabilities.gather(1, ids[0, 1:, None])[len(before) - 1 :].sum())


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (101, {"strategy": "multinomial"}),
        (7, {"top_k": 5, "repetition_penalty": 1.5}),
        (7, {"beams": 7, "repetition_penalty": 1.5}),
        (1, {"strategy": "greedy"}),
    ],
)
def test_a_story_is_what_it_says(teller: StoryTeller, count: int, options: dict[str, Any]) -> None:
    """Ids spell the text, log-probabilities are the model's own, and the reason is why there is no more."""
    stories = teller.generate_all("On", num_stories=count, max_new_tokens=13, seed=3, **options)
    tokenizer, reasons = teller.tokenizer, set()
    for story in stories:
        has_ended = story.ids[-1] == tokenizer.eot
        assert tokenizer.eot not in story.ids[:-1]
        assert story.text == "On" + tokenizer.decode(story.ids[:-1] if has_ended else story.ids)
        assert story.finish_reason == ("stop" if has_ended else "length")
        assert has_ended or len(story.ids) == 13
        assert len(story.log_probabilities) == len(story.ids)
        assert sum(story.log_probabilities) == pytest.approx(log_probability(teller, story, "On"), abs=1e-9)
        reasons.add(story.finish_reason)
    assert len(stories) == count
    assert {story.seed for story in stories} == {3}
    again = teller.generate("On", max_new_tokens=13, seed=3, **options)
    assert (again.text, again.ids, again.seed) == (stories[0].text, stories[0].ids, 3)
    assert len(reasons) == 2 or count < 101


def test_an_end_in_the_last_step_is_an_end(char_teller: StoryTeller) -> None:
    eot = char_teller.tokenizer.eot
    ids = (*char_teller.tokenizer.encode("Yes"), eot)
    story = char_teller.generate("Once", strategy=scripted(list(ids)), max_new_tokens=4)
    assert (story.text, story.ids, story.finish_reason) == ("OnceYes", ids, "stop")
    story = char_teller.generate("Once", strategy=scripted(list(ids)), max_new_tokens=3)
    assert (story.text, story.ids, story.finish_reason) == ("OnceYes", ids[:3], "length")


def test_without_a_seed_each_call_tells_another_story(char_teller: StoryTeller) -> None:
    """Every call told the story of seed 0, which reads like a model that knows only one."""
    options = {"strategy": "multinomial", "max_new_tokens": 31}
    stories = [char_teller.generate("Once", **options) for _ in range(5)]
    assert len({story.seed for story in stories}) == len({story.text for story in stories}) == 5
    assert len({char_teller.tell("Once", **options) for _ in range(5)}) == 5
    streams = {"".join(piece for _, piece in char_teller.stream("Once", **options)) for _ in range(5)}
    assert len(streams) == 5
    for story in stories:
        assert char_teller.tell("Once", seed=story.seed, **options) == story.text


def test_a_seed_is_drawn_by_the_system_and_by_no_generator(char_teller: StoryTeller) -> None:
    """A caller who seeds everything before each call still gets another story; the generators stay where they were."""
    stories = []
    for _ in range(2):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        stories.append(char_teller.generate("Once", strategy="multinomial", max_new_tokens=31))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert stories[0].seed != stories[1].seed
    assert stories[0].text != stories[1].text


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)], ids=repr)
def test_whole_numbers_of_all_kinds_are_seeds(char_teller: StoryTeller, seed: Any) -> None:
    """A seed of NumPy's ended in an OverflowError."""
    options = {"strategy": "multinomial", "max_new_tokens": 17}
    story = char_teller.generate("Once", seed=seed, **options)
    assert story == char_teller.generate("Once", seed=3, **options)
    assert type(story.seed) is int
    more = char_teller.tell_all("Once", num_stories=np.int64(2), seed=3, **{**options, "max_new_tokens": np.int16(17)})
    assert more[0] == story.text


LONG = "She had 7 kites! Did they fly? Yes."


def test_a_prompt_that_is_cut_is_said_to_be(char_teller: StoryTeller) -> None:
    """It was cut without a word. Of 35 characters in a block of 23 tokens the last 11 are used."""
    options = {"strategy": "greedy", "max_new_tokens": 5}
    story = char_teller.generate(LONG, **options)
    assert story.prompt_tokens_dropped == char_teller.prompt_tokens_dropped(LONG) == len(LONG) - 11
    assert story.text.startswith(LONG)
    other = char_teller.generate("Z" * (len(LONG) - 11) + LONG[-11:], **options)
    assert other.ids == story.ids  # what was dropped makes no difference
    with pytest.warns(UserWarning, match="longer than the model's block: its first 24 tokens are not used") as caught:
        assert char_teller.tell(LONG, **options) == story.text
    with pytest.warns(UserWarning, match="longer than the model's block") as also_caught:
        assert char_teller.tell_all(LONG, **options) == [story.text]
    assert [warning.filename for warning in (*caught, *also_caught)] == [__file__] * 2


def test_a_story_that_outgrows_the_block_later_is_nothing_to_be_said(char_teller: StoryTeller) -> None:
    """22 characters and the end-of-text before them fill the block."""
    story = char_teller.generate(LONG[:22], strategy="greedy", max_new_tokens=61)
    assert story.prompt_tokens_dropped == 0
    assert char_teller.prompt_tokens_dropped(LONG[:23]) == 12
    assert char_teller.tell(LONG[:22], strategy="greedy", max_new_tokens=61) == story.text
