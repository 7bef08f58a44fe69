"""`storyloom prepare`."""

from typing import Annotated

import typer

import storyloom

SOURCES = (
    "storybook, tinystories, hub:OWNER/NAME[:CONFIG], .txt, .jsonl or .parquet files of stories, or folders of such."
)


def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=SOURCES)],
    out: Annotated[str, typer.Option(metavar="PATH", help="The data folder to make.")],
    preset: Annotated[str | None, typer.Option(help="Take this preset's data settings.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="char, bpe, gpt2, or a tokenizer.json. Default: bpe.")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Entries of a trained BPE. Default: 4096.")] = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A source of validation stories. Default: a hub data set's own, else --val-fraction.",
        ),
    ] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of stories held out. Default: 0.1.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Field or column of the stories, not in .txt files. Default: text.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Repair characters and white space; drop empty and repeated stories.")
    ] = False,
    strict_characters: Annotated[
        bool,
        typer.Option("--strict-characters", help="With --clean: only ASCII letters, digits, .,!?;:'\" and spaces."),
    ] = False,
    limit_mb: Annotated[float | None, typer.Option(help="Read only the first so many megabytes of stories.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that clean and encode.")] = 1,
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
        column=column,
        clean=clean or None,
        strict_characters=strict_characters or None,
        limit_mb=limit_mb,
        workers=workers,
        progress=True,
    )
    for line in describe_corpus(data.manifest.corpus):
        typer.echo(line)
    if data.manifest.not_read:
        typer.echo(f"note: not read, as --limit-mb was reached before: {', '.join(data.manifest.not_read)}", err=True)
    for split, name in (("train", "training"), ("val", "validation")):
        part = data.manifest.side(split)
        typer.echo(f"{name}: {part.stories:,} stories, {part.bytes:,} bytes, {part.tokens:,} tokens")
        if part.stories_with_unknown_characters:
            typer.echo(
                f"note: {part.stories_with_unknown_characters:,} {name} stories have characters that the tokenizer "
                "does not know; their bits/byte cannot be compared",
                err=True,
            )
    typer.echo(f"tokenizer: {data.tokenizer.vocab_size:,} tokens; written to {data.path}")


def describe_corpus(counts: dict[str, int]) -> list[str]:
    """What cleaning changed and dropped, what stood on both sides, and what was cut: a line each, if there is any."""
    lines = []
    if "repaired" in counts:
        steps = ["repaired", "stripped_of_characters", "tidied", "dropped_empty", "dropped_duplicate"]
        found = [f"{counts[step]:,} {step.replace('_', ' ')}" for step in steps if step in counts]
        lines.append(f"cleaning: {counts['read']:,} stories read; {', '.join(found)}")
    if counts["on_both_sides"]:
        lines.append(f"kept out of training, as validation has them too: {counts['on_both_sides']:,} stories")
    if counts.get("long_words_cut"):
        lines.append(f"words of more than 256 characters, cut to learn the tokenizer: {counts['long_words_cut']:,}")
    return lines
