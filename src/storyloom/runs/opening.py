"""Where a model is asked for: a run, a model folder, or the path of either."""

import os

from storyloom.errors import RunError
from storyloom.paths import named_path
from storyloom.runs.model_folder import ModelFolder, is_model_folder
from storyloom.runs.run import Run

Model = Run | ModelFolder


def open_model(model: str | os.PathLike[str] | Model, name: str = "run") -> Model:
    """Open what a user names as a model. Both kinds have `path`, `model_config`, `tokenizer`, `start`, `end`,
    `weights_file`, `read_weights` and `load_model`.

    Args:
        model: a run or a model folder, opened already or its path.
        name: the argument's, for messages.

    Raises:
        RunError: it is missing, damaged, or neither of them.
    """
    if isinstance(model, Run | ModelFolder):
        return model
    path = named_path(name, model, RunError)
    return ModelFolder(path) if is_model_folder(path) else Run(path)
