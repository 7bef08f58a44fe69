import math
import re
import shutil

import numpy as np
import pytest

import storyloom
from storyloom.data import Data
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.evaluation import measure_likelihood
from storyloom.reporting import Comparison
from storyloom.reporting.record import Record

from .pages import Page, axis, is_self_contained
from .runs import scored, train

pytestmark = pytest.mark.usefixtures("short_stories")


@pytest.fixture(scope="module")
def other(story_data, tmp_path_factory):
    """A run on the same data, with other settings."""
    return train(story_data, tmp_path_factory.mktemp("reports") / "other", "model.n_layer=2", "train.seed=7")


@pytest.fixture(scope="module")
def compared(finished, other):
    return Comparison([finished, other])


def test_the_page_has_both_runs_figures(compared, finished, other, tmp_path):
    out = tmp_path / "c.html"
    assert compared.write(out) == out
    page = Page(out)
    assert is_self_contained(page)
    for run in (finished, other):
        final = Record(run).final
        shown = page.text["figures"]
        assert f"{final.bits_per_byte:.4f} ± {final.bits_per_byte_stderr:.4f}" in shown
        assert f"{final.nats_per_token:.4f}" in shown
    assert "different texts" not in page.html
    tellers = [storyloom.load(run) for run in (finished, other)]
    assert page.stories == [teller.tell(seed=0, max_new_tokens=13) for teller in tellers]
    assert len([tag for tag, _ in page.elements if tag == "svg"]) == 2
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(set(ids)) == len(ids)


def test_the_difference_is_of_the_same_stories(compared, finished, other):
    """From each story's own nats: the mean difference is that of the losses, its error that of the differences."""
    first, second = compared.figures
    assert (first.difference_bits_per_byte, first.why_no_difference) == (None, None)
    assert second.difference_bits_per_byte == pytest.approx(second.bits_per_byte - first.bits_per_byte)
    runs = [Record(run) for run in (finished, other)]
    nats, sizes = [], []
    for record in runs:
        stories, eot = record.data.val_stories(), record.data.tokenizer.eot
        nats.append([measure_likelihood(record.run.load_model(), [story], eot).nats.sum() for story in stories])
        sizes = [len(story.text.encode("utf-8")) for story in stories]
    bits = (np.array(nats[1]) - np.array(nats[0])) / math.log(2)
    rng = np.random.default_rng(11)
    drawn = rng.integers(len(bits), size=(4001, len(bits)))  # the bootstrap's own way to the standard error
    ratios = bits[drawn].sum(axis=1) / np.array(sizes)[drawn].sum(axis=1)
    assert second.difference_bits_per_byte_stderr == pytest.approx(ratios.std(), rel=0.25)
    assert second.difference_bits_per_byte_stderr < first.bits_per_byte_stderr + second.bits_per_byte_stderr


def test_only_what_differs_is_listed(compared):
    assert compared.settings == {"model.n_layer": ["1", "2"], "train.seed": ["1337", "7"]}


def test_runs_on_other_texts_have_no_difference(finished, tmp_path):
    text = "\n<|endoftext|>\n".join(f"In year {i} a cat met {i * i} dogs." for i in range(97))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    data = storyloom.prepare(tmp_path / "my.txt", out=tmp_path / "D", vocab_size=263)
    elsewhere = train(data, tmp_path / "elsewhere", "train.max_steps=2")
    comparison = Comparison([finished, elsewhere])
    assert comparison.figures[1].difference_bits_per_byte is None
    assert comparison.figures[1].why_no_difference == "measured on different texts"
    page = Page(comparison.write(tmp_path / "c.html"))
    assert "Measured on different texts." in page.text["figures"]


def test_unfinished_runs_are_shown_as_far_as_they_are(make_record, tmp_path):
    runs = [make_record([4.0, 3.0], [(2, 3.5)], name="a", max_steps=7), make_record([4.0], name="b", max_steps=7)]
    comparison = Comparison([record.run for record in runs])
    assert [figures.is_finished for figures in comparison.figures] == [False, False]
    assert comparison.figures[0].bits_per_byte == pytest.approx(scored(3.5)["bits_per_byte"])
    assert (comparison.figures[1].bits_per_byte, comparison.figures[1].why_no_difference) == (None, "not finished")
    page = Page(comparison.write(tmp_path / "c.html"))
    assert "Not all are finished." in page.text["figures"]
    assert "different texts" not in page.html
    assert page.text["stories"].count("No checkpoint has been saved yet") == 2


def test_runs_whose_data_is_gone_are_not_held_against_each_other(make_record):
    runs = [make_record([4.0], [(1, 3.5)], scored(3.5), name=name) for name in ("a", "b")]
    (_, second) = Comparison([record.run for record in runs]).figures
    assert second.why_no_difference == "the data is gone"


def test_runs_whose_validation_stories_are_gone_are_shown_without_a_difference(story_data, tmp_path):
    data = shutil.copytree(story_data.path, tmp_path / "D")
    runs = [train(Data(data), tmp_path / name, "train.max_steps=2") for name in ("a", "b")]
    (data / "val.txt").unlink()
    (_, second) = Comparison(runs).figures
    assert second.why_no_difference == "the validation stories are gone"


def test_a_loss_that_cannot_be_compared_is_not_held_against_another_tokenizers(make_record):
    final = scored(3.5) | {"comparable": False, "why_not_comparable": "unknown characters"}
    first = make_record([4.0], [(1, 3.5)], scored(3.5), name="a")
    same, other = (
        make_record([4.0], [(1, 3.5)], final, name=name, origin={"tokenizer": tokenizer})
        for name, tokenizer in (("b", "T"), ("c", "U"))
    )
    (_, second, third) = Comparison([record.run for record in (first, same, other)]).figures
    assert (second.comparable, second.why_no_difference) == (False, "the data is gone")
    assert (third.comparable, third.why_no_difference) == (False, "not comparable")


def test_runs_on_one_cleaned_text_are_held_against_each_other(tmp_path):
    """That cleaning changed it says nothing between them: both were scored on the very same stories."""
    stories = [f"In year {i}  a cat met {i * i} dogs." for i in range(97)]
    (tmp_path / "my.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    data = storyloom.prepare(tmp_path / "my.txt", out=tmp_path / "D", vocab_size=263, clean=True)
    runs = [train(data, tmp_path / name, "train.max_steps=2", f"train.seed={seed}") for name, seed in ("a3", "b7")]
    first, second = Comparison(runs).figures
    assert (first.comparable, second.comparable) == (False, False)
    assert second.why_no_difference is None
    assert second.difference_bits_per_byte == pytest.approx(second.bits_per_byte - first.bits_per_byte)


def test_names_are_the_folders_own_with_as_many_parents_as_tell_them_apart(make_record, tmp_path):
    for name in ("x", "y", "x/a", "y/a"):
        (tmp_path / name).mkdir()
    paths = [make_record([4.0], name=name).run.path for name in ("a", "b", "x/b", "x/a/c", "y/a/c")]
    assert Comparison(paths[:2]).names == ["a", "b"]
    assert Comparison(paths[:3]).names == [f"{tmp_path.name}/a", f"{tmp_path.name}/b", "x/b"]
    assert Comparison(paths[3:]).names == ["x/a/c", "y/a/c"]


def test_eight_runs_have_eight_colors_each_at_its_loss(make_record, tmp_path):
    paths = [make_record([4.0, 3.0], [(2, 3.0 + n)], name=f"<{n}>").run.path for n in range(8)]
    page = Page(storyloom.compare_runs(paths, tmp_path / "c.html"))
    drawing = page.html[page.html.index("<svg") : page.html.index("</svg>") + len("</svg>")]
    heights = [
        float(re.search(rf'<use [^>]*y="([\d.]+)" style="fill: var\(--run-{number}\)', drawing)[1])
        for number in range(1, 9)
    ]
    expected = [scored(3.0 + n)["bits_per_byte"] for n in range(8)]
    np.testing.assert_allclose(np.polyval(axis(drawing, "end"), heights), expected, rtol=2e-3)
    assert "<7>" in page.text["figures"]


def chart_of(page, number=0):
    return re.findall(r"<svg.*?</svg>", page.html, re.DOTALL)[number]


def test_a_run_of_one_update_can_be_seen(make_record, tmp_path):
    paths = [make_record([4.0] * n, name=str(n)).run.path for n in (1, 2)]
    page = Page(storyloom.compare_runs(paths, tmp_path / "c.html"))
    assert re.findall(r'<use [^>]*style="fill: var\(--(run-\d)\)', chart_of(page)) == ["run-1"]


@pytest.mark.parametrize(("longest", "is_logarithmic"), [(19, False), (20, True)])
def test_runs_of_very_different_lengths_share_a_logarithmic_axis(make_record, tmp_path, longest, is_logarithmic):
    """On a linear one, halves lie half as far; on a logarithmic one equal ratios are equally far apart."""
    evaluations = [(5, 3.5), (10, 3.0)]
    paths = [make_record([4.0] * n, evaluations[: n // 5], name=str(n)).run.path for n in (2, longest)]
    page = Page(storyloom.compare_runs(paths, tmp_path / "c.html"))
    places = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)" [^>]*style="fill: var\(--run-2\)', chart_of(page))]
    left, right = axis_ends(chart_of(page))
    begin, end = 0.2, 1.02 * longest  # in updates
    measure = math.log if is_logarithmic else float
    expected = [(measure(step) - measure(begin)) / (measure(end) - measure(begin)) for step in (5, 10)]
    np.testing.assert_allclose((np.array(places) - left) / (right - left), expected, rtol=2e-3)


def axis_ends(svg):
    """The left and right end of the drawing's field."""
    x, width = re.search(r'<clipPath [^>]*>\s*<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg).groups()
    return float(x), float(x) + float(width)


def test_training_is_in_bits_a_byte_of_its_own_text(make_record, tmp_path):
    """2.9 bytes a token there, 2.97 in validation: the run's rows know theirs."""
    paths = [make_record([4.0, 4.0], [(2, 4.0)], name=name).run.path for name in "ab"]
    said = Page(storyloom.compare_runs(paths, tmp_path / "c.html")).html
    training, validation = 4 / math.log(2) / 2.9, scored(4.0)["bits_per_byte"]
    assert (
        f"a, training from {training:.3f} to {training:.3f}, validation from {validation:.3f} to {validation:.3f}; b,"
    ) in said


def test_the_time_is_that_of_updates(make_record):
    """Wall-clock time has evaluations, and is not known of a run that was gone on with."""
    runs = [make_record([4.0] * 6, [(6, 3.5)], final, name=name) for name, final in (("a", scored(3.5)), ("b", None))]
    assert [each.minutes for each in Comparison([record.run for record in runs]).figures] == [0.05, 0.05]


def test_runs_are_told_apart_by_shape_too(make_record, tmp_path):
    paths = [make_record([4.0], name=str(n)).run.path for n in range(8)]
    key = Page(storyloom.compare_runs(paths, tmp_path / "c.html")).text["loss"].split()
    marks = {word[:-1] for word in key if word[-1].isdigit()}
    assert len(marks - {""}) == 8


def test_what_cannot_be_compared(make_record, finished, tmp_path):
    paths = [make_record([4.0], name=f"r{n}").run.path for n in range(9)]
    with pytest.raises(ConfigError, match="takes 2 to 8 runs, got 1: name another one"):
        storyloom.compare_runs(paths[:1], tmp_path / "c.html")
    with pytest.raises(ConfigError, match="takes 2 to 8 runs, got 9: leave some out"):
        storyloom.compare_runs(paths, tmp_path / "c.html")
    with pytest.raises(ConfigError, match="r1 is named twice"):
        storyloom.compare_runs([*paths[:3], tmp_path / "r2" / ".." / "r1"], tmp_path / "c.html")
    with pytest.raises(RunError, match="does not exist"):
        storyloom.compare_runs([paths[0], tmp_path / "nope"], tmp_path / "c.html")
    with pytest.raises(RunError, match="is a folder"):
        storyloom.compare_runs(paths[:2], tmp_path)
    broken = shutil.copytree(finished, tmp_path / "broken")
    (broken / "checkpoints" / "best" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        storyloom.compare_runs([finished, broken], tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()
