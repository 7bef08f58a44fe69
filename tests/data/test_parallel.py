"""The ordered map: the same results however many processes; what goes wrong in one of them.

What is mapped must be importable by the processes, hence functions of the standard library.
"""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storyloom.data import parallel
from storyloom.data.parallel import IN_FLIGHT, in_batches, ordered_map
from storyloom.data.tokenization import load_tokenizer
from storyloom.errors import DataError, TokenizerError


def test_stories_in_batches(monkeypatch):
    monkeypatch.setattr(parallel, "STORIES_AT_ONCE", 3)
    monkeypatch.setattr(parallel, "CHARACTERS_AT_ONCE", 7)
    stories = ["a", "b", "c", "d", "e" * 6, "f" * 23, "g", "h", "i", "j"]
    assert list(in_batches(stories)) == [["a", "b", "c"], ["d", "e" * 6], ["f" * 23], ["g", "h", "i"], ["j"]]
    assert list(in_batches([])) == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_items_only_as_they_are_needed(workers):
    """The first items take longest, so that later ones are ready before them."""
    numbers = [20_011, 11, 7, 5_003, 3, 2, 13, 17, 19]
    taken, results = [], []

    def items() -> Iterator[int]:
        for number in numbers:
            taken.append(number)
            yield number

    for result in ordered_map(math.factorial, items(), workers):
        results.append(result)
        assert len(taken) - len(results) < max(IN_FLIGHT * workers, 2)
    assert results == [math.factorial(number) for number in numbers]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_as_it_was_raised(tmp_path, workers):
    with pytest.raises(TokenizerError) as caught:
        list(ordered_map(load_tokenizer, [tmp_path / "none.json"], workers))
    assert str(caught.value) == f"no tokenizer at {tmp_path / 'none.json'}: `storyloom prepare` makes one"
    assert multiprocessing.active_children() == []


def test_an_error_of_the_items_arrives_and_ends_the_workers():
    def items() -> Iterator[str]:
        yield "a"
        raise DataError("line 7")

    with pytest.raises(DataError, match="line 7"):
        list(ordered_map(len, items(), workers=2))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("function", "item"), [(os._exit, 3), (signal.raise_signal, getattr(signal, "SIGKILL", 15))])
def test_a_worker_that_dies_is_one_line(function, item):
    with pytest.raises(DataError, match=r"one of 2 worker processes died.*take fewer workers") as caught:
        list(ordered_map(function, [item], workers=2))
    assert "\n" not in str(caught.value)


def test_a_worker_that_is_killed_while_it_writes_a_result_is_one_line():
    """Its results need longer to be written than to be made: the parent once waited for ever for the other half."""
    results = ordered_map(bytes, [30_000_000] * 99, workers=2)
    assert len(next(results)) == 30_000_000
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(DataError, match="one of 2 worker processes died"):
        list(results)


def test_closing_early_ends_the_workers():
    results = ordered_map(len, ["a", "bc", "def"] * 11, workers=2)
    assert [next(results), next(results)] == [1, 2]
    assert multiprocessing.active_children()
    results.close()
    assert multiprocessing.active_children() == []


ENDLESS = """
import signal, sys, time
from storyloom.data.parallel import ordered_map

def items():
    for seconds in (0, 0, *[float(sys.argv[1])] * 99):
        print("item", flush=True)
        yield seconds

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests that run in the background inherit ignored
    for result in ordered_map(time.sleep, items(), workers=2):
        print("done", flush=True)
"""


@contextmanager
def endless(folder: Path, seconds: float) -> Iterator[subprocess.Popen]:
    """A process with two workers that need so long for each of many items, in a group of its own."""
    (folder / "endless.py").write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, folder / "endless.py", str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            yield parent
        finally:
            parent.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="processes there do not share the pipe that tells of their end")
def test_workers_end_with_a_killed_parent(tmp_path):
    """The output is at its end only when every process that might write to it is gone."""
    with endless(tmp_path, seconds=1000) as parent:
        assert "done\n" in iter(parent.stdout.readline, "")
        parent.kill()
        assert "Traceback" not in parent.communicate(timeout=60)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C there is no signal to a group")
def test_workers_do_not_answer_ctrl_c(tmp_path):
    """While they were starting they once printed a traceback each; only the parent is to say something."""
    with endless(tmp_path, seconds=0.1) as parent:
        assert "item\n" in iter(parent.stdout.readline, "")
        time.sleep(0.1)
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.communicate(timeout=60)[1]
    assert said.count("Traceback") == said.count("KeyboardInterrupt\n") == 1


class Unreadable:
    """Becomes an error where it is unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def test_an_item_that_no_worker_can_read_is_one_line():
    """The thread that takes items died of it, and worker and parent waited for one another for ever."""
    with pytest.raises(DataError, match="one of 2 worker processes died"):
        list(ordered_map(len, ["a", Unreadable(), "bc"], workers=2))
    assert multiprocessing.active_children() == []


def test_a_result_that_cannot_be_sent_arrives_as_its_error():
    with pytest.raises(TypeError, match="pickle"):
        list(ordered_map(memoryview, [b"a"], workers=2))


def test_two_threads_may_map_at_once():
    """The environment named the parent of workers that start, and the first thread took the name from the second."""
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(list(ordered_map(len, ["a", "bc"], workers=2)))) for _ in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1, 2]] * 3
