import json
import math

import pytest

import storyloom
from storyloom.config import load_config, save_config

KEYS = [
    "nats_per_token",
    "perplexity",
    "bits_per_byte",
    "bits_per_byte_stderr",
    "tokens",
    "bytes",
    "stories",
    "comparable",
    "text_sha256",
]


def test_the_runs_own_data_gone(refused, copied):
    run = copied("R")
    config, origin = load_config(run / "config.toml")
    save_config(run / "config.toml", config, origin | {"data": "/gone"})
    message = refused("evaluate", run)
    assert "no longer at /gone" in message.replace("\\", "/")
    assert "--data, or stories as --text" in message


def test_json_has_exactly_the_documented_keys(command, workspace):
    outcome = command("evaluate", "R-char", "--json")
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    figures = json.loads(outcome.out)
    assert list(figures) == KEYS
    assert figures == storyloom.evaluate(workspace / "R-char")


def test_storybook_text_comes_with_its_limit(command):
    figures = json.loads(command("evaluate", "R", "--json").out)
    assert set(figures) == {*KEYS, "limit_bits_per_byte", "gap_bits_per_byte", "gap_bits_per_byte_stderr"}
    assert figures["bits_per_byte"] - figures["limit_bits_per_byte"] == pytest.approx(figures["gap_bits_per_byte"])


def test_json_has_no_nan(command):
    """The standard error over a single story was written as NaN, which is no JSON."""

    def refuse(constant):
        raise AssertionError(constant)

    outcome = command("evaluate", "R", "--text", "one.txt", "--json")
    figures = json.loads(outcome.out, parse_constant=refuse)
    assert (figures["stories"], figures["bits_per_byte_stderr"]) == (1, None)


def test_as_text_for_people(command, workspace):
    outcome = command("evaluate", "R", "--checkpoint", "last")
    figures = storyloom.evaluate(workspace / "R", checkpoint="last")
    assert (outcome.status, outcome.err) == (0, "")
    assert (
        f"{figures['nats_per_token']:.4f} nats/token, perplexity {math.exp(figures['nats_per_token']):.3f}"
        in outcome.out
    )
    assert f"{figures['bits_per_byte']:.4f} +- {figures['bits_per_byte_stderr']:.4f} bits/byte\n" in outcome.out
    assert f"exact limit {figures['limit_bits_per_byte']:.4f} bits/byte: the gap is " in outcome.out


def test_a_text_instead(command, workspace):
    outcome = command("evaluate", "R", "--text", "small.txt")
    assert outcome.out.startswith("19 stories, ")
    assert "exact limit" not in outcome.out


def test_what_cannot_be_compared_is_marked(command, tmp_path):
    (tmp_path / "x.txt").write_text("ñandú", encoding="utf-8")
    outcome = command("evaluate", "R-char", "--text", tmp_path / "x.txt")
    assert "(not comparable: the text has characters the tokenizer does not know)" in outcome.out


def test_why_figures_cannot_be_compared_is_said(command, tmp_path):
    """Cleaned text was said to have characters that the tokenizer does not know."""
    texts = [f"In year {i}  a cat met {i * i} dogs." for i in range(31)]
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(texts), encoding="utf-8")
    data = tmp_path / "D"
    assert (
        command("prepare", tmp_path / "a.txt", "--clean", "--tokenizer", "R/tokenizer.json", "--out", data).status == 0
    )
    shown = command("evaluate", "R", "--data", data).out
    assert "bits/byte (not comparable: cleaning changed or dropped " in shown
    (tmp_path / "b.txt").write_text("a ñandú", encoding="utf-8")
    shown = command("evaluate", "R-char", "--text", tmp_path / "b.txt").out
    assert "(not comparable: the text has characters the tokenizer does not know)" in shown
