import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

import storyloom

PROGRAM = [sys.executable, "-c", "import sys; from storyloom.cli import main; main(sys.argv[1:])"]

REFUSALS = {
    "no model": (["Once"], ["no model ships", "storyloom demo", "storyloom train", "--model"]),
    "no such run": (["Once", "--model", "nope"], ["nope does not exist", "storyloom train --out"]),
    "a folder that is no run": (["Once", "--model", "emptydir"], ["emptydir is no run folder", "config.toml"]),
    "a file": (["Once", "--model", "afile"], ["afile is no run folder"]),
    "unknown checkpoint": (["--model", "R", "--checkpoint", "lsat"], ["'lsat'", "best, last"]),
    "unknown strategy": (["--model", "R", "--strategy", "topk"], ["'topk'", "did you mean 'top-k'?", "greedy"]),
    "temperature 0": (["--model", "R", "--temperature", "0"], ["temperature = 0", "above 0", "greedy"]),
    "top-p 0": (["--model", "R", "--top-p", "0"], ["top_p = 0", "above 0", "at most 1"]),
    "top-p 2": (["--model", "R", "--top-p", "2"], ["top_p = 2", "above 0", "at most 1"]),
    "top-k 0": (["--model", "R", "--top-k", "0"], ["top_k = 0", "at least 1"]),
    "no story": (["--model", "R", "--num-stories", "0"], ["num_stories = 0", "at least 1"]),
    "no token": (["--model", "R", "--max-new-tokens", "0"], ["max_new_tokens = 0", "at least 1"]),
    "greedy twice": (
        ["--model", "R", "--strategy", "greedy", "--num-stories", "2"],
        ["num_stories = 2 contradicts the strategy greedy", "ask for 1"],
    ),
    "greedy with temperature": (
        ["--model", "R", "--strategy", "greedy", "--temperature", "1"],
        ["temperature = 1", "contradicts the strategy greedy", "repetition_penalty", "leave it out"],
    ),
    "top-k with top-p": (
        ["--model", "R", "--strategy", "top-k", "--top-p", "0.5"],
        ["top_p = 0.5 contradicts the strategy top-k", "temperature, top_k", "leave it out"],
    ),
    "unknown characters": (["a ñandú", "--model", "R-char"], ["'ñ'", "'ú'", "never seen", "without them"]),
    "half a character": (["a \udc80", "--model", "R"], ["'\\udc80'", "position 2"]),
    "a prompt without quotes": (["Once", "upon", "--model", "R"], ["unexpected extra argument", "upon", "--help"]),
    "no number": (["--model", "R", "--seed", "one"], ["'--seed'", "integer", "(got 'one')"]),
    "unknown option": (["--model", "R", "--temprature", "1"], ["--temprature", "--temperature"]),
    "as JSON": (["--model", "R", "--json", "--top-k", "0"], ["top_k = 0"]),
}


@pytest.mark.parametrize(("words", "fragments"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(refused, words, fragments):
    """No story at all (--num-stories 0) told one."""
    message = refused("tell", *words)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(old, new):
    def change(path):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


DAMAGES = {
    "cut short": ("checkpoints/best/model.safetensors", cut, ["is damaged", "last and best"]),
    "altered": ("checkpoints/best/model.safetensors", flip, ["is damaged", "last and best"]),
    "weights missing": ("checkpoints/best/model.safetensors", os.remove, ["is missing", "--checkpoint"]),
    "manifest altered": ("checkpoints/best/manifest.json", rewrite('"sha256"', '"sha"'), ["is damaged", "last and"]),
    "manifest's checksum": (
        "checkpoints/best/manifest.json",
        rewrite('safetensors": "', 'safetensors": "0'),
        ["damaged"],
    ),
    "manifest missing": ("checkpoints/best/manifest.json", os.remove, ["is missing", "--checkpoint"]),
    "checkpoint missing": ("checkpoints/best", shutil.rmtree, ["no checkpoint 'best'", "--resume", "--checkpoint"]),
    "tokenizer cut short": ("tokenizer.json", cut, ["cannot read the tokenizer"]),
    "tokenizer missing": ("tokenizer.json", os.remove, ["no tokenizer at"]),
    "another tokenizer": ("tokenizer.json", None, ["is not the tokenizer this run was trained with", "put it back"]),
    "another shape": ("config.toml", rewrite("n_embd = 32", "n_embd = 64"), ["do not fit", "config.toml"]),
    "more layers": ("config.toml", rewrite("n_layer = 2", "n_layer = 3"), ["do not fit", "config.toml"]),
    "empty configuration": ("config.toml", lambda path: path.write_text(""), ["config.toml is not as", "put it back"]),
    "no vocabulary": ("config.toml", rewrite("vocab_size = 307\nblock", "block"), ["config.toml is not as"]),
}


@pytest.mark.parametrize("verb", ["tell", "evaluate"])
@pytest.mark.parametrize(("name", "damage", "fragments"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_run(refused, copied, workspace, verb, name, damage, fragments):
    """An emptied config.toml ended in an AssertionError; weights that do not fit listed every missing tensor."""
    run = copied("R")
    if damage is None:
        shutil.copy(workspace / "R-char" / name, run / name)
    else:
        damage(run / name)
    message = refused(*(["tell", "Once", "--model", run] if verb == "tell" else ["evaluate", run]))
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def test_the_other_checkpoint_helps(command, copied):
    run = copied("R")
    cut(run / "checkpoints" / "best" / "model.safetensors")
    assert command("tell", "Once", "--model", run, "--checkpoint", "last", "--max-new-tokens", "3").status == 0


@pytest.mark.parametrize(
    "options", [{}, {"strategy": "greedy"}, {"top_k": 7, "temperature": 1.3, "seed": 11}, {"checkpoint": "last"}]
)
def test_it_tells_what_the_api_tells(command, workspace, options):
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    outcome = command("tell", "In year", "--model", "R", "--max-new-tokens", "43", *words)
    checkpoint = options.get("checkpoint", "best")
    asked = {name: value for name, value in options.items() if name != "checkpoint"}
    story = storyloom.load(workspace / "R", checkpoint).tell("In year", max_new_tokens=43, **asked)
    assert outcome == (0, story + "\n", "")


def test_json_is_one_object_and_nothing_else(command, workspace):
    words = ["--num-stories", "3", "--max-new-tokens", "13", "--seed", "5", "--json"]
    outcome = command("tell", "Ein Häs", "--model", "R", *words)
    stories = storyloom.load(workspace / "R").tell_all("Ein Häs", num_stories=3, max_new_tokens=13, seed=5)
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    told = json.loads(outcome.out)
    assert told["stories"] == stories
    assert (told["prompt"], told["seed"], told["max_new_tokens"]) == ("Ein Häs", 5, 13)
    assert "Häs" in outcome.out


def test_several_stories_stand_apart(command, workspace):
    outcome = command("tell", "a", "--model", "R-char", "--num-stories", "3", "--max-new-tokens", "17")
    stories = storyloom.load(workspace / "R-char").tell_all("a", num_stories=3, max_new_tokens=17)
    assert outcome == (0, "\n\n".join(stories) + "\n", "")


def test_brackets_are_text(command):
    """Story text must never be read as markup."""
    outcome = command("tell", "[bold]Oh[/bold] [red", "--model", "R", "--max-new-tokens", "2")
    assert outcome.out.startswith("[bold]Oh[/bold] [red")


def test_a_console_with_another_code_page_gets_utf8(workspace):
    prompt = "Ein Häschen — \U0001f407"
    words = [*PROGRAM, "tell", prompt, "--model", "R", "--max-new-tokens", "3"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(words, cwd=workspace, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(prompt.encode())
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with pipes")
@pytest.mark.parametrize("words", [["--max-new-tokens", "3000"], ["--json", "--max-new-tokens", "3"]])
def test_a_closed_pipe_ends_without_a_traceback(workspace, words):
    """`tell --json | true` ended with status 1, since typer met the closed pipe first."""
    command = shlex.join([*PROGRAM, "tell", "--model", "R", *words])
    script = f"set -o pipefail; {command} | head -c 0"
    done = subprocess.run(["bash", "-c", script], cwd=workspace, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
