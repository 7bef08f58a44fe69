import shlex
import shutil

import pytest

import storyloom
from storyloom.cli import main
from storyloom.config import Config
from storyloom.data import Data
from storyloom.reporting import summary
from storyloom.reporting.record import Record
from storyloom.reporting.settings import commands, differences, settings_of

from .runs import train


def test_every_setting_is_there_once_with_its_default_and_meaning():
    settings = settings_of(Config().with_(train=Config().train.with_(grad_clip=None, seed=7)))
    names = [setting.name for setting in settings]
    fields = [f"{group}.{name}" for group, values in Config() for name in type(values).model_fields]
    assert names == fields
    assert all(setting.meaning for setting in settings)
    changed = {setting.name: (setting.value, setting.default) for setting in settings if not setting.is_default}
    assert changed == {"train.grad_clip": ("none", "1"), "train.seed": ("7", "1337")}


def test_runs_differ_in_settings_and_in_what_was_asked(make_record):
    records = [
        make_record([4.0], name="a", origin={"preset": "tiny", "minutes": 2.0}),
        make_record([4.0], name="b", origin={"preset": "laptop"}, learning_rate=0.004),
    ]
    assert differences(records) == {
        "preset": ["tiny", "laptop"],
        "minutes": ["2", "none"],
        "train.learning_rate": ["0.001", "0.004"],
    }


def test_runs_differ_in_what_they_were_made_from(make_record):
    origins = [
        {"init": "/a", "source": "my.txt", "data": "data", "data_fingerprint": "a" * 64},
        {"data": "/D", "data_fingerprint": "b" * 64},
    ]
    records = [make_record([4.0], name=f"r{n}", origin=origin) for n, origin in enumerate(origins)]
    assert differences(records) == {
        "init": ["/a", "none"],
        "source": ["my.txt", "none"],
        "data": ["data", "/D"],
        "data's checksum": ["a" * 12, "b" * 12],
    }


def test_the_run_is_asked_for_as_it_was(make_record):
    origin = {"preset": "tiny", "minutes": 2.5, "settings": ["train.seed=7", "model.norm=rmsnorm"], "init": "/a run"}
    typed = dict(commands(make_record([4.0], origin=origin)))
    assert typed["the run"].endswith(
        "--preset tiny --minutes 2.5 --init '/a run' --set train.seed=7 --set model.norm=rmsnorm"
    )


def test_a_run_from_anothers_weights_can_be_made_again(finished, story_data, tmp_path):
    """Without --init the command that is said to make the very same updates would begin with random weights."""
    settings = ["train.max_steps=3", "train.seed=7"]
    run = storyloom.train(
        story_data, out=tmp_path / "R", preset="tiny", settings=settings, init=finished, progress=False
    )
    words = shlex.split(dict(commands(Record(run)))["the very same updates, whatever the machine's speed"])
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--init"] == str(finished)
    again = storyloom.train(
        options["--data"], out=tmp_path / "S", config=options["--config"], init=options["--init"], progress=False
    )
    losses = [[row.loss for row in Record(each).train] for each in (run, again)]
    assert losses[0] == losses[1]


def test_a_source_is_named_where_the_run_prepared_it_itself(make_record):
    typed = dict(commands(make_record([4.0], origin={"data": "data", "source": "my text.txt", "preset": "tiny"})))
    assert typed["the run"] == "storyloom train --data 'my text.txt' --out RUN --preset tiny"
    assert not any("storyloom prepare" in line for line in typed.values())


def test_names_that_begin_with_a_dash_are_no_options(make_record, finished, tmp_path, monkeypatch):
    """`storyloom evaluate '-r x'`, as the page showed it, ended in: no such option."""
    shutil.copytree(finished, tmp_path / "-r x")
    monkeypatch.chdir(tmp_path)
    typed = dict(commands(Record("-r x")))
    assert typed["its loss"] == "storyloom evaluate './-r x'"
    assert typed["more stories"] == "storyloom tell --model './-r x'"
    assert "--config './-r x/config.toml'" in typed["the very same updates, whatever the machine's speed"]
    origin = {"data": "data", "source": "-my.txt", "preset": "tiny"}
    assert "--data ./-my.txt " in dict(commands(make_record([4.0], origin=origin)))["the run"]


def test_a_configuration_of_the_users_own_is_the_runs(make_record):
    record = make_record([4.0], origin={"config_sha256": "abc"})
    assert dict(commands(record))["the run"].endswith(f"--config {record.run.path}/config.toml")


def test_only_an_unfinished_run_can_be_gone_on_with(make_record, finished):
    assert "continue it" in dict(commands(make_record([4.0])))
    assert "continue it" not in dict(commands(Record(finished)))


@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 263, "val_fraction": 0.123456789},
        {"tokenizer": "char", "val": "held out.txt"},
        {"vocab_size": 269, "clean": True, "limit_mb": 0.00200010001},
    ],
    ids=str,
)
def test_the_data_can_be_made_again_by_its_command(tmp_path, monkeypatch, capsys, options):
    """Typed where the texts lie, it makes the very same data: their manifests have one fingerprint."""
    stories = [f"In year {i}  a cat met {i * i} dogs." for i in range(97)]
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    (tmp_path / "held out.txt").write_text("In year 7 a cat met 11 dogs. The end", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = storyloom.prepare("a.txt", out="D", **options)
    record = Record(train(data, tmp_path / "R", "train.max_steps=2", "train.eval_stories=1"))
    line = dict(commands(record))["the data, where its texts lie"]
    (tmp_path / "D").rename(tmp_path / "kept")
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(line)[1:])
    assert stop.value.code == 0, capsys.readouterr().err
    assert Data("D").fingerprint == data.fingerprint


def test_a_folder_that_has_no_name_is_named(tmp_path, monkeypatch):
    """`prepare .` writes down the name of `Path(".")`, which is none."""
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(f"story {i}" for i in range(97)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    storyloom.prepare(".", out="D", tokenizer="char")
    settings = ("model.block_size=11", "train.max_steps=2", "train.eval_stories=1")
    record = Record(train(Data("D"), tmp_path / "R", *settings))
    line = dict(commands(record))["the data, where its texts lie"]
    assert line.startswith("storyloom prepare . --out")
    assert "--val-fraction 0.1" in line
    assert summary.text_of(record).startswith("a folder (")
