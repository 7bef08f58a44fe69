import math
import shutil

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from storyloom.config import Config, ModelConfig, save_config
from storyloom.errors import RunError
from storyloom.reporting import plot_losses, plots
from storyloom.runs import Run
from storyloom.runs.rows import Row

from ..invented import eval_row, final_row, start_row, train_row, write_rows

LIMIT = {"limit_bits_per_byte": 0.7, "bytes": 3001, "tokens": 1009}
LIMIT_IN_NATS_PER_TOKEN = 0.7 * 3001 * math.log(2) / 1009


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn."""
    drawn = []

    class Kept(Figure):
        def savefig(self, *arguments, **options):
            drawn.append(self)
            super().savefig(*arguments, **options)

    monkeypatch.setattr(plots, "Figure", Kept)
    return drawn


@pytest.fixture
def make_run(tmp_path):
    def make(losses, evaluations=(), final=None):
        """A run with a loss for each step; evaluations are (step, loss)."""
        save_config(tmp_path / "config.toml", Config(model=ModelConfig(vocab_size=53)), {"data": "D", "tokenizer": "T"})
        told: list[Row] = [start_row()]
        for step, loss in enumerate(losses, start=1):
            figures = {"learning_rate": step * 1e-4, "grad_norm": 1 / step}
            told.append(train_row(step, tokens=111 * step, loss=loss, **figures))
        told += [eval_row(step, nats_per_token=loss) for step, loss in evaluations]
        told += [final_row(len(losses), **final)] if final is not None else []
        write_rows(tmp_path, *told)
        return tmp_path

    return make


def curves(axes):
    """Each line by its label."""
    return {line.get_label(): line for line in axes.get_lines()}


def is_seen(axes, value):
    low, high = axes.get_ylim()
    return low < value < high


def test_a_run_without_metrics_is_refused(make_run):
    folder = make_run([])
    with pytest.raises(RunError, match=r"no metrics to draw yet: let it train for a step"):
        plot_losses(folder)
    assert not (folder / "loss.png").exists()


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        plot_losses(tmp_path / "nope")


def test_writes_a_png_into_the_run(make_run):
    folder = make_run([5.0, 4.0, 3.0])
    assert plot_losses(Run(folder)) == folder / "loss.png"
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_single_step_can_be_seen(make_run, figures):
    """A line through one point is no line: the picture was empty, and validation and limit outside of it."""
    plot_losses(make_run([3.0], [(1, 4.0)], LIMIT))
    loss, rate, norm = figures[0].axes
    assert curves(loss)["training"].get_marker() == "o"
    assert [axes.get_lines()[0].get_marker() for axes in (rate, norm)] == ["o", "o"]
    assert all(is_seen(loss, value) for value in (3.0, 4.0, LIMIT_IN_NATS_PER_TOKEN))


def test_every_number_stands_where_it_belongs(make_run, figures):
    losses = [6.0, 5.0, 4.5, 4.25, 4.0]
    plot_losses(make_run(losses, [(2, 5.5), (5, 4.125)], LIMIT))
    loss, rate, norm = figures[0].axes
    tokens = [111e-6 * step for step in range(1, 6)]
    drawn = curves(loss)
    np.testing.assert_allclose(drawn["training"].get_xydata(), np.stack([tokens, losses], axis=1))
    validation = drawn["validation, 7 stories (last: 4.125)"].get_xydata()
    np.testing.assert_allclose(validation, [[222e-6, 5.5], [555e-6, 4.125]])
    limit = drawn[f"exact limit ({LIMIT_IN_NATS_PER_TOKEN:.3f})"]
    np.testing.assert_allclose(limit.get_ydata(), LIMIT_IN_NATS_PER_TOKEN)
    assert is_seen(loss, LIMIT_IN_NATS_PER_TOKEN)
    np.testing.assert_allclose(rate.get_lines()[0].get_ydata(), [1e-4, 2e-4, 3e-4, 4e-4, 5e-4])
    np.testing.assert_allclose(norm.get_lines()[0].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert norm.get_yscale() == "log"
    assert "nats/token" in loss.get_ylabel()
    assert "millions" in norm.get_xlabel()


def test_without_a_limit_none_is_drawn(make_run, figures):
    plot_losses(make_run([5.0, 4.0], [(2, 4.5)], {"bytes": 3001, "tokens": 1009}))
    labels = list(curves(figures[0].axes[0]))
    assert not any("limit" in label for label in labels)
    assert any("validation" in label for label in labels)


def test_a_folders_name_is_no_formula(make_run, figures, tmp_path):
    """Two dollars were read as mathematics, which raised at the end of a long training."""
    folder = shutil.copytree(make_run([5.0, 4.0]), tmp_path / r"$\no$ 5")
    plot_losses(folder)
    assert figures[0].axes[0].get_title() == r"$\no$ 5: loss in nats/token"


def test_a_rise_is_seen_to_its_top(make_run, figures):
    """As in a run that begins with another one's weights."""
    losses = np.concatenate([np.linspace(1, 5, 307), np.linspace(5, 4, 101)])
    plot_losses(make_run(losses.tolist()))
    assert is_seen(figures[0].axes[0], 4.9)


def test_the_users_own_style_is_left_out(make_run, figures):
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 37, "savefig.bbox": "tight"}):
        plot_losses(make_run([5.0, 4.0]))
    (loss, *_) = figures[0].axes
    assert loss.get_facecolor() == (1, 1, 1, 1)
    assert loss.yaxis.label.get_size() == 10


def test_many_steps_get_a_running_mean(make_run, figures):
    plot_losses(make_run(np.linspace(9, 2, 701).tolist()))
    drawn = curves(figures[0].axes[0])
    assert "training (mean of 15 updates)" in drawn
    # A mean that looks both ways leaves a straight line as it is; one that looks back only lies above a falling one.
    np.testing.assert_allclose(drawn["training (mean of 15 updates)"].get_ydata(), np.linspace(9, 2, 701))


def test_a_name_in_any_script_is_drawn_without_a_word(make_record, recwarn):
    run = make_record([4.0, 3.0], name="\u7269\u8a9e").run
    assert plot_losses(run).is_file()
    assert [*recwarn] == []
