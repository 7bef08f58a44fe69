"""`storyloom demo`."""

from pathlib import Path
from typing import Annotated

import typer

from storyloom.cli.evaluate import describe
from storyloom.cli.train import interruption
from storyloom.shell import command_line, path_word


def demo(
    minutes: Annotated[float, typer.Option(help="Training time, evaluations included.")] = 2.0,
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("storyloom-demo"),
) -> None:
    """The whole way in minutes, offline: stories, training, the exact limit, telling."""
    from storyloom.demo import run_demo

    try:
        result = run_demo(out, minutes, say=typer.echo)
    except KeyboardInterrupt:
        raise interruption(out / "run") from None
    for strategy, story in result.stories.items():
        typer.echo(f"\n--- {strategy}\n{story}")
    typer.echo(f"\n{result.share_parsed:.0%} of the sampled stories follow the grammar to the end.")
    for departure in result.departures[:5]:
        typer.echo(f"  one leaves it {departure}")
    typer.echo(f"\n4. How far from perfect?\n{describe(result.figures.as_evaluated())}")
    more = command_line(["storyloom", "tell", "--model", path_word(result.run.path)])
    typer.echo(f"\nplot: {result.plot}\nmore stories: {more}")
