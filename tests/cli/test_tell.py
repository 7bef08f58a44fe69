import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import storyloom

PROGRAM = [sys.executable, "-c", "import sys; from storyloom.cli import main; main(sys.argv[1:])"]


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
    "cut short": ("checkpoints/best/model.safetensors", cut, ["is damaged", "`last` or `best`"]),
    "altered": ("checkpoints/best/model.safetensors", flip, ["is damaged", "`last` or `best`"]),
    "weights missing": (
        "checkpoints/best/model.safetensors",
        os.remove,
        ["is missing", "the other checkpoint"],
    ),
    "manifest altered": (
        "checkpoints/best/manifest.json",
        rewrite('"sha256"', '"sha"'),
        ["is damaged", "the other checkpoint"],
    ),
    "manifest's checksum": (
        "checkpoints/best/manifest.json",
        rewrite('safetensors": "', 'safetensors": "0'),
        ["damaged"],
    ),
    "manifest missing": (
        "checkpoints/best/manifest.json",
        os.remove,
        ["is missing", "the other checkpoint"],
    ),
    "checkpoint missing": ("checkpoints/best", shutil.rmtree, ["no checkpoint 'best'", "--resume", "--checkpoint"]),
    "tokenizer cut short": ("tokenizer.json", cut, ["cannot read the tokenizer"]),
    "tokenizer missing": ("tokenizer.json", os.remove, ["no tokenizer at"]),
    "another tokenizer": ("tokenizer.json", None, ["is not the tokenizer this run was trained with", "put it back"]),
    "another shape": (
        "config.toml",
        rewrite("n_embd = 32", "n_embd = 64"),
        ["config.toml is not as it was written", "put it back"],
    ),
    "more layers": (
        "config.toml",
        rewrite("n_layer = 2", "n_layer = 3"),
        ["config.toml is not as it was written", "put it back"],
    ),
    "empty configuration": ("config.toml", lambda path: path.write_text(""), ["config.toml", "put it back"]),
    "no vocabulary": (
        "config.toml",
        rewrite("vocab_size = 307\nblock", "block"),
        ["config.toml: model lacks vocab_size"],
    ),
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
    "options",
    [
        {},
        {"strategy": "greedy"},
        {"top_k": 7, "temperature": 1.3, "seed": 11},
        {"top_k": 50, "top_p": 0.95, "min_p": 0.05, "temperature": 0.7, "repetition_penalty": 1.2},
        {"strategy": "top-k", "top_p": 0.5, "device": "cpu"},
        {"min_p": 0.3, "repetition_penalty": 1.7},
        {"beams": 3, "length_penalty": 0.3},
        {"strategy": "beam"},
        {"checkpoint": "last"},
    ],
)
def test_it_tells_what_the_api_tells(command, workspace, options):
    options = {"seed": 3, **options}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    outcome = command("tell", "In year", "--model", "R", "--max-new-tokens", "43", *words)
    checkpoint = options.pop("checkpoint", "best")
    teller = storyloom.load(workspace / "R", checkpoint, options.pop("device", None))
    story = teller.tell("In year", max_new_tokens=43, **options)
    assert outcome == (0, story + "\n", "")


def test_json_is_one_object_and_nothing_else(command, workspace):
    words = ["--num-stories", "3", "--max-new-tokens", "13", "--seed", "5", "--json"]
    outcome = command("tell", "Ein Häs", "--model", "R", *words)
    stories = storyloom.load(workspace / "R").generate_all("Ein Häs", num_stories=3, max_new_tokens=13, seed=5)
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    told = json.loads(outcome.out)
    assert told["stories"] == [story.text for story in stories]
    assert told["finish_reasons"] == [story.finish_reason for story in stories]
    assert (told["prompt"], told["seed"], told["max_new_tokens"]) == ("Ein Häs", 5, 13)
    assert "Häs" in outcome.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"strategy": "top-p"}),
        (["--top-k", "7"], {"strategy": "top-k", "top_k": 7}),
        (["--top-k", "7", "--top-p", "0.5"], {"strategy": "top-k+top-p", "top_k": 7, "top_p": 0.5}),
        (["--beams", "3", "--repetition-penalty", "1.5"], {"strategy": "beam", "beams": 3, "repetition_penalty": 1.5}),
    ],
)
def test_json_names_the_strategy_that_was_used_and_what_was_given(command, words, expected):
    """It named no strategy where none was given, and printed null for every option left out."""
    words = ["--json", "--max-new-tokens", "1", "--seed", "0", *words]
    told = json.loads(command("tell", "Once", "--model", "R", *words).out)
    assert len(told.pop("stories")) == len(told.pop("finish_reasons")) == 1
    assert told == {"prompt": "Once", **expected, "max_new_tokens": 1, "seed": 0, "prompt_tokens_dropped": 0}


NOTE = re.compile(r"note: seed (\d+): --seed \1 tells the same again\n")


@pytest.mark.parametrize("words", [[], ["--num-stories", "2"], ["--strategy", "all"]], ids=["one", "two", "all"])
def test_the_seed_that_was_drawn_is_printed_and_tells_the_same_again(command, words):
    """Two calls told the same story, and a program that told another each time would have kept it to itself."""
    words = ["tell", "In", "--model", "R", "--max-new-tokens", "13", *words]
    one, other = command(*words), command(*words)
    assert one.status == 0
    assert one.out != other.out
    (seed,) = NOTE.fullmatch(one.err).groups()
    assert command(*words, "--seed", seed) == (0, one.out, "")


def test_the_seed_that_was_drawn_is_in_the_json(command):
    words = ["tell", "In", "--model", "R", "--json"]
    one, other = command(*words), command(*words)
    assert (one.status, one.err, other.err) == (0, "", "")
    told, again = json.loads(one.out), json.loads(other.out)
    assert told["seed"] != again["seed"]
    assert told["stories"] != again["stories"]
    assert command(*words, "--seed", told["seed"]).out == one.out


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_where_there_is_no_chance_there_is_no_seed_to_name(command, strategy):
    outcome = command("tell", "In", "--model", "R", "--max-new-tokens", "3", "--strategy", strategy)
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize("words", [[], ["--num-stories", "2"]], ids=["one", "two"])
def test_a_prompt_that_is_cut_is_said_to_be(command, words):
    """Of 41 characters in a block of 37 tokens the last 18 are used; it was not said."""
    prompt = "In year 9 a cat met 81 dogs and sat down."
    words = ["tell", prompt, "--model", "R-char", "--max-new-tokens", "3", "--seed", "1", *words]
    outcome = command(*words)
    note = "note: the prompt is longer than the model's block: its first 23 tokens are not used\n"
    assert (outcome.status, outcome.err) == (0, note)
    assert outcome.out.startswith(prompt)
    assert json.loads(command(*words, "--json").out)["prompt_tokens_dropped"] == 23
    assert command(*words[:1], prompt[:36], *words[2:]).err == ""


def test_pieces_are_printed_as_they_come(command, monkeypatch, capsys):
    """All of a story was told before its first word was printed."""
    printed = []

    def pretend(self, prompt, **options):
        for piece in (" upon", " a", ""):
            yield 0, piece
            printed.append(capsys.readouterr().out)

    monkeypatch.setattr(storyloom.generation.StoryTeller, "stream", pretend)
    assert command("tell", "Once", "--model", "R", "--seed", "1") == (0, "\n", "")
    assert printed == ["Once upon", " a", ""]


def test_all_strategies_side_by_side(command, workspace, monkeypatch):
    """Story text is no markup; a table of at most 80 plain columns follows."""
    monkeypatch.delenv("COLUMNS", raising=False)
    options = {"num_stories": 3, "max_new_tokens": 31, "seed": 5, "repetition_penalty": 1.1}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    outcome = command("tell", "[red] In year", "--model", "R", "--strategy", "all", *words)
    compared = storyloom.compare_strategies(storyloom.load(workspace / "R"), "[red] In year", **options)
    stories = "".join(f"--- {quality.strategy}\n" + "\n\n".join(quality.stories) + "\n\n" for quality in compared)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(stories)
    head, *rows = outcome.out.removeprefix(stories).splitlines()
    assert head.split() == ["strategy", "distinct-1", "distinct-2", "distinct-3", "repetition", "log-prob", "tokens"]
    assert max(map(len, [head, *rows])) <= 80
    assert [row.split() for row in rows] == [
        [
            quality.strategy,
            *(f"{figure:.3f}".replace("nan", "-") for figure in list(vars(quality).values())[2:6]),
            f"{quality.log_probability:.3f}",
            str(quality.tokens),
        ]
        for quality in compared
    ]


def test_all_strategies_as_json(command, workspace):
    words = ["--strategy", "all", "--json", "--max-new-tokens", "1", "--seed", "0"]
    outcome = command("tell", "In", "--model", "R", *words)
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    told = json.loads(outcome.out, parse_constant=pytest.fail)
    rows = told.pop("strategies")
    asked = {"prompt": "In", "strategy": "all", "max_new_tokens": 1, "seed": 0}
    assert told == {**asked, "prompt_tokens_dropped": 0}
    compared = storyloom.compare_strategies(storyloom.load(workspace / "R"), "In", max_new_tokens=1)
    for row, quality in zip(rows, compared, strict=True):
        expected = {**vars(quality), "stories": list(quality.stories)}
        assert row == {name: None if value != value else value for name, value in expected.items()}
        assert row["repetition"] is None  # one token is never four words


def test_what_there_is_too_little_text_for_is_a_dash(command):
    outcome = command("tell", "In", "--model", "R", "--strategy", "all", "--max-new-tokens", "2")
    assert all(row.split()[4] == "-" for row in outcome.out.splitlines()[-7:])


def test_several_stories_stand_apart(command, workspace):
    words = ["--num-stories", "3", "--max-new-tokens", "17", "--seed", "5"]
    outcome = command("tell", "a", "--model", "R-char", *words)
    stories = storyloom.load(workspace / "R-char").tell_all("a", num_stories=3, max_new_tokens=17, seed=5)
    assert outcome == (0, "\n\n".join(stories) + "\n", "")


def test_brackets_are_text(command):
    """Story text must never be read as markup."""
    outcome = command("tell", "[bold]Oh[/bold] [red", "--model", "R", "--max-new-tokens", "2")
    assert outcome.out.startswith("[bold]Oh[/bold] [red")


def test_a_console_with_another_code_page_gets_utf8(workspace):
    prompt = "Ein Häschen — \U0001f407"
    words = [*PROGRAM, "tell", prompt, "--model", "R", "--max-new-tokens", "3", "--seed", "1"]
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
