"""A reader of a damaged folder may refuse it in one line that names the place, or read what it always read."""

import fnmatch
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storyloom.errors import StoryloomError

from .commands import CommandFailed
from .damages import Damage, Files
from .scene import LOGS, RUNS, Scene, files_of, put

# What is known to fail: folder, file, reader, the beginning of what happens (patterns), and why.
KNOWN: tuple[tuple[str, str, str, str, str], ...] = ()


@dataclass(frozen=True)
class Failure:
    """A reader that met a damage with a traceback, with another result, or with words that name no place.

    Args:
        folder: `data`, `finished`, `stopped` or `model`.
        reader: its name.
        damage: what was damaged.
        what: the class of the failure.
        said: the message, or where the results differ.
    """

    folder: str
    reader: str
    damage: Damage
    what: str
    said: str

    @property
    def kind(self) -> str:
        return f"{self.reader} of {self.folder}, {self.damage.file} ({self.damage.kind}): {self.what}"

    @property
    def is_known(self) -> bool:
        found = (self.folder, self.damage.file, self.reader, self.what)
        return any(all(map(fnmatch.fnmatchcase, found, known)) for known in KNOWN)


def judge(
    scene: Scene,
    folder: str,
    reader: str,
    read: Callable[[Scene, str], Any],
    damage: Damage,
    after: Files,
    usual: str,
    tally: Counter[str],
) -> Failure | None:
    """Damage a folder, read it, and put it back.

    Args:
        scene: holds the folder; whole, and whole again in the end.
        folder: its name.
        reader: the reader's name.
        read: the reader.
        damage: says what is damaged.
        after: the folder's files once they are.
        usual: what the reader gives for the whole folder, as `repr` writes it (where nan is nan).
        tally: counts what the reader did.
    """

    put(scene.at(folder), after)
    try:
        what, said = _met(scene, folder, read, after, usual)
    finally:
        scene.restore()
    if said is None:
        tally[f"{what}, {damage.kind}"] += 1
        return None
    tally["failures"] += 1
    return Failure(folder, reader, damage, what, said)


def _met(
    scene: Scene, folder: str, read: Callable[[Scene, str], Any], after: Files, usual: str
) -> tuple[str, str | None]:
    """What a reader did, and for a failure also what it said."""
    place = scene.at(folder)
    try:
        result = repr(read(scene, folder))
    except (StoryloomError, OSError, CommandFailed) as error:
        of_command = isinstance(error, CommandFailed)
        if why := bad_end(error, place) if of_command else bad_words(str(error), place):
            return why, f"{type(error).__name__}: {error}"
        lost = lost_rows(scene, folder, after)
        return ("rows lost", lost) if lost else ("refused", None)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        return type(error).__name__, f"{error} ({where})"
    if result == usual:
        return "equal results", None
    if is_beyond_marks(scene, folder, after):
        return "behind the last checkpoint", None
    return "another result", first_difference(usual, result)


def bad_words(message: str, folder: Path) -> str | None:
    """What is wrong with a message; none if it is one line that names something of the folder."""
    if len(message.splitlines()) != 1:
        return "a message of several lines"
    return None if str(folder) in message else "a message that names no file"


def bad_end(error: CommandFailed, folder: Path) -> str | None:
    """What is wrong with how a command ended."""
    lines = [line for line in error.said.splitlines() if line.startswith("storyloom: ")]
    if error.status != 2 or "Traceback" in error.said or len(lines) != 1:
        return f"exit status {error.status} and {len(lines)} lines"
    return bad_words(lines[0], folder)


def lost_rows(scene: Scene, folder: str, after: Files) -> str:
    """The logs of which a refused run folder has no longer what it had up to the last checkpoint's mark."""
    if folder not in RUNS:
        return ""
    now = files_of(scene.at(folder)) if scene.at(folder).is_dir() else {}
    return ", ".join(log for log in LOGS if scene.kept(folder, log, now) != scene.kept(folder, log, after))


def is_beyond_marks(scene: Scene, folder: str, after: Files) -> bool:
    """Whether nothing but rows differs that no checkpoint vouches for."""
    if folder not in RUNS:
        return False
    before = scene.files[folder]
    changed = {name for name in before.keys() | after.keys() if before.get(name, b"-") != after.get(name, b"-")}
    return changed <= {*LOGS} and all(
        scene.kept(folder, log, before) == scene.kept(folder, log, after) for log in changed
    )


def first_difference(first: str, second: str) -> str:
    """Some characters around the first that differs."""
    at = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
    start = max(0, at - 40)
    return f"...{first[start : at + 40]}... became ...{second[start : at + 40]}..."
