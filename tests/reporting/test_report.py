import os
import shlex
import shutil

import pytest

import storyloom
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.generation import STRATEGIES
from storyloom.reporting import report
from storyloom.reporting.record import Record
from storyloom.reporting.references import TINYSTORIES_LOSSES
from storyloom.runs.layout import LOGS
from storyloom.runs.rows import SampleRow, TrainRow, read_rows

from ..invented import write_rows
from .pages import Page, is_self_contained
from .runs import BYTES_PER_TOKEN, rewrite, scored, vouch

NASTY = 'A [red]cat[/red] & a <b>dog</b> said "</p><script>alert(1)</script>" {{ 7 * 7 }}.'


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """The finished run's page, and the run's rows."""
    out = tmp_path_factory.mktemp("page") / "out.html"
    assert storyloom.write_report(finished, out=out) == out
    return Page(out)


@pytest.fixture(scope="module")
def rows(finished):
    return read_rows(finished / "metrics.jsonl")


@pytest.mark.usefixtures("short_stories")
def test_it_goes_into_the_run_by_default(run_copy):
    assert storyloom.write_report(run_copy) == run_copy / "report.html"
    assert not list(run_copy.glob(".report.html.*"))


def test_it_needs_nothing_but_itself(page):
    assert is_self_contained(page)
    policy = next(found["content"] for _, found in page.elements if "http-equiv" in found)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def test_key_figures_are_the_runs_own(page, rows):
    final, last = rows[-1], [row for row in rows if isinstance(row, TrainRow)][-1]
    assert final.kind == "final"
    shown = page.text[""]
    for name in ("bits_per_byte", "limit_bits_per_byte", "gap_bits_per_byte", "nats_per_token"):
        assert f"{getattr(final, name):.4f}" in shown
    assert f"± {final.bits_per_byte_stderr:.4f}" in shown
    assert f"{final.perplexity:.3f}" in shown
    assert f"{last.tokens / last.seconds:,.0f}" in shown
    assert f"{final.stories} validation stories" in shown


def test_the_headline_says_what_was_trained_on_what(page, rows, story_data):
    """By hand from the run: its parameters, the manifest's counts, the tokens that it saw."""
    start, last = rows[0], [row for row in rows if isinstance(row, TrainRow)][-1]
    train = story_data.manifest.train
    shown = " ".join(page.text[""].split())
    assert f"A GPT of {start.parameters / 1e3:.3g}k parameters, trained on storybook" in shown
    assert f"({train.stories:,} stories, {train.bytes / 1e3:.1f} kB, {train.tokens / 1e3:.3g}k tokens" in shown
    assert f"It saw {last.tokens / 1e3:.3g}k tokens" in shown
    assert "on the CPU with 1 thread" in shown


def test_every_chart_is_there(page):
    drawn = [found["aria-label"] for tag, found in page.elements if tag == "svg"]
    assert len(drawn) == 5
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(set(ids)) == len(ids)


def test_samples_are_told_in_the_order_of_their_steps(page, finished):
    samples = read_rows(finished / "samples.jsonl", SampleRow)
    assert page.stories[: len(samples)] == [row.story for row in samples]
    shown = page.text["film"]
    assert [f"step {row.step} ·" in shown for row in samples] == [True] * 4


def test_a_story_by_each_strategy_with_its_figures(page, finished):
    compared = storyloom.compare_strategies(storyloom.load(finished), max_new_tokens=200)
    told = [quality.stories[0].replace("\r\n", "\n").replace("\r", "\n") for quality in compared]  # as HTML is read
    assert page.stories[-len(STRATEGIES) :] == told
    shown = page.text["strategies"]
    for quality in compared:
        assert f"log-prob {quality.log_probability:.2f} · distinct-2" in shown
        assert f"· {quality.tokens} tokens" in shown


def test_settings_that_differ_are_set_apart(page):
    changed, _, others = page.text["settings"].partition("as by default")
    for name in ("model.n_layer", "train.max_steps", "train.eval_interval"):
        assert name in changed
        assert name not in others
    for name in ("train.grad_clip", "model.dropout"):
        assert name in others
        assert name not in changed


def test_the_storybook_has_a_limit_and_no_others_figures(page):
    assert "exact limit" in page.text["findings"]
    assert "llama2.c" not in page.html


@pytest.mark.usefixtures("short_stories")
def test_a_story_shows_as_itself(run_copy):
    rewrite(run_copy, "samples.jsonl", story=NASTY)
    page = Page(storyloom.write_report(run_copy))
    assert page.stories[:4] == [NASTY] * 4
    assert is_self_contained(page)


@pytest.mark.usefixtures("short_stories")
def test_a_folders_name_shows_as_itself(finished, tmp_path):
    page = Page(storyloom.write_report(shutil.copytree(finished, tmp_path / "<i>R&D[0]")))
    assert "i" not in {tag for tag, _ in page.elements}
    assert "<i>R&D[0]" in page.text[""]


@pytest.mark.usefixtures("short_stories")
def test_the_same_run_gives_the_same_bytes(finished, tmp_path):
    pages = [storyloom.write_report(finished, out=tmp_path / name) for name in ("a.html", "b.html")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_commands_train_the_same_run_again(page, finished, tmp_path):
    """The one that is said to make the very same updates does."""
    line = next(line for line in page.rows("commands") if "config.toml" in line)
    words = shlex.split(line)
    assert words[:2] == ["storyloom", "train"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    again = storyloom.train(options["--data"], out=tmp_path / "R", config=options["--config"], progress=False)
    losses = [[row.loss for row in Record(run).train] for run in (finished, again.path)]
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("short_stories")
def test_an_interrupted_run_has_a_report(run_copy):
    """As Ctrl-C leaves it: no final row, the last checkpoint beyond the last evaluation."""
    rows = [row for name in LOGS for row in read_rows(run_copy / name)]
    write_rows(run_copy, *(row for row in rows if row.step <= 17 or isinstance(row, SampleRow)))
    vouch(run_copy)
    page = Page(storyloom.write_report(run_copy))
    assert "come to step 17 of 29" in page.text["findings"]
    assert "Its exact limit is given once the run is finished" in page.text["findings"]
    assert "3 validation stories, at step 11" in page.text[""]
    assert "--resume" in page.text["commands"]
    assert len(page.stories) == 2 + len(STRATEGIES)  # told at steps 7 and 14, and a later one that was lost


def test_a_run_before_its_first_checkpoint_has_a_report(make_record):
    page = Page(storyloom.write_report(make_record([4.0, 3.0], max_steps=11).run))
    assert "no model to tell" in page.text["strategies"]
    assert "not evaluated yet" in page.text[""]
    assert "No story was told on the way" in page.text["film"]


def test_published_losses_stand_around_a_run_on_tinystories(make_record):
    record = make_record([4.0], [(1, 3.5)], scored(3.5), origin={"source": "tinystories"})
    marks = report.scale(record, "best")
    assert [mark.bits_per_byte for mark in marks] == sorted((m.bits_per_byte for m in marks), reverse=True)
    assert len(marks) == len(TINYSTORIES_LOSSES) + 1
    (ours,) = [mark for mark in marks if mark.is_ours]
    assert (ours.bits_per_byte, ours.note) == (pytest.approx(scored(3.5)["bits_per_byte"]), "this run at step 1")
    page = Page(storyloom.write_report(record.run))
    assert "Published losses on TinyStories" in page.text["findings"]


def test_published_losses_are_marked_beside_another_text(make_record):
    page = Page(storyloom.write_report(make_record([4.0], [(1, 3.5)]).run))
    assert "Unless this run's text is TinyStories, it is another text" in " ".join(page.text["findings"].split())


def test_published_bits_a_byte_follow_from_their_nats():
    """nats / (ln 2 x bits) is the bytes of a token: 3.7 to 4.2 for words' pieces, 2.1 with a vocabulary of 512; a
    character is a byte. Both figures are rounded.
    """
    for published in TINYSTORIES_LOSSES:
        bytes_per_token = float(published.nats_per_token) / (0.693147 * published.bits_per_byte)
        small = {"characters": (0.99, 1.03), "260K": (2.0, 2.2)}
        least, most = next((bounds for word, bounds in small.items() if word in published.model), (3.6, 4.2))
        assert least < bytes_per_token < most, published.model


def test_a_loss_that_cannot_be_compared_says_so(make_record):
    final = scored(3.5) | {"comparable": False, "why_not_comparable": "cleaning changed 7 of its stories"}
    record = make_record([4.0], [(1, 3.5)], final)
    (ours,) = [mark for mark in report.scale(record, "best") if mark.is_ours]
    assert ours.note == "this run at step 1, not comparable"
    page = Page(storyloom.write_report(record.run))
    assert "not comparable: cleaning changed 7 of its stories" in page.text[""]
    assert f"{BYTES_PER_TOKEN:.2f} bytes" in page.text[""]


def test_the_bytes_of_a_token_are_those_of_what_was_measured(make_record):
    """The last checkpoint was scored on fewer stories than the best one."""
    final = scored(3.25) | {"bytes": 7919, "tokens": 1013}
    record = make_record([4.0] * 9, [(6, 3.2), (9, 3.4)], final)
    notes = [{tile.name: tile.note for tile in report.tiles(record, name)} for name in ("best", "last")]
    assert notes[0]["nats/token"] == f"{7919 / 1013:.2f} bytes a token"
    assert notes[1]["nats/token"] == f"{BYTES_PER_TOKEN:.2f} bytes a token"
    assert "at step 9" in notes[1]["bits/byte"]


@pytest.mark.parametrize(("evaluations", "text"), [([(1, 3.5)], "validation"), ([], "training")])
def test_bytes_a_token_are_of_the_text_that_was_counted(make_record, evaluations, text):
    page = Page(storyloom.write_report(make_record([4.0], evaluations).run))
    assert f"bytes a token of the {text} text" in " ".join(page.text["loss"].split())


def test_thinned_curves_say_so(make_record):
    short, long = (Page(storyloom.write_report(make_record([4.0] * n, name=str(n)).run)) for n in (600, 1201))
    assert "means of up to" not in short.text["loss"]
    assert "means of up to 3 updates" in long.text["loss"]


def test_the_page_can_be_read_to_one_who_does_not_see_it(page):
    """A finding's mood is not said by its color alone, a story has no language of the page, a table's heads are."""
    moods = ("Good:", "To be watched:", "For information:")
    findings = [line for line in page.rows("findings") if line.startswith(moods)]
    assert len(findings) == sum(
        found.get("class") in ("good", "watch", "plain") for tag, found in page.elements if tag == "li"
    )
    told = [found for tag, found in page.elements if tag == "p" and found.get("class") == "story"]
    assert told
    assert all((found["dir"], found["lang"]) == ("auto", "") for found in told)
    assert all("scope" in found for tag, found in page.elements if tag == "th")
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table")
    scrolled = [found for _, found in page.elements if found.get("class") in ("scroll", "strip")]
    assert all({"tabindex", "role", "aria-label"} <= found.keys() for found in scrolled)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="file names are text here")
@pytest.mark.usefixtures("short_stories")
def test_a_folders_name_may_be_any_bytes(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / os.fsdecode(b"caf\xe9"))
    assert "caf?" in Page(storyloom.write_report(run)).text[""]
    assert storyloom.plot_losses(run).is_file()
    assert storyloom.compare_runs([finished, run], tmp_path / "c.html").is_file()


@pytest.mark.usefixtures("short_stories")
def test_a_page_of_ours_is_replaced_and_nothing_else(run_copy, tmp_path):
    storyloom.write_report(run_copy)
    storyloom.write_report(run_copy)
    other = tmp_path / "letter.html"
    other.write_text("<p>dear reader", encoding="utf-8")
    with pytest.raises(RunError, match="is not a page of storyloom's"):
        storyloom.write_report(run_copy, out=other)
    assert other.read_text(encoding="utf-8") == "<p>dear reader"


def test_what_cannot_be_reported_on(run_copy, tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        storyloom.write_report(tmp_path / "nope")
    with pytest.raises(ConfigError, match="unknown checkpoint 'first'"):
        storyloom.write_report(run_copy, checkpoint="first")
    with pytest.raises(RunError, match="is a folder: name a file"):
        storyloom.write_report(run_copy, out=tmp_path)
    with pytest.raises(RunError, match="there is no folder"):
        storyloom.write_report(run_copy, out=tmp_path / "nope" / "a.html")
    weights = run_copy / "checkpoints" / "last" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        storyloom.write_report(run_copy, checkpoint="last")
    assert not (run_copy / "report.html").exists()
