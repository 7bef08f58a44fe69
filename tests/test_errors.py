import pytest

from storyloom import errors
from storyloom.errors import StoryloomError, nearest


@pytest.mark.parametrize(
    "name",
    ["ConfigError", "DataError", "TokenizerError", "RunError", "CheckpointError", "PromptError", "TrainingDiverged"],
)
def test_everything_a_user_can_mend_is_one_kind_of_error(name):
    assert issubclass(getattr(errors, name), StoryloomError)


def test_the_docstring_draws_the_whole_tree():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(kinds) == 8
    assert all(f" {name} " in (errors.__doc__ or "") for name in kinds)


def test_a_damaged_checkpoint_is_a_trouble_with_the_run():
    assert issubclass(errors.CheckpointError, errors.RunError)


def test_nearest_names_one_and_lists_all():
    assert nearest("n_layers", ["n_layer", "n_head"]) == "did you mean 'n_layer'? Known: n_head, n_layer"
    assert nearest("zzz", iter(["b", "a"])) == "known: a, b"
