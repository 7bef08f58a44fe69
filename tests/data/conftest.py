"""The same stories as every kind of source."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storyloom.data.textfile import join_stories, normalise


@pytest.fixture
def write_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], dict[str, str]]:
    """Writes stories, more than five, as each kind of source, and gives what a user would write for it.

    In tables they stand as they are, in text files normalised. `blank` is there where no story has a blank line.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def lines(stories: list[str]) -> str:
        return "".join(json.dumps({"n": 7, "text": story}) + "\n" for story in stories)

    def write(stories: list[str]) -> dict[str, str]:
        normalised = list(map(normalise, stories))
        Path("stories.txt").write_bytes(join_stories(normalised).encode())
        Path("stories.jsonl").write_text(lines(stories))
        pq.write_table(pa.table({"text": stories}), "stories.parquet")
        Path("many/b/c").mkdir(parents=True)
        Path("many/a.txt").write_bytes(join_stories(normalised[:3]).encode())
        Path("many/b/c/0.jsonl").write_text(lines(stories[3:5]))
        pq.write_table(pa.table({"text": stories[5:]}), "many/b/d.PARQUET")
        Path("many/b/notes.md").write_text("no story")
        Path("me/stories/data").mkdir(parents=True)
        pq.write_table(pa.table({"text": stories}), "me/stories/data/train-00000-of-00001.parquet")
        specs = {"txt": "stories.txt", "jsonl": "stories.jsonl", "parquet": "stories.parquet", "folder": "many"}
        specs["hub"] = "hub:me/stories"
        if not any("\n\n" in story for story in normalised):
            Path("blank.txt").write_bytes("\n\n".join(normalised).encode())
            specs["blank"] = "blank.txt"
        return specs

    return write
