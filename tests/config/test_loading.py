"""Configurations in and out of TOML."""

import pytest

from storyloom.config import (
    Config,
    ModelConfig,
    apply_settings,
    describe_presets,
    load_config,
    load_preset,
    preset_names,
    preset_text,
    save_config,
)
from storyloom.errors import ConfigError
from storyloom.model import count_parameters

# Every field differs from its default, and every number from the others.
OTHERWISE = {
    "data": {
        "tokenizer": "char",
        "vocab_size": 307,
        "column": "story",
        "clean": True,
        "strict_characters": True,
        "limit_mb": 0.17,
        "val_fraction": 0.23,
        "rows": "padded",
    },
    "model": {
        "vocab_size": 311,
        "block_size": 37,
        "n_layer": 3,
        "n_head": 6,
        "n_kv_head": 2,
        "n_embd": 42,
        "head_dim": 9,
        "n_mlp": 71,
        "dropout": 0.13,
        "bias": True,
        "position": "learned",
        "rope_theta": 1e5 / 7,
        "norm": "layernorm",
        "norm_eps": 1e-3 / 7,
        "norm_placement": "post",
        "mlp": "relu2",
        "qk_norm": True,
        "tie_embeddings": False,
        "embedding_scale": True,
        "residual_init": "zero",
        "attention": "eager",
    },
    "train": {
        "max_steps": 101,
        "max_epochs": 2.5,
        "max_tokens": 103_000,
        "batch_size": 7,
        "grad_accum_steps": 5,
        "log_interval": 3,
        "minutes": 2.5,
        "learning_rate": 1 / 3,
        "min_lr": 1e-17,
        "warmup_steps": 11,
        "schedule": "cosine",
        "decay_fraction": 0.19,
        "optimizer": "adam",
        "weight_decay": 0.29,
        "beta1": 0.53,
        "beta2": 0.67,
        "adam_eps": 1e-7 / 3,
        "muon_momentum": 0.71,
        "grad_clip": 0.31,
        "device": "cuda:1",
        "precision": "bf16",
        "compile": True,
        "threads": 2,
        "eval_interval": 41,
        "eval_stories": 43,
        "sample_interval": 47,
        "patience": 59,
        "ema": 0.61,
        "checkpoint_interval": 53,
        "seed": 2**62 + 1,
    },
}


def test_a_saved_configuration_is_read_back(tmp_path):
    config = Config(**OTHERWISE)
    default = Config().model_dump()
    for group, values in config.model_dump().items():
        same = {name for name, value in values.items() if value == default[group][name]}
        assert not same, "give each setting a value that is not its default"
    run = {"data": "/where/it is", "minutes": 7.5, 'with "quotes" and \\': "ünïcode"}
    save_config(tmp_path / "config.toml", config, run)
    assert load_config(tmp_path / "config.toml") == (config, run)


@pytest.mark.parametrize("name", preset_names())
def test_a_saved_preset_is_read_back(tmp_path, name):
    save_config(tmp_path / "config.toml", load_preset(name), {})
    assert load_config(tmp_path / "config.toml") == (load_preset(name), {})


def test_none_is_kept_where_it_is_not_the_default(tmp_path):
    """grad_clip = none was left out of config.toml, so that the run clipped at the default of 1."""
    config = apply_settings(Config(), ["train.grad_clip=none", "train.max_steps=none"])
    save_config(tmp_path / "config.toml", config, {})
    loaded, _ = load_config(tmp_path / "config.toml")
    assert loaded.train.grad_clip is None
    assert loaded == config


def test_a_file_may_say_none(tmp_path):
    (tmp_path / "c.toml").write_text('[train]\ngrad_clip = "none"\nmax_steps = "none"\n')
    assert load_config(tmp_path / "c.toml")[0].train.grad_clip is None


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"[train\n", ["is not valid TOML", "line 1"]),
        (b"[train]\nsed = 3\n", ["train.sed", "'seed'"]),
        (b"[modle]\nn_layer = 3\n", ["modle", "'model'"]),
        (b"[train]\nseed = 3\n[train]\n", ["is not valid TOML"]),
        (b"# caf\xe9\n", ["cannot read the configuration", "c.toml"]),
        (b"model = 3\n", ["model = 3"]),
        (b"run = 3\n", ["run = 3 is no table", "leave it out"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, content, parts):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml")
    assert "\n" not in str(caught.value)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_byte_order_mark_is_no_setting(tmp_path):
    """Windows' Notepad writes one, and the file was refused as invalid TOML."""
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf[train]\nseed = 3\n")
    assert load_config(tmp_path / "c.toml")[0].train.seed == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no configuration file at .*c\.toml: see `storyloom presets`"):
        load_config(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("setting", "group", "name", "value"),
    [
        ("model.n_layer=6", "model", "n_layer", 6),
        (" model.n_layer = 6 ", "model", "n_layer", 6),
        ("model.norm=layernorm", "model", "norm", "layernorm"),
        ('model.norm="layernorm"', "model", "norm", "layernorm"),
        ("model.bias=true", "model", "bias", True),
        ("train.learning_rate=3e-3", "train", "learning_rate", 0.003),
        ("train.max_tokens=1_000_000", "train", "max_tokens", 1_000_000),
        ("train.grad_clip=none", "train", "grad_clip", None),
        ("train.grad_clip=None", "train", "grad_clip", None),
        ("data.tokenizer=a=b.json", "data", "tokenizer", "a=b.json"),
        ("data.tokenizer=sub/t.json", "data", "tokenizer", "sub/t.json"),
    ],
)
def test_a_setting_is_read_as_toml_none_or_a_bare_word(setting, group, name, value):
    changed = apply_settings(Config(), [setting])
    assert getattr(getattr(changed, group), name) == value
    assert type(getattr(getattr(changed, group), name)) is type(value)
    rest = changed.model_dump()
    del rest[group][name]
    default = Config().model_dump()
    del default[group][name]
    assert rest == default


def test_the_last_of_two_settings_holds():
    assert apply_settings(Config(), ["train.seed=3", "train.seed=5"]).train.seed == 5


def test_settings_are_checked_together():
    changed = apply_settings(Config(), ["model.n_head=5", "model.n_embd=70"])  # either alone is impossible
    assert (changed.model.n_head, changed.model.n_embd) == (5, 70)


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("n_layer=6", "GROUP.NAME=VALUE"),
        ("model.n_layer", "GROUP.NAME=VALUE"),
        ("modle.n_layer=6", "did you mean 'model'?"),
        ("model.n_layr=6", "did you mean 'n_layer'?"),
        ("model.n_layer=", "model.n_layer = ''"),
        ("model.n_layer=six", "model.n_layer = 'six'"),
        ("model.n_layer=none", "model.n_layer = None"),
        ("model.n_head=5", "n_embd = 192 is not divisible by n_head = 5"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(setting, part):
    with pytest.raises(ConfigError) as caught:
        apply_settings(Config(), [setting])
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_possible_and_says_what_it_claims(name):
    config = load_preset(name)
    assert ModelConfig(**{**config.model.model_dump(), "vocab_size": config.data.vocab_size}).head_size > 0
    assert any(getattr(config.train, limit) for limit in ("max_steps", "max_epochs", "max_tokens"))
    first = preset_text(name).splitlines()[0]
    assert first.startswith(f"# {name}: ")
    assert describe_presets()[name] == first.removeprefix("# ")


def test_presets_are_listed_and_misspelt_ones_offered():
    assert preset_names() == sorted(preset_names())
    assert {"laptop", "tiny"} <= set(describe_presets())
    for ask in (load_preset, preset_text):
        with pytest.raises(ConfigError, match="unknown preset 'labtop': did you mean 'laptop'"):
            ask("labtop")
    with pytest.raises(ConfigError, match="unknown preset"):
        preset_text("../presets/tiny")


def test_desktop_has_the_shape_of_its_origin():
    """With a head of its own it has the 22,696,448 parameters of the course's model."""
    config = load_preset("desktop")
    shape = config.model.with_(vocab_size=config.data.vocab_size, tie_embeddings=False)
    assert count_parameters(shape) == 22_696_448


@pytest.mark.parametrize(
    ("name", "vocab_size", "expected"),
    [
        ("gpt-2layer", 50_257, 2 * 50_257 * 128 + 2 * (12 * 128**2 + 13 * 128) + 2 * 128),
        ("char-mini", 73, 2 * 73 * 128 + 128 * 128 + 4 * (12 * 128**2 + 13 * 128)),
        ("gpt2-small", 50_257, 2 * 50_257 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768),
        ("slm-30m", 50_257, 50_257 * 384 + 128 * 384 + 6 * (12 * 384**2 + 13 * 384) + 2 * 384),
        ("gpt-5m", 73, 2 * 73 * 256 + 256 * 256 + 6 * (12 * 256**2 + 13 * 256) + 2 * 256),
    ],
)
def test_the_systems_have_the_sizes_of_their_descriptions(name, vocab_size, expected):
    """A block of GPT-2 has 12 C^2 weights, and 13 C biases and gains."""
    assert count_parameters(load_preset(name).model.with_(vocab_size=vocab_size)) == pytest.approx(expected, rel=1e-3)


def test_the_30m_model_falls_to_a_rate_below_its_peak():
    """Its description has a lowest learning rate above its highest, which is refused with both."""
    with pytest.raises(ConfigError, match=r"min_lr = 0\.0005 is above learning_rate = 0\.0001"):
        apply_settings(load_preset("slm-30m"), ["train.min_lr=5e-4"])
