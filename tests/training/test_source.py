"""Plain text in, a story model out: a source named where a data folder may stand."""

import shutil
import sys
from pathlib import Path

import pytest

from storyloom.data import Data, prepare
from storyloom.errors import ConfigError, DataError, RunError
from storyloom.evaluation import evaluate
from storyloom.generation import load
from storyloom.runs import Run
from storyloom.temporary import is_temporary, temporary_path
from storyloom.training import train
from storyloom.training.folder import MARK


@pytest.fixture
def text(tmp_path, short_data) -> Path:
    """Sixty-seven short stories."""
    return Path(shutil.copy(short_data.path.parent / "a.txt", tmp_path / "a.txt"))


def test_a_text_becomes_a_data_folder_inside_the_run(tmp_path, tiny_file, text, computed):
    run = train(text, out=tmp_path / "R", config=tiny_file, progress=False)
    assert run.data_folder == tmp_path / "R" / "data"
    alone = prepare(text, out=tmp_path / "D", vocab_size=307)
    assert Data(run.data_folder).fingerprint == alone.fingerprint
    assert load(run.path).tell("Zoë", max_new_tokens=5).startswith("Zoë")
    assert computed(run.path) == computed(train(alone, out=tmp_path / "A", config=tiny_file, progress=False).path)


def test_the_run_can_be_moved(tmp_path, tiny_file, text):
    train(text, out=tmp_path / "R", config=tiny_file, settings=["train.max_steps=1"], progress=False)
    figures = evaluate(tmp_path / "R")
    (tmp_path / "R").rename(tmp_path / "moved")
    text.unlink()
    assert evaluate(tmp_path / "moved") == figures


def test_the_settings_of_the_data_are_the_configurations(tmp_path, tiny_file, text):
    settings = ["data.tokenizer=char", "data.val_fraction=0.3", "train.max_steps=1"]
    run = train(text, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    made = Data(run.data_folder).manifest.settings
    assert (made["tokenizer"], made["val_fraction"]) == ("char", 0.3)


@pytest.mark.parametrize("out", ["R", "new/R"])
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (["train.max_steps=none"], ConfigError),
        (["model.block_size=9999"], DataError),
        (["data.tokenizer=x"], Exception),
    ],
)
def test_what_is_refused_behind_the_preparing_leaves_nothing(tmp_path, tiny_file, text, out, settings, error):
    with pytest.raises(error):
        train(text, out=tmp_path / out, config=tiny_file, settings=settings, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "tiny.toml"]


def test_ctrl_c_just_behind_the_configuration_leaves_nothing(tmp_path, tiny_file, text, monkeypatch):
    """The data was removed and `config.toml` was not: a run that could neither go on nor begin anew."""

    def interrupted(path: Path) -> Run:
        assert (path / "config.toml").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["storyloom.training.begin"], "Run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(text, out=tmp_path / "R", config=tiny_file, progress=False)
    assert not (tmp_path / "R").exists()


def test_the_command_repeated_resumes(tmp_path, tiny_file, text, dying_at, computed):
    whole = train(text, out=tmp_path / "A", config=tiny_file, progress=False)
    with dying_at(5):
        train(text, out=tmp_path / "R", config=tiny_file, progress=False)
    with pytest.raises(RunError, match=r"was started with source = .*, not storybook: `resume`"):
        train("storybook", out=tmp_path / "R", resume=True, progress=False)
    again = train(text, out=tmp_path / "R", config=tiny_file, resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


@pytest.mark.parametrize("left", ["data", temporary_path(Path("data"), "partial").name], ids=["data", "partial"])
def test_a_start_that_died_while_preparing_begins_anew(tmp_path, tiny_file, text, left):
    (tmp_path / "R" / left).mkdir(parents=True)
    (tmp_path / "R" / "begun").write_bytes(MARK)
    (tmp_path / "R" / left / "manifest.json").write_text("half")
    run = train(text, out=tmp_path / "R", config=tiny_file, settings=["train.max_steps=1"], resume=True, progress=False)
    assert evaluate(run)["stories"] > 1
    assert not [path.name for path in run.path.iterdir() if is_temporary(path.name)]


def test_with_init_the_text_is_prepared_with_that_runs_tokenizer(tmp_path, tiny_file, text, short_data):
    first = train(short_data, out=tmp_path / "A", config=tiny_file, settings=["train.max_steps=1"], progress=False)
    run = train(
        text,
        out=tmp_path / "R",
        config=tiny_file,
        init=first.path,
        settings=["train.max_steps=1"],
        progress=False,
    )
    assert run.tokenizer.fingerprint == short_data.tokenizer.fingerprint
    assert Run(run.path).config.model.vocab_size == 283  # not the configuration's 307


def test_updates_that_are_all_warm_up_are_noted(tmp_path, tiny_file, short_data, capsys):
    train(short_data, out=tmp_path / "R", config=tiny_file, settings=["train.max_steps=2"])
    assert "note: all 2 updates lie in the warm-up of 2" in capsys.readouterr().err
