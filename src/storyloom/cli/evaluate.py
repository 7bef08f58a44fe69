"""`storyloom evaluate`."""

from typing import Annotated, Any

import typer

import storyloom
from storyloom.cli.output import print_json

DEVICE_HELP = "cpu, cuda, cuda:1 (by its index) or mps. Default: CUDA if there is one, else mps, else the CPU."


def evaluate(
    # Paths are strings here: typer would make the working directory of an empty one.
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    data: Annotated[str | None, typer.Option(metavar="PATH", help="A data folder; default: the run's own.")] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A file or folder of stories instead, read as `prepare` reads it."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a run: nats/token, perplexity, bits/byte."""
    figures = storyloom.evaluate(run, data=data, text=text, checkpoint=checkpoint, device=device)
    if as_json:
        print_json(figures)
    else:
        typer.echo(describe(figures))


def describe(figures: dict[str, Any]) -> str:
    """The figures as a few lines of text."""
    lines = [
        f"{figures['stories']:,} stories, {figures['tokens']:,} tokens, {figures['bytes']:,} bytes "
        f"(text sha256 {figures['text_sha256'][:12]})",
        f"{figures['nats_per_token']:.4f} nats/token, perplexity {figures['perplexity']:.3f}",
        f"{figures['bits_per_byte']:.4f} +- {figures['bits_per_byte_stderr']:.4f} bits/byte",
    ]
    if not figures["comparable"]:
        lines[-1] += f" (not comparable: {figures['why_not_comparable']})"
    if "limit_bits_per_byte" in figures:
        lines.append(
            f"exact limit {figures['limit_bits_per_byte']:.4f} bits/byte: the gap is "
            f"{figures['gap_bits_per_byte']:.4f} +- {figures['gap_bits_per_byte_stderr']:.4f}"
        )
    return "\n".join(lines)
