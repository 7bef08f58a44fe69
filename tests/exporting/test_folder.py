"""Model folders: what they hold, what they give without run and data, and what is refused."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import storyloom
from storyloom.config.formats import content_checksum
from storyloom.data.tokenization import CharTokenizer
from storyloom.errors import CheckpointError, ConfigError, DataError, RunError, StoryloomError
from storyloom.evaluation import measure_likelihood
from storyloom.files import find_damage, seal
from storyloom.runs import ModelFolder, Run, open_model
from storyloom.runs.model_folder import DTYPES, dequantized, quantized_to_int8, write_model_folder
from storyloom.training import train

FILES = {"card.md", "config.json", "manifest.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory, story_data) -> Run:
    folder = tmp_path_factory.mktemp("run")
    settings = [
        *("model.n_layer=2", "model.n_head=2", "model.n_embd=28", "model.block_size=37", "model.position=learned"),
        *("train.max_steps=5", "train.batch_size=3", "train.warmup_steps=1", "train.precision=fp32"),
        *("train.compile=false", "train.threads=1", "train.eval_stories=3"),
    ]
    return train(story_data, out=folder / "R", settings=settings, progress=False)


@pytest.fixture
def folder(run, tmp_path):
    """A model folder far from its run."""

    def make(dtype: str = "float32") -> ModelFolder:
        made = storyloom.export(run, tmp_path / "made", dtype=dtype)
        shutil.copytree(made, tmp_path / "copy")
        return ModelFolder(tmp_path / "copy")

    return make


def test_its_files_and_what_they_hold(run, folder):
    made = folder()
    assert {path.name for path in made.path.iterdir()} == FILES
    assert (made.start, made.end, made.dtype) == (run.tokenizer.eot, run.tokenizer.eot, "float32")
    assert made.model_config == run.config.model
    assert made.tokenizer.fingerprint == run.tokenizer.fingerprint
    kept, own = load_file(made.path / "model.safetensors"), run.read_weights()
    assert kept.keys() == own.keys()
    assert all(torch.equal(kept[name], own[name]) for name in own)


def test_it_tells_and_evaluates_as_its_run_does(run, folder, story_data):
    made = folder()
    for options in ({"strategy": "greedy"}, {"strategy": "top-p"}, {"strategy": "beam"}):
        told = [storyloom.load(each).tell("One day", seed=3, max_new_tokens=23, **options) for each in (run, made.path)]
        assert told[0] == told[1]
    figures = [storyloom.evaluate(each, data=story_data) for each in (run, made.path)]
    assert figures[0] == figures[1]


def test_a_training_begins_with_its_weights(folder, story_data, tmp_path):
    made = folder("int8")
    settings = ["train.max_steps=1", "train.learning_rate=1e-9", "train.compile=false", "train.warmup_steps=0"]
    begun = train(story_data, out=tmp_path / "R", init=made.path, settings=settings, progress=False)
    assert begun.config.model == made.model_config
    own, weights = made.read_weights(), begun.read_weights("last")
    assert all(torch.allclose(weights[name], own[name], rtol=0, atol=1e-7) for name in own)
    again = train(out=tmp_path / "S", repeat=begun.path, progress=False)
    assert all(torch.equal(weight, again.read_weights("last")[name]) for name, weight in weights.items())


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_dtype_costs(run, folder, story_data, dtype):
    made = folder(dtype)
    own = run.read_weights()
    for name, weight in made.read_weights().items():
        assert weight.dtype == torch.float32
        if dtype == "int8" and weight.dim() == 2:
            scale = own[name].abs().amax(dim=1, keepdim=True) / 127
            assert ((weight - own[name]).abs() <= scale * 0.5001).all()
        else:
            torch.testing.assert_close(weight, own[name], rtol=2**-8 if dtype == "bf16" else 0, atol=0)
    sizes = {"float32": 4, "bf16": 2, "int8": 1}
    assert (made.path / "model.safetensors").stat().st_size < sizes[dtype] * 1.5 * sum(w.numel() for w in own.values())
    loss = [storyloom.evaluate(each, data=story_data)["bits_per_byte"] for each in (run, made.path)]
    assert loss[1] == pytest.approx(loss[0], abs=0 if dtype == "float32" else 3e-3)


def test_int8_by_hand():
    weight = torch.tensor([[2.54, -1.0, 0.013], [0.0, 0.0, 0.0], [-127.0, 63.4, 0.6]])
    kept = quantized_to_int8({"w": weight, "gain": torch.tensor([0.3, 0.7])})
    assert kept["w"].tolist() == [[127, -50, 1], [0, 0, 0], [-127, 63, 1]]
    torch.testing.assert_close(kept["w.scale"], torch.tensor([0.02, 0.0, 1.0]))
    back = dequantized(kept)
    torch.testing.assert_close(back["w"], torch.tensor([[2.54, -1.0, 0.02], [0.0, 0.0, 0.0], [-127.0, 63.0, 1.0]]))
    assert back.keys() == {"w", "gain"}


def test_other_tokens_than_our_own(run, tmp_path, story_data):
    """Models of others begin a sequence with another token than they end it with."""
    tokens = {"start": 7, "end": 11}
    tokenizer, weights = run.tokenizer, run.read_weights()
    write_model_folder(tmp_path / "M", run.config.model, weights, tokenizer, **tokens, dtype="float32", card="")
    teller = storyloom.load(tmp_path / "M")
    ids = tokenizer.encode("One day")
    logits = teller.model(torch.tensor([[7, *ids]]))[0, -1]
    assert teller.generate("One day", strategy="greedy", max_new_tokens=1).ids == (int(logits.argmax()),)
    short = [replace(story, ids=story.ids[:36]) for story in story_data.val_stories(3)]
    measured = measure_likelihood(teller.model, short, 11, 7)
    by_hand = 0.0
    for story in short:
        row = [7, *story.ids.tolist(), 11]
        log_p = teller.model(torch.tensor([row[:-1]])).log_softmax(-1)[0].detach()
        by_hand -= float(log_p.gather(1, torch.tensor(row[1:]).unsqueeze(1)).sum())
    assert float(measured.nats.sum()) == pytest.approx(by_hand, rel=1e-5)


def test_a_model_folder_can_be_exported_again(folder, tmp_path):
    made = folder("int8")
    again = ModelFolder(storyloom.export(made.path, tmp_path / "again"))
    assert again.dtype == "float32"
    own = made.read_weights()
    assert all(torch.equal(weight, own[name]) for name, weight in again.read_weights().items())


def test_what_is_there_is_not_overwritten(run, tmp_path):
    (tmp_path / "M").mkdir()
    (tmp_path / "M" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"M exists already: choose another `out`"):
        storyloom.export(run, tmp_path / "M")
    assert [path.name for path in tmp_path.iterdir()] == ["M"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"to": "foldr"}, "did you mean 'folder'"),
        ({"dtype": "int9"}, "did you mean 'int8'"),
        ({"checkpoint": "first"}, "known are best, last"),
    ],
)
def test_what_cannot_be_exported_is_refused(run, tmp_path, options, part):
    with pytest.raises(ConfigError) as caught:
        storyloom.export(run, tmp_path / "M", **options)
    assert part in str(caught.value)
    assert [*tmp_path.iterdir()] == []


def test_without_data_it_cannot_be_evaluated(folder):
    with pytest.raises(DataError, match="has no data: name some as `data`, or stories as `text`"):
        storyloom.evaluate(folder().path)


def test_it_has_one_checkpoint(folder):
    with pytest.raises(ConfigError, match=r"`checkpoint` = last, but .* is a model folder"):
        storyloom.load(folder().path, "last")


@pytest.mark.parametrize("name", sorted(FILES - {"card.md"}))
def test_damage_is_named(folder, name):
    path = folder().path
    whole = (path / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-3] + b"???", None):
        if content is None:
            (path / name).unlink()
        else:
            (path / name).write_bytes(content)
        with pytest.raises(StoryloomError) as caught:
            storyloom.load(path).tell("One")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        (path / name).write_bytes(whole)
    storyloom.load(path)


def test_the_card_may_be_written_on(folder):
    made = folder()
    text = (made.path / "card.md").read_text()
    assert "validation stories" in text
    (made.path / "card.md").write_text(text + "Mine.\n")
    assert find_damage(made.path) is None
    assert storyloom.load(made.path).tell(seed=3, max_new_tokens=3)


@pytest.mark.parametrize(
    "change", [{"start_token": 307}, {"end_token": -1}, {"dtype": "int4"}, {"end_token": None}, {"start_token": "0"}]
)
def test_what_it_says_is_checked(folder, change):
    """Under right checksums: another tool may have written it."""
    path = folder().path
    content = json.loads((path / "config.json").read_text()) | change
    found = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    (path / "config.json").write_text(json.dumps(content | {"sha256": content_checksum(found)}))
    seal(path)
    with pytest.raises(RunError, match=r"config\.json names no start and end token"):
        ModelFolder(path)


def test_what_is_neither_is_said_in_the_words_of_a_run(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        open_model(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        open_model(tmp_path / "nothing")


def reseal(path):
    """As another program would leave it: changed, and with right checksums."""
    seal(path)
    return path


@pytest.mark.parametrize(
    ("dtype", "change"),
    [
        ("int8", lambda kept: kept.pop("embedding.weight.scale")),
        ("int8", lambda kept: kept.update({"embedding.weight.scale": kept["embedding.weight.scale"][1:]})),
        ("int8", lambda kept: kept["embedding.weight.scale"].fill_(float("nan"))),
        ("int8", lambda kept: kept.update({"embedding.weight": kept["embedding.weight"].float()})),
        ("float32", lambda kept: kept.update({"embedding.weight": kept["embedding.weight"].to(torch.int8)})),
        ("float32", lambda kept: kept.update({"norm.weight": kept["norm.weight"].bfloat16()})),
        ("bf16", lambda kept: kept.update({"norm.weight": kept["norm.weight"] * float("inf")})),
        ("float32", lambda kept: kept.pop("norm.weight")),
    ],
)
def test_weights_are_as_their_dtype_says(folder, dtype, change):
    """An int8 matrix without a scale was taken for numbers from -127 to 127."""
    path = folder(dtype).path
    kept = load_file(path / "model.safetensors")
    change(kept)
    save_file(kept, path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds|do not fit") as caught:
        storyloom.load(reseal(path))
    assert str(path) in str(caught.value)


def test_weights_that_are_none_are_refused(folder):
    path = folder().path
    (path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        storyloom.load(reseal(path))


def test_another_tokenizer_is_refused(folder):
    path = folder().path
    CharTokenizer.train(["abc"], 0).save(path / "tokenizer.json")
    with pytest.raises(RunError, match=r"tokenizer\.json has 5 tokens, the model 307"):
        storyloom.load(reseal(path))


def test_a_manifest_that_vouches_for_nothing_is_refused(folder):
    path = folder().path
    (path / "manifest.json").write_text('{"sha256": {}}')
    with pytest.raises(RunError, match=r"manifest\.json cannot be read"):
        storyloom.load(path)


@pytest.mark.parametrize(("out", "part"), [("a\0b", "NUL"), ("", "is empty"), (7, "must be a path"), (None, "must be")])
def test_what_is_no_path_is_refused(run, out, part):
    with pytest.raises(RunError, match=part):
        storyloom.export(run, out)


def test_a_place_below_a_file_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="lies below a file"):
        storyloom.export(run, tmp_path / "file" / "M")
