import json
import shlex

import pytest

import storyloom

GOOD = ["--data", "D", "--config", "tiny.toml"]


def setting(text):
    return [*GOOD, "--set", text]


REFUSALS = {
    "no data": (["--config", "tiny.toml"], ["no data", "--data", "storyloom prepare"]),
    "no such data": (["--data", "nope"], ["nope is no data folder", "manifest.json", "storyloom prepare"]),
    "a folder that is no data": (["--data", "emptydir"], ["emptydir is no data folder"]),
    "one story as data": (["--data", "one.txt", "--config", "tiny.toml"], ["no story in one.txt", "add stories"]),
    "a text that is not UTF-8": (["--data", "latin.txt", "--config", "tiny.toml"], ["latin.txt", "line 3", "iconv"]),
    "a file that is no text": (["--data", "afile"], ["cannot read afile", ".txt"]),
    "too little text": (
        ["--data", "D-small", "--config", "tiny.toml", "--set", "model.block_size=1009"],
        ["tokens", "too small", "block_size = 1009", "1010", "--set model.block_size="],
    ),
    "preset and config": ([*GOOD, "--preset", "tiny"], ["--preset and --config contradict each other"]),
    "unknown preset": (["--data", "D", "--preset", "tinny"], ["'tinny'", "did you mean 'tiny'?", "laptop"]),
    "missing config": (["--data", "D", "--config", "no.toml"], ["no.toml", "storyloom presets"]),
    "a folder as config": (["--data", "D", "--config", "emptydir"], ["cannot read the configuration", "emptydir"]),
    "broken TOML": (["--data", "D", "--config", "broken.toml"], ["broken.toml is not valid TOML", "line 1"]),
    "TOML that is not UTF-8": (["--data", "D", "--config", "latin.toml"], ["latin.toml", "byte 3", "UTF-8"]),
    "unknown group in a file": (["--data", "D", "--config", "misspelt.toml"], ["trian", "did you mean 'train'?"]),
    "no limit": (["--data", "D", "--config", "endless.toml"], ["no end", "--minutes", "max_steps", "max_epochs"]),
    "minutes 0": ([*GOOD, "--minutes", "0"], ["--minutes 0", "above 0", "--minutes 10"]),
    "minutes for ever": ([*GOOD, "--minutes", "inf"], ["--minutes inf", "finite"]),
    "minutes in words": ([*GOOD, "--minutes", "soon"], ["'--minutes'", "(got 'soon')"]),
    "too few minutes": ([*GOOD, "--minutes", "0.0001"], ["--minutes 0.0001 is too little", "minutes here", "allow"]),
    "unknown setting": (setting("model.n_layr=3"), ["model.n_layr", "did you mean 'n_layer'?"]),
    "unknown training setting": (setting("train.learning_rat=3"), ["did you mean 'learning_rate'?"]),
    "unknown group": (setting("modle.n_layer=3"), ["'modle'", "did you mean 'model'?"]),
    "no group": (setting("n_layer=3"), ["'n_layer=3'", "GROUP.NAME=VALUE", "--set model.n_layer=6"]),
    "no value": (setting("model.n_layer"), ["GROUP.NAME=VALUE"]),
    "wrong type": (setting("model.n_layer=three"), ["model.n_layer = 'three'", "integer"]),
    "fraction": (setting("model.n_layer=2.5"), ["model.n_layer = 2.5", "integer"]),
    "too small": (setting("model.n_layer=0"), ["model.n_layer = 0", "1"]),
    "too large": (setting("model.n_layer=257"), ["model.n_layer = 257", "256"]),
    "unknown choice": (setting("model.norm=layernrm"), ["'layernrm'", "did you mean 'layernorm'?", "rmsnorm"]),
    "min_lr too high": (setting("train.min_lr=0.5"), ["min_lr = 0.5", "learning_rate = 0.001", "lower min_lr"]),
    "heads": (setting("model.n_head=3"), ["n_embd = 32", "n_head = 3", "not divisible", "multiple"]),
    "an option without value": (["--data"], ["'--data' requires an argument", "--help"]),
    "unknown option": ([*GOOD, "--minuts", "3"], ["--minuts", "--minutes", "see `storyloom train --help`"]),
    "resume where no run is": (["--resume"], ["no run", "--data"]),
}


@pytest.mark.parametrize(("words", "fragments"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(refused, tmp_path, words, fragments):
    message = refused("train", "--out", tmp_path / "X", *words)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def test_a_message_that_follows_notes_still_stands_alone(refused, tmp_path):
    """The note that D-char has another tokenizer came before the error that nothing could be trained."""
    message = refused(
        "train", "--data", "D-char", "--out", tmp_path / "X", *GOOD[2:], "--set", "model.block_size=40000"
    )
    assert "too small" in message


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([*GOOD, "--out", "R"], ["R exists already", "--resume", "--out"]),
        ([*GOOD, "--out", "D"], ["D exists already", "--out"]),
        ([*GOOD, "--out", "D", "--resume"], ["D exists already"]),
        ([*GOOD, "--out", "afile"], ["afile exists already"]),
        ([*GOOD, "--out", "afile/X"], ["cannot use afile/X: Not a directory", "another place"]),
        (GOOD, ["Missing option '--out'", "see `storyloom train --help`"]),
    ],
)
def test_an_out_that_cannot_be_made(refused, words, fragments):
    message = refused("train", *words)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--set", "model.n_layer=3"], ["model.n_layer", "not 3", "leave the option out"]),
        (["--preset", "laptop"], ["preset", "not laptop"]),
        (["--minutes", "7"], ["minutes", "not 7"]),
        (["--config", "endless.toml"], ["config_sha256", "leave the option out"]),
        (["--data", "D-char"], ["D-char is not the data that R was trained on"]),
    ],
)
def test_resume_with_changed_options(refused, words, fragments):
    message = refused("train", "--out", "R", "--resume", *words)
    assert message.count("R ") == 1
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train-00000.bin", lambda path: path.write_bytes(path.read_bytes()[:-4])),
        ("val-00000.bin", lambda path: path.write_bytes(path.read_bytes()[::-1])),
        ("val.txt", lambda path: path.write_text("another story", encoding="utf-8")),
        ("train-00000.bin", lambda path: path.unlink()),
        ("tokenizer.json", lambda path: path.write_bytes((path.parents[1] / "other.json").read_bytes())),
        ("manifest.json", lambda path: path.write_text("{", encoding="utf-8")),
        ("manifest.json", lambda path: path.write_text('{"format": 1}', encoding="utf-8")),
        ("manifest.json", lambda path: path.write_text('{"format": 61}', encoding="utf-8")),
    ],
)
def test_data_that_was_altered(refused, copied, workspace, tmp_path, name, damage):
    """A manifest of the right format without anything else in it ended in a KeyError."""
    (tmp_path / "other.json").write_bytes((workspace / "D-char" / "tokenizer.json").read_bytes())
    data = copied("D")
    damage(data / name)
    message = refused("train", "--data", data, "--out", tmp_path / "X", "--config", "tiny.toml")
    assert str(data) in message
    assert "prepare" in message


def test_it_trains_and_leaves_plot_and_metrics(command, tmp_path):
    out = tmp_path / "my run"
    outcome = command("train", *GOOD, "--out", out, "--set", "train.max_steps=3", "--set", "model.n_layer=1")
    assert outcome.status == 0
    assert (
        outcome.out
        == f"plot: {out / 'loss.png'}\ntell a story: {shlex.join(['storyloom', 'tell', '--model', str(out)])}\n"
    )
    assert "step 3  validation" in outcome.err
    assert "done in" in outcome.err
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2, 3]
    assert rows[-1]["kind"] == "final"


def test_data_made_otherwise_is_noted(command, tmp_path):
    """A size of the vocabulary was noted as differing where characters decide it."""
    outcome = command("train", "--data", "D-char", *GOOD[2:], "--out", tmp_path / "X", "--set", "train.max_steps=3")
    notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: the configuration asks for data.tokenizer = bpe, D-char was prepared with char, which holds"
    ]


def test_a_finished_run_is_not_resumed(command, copied):
    run = copied("R")
    outcome = command("train", "--out", run, "--resume")
    assert outcome.status == 0
    assert outcome.err == f"note: {run} is finished already: nothing to resume\n"


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_after_ctrl_c_the_command_that_resumes_is_printed(command, copied, tmp_path, monkeypatch):
    """Typer swallowed the words of the KeyboardInterrupt, and nothing was printed."""
    run = copied("R").rename(tmp_path / "my run")
    monkeypatch.setattr(storyloom, "train", interrupt, raising=False)
    outcome = command("train", "--out", run, "--resume")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err == f"\nstoryloom: interrupted; to go on: storyloom train --out '{run}' --resume\n"
    assert shlex.split(outcome.err.partition("to go on: ")[2]) == ["storyloom", "train", "--out", str(run), "--resume"]


def test_ctrl_c_before_anything_is_kept_promises_nothing(command, tmp_path, monkeypatch):
    monkeypatch.setattr(storyloom, "train", interrupt, raising=False)
    outcome = command("train", *GOOD, "--out", tmp_path / "X")
    assert outcome.status == 130
    assert "--resume" not in outcome.err
    assert "same command again" in outcome.err
