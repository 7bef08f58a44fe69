"""What is missing is run, in order and within the time; the tables by hand. Nothing is trained."""

import math
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from threading import Barrier
from unittest.mock import patch

import ablate
import pytest
from ablation_arms import EXPERIMENTS, FREE, ROUNDS, Experiment, jobs_of, known_pace
from ablation_report import document

from storyloom.config import apply_settings
from storyloom.config.loading import describe_settings
from storyloom.data import Data
from storyloom.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("real")

# bits/byte of each arm less the base
GAINS = {"red": -0.03, "blue": -0.05, "on": 0.02, "hot": 0.07, "cold": math.nan, "up": -0.01}
PACES = {"blue": 0.8, "on": 1.25}  # as they are measured; the others' settings are free


class Runner:
    """Trains nothing: a run takes 100 seconds of a clock of its own."""

    def __init__(self, dies_at=None):
        self.jobs, self.paces, self.now, self.dies_at = [], [], 0.0, dies_at

    def __call__(self, job, pace):
        if len(self.jobs) == self.dies_at:
            raise KeyboardInterrupt
        self.jobs.append(job)
        self.paces.append(pace)
        self.now += 100
        future = Future()
        future.set_result(self.row(job, pace or PACES[job.arm]))
        return future

    def row(self, job, pace):
        gain = GAINS.get(job.arm, 0.0)
        origin = {"text": "T.txt", "text_sha256": "abc", "base_sha256": "def", "date": "2031-02-03", "seconds": 100.0}
        origin |= {"cpu": "Abacus", "threads": 3, "precision": "fp32", "compiled": True, "torch": "9", "storyloom": "8"}
        origin |= {"pace": pace}
        if math.isnan(gain):
            return {**origin, "failed": "training diverged"}
        tokens = ROUNDS[job.round].tokens_at(pace)
        # Seeds differ by 0.002 each, and the arms' gains by a hundredth of that each.
        bits = 1 + job.seed * 0.002 + gain * (1 + job.seed / 100)
        figures = {"bits_per_byte": bits, "bits_per_byte_stderr": 0.0061, "held_out_stories": 593}
        return {**origin, **figures, "tokens": tokens, "held_out_bytes": 500_009}


def go(path, runner, name="screen", only=(), seconds=math.inf):
    jobs = jobs_of(name, ablate.read_results(path), only)
    return ablate.run_missing(jobs, path, runner, lambda: seconds - runner.now)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


@pytest.fixture
def both(path):
    """All rounds, finished."""
    go(path, Runner())
    go(path, Runner(), "confirm")
    return path


SCREEN = ["base", "red", "blue", "on", "hot", "cold", "up"]


def test_every_arm_is_run_once_in_order_and_the_base_first(path):
    runner = Runner()
    assert go(path, runner)
    assert [job.arm for job in runner.jobs] == SCREEN
    again = Runner()
    assert go(path, again)
    assert again.jobs == []


@pytest.mark.parametrize("dies_at", range(len(SCREEN)))
def test_a_killed_run_is_run_again_and_no_other(path, dies_at):
    killed, second = Runner(dies_at), Runner()
    with pytest.raises(KeyboardInterrupt):
        go(path, killed)
    assert len(ablate.read_results(path)) == dies_at
    assert go(path, second)
    assert [job.arm for job in second.jobs] == SCREEN[dies_at:]
    assert [row["arm"] for row in ablate.read_results(path)] == SCREEN


def test_a_hole_in_the_middle_is_filled(path):
    go(path, Runner())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:]))
    runner = Runner()
    go(path, runner)
    assert [job.arm for job in runner.jobs] == ["on"]


def test_an_arm_whose_settings_have_changed_is_another_one(path):
    go(path, Runner())
    EXPERIMENTS["side"] = Experiment("Up?", "down", {"up": ("train.schedule=down",)})
    runner = Runner()
    go(path, runner)
    assert [(job.arm, job.settings) for job in runner.jobs] == [("up", ("train.schedule=down",))]


def test_a_pace_is_measured_once_for_all_arms_of_one_cost(path):
    """A second arm of the same cost takes what the first was measured at; the free setting beside it counts nothing."""
    EXPERIMENTS["again"] = Experiment("Again?", "no", {"yes": ("train.ema=0.4", "model.n_layer=3")})
    runner = Runner()
    go(path, runner)
    assert runner.paces == [1.0, 1.0, None, None, 1.0, 1.0, 1.0, 0.8]  # base, red, blue, on, hot, cold, up, yes
    assert [row["tokens"] for row in ablate.read_results(path) if row["arm"] in ("blue", "on", "yes")] == [
        *(4_800, 7_500, 4_800)
    ]


def test_no_run_begins_that_would_end_too_late(path):
    """The first is expected to take two minutes and one to spare, the next 100 seconds, as the first did, and one."""
    for seconds, runs in ((179, 0), (180, 1), (359, 2), (360, 3)):
        path.unlink(missing_ok=True)
        runner = Runner()
        assert not go(path, runner, seconds=seconds)
        assert len(runner.jobs) == runs


def test_a_slower_arm_is_expected_to_take_longer_for_the_same_tokens(path):
    """The base 100 seconds and 60 to spare; blue, at 0.8 of its speed, 125 and 60."""
    go(path, Runner())
    screened = path.read_text()
    for seconds, runs in ((159, 0), (160, 1), (284, 1), (285, 2)):
        path.write_text(screened)
        runner = Runner()
        assert not go(path, runner, "confirm", seconds=seconds)
        assert [job.arm for job in runner.jobs] == ["base", "blue"][:runs]


def test_so_many_run_at_once_and_no_more(path):
    """Each waits for another one: alone, none would end; three would be seen."""
    runner, together, running, most = Runner(), Barrier(2), set(), []

    def run(job, pace):
        running.add(job)
        together.wait(timeout=60)
        most.append(len(running))
        together.wait(timeout=60)
        running.remove(job)
        return runner(job, pace).result()

    jobs = jobs_of("screen", [], ["colour", "switch"])
    with ThreadPoolExecutor(len(jobs)) as threads:
        assert ablate.run_missing(jobs, path, lambda *words: threads.submit(run, *words), lambda: math.inf, at_once=2)
    assert most == [2] * 4
    assert sorted(row["arm"] for row in ablate.read_results(path)) == ["base", "blue", "on", "red"]


def test_an_interrupt_leaves_finished_lines_and_no_child(path):
    """base is finished, red sleeps in a process of its own, and Ctrl-C comes where blue is to begin."""
    runner, asleep = Runner(dies_at=1), []

    def begin(job, pace):
        if job.arm != "red":
            return runner(job, pace)
        process = ProcessPoolExecutor(1, get_context("spawn"))
        asleep.append(process.submit(time.sleep, 997))
        process.shutdown(wait=False)
        return asleep[0]

    with pytest.raises(KeyboardInterrupt):
        ablate.run_missing(jobs_of("screen", []), path, begin, lambda: math.inf, at_once=2)
    assert isinstance(asleep[0].exception(timeout=60), BrokenProcessPool)
    assert [row["arm"] for row in ablate.read_results(path)] == ["base"]


def test_the_best_arms_are_confirmed_one_of_each_experiment_seed_by_seed(path):
    """blue and red gain most, but are of one experiment; up comes next, and the other experiments lose."""
    go(path, Runner())
    runner = Runner()
    assert go(path, runner, "confirm")
    arms = ["base", "blue", "up"]
    assert [(job.seed, job.arm) for job in runner.jobs] == [(seed, arm) for seed in (3, 5) for arm in arms]


def test_only_takes_experiments_and_single_arms(path):
    def arms(name, *only):
        return [job.arm for job in jobs_of(name, ablate.read_results(path), only) if job.seed in (3, 11)]

    assert arms("screen", "switch", "colour/red") == ["base", "red", "on"]
    assert arms("confirm", "colour/red") == []
    go(path, Runner(), only=["switch", "colour/red"])
    assert arms("confirm") == ["base", "red", "on"]
    assert arms("confirm", "switch") == ["base", "on"]
    with pytest.raises(ConfigError, match=r"--arms 'color' .*did you mean 'colour'"):
        arms("screen", "color")


def table(text, experiment):
    """The cells of an experiment's table, its two head lines left out."""
    body = text.split(f"## {experiment}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in body.splitlines() if line.startswith("|")][2:]


def test_the_table_by_hand(both):
    """Screen with seed 11: base 1.022, red 1.022 - 0.0333. Confirmed: base 1.006, 1.010; blue less 0.0515 and 0.0525.

    Their mean is 0.0520, their standard deviation 0.001 / sqrt 2, the standard error half of 0.001. blue: 0.9545 and
    0.9575, 0.003 apart, so 0.0021 over seeds; the base's 0.004 / sqrt 2 is 0.0028.
    """
    assert table(document(ablate.read_results(both)), "colour") == [
        ["green (base)", "", "6,000 tokens x speed", "", "11", "6,000", "1.0220", "", ""],
        ["red", "`train.ema=0.2`", "6,000 tokens x speed", "", "11", "6,000", "0.9887", "", "-0.0333"],
        ["blue", "`model.n_layer=3`", "6,000 tokens x speed", "0.80", "11", "4,800", "0.9665", "", "-0.0555"],
        ["green (base)", "", "6,000 tokens", "", "3, 5", "6,000", "1.0080", "0.0028", ""],
        ["blue", "`model.n_layer=3`", "6,000 tokens", "0.80", "3, 5", "6,000", "0.9560", "0.0021", "-0.0520 ± 0.0005"],
    ]


def test_the_difference_takes_only_seeds_that_both_have(both):
    """Unpaired, base 1.006 and blue 0.956 would give 0.0500; the pair of seed 3 alone gives 0.0515."""
    rows = [row for row in ablate.read_results(both) if (row["arm"], row["seed"]) != ("base", 5)]
    assert table(document(rows), "colour")[4][-1] == "-0.0515"


def test_what_diverged_and_what_was_not_run_say_so(path):
    go(path, Runner(), only=["heat"])
    text = document(ablate.read_results(path))
    assert [[row[0], *row[4:7]] for row in table(text, "heat")] == [
        ["warm (base)", "11", "6,000", "1.0220"],
        ["hot", "11", "6,000", "1.0997"],
        ["cold", "11", "", "diverged"],
    ]
    assert table(text, "side")[1][:3] == ["up", "`train.schedule=up`", "not run yet"]


def test_the_document_says_where_and_how_long(both):
    text = document(ablate.read_results(both))
    for fact in (
        "`T.txt` (SHA-256 abc",
        "593 held-out stories, 500,009 bytes",
        "Abacus, 3 threads, fp32",
        "torch 9",
        "at most 0.006 ",
    ):
        assert text.count(fact) == 1
    assert "runs: 13, their minutes added up: 22;" in text  # 7 and 6 of 100 seconds
    assert "Nothing has been measured" in document([])


def test_the_document_has_all_real_experiments_also_before_any_is_run(real):
    with patch.dict(EXPERIMENTS, real, clear=True):
        text = document([])
    for name, experiment in real.items():
        assert [row[0] for row in table(text, name)] == [f"{experiment.base} (base)", *experiment.arms]


def test_all_real_arms_are_possible_and_no_two_are_alike_nor_the_base(real):
    base = ablate.base_config()
    arms = [apply_settings(base, arm) for experiment in real.values() for arm in experiment.arms.values()]
    configs = [base, *arms]
    assert all(one != other for number, one in enumerate(configs) for other in configs[:number])


def test_arms_whose_updates_cost_what_the_bases_do_need_no_pace(real):
    free = [arm for e in real.values() for arm, settings in e.arms.items() if known_pace(settings, []) == 1.0]
    assert free == [
        *("muon at 2e-3", "muon at 6e-3", "muon at 8e-3"),
        *("wsd, the last 0.7", "cosine"),
        *("aligned: windows that begin with a story", "padded: one story"),
        "decay 0.99",
        *("0.5", "1.0"),
        "projections that start at zero",
    ]
    assert {line.partition(" ")[0] for line in describe_settings()} > FREE


@pytest.mark.parametrize("name", ["text", "base"])
def test_results_of_another_text_or_base_are_not_mixed(path, name):
    go(path, Runner())
    rows = ablate.read_results(path)
    ablate.refuse_mixture(rows, {"text_sha256": "abc", "base_sha256": "def"})
    with pytest.raises(DataError, match=f"another {name} .*begin anew"):
        ablate.refuse_mixture(rows, {"text_sha256": "abc", "base_sha256": "def", f"{name}_sha256": "new"})


def test_a_damaged_line_is_named_and_nothing_is_lost(path):
    go(path, Runner())
    damaged = path.read_text().replace('"arm": "blue"', '"arm: "blue"')
    path.write_text(damaged)
    with pytest.raises(DataError, match="line 3 of"):
        go(path, Runner())
    assert path.read_text() == damaged


def test_vocabularies_are_prepared_once_and_hold_out_the_same_stories(tmp_path, text):
    bench = ablate.Bench(text, tmp_path / "work")
    sizes = {size: bench.data_for((f"data.vocab_size={size}",)) for size in (283, 307)}
    held_out = {(folder / "val.txt").read_bytes() for folder in sizes.values()}
    assert len(held_out) == 1
    assert 1 <= held_out.pop().count(b"<|endoftext|>") + 1 <= 8  # of 53 one in 20
    assert [Data(folder).tokenizer.vocab_size for folder in sizes.values()] == [283, 307]
    made = (sizes[283] / "manifest.json").stat().st_mtime_ns
    assert bench.data_for(("data.rows=padded", "data.vocab_size=283")) == sizes[283]
    assert (sizes[283] / "manifest.json").stat().st_mtime_ns == made


@pytest.fixture
def command(tmp_path, monkeypatch, path, text):
    """The command line, with a runner instead of trainings."""
    runner = Runner()

    def begin(self, job, pace):
        future = Future()
        future.set_result({**runner(job, pace).result(), **self.origin})
        return future

    monkeypatch.setattr(ablate.Bench, "begin", begin)
    monkeypatch.setattr(ablate, "DOCUMENT", tmp_path / "docs" / "ablations.md")
    monkeypatch.setattr(ablate, "RESULTS", path)
    return lambda *words: ablate.main(["--work", str(tmp_path / "work"), *words])


def test_the_command_screens_confirms_and_writes(tmp_path, command, path, text, capsys):
    assert command("--text", str(text), "--arms", "colour") == 0
    rows = ablate.read_results(path)
    assert [(row["round"], row["arm"]) for row in rows] == [
        *(("screen", arm) for arm in ("base", "red", "blue")),
        *(("confirm", arm) for _ in (3, 5) for arm in ("base", "blue")),
    ]
    written = tmp_path / "docs" / "ablations.md"
    assert written.read_text(encoding="utf-8") == document(rows)
    written.unlink()
    assert command("--write") == 0
    assert written.read_text(encoding="utf-8") == document(rows)
    capsys.readouterr()
    assert command("--list", "--rounds", "screen") == 0
    assert [line.split(": ")[-1] for line in capsys.readouterr().out.splitlines()] == [
        "1.0220 bits/byte after 6,000 tokens",
        "0.9887 bits/byte after 6,000 tokens",
        "0.9665 bits/byte after 4,800 tokens",
        *["missing"] * 4,
    ]


def test_the_command_does_not_go_on_with_another_text(tmp_path, command, path, text, capsys):
    assert command("--text", str(text), "--arms", "side") == 0
    before = path.read_bytes()
    text.write_text("Once upon a time.\n<|endoftext|>\nThe end.", encoding="utf-8")
    assert command("--text", str(text), "--arms", "switch") == 2
    assert "of another text" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_command_without_time_runs_nothing(command, path, text, capsys):
    assert command("--text", str(text), "--budget-minutes", "2.9") == 0
    assert ablate.read_results(path) == []
    assert "out of time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--text", "nowhere.txt"], "no text at nowhere.txt"),
        (["--text", "{text}", "--arms", "colours"], "did you mean 'colour'"),
        (["--text", "{text}", "--rounds", "confirm"], "take --rounds screen first"),
        (["--text", "{text}", "--jobs", "0"], "--jobs 0 must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, command, path, text, capsys, words, says):
    assert command(*(word.format(text=text) for word in words)) == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [text]
