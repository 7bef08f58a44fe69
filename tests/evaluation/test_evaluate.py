"""A run against texts: the same stories give the same figures, and the storybook's limit is exact."""

import hashlib
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import storyloom
from storyloom import storybook
from storyloom.config import Config, ModelConfig, save_config
from storyloom.data import Data, EncodedStory, prepare
from storyloom.data.manifest import write_manifest
from storyloom.data.sources import read_stories
from storyloom.errors import CheckpointError, ConfigError, DataError, RunError
from storyloom.evaluation import Likelihood, evaluate
from storyloom.evaluation.evaluate import compare_with_limit
from storyloom.model import GPT
from storyloom.runs import Run, save_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.weights import model_weights

STORIES = [
    "A fox ran up a hill.", "She had a café.\n\nIt was good.", "Once upon a time a bee sang [bold] songs.", "No.",
    "He saw seven kites and <|endoftext|> in one line.", "Then all of them went home, ate soup and slept.",
]  # fmt: skip


def write_stories(path: Path, stories: list[str]) -> Path:
    path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


def twice(text: Path) -> Path:
    """Training stories with the very characters of a text: each of its stories told twice over."""
    return write_stories(text.with_name("twice.txt"), [f"{story} {story}" for story in read_stories(text)])


def make_run(folder: Path, data: Data, seed: int = 3) -> Run:
    """A run folder with an untrained model: what `train` leaves behind, without its minutes."""
    config = Config(model=ModelConfig(vocab_size=data.tokenizer.vocab_size, block_size=23, n_head=2, n_embd=28))
    folder.mkdir()
    save_config(folder / "config.toml", config, {"data": str(data.path), "tokenizer": data.tokenizer.fingerprint})
    data.tokenizer.save(folder / "tokenizer.json")
    for name in ("best", "last"):
        torch.manual_seed(seed := seed + 1)
        (folder / "checkpoints").mkdir(exist_ok=True)
        save_checkpoint(folder / "checkpoints" / name, Checkpoint(model_weights(GPT(config.model))))
    return Run(folder)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Six validation stories; a tokenizer that knows their characters."""
    text = write_stories(tmp_path / "stories.txt", STORIES)
    return prepare(twice(text), val=text, out=tmp_path / "D", tokenizer="char")


@pytest.fixture
def run(tmp_path: Path, data: Data) -> Run:
    return make_run(tmp_path / "R", data)


def test_the_figures_by_hand(run: Run, data: Data) -> None:
    figures = evaluate(run.path)
    size = sum(len(story.encode()) for story in STORIES)
    characters = sum(map(len, STORIES))
    assert size == characters + 1  # the é
    assert (figures["stories"], figures["bytes"], figures["tokens"]) == (6, size, characters + 6)
    bits = figures["nats_per_token"] * (characters + 6) / math.log(2)
    assert figures["bits_per_byte"] == pytest.approx(bits / size)
    assert figures["perplexity"] == pytest.approx(math.exp(figures["nats_per_token"]))
    assert figures["comparable"] is True
    assert figures["nats_per_token"] == pytest.approx(math.log(data.tokenizer.vocab_size), abs=0.2)
    assert set(figures) == {
        "nats_per_token", "perplexity", "bits_per_byte", "bits_per_byte_stderr", "tokens", "bytes", "stories",
        "comparable", "text_sha256",
    }  # fmt: skip


def test_text_data_and_the_runs_own_data_agree(run: Run, data: Data, tmp_path: Path) -> None:
    own = evaluate(run)
    assert evaluate(run, data=data) == evaluate(run.path, data=data.path) == evaluate(str(run.path)) == own
    assert evaluate(run, text=data.path / "val.txt") == own
    assert evaluate(run, text=tmp_path / "stories.txt") == own  # separators and line ends are no part of a story
    assert own["text_sha256"] == hashlib.sha256((data.path / "val.txt").read_bytes()).hexdigest()


def test_other_stories_have_another_checksum(run: Run, tmp_path: Path) -> None:
    fewer = evaluate(run, text=write_stories(tmp_path / "fewer.txt", STORIES[:-1]))
    assert fewer["text_sha256"] != evaluate(run)["text_sha256"]
    assert fewer["stories"] == 5


def test_the_checkpoint_asked_for_is_measured(run: Run) -> None:
    assert evaluate(run) == evaluate(run, checkpoint="best") != evaluate(run, checkpoint="last")
    with pytest.raises(ConfigError, match="unknown checkpoint 'newest': known are best, last"):
        evaluate(run, checkpoint="newest")


def test_evaluating_leaves_the_global_generator_alone(run: Run) -> None:
    before = torch.get_rng_state()
    evaluate(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_characters_are_not_comparable(run: Run, tmp_path: Path) -> None:
    """What a tokenizer cannot spell costs its model nothing: such bits/byte say little."""
    text = write_stories(tmp_path / "other.txt", ["A fox ran.", "A ß ran."])
    assert evaluate(run, text=text)["comparable"] is False
    assert "characters the tokenizer does not know" in evaluate(run, text=text)["why_not_comparable"]
    assert evaluate(run, text=write_stories(tmp_path / "known.txt", ["A fox ran.", "A bee ran."]))["comparable"] is True


def test_cleaned_validation_stories_are_not_comparable(tmp_path: Path) -> None:
    """Cleaning leaves out what a model would have had to predict; where it changed nothing, nothing is left out."""
    text = write_stories(tmp_path / "stories.txt", STORIES[:5])
    for name, val, comparable in [
        ("same", STORIES[:5], True),
        ("spaces", [*STORIES[:4], "She had  a café."], False),
        ("repeated", [*STORIES[:4], STORIES[0]], False),
    ]:
        val_file = write_stories(tmp_path / f"{name}.txt", val)
        data = prepare(twice(text), val=val_file, out=tmp_path / name, tokenizer="char", clean=True)
        figures = evaluate(make_run(tmp_path / f"R-{name}", data))
        assert figures["comparable"] is comparable
        assert figures.get("why_not_comparable") == (
            None if comparable else "cleaning changed or dropped 1 of its stories"
        )


def test_contradicting_and_missing_texts_are_named(run: Run, data: Data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^`data` and `text` contradict each other"):
        evaluate(run, data=data, text=tmp_path / "stories.txt")
    with pytest.raises(DataError, match="holds no story"):
        evaluate(run, text=write_stories(tmp_path / "empty.txt", ["  \n"]))
    (tmp_path / "other.jsonl").write_text('{"story": "No."}')
    with pytest.raises(DataError, match="prepare with another `column`"):
        evaluate(run, text=tmp_path / "other.jsonl")
    data.path.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"no longer at .*: name it as `data`, or stories as `text`"):
        evaluate(run)
    assert evaluate(run, data=tmp_path / "moved")["stories"] == 6


def test_another_tokenizers_data_are_refused(run: Run, tmp_path: Path) -> None:
    text = write_stories(tmp_path / "other.txt", ["Other letters: xyz.", "Qq."])
    other = prepare(twice(text), val=text, out=tmp_path / "E", tokenizer="char")
    with pytest.raises(DataError, match=r"another tokenizer than .*: give its stories as `text` instead"):
        evaluate(run, data=other)


def test_an_altered_checkpoint_is_refused(run: Run) -> None:
    weights = run.checkpoint_folder("best") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        evaluate(run)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"text": ""}, DataError, r'^text = "" is empty: name a path'),
        ({"text": b"x"}, DataError, r"^text = b'x' must be a path"),
        ({"text": 3}, DataError, r"^text = 3 must be a path"),
        ({"data": ""}, DataError, r'^data = "" is empty: name a path'),
        ({"data": 3}, DataError, r"^data = 3 must be a path"),
        ({"checkpoint": 3}, ConfigError, "^unknown checkpoint 3: known are best, last"),
        ({"device": "gpu"}, ConfigError, "^device = 'gpu' is not a device: give auto, cpu, cuda, "),
    ],
)
def test_what_is_no_path_is_refused(
    run: Run, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path, monkeypatch
) -> None:
    """The empty path was the working directory, all of whose texts were evaluated."""
    monkeypatch.chdir(write_stories(tmp_path / "stories.txt", STORIES).parent)
    with pytest.raises(error, match=message):
        evaluate(run, **options)


@pytest.mark.parametrize("run", [None, 3, b"R", "", []])
def test_what_is_no_run_is_refused(run: Any) -> None:
    """It ended in a TypeError, or was the working directory."""
    with pytest.raises(RunError, match=r"^run = "):
        evaluate(run)


def test_calls_leave_the_process_as_they_found_it(run: Run, tmp_path: Path) -> None:
    """Random generators, thread count, modes, working directory; also where the model is in training."""
    torch.set_num_threads(3)  # a number that nothing else would choose

    def state() -> list[Any]:
        generators = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
        modes = [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()]
        return [*generators, *modes, torch.get_num_threads(), Path.cwd()]

    before = state()
    try:
        teller = storyloom.load(run.path)
        assert state() == before
        teller.model.train()
        for strategy in ("top-p", "beam", "greedy"):
            teller.tell("A fox", strategy=strategy, max_new_tokens=29)
            teller.generate_all("A", num_stories=1, strategy=strategy, max_new_tokens=5)
            next(teller.stream("A", strategy=strategy, max_new_tokens=5))
            assert state() == before
        storyloom.compare_strategies(teller, max_new_tokens=5)
        assert all(module.training for module in teller.model.modules())
        evaluate(run)
        evaluate(run, text=tmp_path / "stories.txt", checkpoint="last", device="cpu")
        assert state() == before
    finally:
        torch.set_num_threads(1)


def storybook_stories(count: int) -> list[storybook.Story]:
    return [storybook.tell(seed=11, index=index) for index in range(count)]


def encode(texts: list[str]) -> list[EncodedStory]:
    return [EncodedStory(text, np.frombuffer(text.encode(), np.uint8).astype(np.int64)) for text in texts]


def likelihood_of(bits: list[float], stories: list[EncodedStory]) -> Likelihood:
    sizes = np.array([len(story.text.encode()) for story in stories])
    return Likelihood(np.array(bits) * math.log(2), sizes + 1, sizes)


def test_a_perfect_model_has_no_gap_to_the_limit() -> None:
    told = storybook_stories(13)
    stories = encode([story.text for story in told])
    found = compare_with_limit(likelihood_of([-story.log2_probability for story in told], stories), stories)
    limit = -sum(story.log2_probability for story in told) / sum(len(story.text.encode()) for story in told)
    assert found["limit_bits_per_byte"] == pytest.approx(limit)
    assert found["gap_bits_per_byte"] == pytest.approx(0, abs=1e-9)
    assert found["gap_bits_per_byte_stderr"] == pytest.approx(0, abs=1e-9)


def test_the_gap_is_what_is_above_the_limit_and_its_error_is_paired() -> None:
    """Half a bit a byte more in every story: that is the gap, without any error, however much the stories differ."""
    told = storybook_stories(13)
    stories = encode([story.text for story in told])
    bits = [0.5 * len(story.text.encode()) - story.log2_probability for story in told]
    likelihood = likelihood_of(bits, stories)
    found = compare_with_limit(likelihood, stories)
    assert found["gap_bits_per_byte"] == pytest.approx(0.5)
    assert found["gap_bits_per_byte"] + found["limit_bits_per_byte"] == pytest.approx(likelihood.bits_per_byte)
    assert found["gap_bits_per_byte_stderr"] == pytest.approx(0, abs=1e-9)
    assert likelihood.bits_per_byte_stderr > 1e-4


def test_one_foreign_story_leaves_no_limit() -> None:
    told = storybook_stories(3)
    stories = encode([*(story.text for story in told), told[0].text + " The end?"])
    assert compare_with_limit(likelihood_of([1.0, 2.0, 3.0, 4.0], stories), stories) == {}


def test_evaluate_reports_the_limit_on_storybook_text_only(tmp_path: Path) -> None:
    told = storybook_stories(17)
    text = write_stories(tmp_path / "told.txt", [story.text for story in told])
    run = make_run(tmp_path / "R", prepare(twice(text), val=text, out=tmp_path / "D", tokenizer="char"))
    figures = evaluate(run)
    limit = -sum(story.log2_probability for story in told) / sum(len(story.text.encode()) for story in told)
    assert figures["limit_bits_per_byte"] == pytest.approx(limit)
    assert figures["gap_bits_per_byte"] == pytest.approx(figures["bits_per_byte"] - limit)
    assert 0 < figures["gap_bits_per_byte_stderr"] < 0.1 * figures["gap_bits_per_byte"]
    mixed = evaluate(run, text=write_stories(tmp_path / "mixed.txt", [told[0].text, "A foreign story."]))
    assert "limit_bits_per_byte" not in mixed


def test_there_is_no_limit_for_the_stories_of_another_grammar(tmp_path: Path) -> None:
    """They may be read by this one, but its probabilities are not those that they were told by."""
    data = prepare("storybook", out=tmp_path / "D", tokenizer="char", limit_mb=0.01)
    run = make_run(tmp_path / "R", data)
    figures = evaluate(run)
    write_manifest(data.path, replace(data.manifest, storybook="1-another"))
    limit = {"limit_bits_per_byte", "gap_bits_per_byte", "gap_bits_per_byte_stderr"}
    assert figures.keys() - evaluate(run).keys() == limit
