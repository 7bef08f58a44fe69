"""Early stopping: when patience ends, what is kept, and that a resumed run is as patient as a whole one."""

import pytest

from storyloom.runs import load_checkpoint
from storyloom.training import train
from storyloom.training.trainer import Trainer

SETTINGS = ["train.eval_interval=2", "train.max_steps=29", "train.patience=3", "train.checkpoint_interval=5"]


@pytest.fixture
def scripted(monkeypatch):
    """Validation losses come from a list, by the step."""

    def script(losses: list[float]) -> None:
        evaluate = Trainer.evaluate

        def answer(self: Trainer):
            return evaluate(self) | {"nats_per_token": losses[self.step // 2 - 1]}

        monkeypatch.setattr(Trainer, "evaluate", answer)

    return script


@pytest.mark.parametrize(
    ("losses", "stop", "best"),
    [
        ([5, 4, 4, 4.5, 4.1, 3, 2], 10, 4.0),  # equal is not lower: three in a row at steps 6, 8 and 10
        ([5, 4, 4.1, 4.2, 3.9, 3.9, 4.3, 9, 1], 16, 3.9),  # patience begins anew with every new best
        ([9 - n / 2 for n in range(15)], 29, 2.5),
    ],
)
def test_patience_ends_after_so_many_evaluations(
    tmp_path, tiny_file, short_data, scripted, metric_rows, losses, stop, best
):
    scripted([*map(float, losses)])
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=SETTINGS, progress=False)
    state = load_checkpoint(run.checkpoint_folder("last")).state
    assert (state["step"], state["best"]) == (stop, best)
    assert len(metric_rows(run.path, "train")) == stop
    notes = [row["text"] for row in metric_rows(run.path, "note")]
    assert notes == (["stopped early: 3 evaluations in a row without a lower validation loss"] if stop < 29 else [])
    assert len(metric_rows(run.path, "final")) == 1


def test_a_resumed_run_is_as_patient(tmp_path, tiny_file, short_data, scripted, dying_at, computed):
    scripted([5.0, 4.0, 4.1, 4.2, 4.3, 1.0])
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=SETTINGS, progress=False)
    with dying_at(9):
        train(short_data, out=tmp_path / "B", config=tiny_file, settings=SETTINGS, progress=False)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert load_checkpoint(again.checkpoint_folder("last")).state["step"] == 10
    assert computed(again.path) == computed(whole.path)


def test_a_run_that_died_after_its_patience_ended_is_only_evaluated(
    tmp_path, tiny_file, short_data, scripted, monkeypatch, metric_rows
):
    scripted([5.0, 4.0, 4.1, 4.2, 4.3, 1.0])
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=SETTINGS, progress=False)
    path = run.path / "metrics.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:-2], ""]))
    monkeypatch.setattr(Trainer, "update", None)  # nobody may train now
    train(out=run.path, resume=True, progress=False)
    assert [row["kind"] for row in metric_rows(run.path)[len(lines) - 2 :]] == ["start", "final"]
    assert metric_rows(run.path, "start")[-1]["step"] == 10
