"""The command line: parses, calls the public API, prints. Knows nothing that the API does not.

Each verb is a module of its own that imports nothing heavy before it runs, so that `storyloom --help` loads neither
torch nor numpy nor pydantic. Exit status: 0 done; 2 the user can mend it (one line on standard error); 1 our fault; 130
after Ctrl-C.
"""

import os
import sys
from typing import Any

import typer

from storyloom.cli import demo, evaluate, prepare, presets, tell, train
from storyloom.errors import StoryloomError

USER_CAN_MEND, INTERRUPTED = 2, 130
# What a wrong command, option or value raises; typer exports a name for its child only.
UsageError: Any = typer.BadParameter.__mro__[1]


def build_app() -> typer.Typer:
    """All verbs, in the order of the help page."""
    app = typer.Typer(
        name="storyloom",
        help="Train, look into and ship small GPT story models, from scratch, on a laptop.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for verb in (demo.demo, tell.tell, prepare.prepare, train.train, evaluate.evaluate, presets.presets):
        app.command()(verb)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):  # stories are UTF-8, also on a console with another code page
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")  # pyright: ignore[reportAttributeAccessIssue]
    words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    """Run one command; its exit status."""
    try:
        return int(build_app()(words, standalone_mode=False) or 0)
    except StoryloomError as error:
        return _complain(str(error))
    except UsageError as error:
        return _complain(error.format_message())
    except BrokenPipeError:  # whoever read our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{error.strerror or error}{where}; mend that and try again")
    except (KeyboardInterrupt, typer.Abort) as error:
        _complain(str(error) or "interrupted")
        return INTERRUPTED


def _complain(message: str) -> int:
    """One line on standard error."""
    sys.stderr.write(f"storyloom: {' '.join(message.split())}\n")
    return USER_CAN_MEND
