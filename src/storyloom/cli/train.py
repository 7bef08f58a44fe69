"""`storyloom train`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import storyloom
from storyloom.cli.output import print_json
from storyloom.errors import ConfigError
from storyloom.shell import command_line, path_word

if TYPE_CHECKING:
    from storyloom.training import DryRun


class Interrupted(Exception):
    """Ctrl-C, with what to do next; typer would swallow the words of a KeyboardInterrupt."""


def interruption(run: Path) -> Interrupted:
    """What to say after Ctrl-C: how to continue a run, if there is one by now."""
    with suppress(OSError):  # the terminal may be closed
        sys.stderr.write("\n")  # the live line may be open
    if not (run / "config.toml").is_file():
        return Interrupted("interrupted before the first step: nothing was kept, so give the same command again")
    command = command_line(["storyloom", "train", "--out", path_word(run), "--resume"])
    return Interrupted(f"interrupted; to continue: {command}")


def train(
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make, or to continue; needed but for --dry-run.")
    ] = None,
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
    repeat: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Train as this finished run was trained: same settings, plans and bits."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1 (or another index) or mps. Default: train.device.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the very same run.")] = False,
    only_planned: Annotated[
        bool, typer.Option("--dry-run", help="Print plan, memory and minutes, and train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print one JSON object.")] = False,
) -> None:
    """Train a model, or continue a run."""
    options = {
        "preset": preset,
        "config": config,
        "settings": settings or [],
        "minutes": minutes,
        "init": init,
        "device": device,
    }
    if only_planned:
        if resume or repeat is not None:
            raise ConfigError("--dry-run tells of a training that is to begin: leave --resume and --repeat out")
        _print_plan(storyloom.dry_run(data, **options), as_json)
        return
    if out is None:
        raise ConfigError("Missing option '--out': name the run folder; see `storyloom train --help`")
    if as_json:
        raise ConfigError("--json goes with --dry-run: the rows of a training are in its metrics.jsonl")
    try:
        plot = storyloom.plot_losses(storyloom.train(data, out=out, repeat=repeat, resume=resume, **options))
    except KeyboardInterrupt:
        raise interruption(out) from None
    typer.echo(f"plot: {plot}")
    typer.echo(f"tell a story: {command_line(['storyloom', 'tell', '--model', path_word(out)])}")
    typer.echo(f"look into it: {command_line(['storyloom', 'report', path_word(out)])}")


def _print_plan(plan: DryRun, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(plan), "config": plan.config.model_dump()})
        return
    for note in plan.notes:
        typer.echo(f"note: {note}", err=True)
    memory = "" if plan.memory_bytes is None else f", {plan.memory_bytes / 1e6:,.0f} MB of memory"
    typer.echo(
        f"{plan.parameters / 1e6:.2f}M parameters on {plan.device} in {plan.precision} ({plan.why_precision}), "
        f"{plan.threads} threads{', compiled' if plan.compile else ''}{memory}\n"
        f"{plan.updates:,} updates of {plan.tokens_per_update:,} tokens, {plan.epochs:.2f} epochs, at "
        f"{plan.tokens_per_second:,.0f} tokens/s: about {plan.minutes:.1f} minutes, evaluations included\n"
        f"checkpoints: {plan.checkpoint_bytes / 1e6:,.1f} MB on the disk; nothing was written"
    )
