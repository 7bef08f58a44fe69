"""`storyloom prepare`."""

from pathlib import Path
from typing import Annotated

import typer

import storyloom


def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="`storybook`, or .txt files of stories.")],
    out: Annotated[Path, typer.Option(help="The data folder to make.")],
    preset: Annotated[str | None, typer.Option(help="Take this preset's data settings.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="char, bpe, or a tokenizer.json. Default: bpe.")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Entries of a trained BPE. Default: 4096.")] = None,
    val: Annotated[Path | None, typer.Option(help="A file of validation stories.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of stories held out. Default: 0.1.")] = None,
    limit_mb: Annotated[float | None, typer.Option(help="Read only so many megabytes of stories.")] = None,
) -> None:
    """Turn stories into token shards."""
    data = storyloom.prepare(
        *sources,
        out=out,
        preset=preset,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        val=val,
        val_fraction=val_fraction,
        limit_mb=limit_mb,
    )
    for split, name in (("train", "training"), ("val", "validation")):
        part = data.manifest[split]
        typer.echo(f"{name}: {part['stories']:,} stories, {part['bytes']:,} bytes, {part['tokens']:,} tokens")
        if part["stories_with_unknown_characters"]:
            typer.echo(
                f"note: {part['stories_with_unknown_characters']:,} {name} stories have characters that the tokenizer "
                "does not know; their bits/byte cannot be compared",
                err=True,
            )
    typer.echo(f"tokenizer: {data.tokenizer.vocab_size:,} tokens; written to {data.path}")
