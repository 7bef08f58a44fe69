"""Runs `storyloom` commands, each in a process of its own that starts in milliseconds: the server has imported all, and
forks. A script of `processes.py`, which sends a line of JSON for each request and reads a line for each answer.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from storyloom.cli import main
from storyloom.cli.waiting import calm_waiting_threads
from storyloom.runtime import forking

HEAVY = (  # with what PyTorch imports as the first optimizer is made
    *("torch._dynamo", "storyloom.data.prepare", "storyloom.training.train", "storyloom.reporting.plots"),
    *("storyloom.reporting.report", "encodings.utf_8_sig"),
)


def serve() -> list[str] | None:
    """Answer requests to the end of the input; in a forked child return the words of the command it is to run."""
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "words" in request:
            ready, tell_ready = os.pipe()
            pid = os.fork()
            if pid == 0:
                become(request, tell_ready)
                return request["words"]
            os.close(tell_ready)
            os.read(ready, 1)
            os.close(ready)
            answer = pid
        elif "load" in request:
            __import__(request["load"])
            answer = True
        else:
            answer = look_after(request["pid"], request["how"], ended)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    return None


def look_after(pid: int, how: str, ended: dict[int, int]) -> Any:
    """`poll` or `wait` for the exit status of a child (minus the number of the signal that killed it), or `stop` it."""
    if how == "stop" and pid not in ended:
        os.kill(pid, signal.SIGSTOP)
        if os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
            return True
        ended[pid] = os.waitstatus_to_exitcode(status)
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG if how == "poll" else 0)
        if not found:
            return None
        ended[pid] = os.waitstatus_to_exitcode(status)
    return False if how == "stop" else ended[pid]


def become(request: dict[str, Any], tell_ready: int) -> None:
    """Give the child streams of its own and another user, let it wait for the gate, and report that it is ready."""
    for descriptor, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        opened = os.open(path, (os.O_WRONLY | os.O_CREAT) if descriptor else os.O_RDONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    forking._IMPORTED_BY = os.getpid()  # the server has never computed: no threads are missing in its children
    os.write(tell_ready, b".")
    os.close(tell_ready)
    while request["gate"] is not None and not os.path.exists(request["gate"]):
        time.sleep(0)


if __name__ == "__main__":
    calm_waiting_threads(os.environ)
    for name in HEAVY:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the tests' terminal is theirs
    words = serve()
    if words is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["storyloom", *words]
        main()
