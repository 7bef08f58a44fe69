"""Commands as processes that start together, stand still, and are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 240.0  # seconds; only a process that hangs takes them
NOBODY = 65534  # a user without rights
SERVER = Path(__file__).with_name("server.py")


class Server:
    """Starts `storyloom` commands from a process that has imported all of it.

    Args:
        folder: for what the commands print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *words: object, gate: Path | None = None, user: int | None = None, **streams: str) -> "Command":
        """Start a command; with a gate it waits, ready, until that file exists. `stdout` and `stderr` may be named."""
        self._count += 1
        paths = {name: streams.get(name, str(self._folder / f"{self._count}.{name}")) for name in ("stdout", "stderr")}
        request = {"words": [str(word) for word in words], "gate": gate and str(gate), "user": user, **paths}
        return Command(self, self.ask(request), {name: Path(path) for name, path in paths.items()})

    def run(self, *words: object, **options: Any) -> "Command":
        """Start a command and wait until it has ended."""
        command = self.start(*words, **options)
        command.wait()
        return command

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request, return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the server."""
        self._process.communicate(timeout=PATIENCE)


class Command:
    """A command that was started."""

    def __init__(self, server: Server, pid: int, paths: dict[str, Path]) -> None:
        self._server, self.pid, self._paths = server, pid, paths

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._server.ask({"pid": self.pid, "how": "poll"})

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        deadline = time.monotonic() + PATIENCE
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"it hangs; it said {self.said!r}")
            time.sleep(0.002)
        return status

    def stop(self) -> bool:
        """Let it stand still; False where it has ended."""
        return self._server.ask({"pid": self.pid, "how": "stop"})

    def signal(self, number: int) -> None:
        """Send a signal, also when it stands still; nothing happens where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)
            os.kill(self.pid, signal.SIGCONT)

    def stop_when(self, moment: Callable[[], bool], from_now: float = 0.0) -> bool:
        """Let it stand still at a moment, which must still be there when it does; False where it ends before."""
        time.sleep(from_now)
        deadline = time.monotonic() + PATIENCE
        while self.poll() is None:
            if moment():
                if not self.stop():
                    return False
                if moment():
                    return True
                os.kill(self.pid, signal.SIGCONT)
            assert time.monotonic() < deadline
            time.sleep(0.0003)  # leave the core to the process
        return False

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return self._paths["stderr"].read_text(encoding="utf-8")

    def refused(self) -> str:
        """The line of a command that ended with status 2, and said no more."""
        status, lines = self.wait(), self.said.splitlines()
        assert status == 2, (status, self.said)
        assert "Traceback" not in self.said
        assert sum(line.startswith("storyloom: ") for line in lines) == 1, self.said
        assert lines[-1].startswith("storyloom: "), self.said
        return lines[-1]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server for the block."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
