"""`storyloom train`."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import storyloom
from storyloom.shell import command_line, path_word


class Interrupted(Exception):
    """Ctrl-C, with what to do next; typer would swallow the words of a KeyboardInterrupt."""


def interruption(run: Path) -> Interrupted:
    """What to say after Ctrl-C: how to go on with a run, where there is one by now."""
    with suppress(OSError):  # the terminal may be closed
        sys.stderr.write("\n")  # the live line may be open
    if not (run / "config.toml").is_file():
        return Interrupted("interrupted before the first step: nothing was kept, so give the same command again")
    command = command_line(["storyloom", "train", "--out", path_word(run), "--resume"])
    return Interrupted(f"interrupted; to go on: {command}")


def train(
    out: Annotated[Path, typer.Option(help="The run folder to make, or to go on with.")],
    data: Annotated[
        str | None, typer.Option(help="A data folder, or a source as `storyloom prepare` takes it.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration. Default: laptop.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML configuration instead of a preset.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Wall-clock time, evaluations included, preparing a text not; replaces the preset's own limits."
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Start from this run's best weights, with its model's settings.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the very same run.")] = False,
) -> None:
    """Train a model, or go on with a run."""
    try:
        run = storyloom.train(
            data,
            out=out,
            preset=preset,
            config=config,
            settings=settings or [],
            minutes=minutes,
            init=init,
            resume=resume,
        )
    except KeyboardInterrupt:
        raise interruption(out) from None
    typer.echo(f"plot: {storyloom.plot_losses(run)}")
    typer.echo(f"tell a story: {command_line(['storyloom', 'tell', '--model', path_word(out)])}")
    typer.echo(f"look into it: {command_line(['storyloom', 'report', path_word(out)])}")
