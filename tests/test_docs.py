"""The pages below docs/: what they show is run, what is generated is current, what they name exists."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest

from storyloom.cli.waiting import ASKED_BY_USER, SPIN_COUNT
from storyloom.config import Config
from storyloom.config.schema import choices_of
from storyloom.generation import STRATEGIES

from .pages import PROJECT, blocks, lay_out, measure_briefly, run_commands, run_examples

DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
# Their commands take a minute each, or are shown with results that another test holds.
MEASURED = {"speed.md", "ablations.md", "results.md", "cost.md"}
RUN = [page for page in sorted(DOCS.glob("*.md")) if page.name not in MEASURED and blocks(page)]


def generator() -> ModuleType:
    """docs/generate.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links(page: Path) -> list[tuple[str, str]]:
    """The words and the target of every link that is not to another site."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", text)
    return [(words, target) for words, target in found if "://" not in target]


@pytest.mark.parametrize("name", generator().PAGES)
def test_generated_pages_are_current(name: str) -> None:
    made = generator().PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == made, f"docs/{name} is old: run `python docs/generate.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for _, target in links(page):
        path, _, anchor = target.partition("#")
        goal = page.parent / path if path else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


def anchors(page: Path) -> set[str]:
    """What links call the headings of a page: small letters and digits, with - for a space."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_tests_that_the_pages_name_exist() -> None:
    named = [(page.parent / target, words) for page in RUN for words, target in links(page) if "/tests/" in target]
    tests = [(path, words) for path, words in named if words.startswith("test_") and not words.endswith(".py")]
    assert len(tests) > 14
    for path, words in tests:
        assert f"def {words}(" in path.read_text(encoding="utf-8"), words


def test_the_index_names_every_page_once() -> None:
    named = [target for _, target in links(DOCS / "README.md")]
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= set(named)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch, tiny_file: Path, capsys) -> None:
    lay_out(tmp_path)
    measure_briefly(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "mine", None)  # so that it is forgotten again
    del sys.modules["mine"]
    names: dict[str, object] = {}
    with patch.dict(STRATEGIES):  # what a page adds to them goes with it
        for language, text in blocks(page):
            if language == "python" and ">>>" in text:
                run_examples(text, names, page.name)
            elif language == "python":
                (tmp_path / "mine.py").write_text(text, encoding="utf-8")
            elif language == "":
                run_commands(text, tiny_file, capsys)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the package and its tests' choices with the diffs of adding-a-part.md applied."""
    for path in ("src/storyloom", "tests/model"):
        shutil.copytree(PROJECT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__"))
    diff = "".join(text for language, text in blocks(DOCS / "adding-a-part.md") if language == "diff")
    hunks = re.findall(r"^--- (\S+)\n-(.*\n)\+(.*\n)", diff, re.MULTILINE)
    assert len(hunks) == diff.count("---") == 3
    for path, old, new in hunks:
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        (tmp_path / path).write_text(text.replace(old, new), encoding="utf-8")
    return tmp_path


def test_the_diff_makes_a_part(changed: Path, story_data, tiny_file: Path) -> None:
    """In a process of its own, whose package is the changed copy."""
    command = f"train --data {story_data.path} --config {tiny_file} --out run --set model.mlp=silu"
    done = subprocess.run(
        [sys.executable, "-c", f"from storyloom.cli import main; main({command.split()})"],
        cwd=changed,
        env={**os.environ, "PYTHONPATH": str(changed / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'mlp = "silu"' in (changed / "run" / "config.toml").read_text(encoding="utf-8")


def test_the_table_of_parts_is_true() -> None:
    """Each dict stands where the page says, and a setting that chooses by it has its names for choices."""
    page = DOCS / "adding-a-part.md"
    rows = re.findall(r"^\| .* `(\w+)` in \[.*\]\((\S+)\) \| (.+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 13
    for name, target, chosen_by in rows:
        path = (page.parent / target).resolve().relative_to(PROJECT / "src")
        parts = getattr(importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__")), name)
        group, _, field = chosen_by.strip("`").partition(".")
        settings = dict(Config()).get(group)
        choices = choices_of(type(settings).model_fields[field].annotation) if settings else []
        assert not choices or set(parts) == set(choices), name
        assert parts


def test_the_page_on_speed_names_how_waiting_threads_are_set() -> None:
    """What the command line sets, which variables of the user's it leaves alone, and the line for a library's user."""
    text = " ".join((DOCS / "speed.md").read_text(encoding="utf-8").split())
    assert f"The command line sets it to {SPIN_COUNT:,} before torch is loaded" in text
    assert f'os.environ.setdefault("GOMP_SPINCOUNT", "{SPIN_COUNT}")' in text
    assert all(f"`{name}`" in text for name in ASKED_BY_USER)
    assert f"| `GOMP_SPINCOUNT={SPIN_COUNT}` |" in text


def test_reading_times_are_honest() -> None:
    """Twenty lines a minute, to within three minutes, over the files that a stop says to read; two hours in all."""
    page = DOCS / "learning.md"
    stops = re.findall(
        r"^## \d\. [^\n]* \((\d+) minutes\)\n\n(Read .*?)\n\n", page.read_text(encoding="utf-8"), re.M | re.S
    )
    for minutes, to_read in stops:
        files = [(DOCS / target).read_text(encoding="utf-8") for target in re.findall(r"\((\S+\.py)\)", to_read)]
        assert abs(int(minutes) - sum(text.count("\n") for text in files) / 20) <= 3, to_read
    assert len(stops) == 9
    assert sum(int(minutes) for minutes, _ in stops) == 120
