"""The same readers, as commands in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from storyloom.cli import main

from .scene import RUNS, Scene, of_resumed, trained


class CommandFailed(Exception):
    """A command's exit status and what it said."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        words: its arguments, for a folder.
        folders: those it reads.
        made: what it made, if that is more than what it printed.
    """

    words: Callable[[Scene, str], list[Any]]
    folders: tuple[str, ...]
    made: Callable[[Scene, str], Any] | None = None

    def read(self, scene: Scene, name: str, capture: pytest.CaptureFixture[str]) -> Any:
        """What it gives; raises `CommandFailed` for any exit status but 0."""
        capture.readouterr()
        try:
            main([str(word) for word in self.words(scene, name)])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        said = capture.readouterr()
        if status:
            raise CommandFailed(status, said.err)
        return said.out if self.made is None else self.made(scene, name)


def page(scene: Scene, name: str) -> bytes:
    return scene.at("made.html").read_bytes()


COMMANDS = {
    "storyloom tell": Command(
        lambda scene, name: ["tell", "Zoë", "--model", scene.at(name), "--max-new-tokens", 11, "--seed", 3],
        (*RUNS, "model"),
    ),
    "storyloom evaluate": Command(
        lambda scene, name: ["evaluate", scene.at(name), "--json", "--data", scene.at("data")], (*RUNS, "model")
    ),
    "storyloom evaluate --data": Command(
        lambda scene, name: ["evaluate", scene.at("whole"), "--json", "--data", scene.at(name)], ("data",)
    ),
    "storyloom train": Command(
        lambda scene, name: [
            *("train", "--data", scene.at(name), "--out", scene.at("made"), "--config", scene.at("config.toml"))
        ],
        ("data",),
        lambda scene, name: trained(scene.at("made")),
    ),
    "storyloom train --resume": Command(
        lambda scene, name: ["train", "--out", scene.at(name), "--resume"],
        RUNS,
        of_resumed,
    ),
    "storyloom report": Command(
        lambda scene, name: ["report", scene.at(name), "--out", scene.at("made.html")], RUNS, page
    ),
    "storyloom compare": Command(
        lambda scene, name: ["compare", scene.at("whole"), scene.at(name), "--out", scene.at("made.html")], RUNS, page
    ),
}
