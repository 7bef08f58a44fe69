"""`storyloom export`."""

from typing import Annotated

import typer

import storyloom
from storyloom.shell import command_line, path_word


def export(
    run: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a model folder.")],
    out: Annotated[str, typer.Option(metavar="PATH", help="What to make; must not exist.")],
    to: Annotated[str, typer.Option(help="The format: folder.")] = "folder",
    dtype: Annotated[str, typer.Option(help="Of the weights: float32, bf16 or int8.")] = "float32",
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
) -> None:
    """Write a trained model so that it needs neither its run nor its data."""
    path = storyloom.export(run, out, to=to, dtype=dtype, checkpoint=checkpoint)
    typer.echo(f"written to {path}")
    typer.echo(f"tell a story: {command_line(['storyloom', 'tell', '--model', path_word(path)])}")
