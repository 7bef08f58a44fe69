"""Arms that are really trained, for a second each: their pace, their tokens, a process of their own."""

import json

import ablate
import pytest
from ablation_arms import Job, Round

from ..invented import eval_row, final_row, start_row, train_row, write_rows

pytestmark = pytest.mark.usefixtures("real")

QUICK = (
    *(
        "model.n_layer=1",
        "model.n_embd=32",
        "model.n_head=1",
        "model.block_size=37",
        "train.grad_accum_steps=1",
        "train.batch_size=3",
    ),
    *("train.threads=1", "train.precision=fp32", "train.compile=false", "train.max_epochs=none", "train.seed=3"),
)


@pytest.fixture
def sides(story_data, monkeypatch):
    """The base, and an arm with other settings; paces are measured for as many rounds as there must be."""
    monkeypatch.setattr(ablate, "PACE_SECONDS", 1e-9)
    base = ablate.Side(QUICK, story_data.path)
    return lambda *settings: (base, ablate.Side((*QUICK, *settings), story_data.path))


def test_a_pace_by_hand(sides, monkeypatch):
    """Rounds of 6, 8, 5 seconds against 2, 4, 5: the median ratio is 2, and an update has 5 rows instead of 3."""

    def take_turns(actions, seconds, device):
        assert [action().tokens for action in actions.values()] == [3 * 37, 5 * 37]
        return {"base": [6.0, 8.0, 5.0], "arm": [2.0, 4.0, 5.0]}

    monkeypatch.setattr(ablate, "take_turns", take_turns)
    assert ablate.measure_pace(*sides("train.batch_size=5")) == 3.333


def test_more_layers_are_slower(sides):
    assert 0 < ablate.measure_pace(*sides("model.n_layer=13")) < 0.8


def test_a_slower_arm_is_trained_on_fewer_tokens_measured_and_removed(tmp_path, sides, story_data):
    """0.61 of 20 updates of 3 rows are 12.2."""
    figures = ablate.run_arm(*sides(), Round(37 * 3 * 20, True, (3,)), 0.61, tmp_path, {"text": "T"})
    assert list(tmp_path.iterdir()) == []
    assert (figures["updates"], figures["tokens"]) == (12, 37 * 3 * 12)
    assert figures["held_out_stories"] == story_data.manifest.val.stories
    assert (figures["pace"], figures["text"]) == (0.61, "T")
    json.dumps(figures, allow_nan=False)


def test_measuring_a_pace_changes_nothing_of_the_training(tmp_path, sides):
    rules = Round(37 * 5 * 7, False, (3,))
    known, measured = (ablate.run_arm(*sides("train.batch_size=5"), rules, pace, tmp_path, {}) for pace in (0.7, None))
    assert measured["pace"] != known["pace"]
    assert (measured["tokens"], measured["bits_per_byte"]) == (known["tokens"], known["bits_per_byte"])


def test_an_arm_that_diverges_is_finished_too_and_has_its_pace(tmp_path, sides):
    wild = sides("train.batch_size=5", "train.learning_rate=1e38", "train.warmup_steps=0")
    figures = ablate.run_arm(*wild, Round(37 * 5 * 20, True, (3,)), None, tmp_path, {})
    assert "diverged" in figures["failed"]
    assert figures["pace"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_a_process_of_its_own_with_its_share_of_the_cores(tmp_path, monkeypatch, text):
    monkeypatch.setattr(ablate, "COMMON", [setting for setting in QUICK if "threads" not in setting])
    bench = ablate.Bench(text, tmp_path / "work", threads=1)
    job = Job("size", "small", ("data.vocab_size=283",), "screen", 3)
    row = bench.begin(job, 0.5).result(timeout=120)
    assert (row["threads"], row["pace"], row["text"]) == (1, 0.5, "T.txt")
    assert row["updates"] == 6_000 // 2 // (3 * 37)
    assert list((tmp_path / "work").glob("*/runs/*")) == []


def test_figures_are_those_of_the_last_update_and_of_all_held_out_stories(tmp_path):
    write_rows(
        tmp_path,
        start_row(parameters=53, threads=3, precision="bf16", compiled=True),
        train_row(1, tokens=700, epoch=0.25, seconds=7.0),
        eval_row(1, bits_per_byte=9.0, nats_per_token=9.0, bits_per_byte_stderr=9.0, stories=2, bytes=9),
        train_row(2, tokens=1300, epoch=0.5, seconds=10.0),
        final_row(2, bits_per_byte=0.75, nats_per_token=1.5, bits_per_byte_stderr=0.125, stories=17, bytes=1009),
    )
    assert ablate.figures_of(tmp_path) == {
        "parameters": 53,
        "threads": 3,
        "precision": "bf16",
        "compiled": True,
        "updates": 2,
        "tokens": 1300,
        "epochs": 0.5,
        "tokens_per_second": 130,
        "nats_per_token": 1.5,
        "bits_per_byte": 0.75,
        "bits_per_byte_stderr": 0.125,
        "held_out_stories": 17,
        "held_out_bytes": 1009,
    }
