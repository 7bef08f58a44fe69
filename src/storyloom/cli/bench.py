"""`storyloom bench`: one verb for each thing that is timed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import storyloom
from storyloom.cli.output import print_json

if TYPE_CHECKING:
    from storyloom.benchmarking.training import TrainBench

bench = typer.Typer(help="Speed, as ratios to the machine's own ceiling and to installed peers.")


@bench.command()
def train(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Whose model and batch.")] = "laptop",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tokens a second of training, beside a matrix product and `transformers` where it is installed."""
    found = storyloom.bench_train(preset, settings or (), seconds)
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(describe(found))


def describe(found: "TrainBench") -> str:
    """The figures as a few lines of text."""
    ceilings = ", ".join(f"{precision} {speed:,.0f} GFLOP/s" for precision, speed in found.ceilings.items())
    lines = [
        f"{found.preset}: {found.parameters / 1e6:.2f}M parameters, {found.tokens_per_update:,} tokens an update, "
        f"{found.device}, {found.threads} threads; the optimizer takes {found.optimizer_share:.1%} of an update",
        f"matrix product: {ceilings}; trained in {found.precision}: {found.why_precision}",
        f"{'':<20} {'':<4} {'tokens/s':>9} {'utilization':>11} {'ours is faster':>14}",
    ]
    lines += [
        f"{each.name:<20} {each.precision} {each.tokens_per_second:>9,.0f} {each.utilization:>11.1%} "
        f"{each.speed_up:>12.2f} x"
        for each in found.candidates
    ]
    return "\n".join(lines)
