"""`storyloom tell`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import storyloom
from storyloom.cli.evaluate import DEVICE_HELP
from storyloom.cli.output import print_json, print_table
from storyloom.errors import ConfigError

if TYPE_CHECKING:
    from storyloom.evaluation import StrategyQuality
    from storyloom.generation import StoryTeller, Strategy

ALL = "all"
# The figures of a comparison, and the heads of their columns.
FIGURES = {
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "repetition": "repetition",
    "log_probability": "log-prob",
    "tokens": "tokens",
}


def tell(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="How the story begins; may be left out.")] = "",
    model: Annotated[str | None, typer.Option(metavar="RUN", help="A run folder.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="greedy, multinomial, temperature, top-k, top-p (the default), min-p, beam, or all."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Below 1 safer, above 1 wilder. Default: 0.8; with top-k alone 0.7, with min-p alone 1."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Draw among the k most likely tokens; combines with the other filters.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw among the tokens that reach p. Default without any filter: 0.95.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Draw among the tokens at least this many times as likely as the likeliest."),
    ] = None,
    beams: Annotated[
        int | None, typer.Option(help="Beginnings that a beam search follows at once. Default: 4.")
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(help="Of a beam search: 0 favours short stories, above 1 long ones. Default: 1.")
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(help="Above 1: tokens that the story already holds become less likely. Default: none."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens a story.")] = 512,
    num_stories: Annotated[int, typer.Option(help="How many stories.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="The same seed tells the same stories. Default: one is drawn, and printed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell a story with a trained model."""
    from storyloom.generation import (
        given_or_drawn_seed,
        make_strategy,
    )  # with torch, for which no help page should wait

    shaping = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "beams": beams,
        "length_penalty": length_penalty,
        "repetition_penalty": repetition_penalty,
    }
    given = {option: value for option, value in shaping.items() if value is not None}
    if strategy == ALL:
        _refuse_own_options(given)
    chosen = None if strategy == ALL else make_strategy(strategy, **given)
    extent = {"max_new_tokens": max_new_tokens, "seed": given_or_drawn_seed(seed)}
    teller = storyloom.load(model, checkpoint, device)
    dropped = teller.prompt_tokens_dropped(prompt)
    several = {"num_stories": num_stories, **extent}
    if as_json:
        asked = {"prompt": prompt, "strategy": chosen.name if chosen else ALL, **given, **extent}
        print_json({**asked, "prompt_tokens_dropped": dropped, **_told(teller, prompt, chosen, given, several)})
        return
    if chosen is None:
        _print_comparison(storyloom.compare_strategies(teller, prompt, **given, **several))
    elif num_stories != 1:
        stories = teller.generate_all(prompt, strategy=chosen, **several)
        sys.stdout.write("\n\n".join(story.text for story in stories) + "\n")
    else:
        _print_as_told(prompt, teller.stream(prompt, strategy=chosen, **extent))
    if dropped:
        _note(f"the prompt is longer than the model's block: its first {dropped} tokens are not used")
    if seed is None and (chosen is None or chosen.most_stories is None):  # else there was no chance in it
        _note(f"seed {extent['seed']}: --seed {extent['seed']} tells the same again")


def _told(
    teller: StoryTeller, prompt: str, strategy: Strategy | None, given: dict[str, Any], several: dict[str, Any]
) -> dict[str, Any]:
    """What the JSON object says of the stories; of every strategy's where None is named."""
    if strategy is None:
        compared = storyloom.compare_strategies(teller, prompt, **given, **several)
        return {"strategies": [asdict(quality) for quality in compared]}
    stories = teller.generate_all(prompt, strategy=strategy, **several)
    return {
        "stories": [story.text for story in stories],
        "finish_reasons": [story.finish_reason for story in stories],
    }


def _note(text: str) -> None:
    """A line on standard error, once the stories are out; where that is closed nobody reads it."""
    sys.stdout.flush()
    typer.echo(f"note: {text}", err=True)


def _print_as_told(prompt: str, pieces: Iterator[tuple[int, str]]) -> None:
    """Each piece as soon as it is there; the prompt with the first, when nothing can be refused any more."""
    for _, piece in pieces:
        sys.stdout.write(prompt + piece)
        sys.stdout.flush()
        prompt = ""
    sys.stdout.write("\n")


def _refuse_own_options(given: dict[str, Any]) -> None:
    """Options that belong to some strategies only say nothing about all of them."""
    own = [option for option in given if option != "repetition_penalty"]
    if own:
        flag = own[0].replace("_", "-")
        raise ConfigError(
            f"--{flag} {given[own[0]]} contradicts --strategy {ALL}, where each strategy has its defaults: "
            "leave it out, or name one strategy"
        )


def _print_comparison(compared: Sequence[StrategyQuality]) -> None:
    """The stories as they are, then the figures side by side."""
    for quality in compared:
        stories = "\n\n".join(quality.stories)
        sys.stdout.write(f"--- {quality.strategy}\n{stories}\n\n")
    rows = [(each.strategy, *(_rounded(getattr(each, name)) for name in FIGURES)) for each in compared]
    print_table(("strategy", *FIGURES.values()), rows)


def _rounded(value: float) -> str:
    """A count as it is, a figure to three places; what there is too little text for is a dash."""
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.3f}"
