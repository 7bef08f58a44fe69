import json
import shlex

import pytest

import storyloom
from storyloom.cli import main

GOOD = ["--data", "D", "--config", "tiny.toml"]


def test_a_message_that_follows_notes_still_stands_alone(refused, tmp_path):
    """The note that D-char has another tokenizer came before the error that nothing could be trained."""
    message = refused(
        "train", "--data", "D-char", "--out", tmp_path / "X", *GOOD[2:], "--set", "model.block_size=40000"
    )
    assert "too small" in message


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
    assert outcome.out.splitlines() == [
        f"plot: {out / 'loss.png'}",
        f"tell a story: {shlex.join(['storyloom', 'tell', '--model', str(out)])}",
        f"look into it: {shlex.join(['storyloom', 'report', str(out)])}",
    ]
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


def test_commands_for_a_folder_whose_name_begins_with_a_dash(command, copied, tmp_path, monkeypatch):
    """`storyloom report '-r x'`, as it was printed, complained of an unknown option."""
    copied("R").rename(tmp_path / "-r x")
    monkeypatch.setattr(storyloom, "train", lambda *_, **__: None, raising=False)
    monkeypatch.setattr(storyloom, "plot_losses", lambda run: "P", raising=False)
    words = command("train", *GOOD, "--out", "-r x")
    _, tell, report = (shlex.split(line.partition(": ")[2])[1:] for line in words.out.splitlines())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*tell, "--max-new-tokens", "3"])
    assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        main(report)
    assert stop.value.code == 0
    assert (tmp_path / "-r x" / "report.html").is_file()
    monkeypatch.setattr(storyloom, "train", interrupt, raising=False)
    with pytest.raises(SystemExit):
        main(["train", "--out", "-r x", "--resume"])


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_after_ctrl_c_the_command_that_resumes_is_printed(command, copied, tmp_path, monkeypatch):
    """Typer swallowed the words of the KeyboardInterrupt, and nothing was printed."""
    run = copied("R").rename(tmp_path / "my run")
    monkeypatch.setattr(storyloom, "train", interrupt, raising=False)
    outcome = command("train", "--out", run, "--resume")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err == f"\nstoryloom: interrupted; to continue: storyloom train --out '{run}' --resume\n"
    assert shlex.split(outcome.err.partition("to continue: ")[2]) == [
        "storyloom",
        "train",
        "--out",
        str(run),
        "--resume",
    ]


def test_ctrl_c_before_anything_is_kept_promises_nothing(command, tmp_path, monkeypatch):
    monkeypatch.setattr(storyloom, "train", interrupt, raising=False)
    outcome = command("train", *GOOD, "--out", tmp_path / "X")
    assert outcome.status == 130
    assert "--resume" not in outcome.err
    assert "same command again" in outcome.err
