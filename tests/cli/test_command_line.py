"""What all verbs share: help, mistakes in the words themselves, and what becomes of each kind of error."""

import errno
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

import storyloom
from storyloom.cli import main
from storyloom.errors import RunError

OPTIONS = {
    "demo": "--minutes --out",
    "tell": "PROMPT --model --checkpoint --device --strategy --temperature --top-k --top-p --min-p --beams "
    "--length-penalty --repetition-penalty --max-new-tokens --num-stories --seed --json",
    "prepare": "SOURCE --out --preset --tokenizer --vocab-size --val --val-fraction --limit-mb --column --clean "
    "--strict-characters --workers",
    "train": "--data --out --preset --config --set --minutes --init --resume",
    "evaluate": "RUN --data --text --checkpoint --device --json",
    "presets": "NAME --settings",
    "info": "--json",
    "bench": "train",
}


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_names_every_verb(command, words):
    outcome = command(*words)
    assert (outcome.status, outcome.err) == (0, "")
    assert "Usage: storyloom " in outcome.out
    assert [verb for verb in OPTIONS if f" {verb} " not in outcome.out] == []


@pytest.mark.parametrize("verb", OPTIONS)
def test_help_of_a_verb_names_its_options(command, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    outcome = command(verb, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert f"Usage: storyloom {verb} " in outcome.out
    assert [option for option in OPTIONS[verb].split() if option not in outcome.out] == []


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RunError("two\nlines"), 2, "two lines"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/R.partial"),
            2,
            "cannot use /x/R: Permission denied; mend that, or name another place",
        ),
        (OSError(errno.EIO, "Input/output error"), 2, "Input/output error; mend that, or name another"),
        (MemoryError(), 2, "out of memory: lower train.batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, "out of memory: lower"),
        (RuntimeError("CUDA out of memory. Tried to allocate 7 GiB"), 2, "out of memory: lower train.batch_size"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_error_is_one_line(command, monkeypatch, error, status, message):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(storyloom, "evaluate", fail, raising=False)
    outcome = command("evaluate", "R")
    assert (outcome.status, outcome.out) == (status, "")
    assert outcome.err.startswith(f"storyloom: {message}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), AssertionError("ours"), SystemExit(7)])
def test_our_own_mistakes_are_not_hidden(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(storyloom, "evaluate", fail, raising=False)
    with pytest.raises(type(error)) as caught:
        main(["evaluate", "R"])
    assert caught.value is error


def test_undecodable_words_can_be_complained_about(refused):
    """The message could not be written to a standard error that took strict UTF-8."""
    assert "\\udcff does not exist" in refused("report", "\udcff")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_with_130_and_the_run_can_go_on(workspace, tmp_path):
    """Typer swallowed the KeyboardInterrupt, and the command that resumes was never printed."""
    out = tmp_path / "my run"
    program = [sys.executable, "-c", "import sys; from storyloom.cli import main; main(sys.argv[1:])"]
    words = ["train", "--data", "D", "--config", "tiny.toml", "--set", "train.max_steps=1000000", "--out", str(out)]
    words += ["--set", "train.compile=false"]
    with subprocess.Popen([*program, *words], cwd=workspace, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 3 "):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.endswith(f"\nstoryloom: interrupted; to continue: storyloom train --out '{out}' --resume\n")
    assert "Traceback" not in rest
    assert (out / "checkpoints" / "last" / "manifest.json").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("verb", ["presets", "interrupted"])
def test_ctrl_c_after_the_last_word_interrupts_nothing(verb):
    """A second Ctrl-C in the last half second printed a traceback of what a library does as Python ends."""
    program = """
import atexit, os, signal, sys, threading, time
import storyloom.cli.presets
from storyloom.cli import main

def clean_up():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    sys.stderr.write("cleaned up\\n")

def interrupted(*_, **__):
    raise KeyboardInterrupt

atexit.register(clean_up)
if sys.argv[1] == "interrupted":
    import storyloom
    storyloom.evaluate = interrupted
    sys.argv[1:] = ["evaluate", "R"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program, verb], capture_output=True, text=True, check=False)
    message = "storyloom: interrupted\n" if verb == "interrupted" else ""
    assert (done.returncode, done.stderr) == (130 if message else 0, f"{message}cleaned up\n")


def test_a_program_that_calls_it_keeps_its_handlers(command):
    before = signal.getsignal(signal.SIGINT)
    command("presets")
    assert signal.getsignal(signal.SIGINT) is before


def test_the_version_is_the_installed_one(command):
    outcome = command("--version")
    assert (outcome.status, outcome.out, outcome.err) == (0, f"storyloom {version('storyloom')}\n", "")
