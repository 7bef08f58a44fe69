"""The command line: parses, calls the public API, prints. Knows nothing that the API does not.

Each verb is a module of its own that imports nothing heavy before it runs, so that `storyloom --help` loads neither
torch nor numpy nor pydantic. Exit status: 0 done; 2 the user can mend it (one line on standard error); 1 our fault; 130
after Ctrl-C.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Any

import typer

from storyloom.cli import bench, compare, demo, evaluate, export, info, prepare, presets, report, tell, train
from storyloom.cli.flags import in_flags
from storyloom.cli.streams import open_missing_streams, silence, why_lost, why_unwritable, write_utf8
from storyloom.cli.waiting import calm_waiting_threads
from storyloom.errors import StoryloomError
from storyloom.signals import exit_on_signals

ABANDONED = "abandoned by storyloom"  # as `storyloom.data.tokenization.background`, which is not imported for --help
USER_CAN_MEND, INTERRUPTED = 2, 130
# What a wrong command, option or value raises; typer exports a name for its child only.
UsageError: Any = typer.BadParameter.__mro__[1]


def build_app() -> typer.Typer:
    """All verbs, in the order of the help page."""
    app = typer.Typer(
        name="storyloom",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    for verb in (
        demo.demo,
        tell.tell,
        prepare.prepare,
        train.train,
        evaluate.evaluate,
        export.export,
        report.report,
        compare.compare,
        presets.presets,
        info.info,
    ):
        app.command()(verb)
    app.add_typer(bench.bench, name="bench")
    return app


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"storyloom {metadata.version('storyloom')}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, look into and ship small GPT story models, from scratch, on a laptop."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    open_missing_streams()  # before any other file is opened
    calm_waiting_threads(os.environ)  # before torch is imported
    write_utf8(sys.stdout, "surrogateescape")  # a path's undecodable bytes go out as they came in
    write_utf8(sys.stderr, "backslashreplace")
    words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = _run(words)
    except KeyboardInterrupt:  # a second Ctrl-C, while the first one's message was written
        status = INTERRUPTED
    except SystemExit as stop:
        if arguments is not None or not _has_abandoned_thread():
            raise
        status = stop.code
    finally:
        if arguments is None:  # the process is ours, and ends here
            _ignore_interrupts()
        for stream in (sys.stdout, sys.stderr):
            if why_unwritable(stream) is not None:
                silence(stream)
    if arguments is None and _has_abandoned_thread():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else 1)  # Python's own end kills a thread in Rust, which then aborts
    sys.exit(status)


def _has_abandoned_thread() -> bool:
    return any(thread.name == ABANDONED for thread in threading.enumerate())


def _ignore_interrupts() -> None:
    """From here on Ctrl-C would only interrupt what libraries clean up as Python ends, with a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(words: list[str]) -> int:
    """Run one command; its exit status."""
    try:
        with exit_on_signals():  # each verb cleans up before SIGTERM ends it
            status = build_app()(words, prog_name="storyloom", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe is no error
    except BrokenPipeError:  # whoever read our output has enough of it
        silence(sys.stdout)
        return 0
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        return 0  # typer met the closed pipe first, and has silenced the streams
    except (train.Interrupted, KeyboardInterrupt, typer.Abort) as error:
        return _complain(str(error) or "interrupted", INTERRUPTED)
    except Exception as error:
        full = why_lost(sys.stdout, error) if isinstance(error, OSError) else None
        sentence = f"cannot write to standard output: {full}; free some space" if full else _sentence(error, words)
        if sentence is None:
            raise
        return _complain(sentence, USER_CAN_MEND)
    if status == INTERRUPTED:  # typer has caught the KeyboardInterrupt of a verb with no more to say
        return _complain("interrupted", INTERRUPTED)
    return int(status or 0)


def _sentence(error: Exception, words: list[str]) -> str | None:
    """What went wrong, where the user can mend it; None where it is our fault."""
    if isinstance(error, StoryloomError):
        return in_flags(str(error))
    if isinstance(error, UsageError):
        return _usage_sentence(error, words)
    if isinstance(error, OSError):
        where = str(error.filename or "").removesuffix(".partial")
        what = f"cannot use {where}: {error.strerror}" if where else str(error.strerror or error)
        return f"{what}; mend that, or name another place"
    if _is_out_of_memory(error):
        return "out of memory: lower train.batch_size, or the sizes of the model, or --num-stories"
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """Torch raises a RuntimeError whose words depend on the device."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)


def _usage_sentence(error: Any, words: list[str]) -> str:
    """What typer says of a wrong command line, with the value that was got and where to see what is allowed."""
    message = error.format_message().rstrip(".")
    see = f"see `{error.ctx.command_path if error.ctx else 'storyloom'} --help`"
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for word, following in zip(words, [*words[1:], None], strict=True):
            if word.startswith(f"{option}="):
                return f"{message} (got {word.removeprefix(f'{option}=')!r}); {see}"
            if word == option and following is not None:
                return f"{message} (got {following!r}); {see}"
    return f"{message}; {see}"


def _complain(message: str, status: int) -> int:
    """One line on standard error; nobody hears it where the terminal is closed."""
    with suppress(OSError):
        sys.stderr.write(f"storyloom: {' '.join(message.split())}\n")
        sys.stderr.flush()
    return status
