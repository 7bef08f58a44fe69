"""Settings: what is refused, in which words."""

import pytest
from pydantic import ValidationError

from storyloom.config import Config, DataConfig, ModelConfig, TrainConfig
from storyloom.errors import ConfigError

GROUPS = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}


def complaint(group: type, **values) -> str:
    with pytest.raises(ConfigError) as caught:
        group(**values)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_every_field_says_what_it_means(group):
    for name, field in group.model_fields.items():
        assert field.description, f"{name} has no docstring"
        assert field.description.endswith("."), f"{name}: {field.description}"


@pytest.mark.parametrize(
    ("group", "typed", "meant"),
    [
        (DataConfig, "vocab_sizes", "data.vocab_sizes: did you mean 'vocab_size'?"),
        (ModelConfig, "n_layers", "model.n_layers: did you mean 'n_layer'?"),
        (TrainConfig, "learnin_rate", "train.learnin_rate: did you mean 'learning_rate'?"),
        (Config, "modle", "modle: did you mean 'model'?"),
    ],
)
def test_an_unknown_name_offers_the_nearest(group, typed, meant):
    assert f"unknown setting {meant}" in complaint(group, **{typed: 3})


def test_an_unknown_name_inside_a_group_is_named_with_its_group():
    assert "train.sed: did you mean 'seed'?" in complaint(Config, train={"sed": 3})


@pytest.mark.parametrize(
    ("group", "values"),
    [(ModelConfig, {"n_layer": True}), (TrainConfig, {"patience": False}), (TrainConfig, {"max_epochs": True})],
)
def test_a_flag_is_no_number(group, values):
    """True passed for 1."""
    assert "is a flag: give a number" in complaint(group, **values)


def test_a_flag_that_has_a_third_choice():
    """The error named the branch of the union, `train.bool`."""
    assert [TrainConfig(compile=value).compile for value in (True, False, "auto")] == [True, False, "auto"]
    message = complaint(TrainConfig, compile="autp")
    assert message == (
        "train.compile = 'autp' is not one of its choices: did you mean 'auto'? Known: auto, false, true"
    )


def test_a_number_that_may_be_a_word_too():
    assert [TrainConfig(grad_accum_steps=value).grad_accum_steps for value in (3, "auto")] == [3, "auto"]
    message = complaint(TrainConfig, grad_accum_steps="many")
    assert message.startswith("train.grad_accum_steps = 'many': input should be a valid integer")
    assert message.endswith(" or auto")
    assert "train.grad_accum_steps = true is a flag" in complaint(TrainConfig, grad_accum_steps=True)
    assert "grad_accum_steps = 0 must be at least 1, or auto" in complaint(TrainConfig, grad_accum_steps=0)


def test_a_device_is_a_name_of_one():
    """Whether the machine has it is asked when it is used: a run's settings can be read anywhere."""
    names = ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "mps"]
    assert [TrainConfig(device=name).device for name in names] == names
    for name in ("gpu", "cuda:", "cuda:01", "cuda:x", "mps:0", "", "cpu "):
        assert f"device = {name!r} is not a device: give auto, cpu, cuda" in complaint(TrainConfig, device=name)
    assert complaint(TrainConfig, device=3).startswith("train.device = 3: input should be a valid string")


def test_a_choice_offers_the_nearest():
    message = complaint(ModelConfig, norm="layer_norm")
    assert message.startswith("model.norm = 'layer_norm' is not one of its choices: did you mean 'layernorm'?")
    assert "rmsnorm" in message


@pytest.mark.parametrize(
    ("group", "values", "parts"),
    [
        (TrainConfig, {"min_lr": 5e-4, "learning_rate": 1e-4}, ["min_lr = 0.0005", "learning_rate = 0.0001", "lower"]),
        (ModelConfig, {"n_embd": 37, "n_head": 5}, ["n_embd = 37", "n_head = 5", "divisible"]),
        (ModelConfig, {"n_embd": 35, "n_head": 5, "n_kv_head": 2}, ["n_head = 5", "n_kv_head = 2", "divisible"]),
        (ModelConfig, {"n_embd": 35, "n_head": 5, "position": "rope"}, ["rope", "= 7 is odd"]),
        (ModelConfig, {"n_embd": 35, "n_head": 5, "position": "sinusoidal"}, ["sinusoidal", "n_embd = 35 is odd"]),
    ],
)
def test_contradictions_name_both_values(group, values, parts):
    message = complaint(group, **values)
    assert [part for part in parts if part not in message] == []


def test_what_is_just_possible_is_allowed():
    assert TrainConfig(min_lr=1e-4, learning_rate=1e-4).min_lr == 1e-4
    assert ModelConfig(n_embd=35, n_head=5, n_kv_head=1, position="learned").kv_heads == 1
    assert DataConfig(vocab_size=2).vocab_size == 2


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        (DataConfig, "val_fraction", 0.0),
        (DataConfig, "val_fraction", 1.0),
        (DataConfig, "limit_mb", 0.0),
        (DataConfig, "vocab_size", 1),
        (DataConfig, "vocab_size", "many"),
        (ModelConfig, "dropout", 1.0),
        (ModelConfig, "dropout", -0.1),
        (ModelConfig, "n_layer", 0),
        (ModelConfig, "n_layer", 2.5),
        (TrainConfig, "learning_rate", 0.0),
        (TrainConfig, "learning_rate", float("nan")),
        (TrainConfig, "max_epochs", float("inf")),
        (TrainConfig, "grad_clip", 0.0),
        (TrainConfig, "seed", 2**63),
        (TrainConfig, "batch_size", None),
        (TrainConfig, "decay_fraction", 1.1),
    ],
)
def test_an_impossible_value_is_refused_with_its_name_and_the_value(group, name, value):
    path = {kind: name for name, kind in GROUPS.items()}[group]
    assert complaint(group, **{name: value}).startswith(f"{path}.{name} = {value!r}: ")


def test_a_group_that_is_no_table_is_refused():
    assert complaint(Config, model=3).startswith("model = 3: ")


def test_settings_are_frozen_and_changed_by_copies():
    config = TrainConfig(batch_size=7)
    with pytest.raises(ValidationError, match="frozen"):
        config.batch_size = 11
    changed = config.with_(seed=13)
    assert (changed.batch_size, changed.seed, config.seed) == (7, 13, 1337)
    with pytest.raises(ConfigError, match="min_lr = 1 "):
        config.with_(min_lr=1.0)


def test_the_widths_that_follow():
    model = ModelConfig(n_embd=48, n_head=3, mlp="swiglu")
    assert (model.head_size, model.kv_heads, model.mlp_width) == (16, 3, 128)  # 8/3 x 48 = 128
    assert ModelConfig(n_embd=51, n_head=3, position="learned").mlp_width == 160  # 136, up to a multiple of 32
    assert ModelConfig(n_embd=48, n_head=3, mlp="gelu").mlp_width == 192
    assert ModelConfig(n_embd=48, n_head=3, n_mlp=71).mlp_width == 71
