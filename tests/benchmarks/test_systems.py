"""Who is compared, what is run and what is made of the lines, by hand. Only the last tests train, tiny models."""

import json
import math
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from unittest.mock import patch

import pytest
import systems
import systems_contestants
from systems_contestants import ALL, CONTESTANTS, Contestant, Job, data_settings, jobs_of
from systems_report import document, first_at_or_below, header_of, indented, time_to, wrapped

from storyloom.cli import main as storyloom_main
from storyloom.config import apply_settings, load_preset
from storyloom.data import Data
from storyloom.errors import RunError
from storyloom.generation import make_strategy

from ..invented import eval_row, final_row, start_row, train_row

ORIGIN = {"text": "T.txt", "text_sha256": "abc", "text_bytes": 9_000_011}
ORIGIN |= {"val": "V.txt", "val_sha256": "def", "val_bytes": 700_001}
BITS = {
    "gpt-2layer": 2.5,
    "char-mini": 2.0,
    "gpt2-small": 3.5,
    "slm-30m": 3.0,
    "gpt-5m": 1.25,
    "laptop-characters": 1.5,
}


def line(job, **changes):
    """The line of a finished run; ours is at 8/9, 4/5, ... of 2 bits/byte after half a minute, 1, ..."""
    bits = BITS.get(job.name) or 2 * 4 / (4 + job.minutes)
    row = {"parameters": 2_190_000, "threads": 3, "precision": "fp32", "compiled": True, "device": "abacus"}
    row |= {"updates": 1_709, "tokens": 7_000_003, "epochs": 2.517, "tokens_per_second": 10_007}
    row |= {"nats_per_token": 3 * bits, "bits_per_byte": bits, "bits_per_byte_stderr": 0.0125}
    row |= {"held_out_stories": 593, "held_out_bytes": 500_009, "held_out_sha256": "fed", "peak_memory": 1_234_567_890}
    row |= {"first_training_nats_per_token": 7.625, "first_training_bits_per_byte": 3.0625}
    row |= {"last_training_nats_per_token": 1.5, "last_training_bits_per_byte": 0.75}
    row |= {
        "minutes_taken": job.minutes + 0.25,
        "comparable": job.name != "gpt-5m",
        "why_not_comparable": "odd letters",
    }
    row |= {"cpu": "Abacus", "cores": 3, "python": "4", "torch": "9", "storyloom": "8", "date": "2031-02-03"}
    row |= {"samples": [{"strategy": "greedy", "options": {}, "command": "tell it", "story": f"{job.name} told."}]}
    return {**job.as_row(), **row, "commands": job.commands("T.txt", "V.txt"), **ORIGIN, **changes}


class Runner:
    """Trains nothing; dies at a run where it is told so."""

    def __init__(self, dies_at=None):
        self.jobs, self.prepared, self.dies_at = [], [], dies_at

    def run(self, job):
        if len(self.jobs) == self.dies_at:
            raise KeyboardInterrupt
        self.jobs.append(job)
        return {name: value for name, value in line(job).items() if name not in job.as_row()}

    def prepare(self, contestant):
        assert not self.jobs
        self.prepared.append(contestant.preset)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def go(path, runner, names=(), minutes=10.0):
    systems.run_missing(jobs_of(minutes, names), path, runner.run, runner.prepare)


def described(jobs):
    return [(job.name, job.minutes) for job in jobs]


EVERYTHING = [
    *((name, 10) for name in ("gpt-2layer", "char-mini", "gpt2-small", "slm-30m", "gpt-5m", "laptop")),
    ("laptop-characters", 10),
    *(("laptop", minutes) for minutes in (0.5, 1, 2, 5, 30)),
]


def test_every_system_has_the_same_minutes_and_ours_fewer_and_more():
    assert described(jobs_of(10)) == EVERYTHING
    assert described(jobs_of(3, ["laptop", "gpt-5m"])) == [
        *(("gpt-5m", 3), ("laptop", 3)),
        *(("laptop", minutes) for minutes in (0.5, 1, 2, 5, 10, 30)),
    ]


@pytest.mark.parametrize("dies_at", [0, 3, 10])
def test_a_killed_run_is_run_again_and_no_other(path, dies_at):
    with pytest.raises(KeyboardInterrupt):
        go(path, Runner(dies_at))
    assert len(systems.read_results(path)) == dies_at
    second = Runner()
    go(path, second)
    assert described(second.jobs) == EVERYTHING[dies_at:]
    assert len(second.prepared) == len(EVERYTHING) - dies_at
    rows = systems.read_results(path)
    assert [(row["system"], row["minutes_asked"]) for row in rows] == EVERYTHING


def test_a_system_with_other_settings_is_another_run(path):
    go(path, Runner(), ["slm-30m"])
    changed = replace(CONTESTANTS["slm-30m"], settings=("train.compile=true",))
    with patch.dict(CONTESTANTS, {"slm-30m": changed}):
        second = Runner()
        go(path, second, ["slm-30m"])
    assert described(second.jobs) == [("slm-30m", 10)]


def test_a_preset_with_another_value_is_another_run_and_with_another_comment_the_same(path, monkeypatch):
    go(path, Runner(), ["gpt-5m"])
    real = systems_contestants.preset_text
    for change, again in ((("# As", "# Not as"), 0), (("n_layer = 6", "n_layer = 7"), 1)):
        monkeypatch.setattr(systems_contestants, "preset_text", lambda name, change=change: real(name).replace(*change))
        assert real("gpt-5m").count(change[0]) == 1
        second = Runner()
        go(path, second, ["gpt-5m"])
        assert len(second.jobs) == again


def test_settings_and_ways_to_tell_are_possible():
    for contestant in CONTESTANTS.values():
        apply_settings(load_preset(contestant.preset), contestant.settings)
        for strategy, options in contestant.decoding.items():
            make_strategy(strategy, **options)


@pytest.mark.parametrize(("name", "minutes"), [("gpt-5m", 10), ("laptop-characters", 0.5)])
def test_commands_are_those_of_the_command_line(name, minutes, tmp_path, monkeypatch, capsys):
    """The parser takes them whole: with no file in place all that they complain of is that."""
    monkeypatch.chdir(tmp_path)
    prepare, train = (command.split() for command in Job(name, CONTESTANTS[name], minutes).commands("T.txt", "V.txt"))
    assert ("--val" in prepare) == (name == "gpt-5m")
    assert train[-2:] == ["--minutes", f"{minutes:g}"]
    for words, complaint in ((prepare, "no such file: T.txt"), (train, "DATA")):
        with pytest.raises(SystemExit) as stop:
            storyloom_main(words[1:])
        assert stop.value.code == 2
        assert complaint in capsys.readouterr().err


def test_folders_of_data_are_shared_where_the_text_is_prepared_alike(tmp_path):
    """The limit of 51 MB of one is beyond a text of 9 MB, and the other has none."""
    settings = {name: data_settings(contestant, 9_000_011) for name, contestant in CONTESTANTS.items()}
    assert settings["gpt-2layer"] == settings["gpt2-small"] == settings["slm-30m"]
    assert settings["char-mini"] == settings["laptop-characters"] != settings["gpt-5m"]
    assert settings["char-mini"].limit_mb == 1
    assert data_settings(CONTESTANTS["gpt-2layer"], 51_000_001).limit_mb == 51


def test_the_last_training_loss_is_the_mean_of_the_last_hundredth_of_the_updates():
    """Of 250 updates the last two; of 2,900 the last 29; of 53 the last one."""
    ends = [start_row(device="abacus"), final_row(minutes=1.5, text_sha256="0123456789abcdef")]
    for count, last in ((250, 249.5), (2900, 2886.0), (53, 53.0)):
        rows = [train_row(step, loss=step, bits_per_byte=2 * step) for step in range(1, count + 1)]
        losses = systems.losses_of([ends[0], eval_row(), *rows, ends[1]])
        assert (losses["first_training_nats_per_token"], losses["last_training_nats_per_token"]) == (1, last)
        assert (losses["first_training_bits_per_byte"], losses["last_training_bits_per_byte"]) == (2, 2 * last)
    assert (losses["device"], losses["minutes_taken"], losses["held_out_sha256"]) == ("abacus", 1.5, "0123456789ab")
    assert (losses["comparable"], losses["why_not_comparable"]) == (True, None)


def test_the_first_run_that_is_there_is_quoted():
    ladder = [
        {"minutes_asked": 2**n, "minutes_taken": 2**n + 0.5, "bits_per_byte": bits, "bits_per_byte_stderr": 0.01}
        for n, bits in enumerate((1.5, 1.25, 0.875))
    ]
    assert first_at_or_below(1.25, ladder) is ladder[1]
    assert first_at_or_below(0.874, ladder) is None
    assert time_to(1.25, ladder) == ("1.250 ± 0.010", "2 (took 2.5)")
    assert time_to(0.5, ladder) == ("0.875 ± 0.010", "not reached in 4")
    assert time_to(0.5, []) == ("not run yet", "not run yet")


def tables(text):
    """All lines of tables, cell by cell, by their first cell."""
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("| ")]
    return {name: [row[1:] for row in rows if row[0] == name] for name in {row[0] for row in rows}}


@pytest.fixture
def finished(path):
    go(path, Runner())
    return systems.read_results(path)


def test_the_page_has_every_figure(finished):
    shown = tables(document(finished))
    assert shown["`slm-30m`"] == [
        [
            *("2.19M", "1,709", "7,000,003", "2.52", "10,007", "1,235"),
            *("7.62 to 1.50", "3.06 to 0.750", "9.000", "3.000 ± 0.013", "10.2"),
        ]
    ]
    assert shown["`gpt-5m`"][0][9] == "1.250 ± 0.013, not comparable"
    assert "Its bits/byte are not comparable: odd letters." in document(finished)


def test_the_page_says_how_soon_ours_reaches_what_others_have_published(finished):
    """Ours is at 1.78, 1.6, 1.33, 0.89 and 0.57 bits/byte after 0.5, 1, 2, 5 and 10 minutes."""
    shown = tables(document(finished))
    reached = {name: shown[name][0][1:4] for name in shown if name.endswith("`)")}
    assert reached == {
        "TinyStories GPT (`gpt-2layer`)": ["1.40", "1.333 ± 0.013", "2 (took 2.2)"],
        "MiniGPT (`char-mini`)": ["-", "-", "-"],
        "Tiny Tales (`gpt2-small`)": ["0.84", "0.571 ± 0.013", "10 (took 10.2)"],
        "Small Language Model (`slm-30m`)": ["0.83", "0.571 ± 0.013", "10 (took 10.2)"],
        "TinyStories LLM (`gpt-5m`)": ["2.02", "1.778 ± 0.013", "0.5 (took 0.8)"],
    }
    assert shown["5"] == [["5.2", "1,709", "7,000,003", "2.667", "0.889 ± 0.013"]]


def test_characters_are_compared_by_their_relative_difference(finished):
    assert "1.500 and 2.000 bits per character, 25.0% less." in document(finished)


def test_the_page_says_where_when_and_how(finished):
    text = document(finished)
    for fact in (
        "text: `T.txt` (SHA-256 abc..., 9,000,011 bytes)",
        "validation: `V.txt` (SHA-256 def..., 700,001 bytes)",
        "machine: Abacus, 3 cores",
        "versions: Python 4, torch 9, storyloom 8",
        "days: 2031-02-03",
        "runs: 12, together 112 minutes",  # 7 of 10.25 and 39.75 of the others
    ):
        assert text.count(f"- {fact}\n") == 1
    assert "    storyloom prepare T.txt --val V.txt --out DATA --preset slm-30m\n" in text
    assert "`tell it`\n\n    gpt2-small told.\n" in text


def test_the_page_holds_without_a_line_with_some_and_with_failed_ones(finished):
    everyone = {f"`{name}`" for name in CONTESTANTS}
    for rows in ([], finished[:2], [line(Job("slm-30m", CONTESTANTS["slm-30m"], 10.0), failed="too little")]):
        shown = tables(document(rows))
        assert everyone <= shown.keys()
        assert shown["`laptop`"][0][9] == "not run yet"
    assert shown["`slm-30m`"][0][9] == "failed: too little"
    assert "Nothing has been measured yet" in document([])
    for contestant in CONTESTANTS.values():
        assert contestant.title in document([])


def test_each_equal_time_has_a_table_of_its_own(finished):
    rows = [*finished, line(Job("gpt-5m", CONTESTANTS["gpt-5m"], 20.0))]
    shown = tables(document(rows))
    assert [row[-1] for row in shown["`gpt-5m`"]] == ["10.2", "20.2"]
    assert [row[-2] for row in shown["`laptop`"]] == ["0.571 ± 0.013", "not run yet"]


def test_a_presets_header_becomes_prose_with_its_commands_as_code():
    preset = "# name: what\n#\n# Do\n#   storyloom prepare\n#   storyloom train\n# so.\n[data]\n# not this\n"
    assert header_of(preset) == "name: what\n\nDo\n\n    storyloom prepare\n    storyloom train\n\nso.\n"


def test_a_long_sample_is_cut_between_words(finished):
    (row,) = (row for row in finished if row["system"] == "gpt-5m")
    text = document([{**row, "samples": [{"command": "tell it", "story": "an owl " * 60}]}])
    assert f"{'an owl ' * 42}an ...".split() == text.partition("`tell it`")[2].partition("###")[0].split()


def test_no_sample_can_break_the_page():
    story = "Once\n```\n" + "far " * 53 + "\x1b[31m"
    block = indented(wrapped(story)).splitlines()
    assert all(row.startswith("    ") and row.isprintable() and len(row) <= 114 for row in block)
    assert block[:2] == ["    Once", "    ```"]


@pytest.fixture
def command(tmp_path, monkeypatch, path, text):
    """The command line, on fifty-three stories."""
    monkeypatch.setattr(systems, "DOCUMENT", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(systems, "RESULTS", path)
    return lambda *words: systems.main(["--work", str(tmp_path / "work"), *words])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--text", "nowhere.txt", "--val", "{text}"], "no text at nowhere.txt: name a file of stories with --text"),
        (["--text", "{text}", "--val", "nowhere.txt"], "no text at nowhere.txt: name a file of stories with --val"),
        (["--text", "{text}", "--val", "{text}", "--systems", "gpt-2layers"], "did you mean 'gpt-2layer'"),
        (["--text", "{text}", "--val", "{text}", "--minutes", "0"], "--minutes 0 must be above 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, command, text, capsys, words, says):
    assert command(*(word.format(text=text) for word in words)) == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [text]


def test_lines_of_another_text_are_not_mixed(tmp_path, command, path, text, capsys):
    go(path, Runner(), ["laptop"])
    before = path.read_bytes()
    assert command("--text", str(text), "--val", str(text)) == 2
    assert "of another text (abc)" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_child_that_is_killed_is_said_in_one_line(tmp_path, text, monkeypatch):
    killed = Future()
    killed.set_exception(BrokenProcessPool())
    monkeypatch.setattr(systems, "begin_in_own_process", lambda *_: killed)
    bench = systems.Bench(text, text, tmp_path)
    monkeypatch.setattr(bench, "data_for", lambda _: tmp_path)
    with pytest.raises(RunError, match="gpt-5m, 10 minutes was killed"):
        bench.run(Job("gpt-5m", CONTESTANTS["gpt-5m"], 10.0))


SMALL = ("model.n_layer=1", "model.n_embd=32", "model.n_head=2", "model.n_mlp=32", "train.batch_size=3")
QUICK = ("train.threads=1", "train.precision=fp32", "train.compile=false", "train.max_steps=7", "train.eval_stories=3")


@pytest.fixture
def validation(tmp_path, text):
    """The first five stories."""
    path = tmp_path / "V.txt"
    path.write_text("<|endoftext|>".join(text.read_text(encoding="utf-8").split("<|endoftext|>")[:5]), encoding="utf-8")
    return path


def test_a_small_system_from_end_to_end(tmp_path, command, path, text, validation, monkeypatch, capsys):
    """Seven updates of three rows of 37 characters, in a process of its own."""
    settings = (*SMALL, *QUICK, "model.block_size=37", "train.grad_accum_steps=1")
    small = Contestant("tiny", "Small", ALL, settings, data_of="gpt-5m")
    with patch.dict(CONTESTANTS, {"small": small}):
        assert command("--text", str(text), "--val", str(validation), "--minutes", "5", "--systems", "small") == 0
        (row,) = systems.read_results(path)
        assert (tmp_path / "docs" / "results.md").read_text(encoding="utf-8") == document([row])
        assert command("--text", str(text), "--val", str(validation), "--minutes", "5", "--list") == 0
        assert f"small, 5 minutes: {row['bits_per_byte']:.4f} bits/byte after 777 tokens" in capsys.readouterr().out
    assert (row["updates"], row["tokens"], row["held_out_stories"]) == (7, 7 * 3 * 37, 5)
    assert row["parameters"] < 50_000
    assert row["peak_memory"] is None or 50e6 < row["peak_memory"] < 10e9
    characters = len(set(text.read_text(encoding="utf-8").replace("<|endoftext|>", ""))) + 1
    assert row["first_training_nats_per_token"] == pytest.approx(math.log(characters), abs=0.2)
    assert {sample["strategy"]: sample["options"] for sample in row["samples"]} == ALL
    assert all(sample["story"].startswith("Once upon a time") for sample in row["samples"])
    assert list((tmp_path / "work").glob("*/runs/*")) == []
    json.dumps(row, allow_nan=False)


def test_what_cannot_be_trained_in_the_minutes_says_so(tmp_path, story_data, monkeypatch):
    job = Job("small", Contestant("tiny", "Small", {}, (*SMALL, *QUICK)), 1e-6)
    assert "is too little" in systems.measure(job, story_data.path, tmp_path)["failed"]
    assert list(tmp_path.iterdir()) == []


def test_data_is_prepared_once_and_holds_out_what_it_should(tmp_path, text, validation):
    bench = systems.Bench(text, validation, tmp_path / "work")
    folder = bench.data_for(CONTESTANTS["gpt-5m"])
    made = (folder / "manifest.json").stat().st_mtime_ns
    assert bench.data_for(CONTESTANTS["gpt-5m"]) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == made
    assert Data(folder).manifest.val.stories == 5
    own = Data(bench.data_for(CONTESTANTS["char-mini"]))
    assert own.path == bench.data_for(CONTESTANTS["laptop-characters"]) != folder
    assert own.manifest.val.stories + own.manifest.train.stories == 53


def test_a_missing_vocabulary_is_said_before_anything_is_trained(tmp_path, command, path, text, monkeypatch, capsys):
    import tiktoken

    def fetch(name):
        raise OSError

    monkeypatch.setattr(tiktoken, "get_encoding", fetch)
    assert command("--text", str(text), "--val", str(text)) == 2
    assert "TIKTOKEN_CACHE_DIR" in capsys.readouterr().err
    assert not path.exists()
