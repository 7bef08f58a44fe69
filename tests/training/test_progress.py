"""The live line, on a terminal and elsewhere."""

import io
import os
import shutil
import sys
from dataclasses import replace

import pytest

from storyloom.training import progress
from storyloom.training.progress import LiveLine

from ..invented import eval_row, final_row, note_row, plan_row, sample_row, start_row, train_row

TRAIN = train_row(
    7,
    loss=2.3456,
    bits_per_byte=1.2344,
    learning_rate=0.00123,
    grad_norm=0.567,
    tokens_per_second=12345.6,
    epoch=0.519,
)
START = start_row(3, parameters=2_410_000, precision="bf16", threads=2, compiled=True)


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def show(monkeypatch, is_terminal: bool) -> tuple[LiveLine, Screen]:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return LiveLine(), screen


def test_elsewhere_a_line_every_ten_seconds(monkeypatch, clock):
    line, screen = show(monkeypatch, is_terminal=False)
    line(START)
    for step in range(1, 31):
        line(replace(TRAIN, step=step))
        clock[0] += 1.0
    lines = screen.getvalue().split("\n")[:-1]
    assert lines[0] == "training 2.41M parameters from step 3 to 11 on cpu in bf16 (as set), 2 threads, compiled"
    assert [text.split()[1] for text in lines[1:]] == ["1/11", "11/11", "21/11"]
    assert lines[1] == (
        "step 1/11  loss 2.346 nats/token (1.234 bits/byte)  lr 1.23e-03  grad 0.57  12,346 tokens/s  epoch 0.52"
    )
    assert "\r" not in screen.getvalue()


def test_a_gradient_that_overflowed_is_said_to(monkeypatch, clock):
    line, screen = show(monkeypatch, is_terminal=False)
    line(replace(TRAIN, grad_norm=None))
    assert "  grad overflow  " in screen.getvalue()


def test_on_a_terminal_one_line_that_renews_itself(monkeypatch, clock):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((41, 24)))
    line, screen = show(monkeypatch, is_terminal=True)
    for _ in range(3):
        line(TRAIN)
        clock[0] += 1.0
    line(note_row("something"))
    line(TRAIN)
    live = "\rstep 7  loss 2.346 nats/token (1.234 bit"  # 40 columns: the last one would make a terminal scroll
    assert screen.getvalue() == live * 3 + "\nnote: something\n" + live


def test_a_run_with_a_deadline_says_what_it_plans(monkeypatch, clock):
    line, screen = show(monkeypatch, is_terminal=False)
    line(replace(START, max_steps=None, minutes=1.5, compiled=False))
    line(plan_row(2, updates=40))
    line(TRAIN)
    assert " from step 3 for 1.5 minutes in all on cpu" in screen.getvalue()
    assert "\nstep 7/42  loss" in screen.getvalue()


def test_stories_are_written_as_they_are(monkeypatch):
    line, screen = show(monkeypatch, is_terminal=False)
    line(sample_row(5, "[bold]Zoë[/bold] 🙂\nran."))
    assert screen.getvalue() == "step 5  a sample:\n    [bold]Zoë[/bold] 🙂\n    ran.\n"


def test_evaluations_say_whether_they_are_the_best(monkeypatch):
    line, screen = show(monkeypatch, is_terminal=False)
    row = eval_row(5, stories=3, nats_per_token=1.23456, bits_per_byte=0.98765)
    line(row)
    line(replace(row, is_best=False))
    said = "step 5  validation, 3 stories: 1.2346 nats/token, 0.9877 bits/byte"
    assert screen.getvalue() == f"{said}  (best so far)\n{said}\n"


@pytest.mark.parametrize(
    ("changes", "bits"),
    [
        ({}, "0.7500 +- 0.0125 bits/byte"),
        ({"bits_per_byte_stderr": None}, "0.7500 bits/byte"),
        ({"comparable": False, "why_not_comparable": "why"}, "0.7500 +- 0.0125 bits/byte (not comparable: why)"),
    ],
)
def test_the_end_names_the_figures(monkeypatch, changes, bits):
    """Over a single story the standard error was said to be nan."""
    line, screen = show(monkeypatch, is_terminal=False)
    line(final_row(minutes=7.25, stories=13, nats_per_token=1.5, bits_per_byte=0.75, **changes))
    assert screen.getvalue() == (
        f"done in 7.25 minutes: all 13 validation stories, checkpoint best: 1.5000 nats/token, {bits}\n"
    )
