"""`storyloom tell`."""

import json
import sys
from typing import Annotated, Any

import typer

import storyloom


def tell(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="How the story begins; may be left out.")] = "",
    model: Annotated[str | None, typer.Option(metavar="RUN", help="A run folder.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    strategy: Annotated[
        str | None, typer.Option(help="greedy, multinomial, temperature, top-k, or top-p (the default).")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1 safer, above 1 wilder. Default: 0.8.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw among the k most likely tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw among the tokens that reach p. Default: 0.95.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens a story.")] = 512,
    num_stories: Annotated[int, typer.Option(help="How many stories.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed tells the same stories.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell a story with a trained model."""
    teller = storyloom.load(model, checkpoint)
    options: dict[str, Any] = {
        "strategy": strategy,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    if as_json:
        stories = teller.tell_all(prompt, num_stories=num_stories, **options)
        sys.stdout.write(json.dumps({"prompt": prompt, **options, "stories": stories}, ensure_ascii=False) + "\n")
    elif num_stories != 1:
        stories = teller.tell_all(prompt, num_stories=num_stories, **options)
        sys.stdout.write("\n\n".join(stories) + "\n")
    else:
        pieces = teller.stream(prompt, **options)
        for piece in (prompt, *(piece for _, piece in pieces)):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
