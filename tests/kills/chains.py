"""One command that is killed, resumed, killed again: a chain, in the end compared with a run that nobody disturbed."""

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from storyloom.files import is_vacant, settled_folder
from storyloom.locking import LOCK_MARK
from storyloom.runs import Run, load_checkpoint
from storyloom.runs.rows import METRICS, read_rows
from storyloom.temporary import LOCK_ENDING, is_temporary

from .processes import Command, Server

ALL = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
OF_A_RUN = {"config.toml", "tokenizer.json", "metrics.jsonl", "samples.jsonl", "loss.png", "checkpoints"}


class Chain:
    """Kills of one command.

    Args:
        server: starts it.
        words: the command but for `--out`; it must be one that continues what it finds (`--resume`).
        out: the run folder, in a folder of its own.
        check: compares a finished run with what it should be, by assertions.
        seconds: about the time that it takes when nobody kills it.
        tally: counts what was done.
        label: says of which kind these kills are.
    """

    def __init__(
        self,
        server: Server,
        words: Sequence[object],
        out: Path,
        check: Callable[[Path], None],
        seconds: float,
        tally: Counter[str],
        label: str,
    ) -> None:
        self._server, self._words, self.out, self._check = server, words, out, check
        self._seconds, self._tally, self._label = seconds, tally, label
        self.kills = self.compared = self._since = 0

    def kill(self, wanted: int, numbers: Sequence[int], dice: random.Random, saving: bool = False) -> None:
        """Kill it this many times, at random moments or in the middle of a save; what ends before is compared."""
        while self.kills < wanted:
            before, left = log_of(self.out), [*strays(self.out.parent), *self.out.parent.glob(self.out.name)]
            command = self._server.start(*self._words, "--out", self.out)
            number = dice.choice(numbers)
            if saving:
                is_there = command.stop_when(lambda: is_saving(self.out), dice.uniform(0, 0.5 * self._seconds))
            else:
                time.sleep(dice.uniform(0.02, 0.8 * self._seconds))
                is_there = True
            if is_there:
                command.signal(number)
            self._note(command, command.wait(), number if is_there else 0, before, left, saving)
        self._finish()

    def _note(self, command: Command, status: int, number: int, before: bytes, left: list[Path], saving: bool) -> None:
        """Check what a process left behind; `left` is what those before it did."""
        if status == 0:
            return self._compare()
        assert number, command.said
        assert status in statuses(number), (status, command.said)
        self.kills += 1
        self._since += 1
        self._tally[f"killed by {signal.Signals(number).name}"] += 1
        self._tally[f"killed, {self._label}"] += 1
        if saving:
            self._tally["killed in a save"] += 1
        if number != signal.SIGKILL:
            check_polite_end(command, status, self.out, before, left)
        check_readable(self.out)
        return None

    def _finish(self) -> None:
        if self._since:
            command = self._server.run(*self._words, "--out", self.out)
            assert command.wait() == 0, command.said
            self._compare()

    def _compare(self) -> None:
        """What was killed and resumed ended with the very bits, and left nothing else; begin a new one."""
        self._check(self.out)
        assert {path.name for path in self.out.iterdir()} == OF_A_RUN
        assert strays(self.out.parent) == []
        self.compared += self._since
        self._tally["resumed and compared to the bit"] += self._since
        self._since = 0
        shutil.rmtree(self.out)


def statuses(number: int) -> set[int]:
    """The exit statuses that a signal may end a command with."""
    if number == signal.SIGINT:
        return {130}
    return {130, 143, -number} if number == signal.SIGTERM else {-number}


def is_saving(run: Path) -> bool:
    """Whether a checkpoint is half written or half replaced."""
    folder = run / "checkpoints"
    return folder.is_dir() and any(is_temporary(path.name) for path in folder.iterdir())


def strays(folder: Path) -> list[Path]:
    """All below a folder that only a killed process may leave."""
    return [path for path in folder.rglob("*") if is_temporary(path.name) or path.name.endswith(LOCK_ENDING)]


def log_of(run: Path) -> bytes:
    return (run / METRICS).read_bytes() if (run / METRICS).exists() else b""


def check_polite_end(command: Command, status: int, out: Path, before: bytes, left: list[Path]) -> None:
    """One line at most; no temporary names, no lock; and if there were updates, a checkpoint of the last one."""
    assert "Traceback" not in command.said, command.said
    lines = [line for line in command.said.splitlines() if line.startswith("storyloom: ")]
    assert len(lines) == (status == 130), command.said
    assert {*strays(out.parent)} <= {*left}
    if not (out / "config.toml").exists():
        assert not out.exists() or out in left
    after = log_of(out)
    updates = [json.loads(line)["step"] for line in after.splitlines() if b'"kind": "train"' in line]
    if updates and not before.startswith(after):
        assert load_checkpoint(out / "checkpoints" / "last").state["step"] == updates[-1]
        if status == 130:
            assert lines[-1].endswith(f"storyloom train --out {out} --resume")


def check_readable(out: Path) -> None:
    """Whatever is there can be opened, and holds what its checksums say; without it nothing of it is."""
    for lock in out.parent.glob(f".*{LOCK_ENDING}"):
        assert lock.read_bytes() in (b"", LOCK_MARK)
    if not (out / "config.toml").exists():
        assert is_vacant(out) or (out / "begun").exists()
        return
    run = Run(out)
    assert run.tokenizer.vocab_size
    read_rows(out / METRICS)
    for name in ("last", "best"):
        if run.has_checkpoint(name):
            load_checkpoint(settled_folder(run.checkpoint_folder(name)))
    assert run.has_checkpoint("last") or not run.has_checkpoint("best")
