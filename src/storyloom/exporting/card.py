"""The card of a model folder: what the model is, what it was trained on, and how good it is, for people."""

from storyloom.data import Data
from storyloom.errors import StoryloomError
from storyloom.model import count_parameters
from storyloom.runs.model_folder import ModelFolder
from storyloom.runs.opening import Model
from storyloom.runs.rows import FinalRow
from storyloom.runs.run import Run


def card_of(model: Model, dtype: str, checkpoint: str = "best") -> str:
    """A card in Markdown.

    Args:
        model: the run or the model folder that is exported.
        dtype: of the weights that are written.
        checkpoint: `best` or `last`, of a run.
    """
    config = model.model_config
    lines = [
        "# A story model",
        "",
        f"A GPT of {count_parameters(config):,} parameters, trained by storyloom; weights in {dtype}.",
        "",
        "```python",
        "import storyloom",
        "",
        'print(storyloom.load("PATH OF THIS FOLDER").tell("Once upon a time"))',
        "```",
        "",
        *(_of_run(model, checkpoint) if isinstance(model, Run) else _of_folder(model)),
        "## Settings",
        "",
        *(f"- `{name}`: {value}" for name, value in config.model_dump().items() if value is not None),
        f"- a sequence is `[{model.start}] + ids + [{model.end}]`",
    ]
    return "\n".join(lines) + "\n"


def _of_folder(model: ModelFolder) -> list[str]:
    return [f"Made from another model folder, with weights in {model.dtype}.", ""]


def _of_run(run: Run, checkpoint: str) -> list[str]:
    lines = ["## Text", "", *_text(run), ""]
    final = run.figures
    if final is not None and checkpoint == final.checkpoint:
        lines += ["## Loss", "", _loss(final), ""]
    return lines


def _text(run: Run) -> list[str]:
    try:
        manifest = Data(run.data_folder).manifest
    except StoryloomError:
        return ["The data that it was trained on is no longer where it was."]
    return [
        f"- read: {', '.join(manifest.sources)}",
        f"- trained on {manifest.train.stories:,} stories, {manifest.train.tokens:,} tokens",
    ]


def _loss(final: FinalRow) -> str:
    comparable = "" if final.comparable else f"; not comparable: {final.why_not_comparable}"
    stderr = "" if final.bits_per_byte_stderr is None else f" +- {final.bits_per_byte_stderr:.4f}"
    bits = f"{final.bits_per_byte:.4f}{stderr} bits/byte"
    text = f"{final.stories:,} validation stories (text sha256 {final.text_sha256[:12]})"
    return (
        f"{final.nats_per_token:.4f} nats/token, {bits} on {text}{comparable}. Measured in float32. "
        "The standard error is over stories, and leaves out what another seed would change."
    )
