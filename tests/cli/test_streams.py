"""Standard streams that are closed or full: the same files and exit status as ever, and no traceback."""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes descriptors")

PROGRAM = [sys.executable, "-c", "from storyloom.cli import main; main()"]
CLOSED = ("<&-", ">&-", "2>&-")
ALL_CLOSED = " ".join(CLOSED)
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason=f"no {FULL} here")
TRAIN = "train --data D --config tiny.toml --out"
QUICK = ["--help", "--version", "presets", "train --help"]
SLOWER = [
    "info --json",
    "evaluate R --json",
    "tell --model R --max-new-tokens 3 --seed 5",
    "prepare many.txt --tokenizer char --out OUT/D",
    f"{TRAIN} OUT/R",
    "report R --out OUT/p.html",
    "compare R R-char --out OUT/c.html",
]


@pytest.fixture
def shell(workspace, tmp_path):
    """Run a command with redirections, in the workspace; OUT is a folder for what it makes."""

    def run(words: str, redirections: str, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
        typed = shlex.join([*PROGRAM, *words.replace("OUT", str(tmp_path)).split()])
        return subprocess.run(
            ["bash", "-c", f"{typed} {redirections}"],
            cwd=workspace,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def weights(run: Path) -> str:
    return hashlib.sha256((run / "checkpoints" / "best" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("closed", [*CLOSED, ALL_CLOSED])
def test_a_closed_stream_is_no_failure(shell, closed):
    """`storyloom presets >&-` ended with a traceback: Python leaves such a stream as None."""
    done = shell("presets", closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("" if ">&-" in closed.split() else shell("presets", "").stdout)


def test_training_without_any_stream_leaves_the_run_that_it_always_leaves(shell, workspace, tmp_path):
    """The training was finished, the exit status 1; and what libraries print by number could land in its files."""
    done = shell(f"{TRAIN} OUT/R", ALL_CLOSED)
    assert done.returncode == 0
    assert weights(tmp_path / "R") == weights(workspace / "R")
    assert {path.name for path in (tmp_path / "R").iterdir()} >= {path.name for path in (workspace / "R").iterdir()}


def test_an_error_keeps_its_status_without_a_stream_to_tell_it(shell):
    done = shell("presets nope", "2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """The next file that was opened was standard output, and got what was printed."""
    program = (
        "import os; from storyloom.cli.streams import open_missing_streams; open_missing_streams(); "
        "file = open('x', 'wb'); os.write(1, b'printed'); os.write(2, b'printed'); print('too'); "
        "os.system('echo from a child'); file.write(b'kept')"
    )
    typed = shlex.join([sys.executable, "-c", program])
    done = subprocess.run(["bash", "-c", f"{typed} {ALL_CLOSED}"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "x").read_bytes() == b"kept"


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "presets"])
def test_a_full_disk_is_told_in_one_line(shell, words, unbuffered):
    """Python flushed once more as it ended, complained and changed the exit status to 120."""
    done = shell(words, f"> {FULL}", unbuffered)
    assert done.returncode == 2
    assert done.stderr == ("storyloom: cannot write to standard output: No space left on device; free some space\n")


@needs_full
def test_messages_that_cannot_be_written_change_no_status(shell):
    assert shell("presets", f"2> {FULL}").returncode == 0
    assert shell("presets nope", f"2> {FULL}").returncode == 2
    assert shell("presets nope", f"> {FULL} 2>&1").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("closed", [*CLOSED, ALL_CLOSED, f"2> {FULL}"])
@pytest.mark.parametrize("words", [*QUICK, *SLOWER])
def test_every_verb_without_its_streams(shell, words, closed):
    done = shell(words, closed)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("words", [*QUICK, *SLOWER])
def test_every_verb_with_a_full_disk_for_its_output(shell, words):
    done = shell(words, f"> {FULL}")
    assert done.returncode == 2
    *_, line, end = done.stderr.split("\n")
    assert line == "storyloom: cannot write to standard output: No space left on device; free some space"
    assert end == ""
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@needs_full
def test_a_training_whose_last_words_do_not_fit_is_whole(shell, workspace, tmp_path):
    assert shell(f"{TRAIN} OUT/R", f"> {FULL}").returncode == 2
    assert weights(tmp_path / "R") == weights(workspace / "R")
