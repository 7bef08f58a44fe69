"""Files of any format: all settings of it, what held before for younger ones, and what was changed is refused."""

import tomllib

import pytest
import tomli_w
from pydantic import Field

from storyloom.config import Config, DataConfig, ModelConfig, TrainConfig, formats, load_config, save_config
from storyloom.config.formats import content_checksum, settings_of
from storyloom.config.schema import Settings
from storyloom.errors import ConfigError


class Later(Settings):
    """A group that got a setting with format 2, whose default is not what held before."""

    width: int = 7
    slope: float | None = Field(default=0.5, json_schema_extra={"since": 2, "before": 0.25})


@pytest.fixture
def saved(tmp_path):
    config = Config(model=ModelConfig(vocab_size=53, n_layer=3), train=TrainConfig(max_steps=7, ema=0.5))
    path = tmp_path / "config.toml"
    save_config(path, config, {"data": "D", "settings": ["model.n_layer=3"], "minutes": 0.5})
    return path


def test_a_file_of_an_older_format_takes_what_held_before():
    assert settings_of(Later, {"width": 11}, 1, "x") == {"width": 11, "slope": 0.25}
    assert settings_of(Later, {"width": 11, "slope": "none"}, 2, "x") == {"width": 11, "slope": None}


def test_a_file_has_all_settings_of_its_format():
    for values, written, name in (({"slope": 1.0}, 1, "width"), ({"width": 11}, 2, "slope")):
        with pytest.raises(ConfigError, match=rf"^R/config.toml: model lacks {name}, .* format {written} has"):
            settings_of(Later, values, written, "R/config.toml: model")


@pytest.mark.parametrize("kind", [DataConfig, ModelConfig, TrainConfig])
def test_every_setting_says_what_held_before_it(kind):
    """A younger setting without it would be filled in by its default, which may change."""
    for field in kind.model_fields.values():
        extra = field.json_schema_extra or {}
        assert extra.get("since", 1) <= formats.FORMAT
        assert ("before" in extra) == (extra.get("since", 1) > 1)


def test_a_younger_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr("storyloom.config.loading.FORMAT", 2)
    save_config(saved, *load_config(saved))
    with pytest.raises(ConfigError, match=r"config\.toml has format 2, .* reads formats up to 1"):
        load_config(saved)


@pytest.mark.parametrize("found", [0, -1, True, 1.0, "1", None])
def test_what_is_no_format_is_refused(saved, found):
    content = tomllib.loads(saved.read_text())
    content["run"] = {name: value for name, value in content["run"].items() if name != "format"}
    if found is not None:
        content["run"]["format"] = found
    saved.write_text(tomli_w.dumps(content))
    with pytest.raises(ConfigError, match="has format "):
        load_config(saved)


def test_every_line_counts(saved):
    """A lost or changed line was read as a default or as another value."""
    lines = saved.read_text().splitlines(keepends=True)
    assert len(lines) > 60
    for number, line in enumerate(lines):
        if "=" not in line:
            continue
        saved.write_text("".join(lines[:number] + lines[number + 1 :]))
        with pytest.raises(ConfigError, match=r"config\.toml"):
            load_config(saved)
        name, _, value = line.partition(" = ")
        changed = f'{name} = "{value.strip()[1:-1]}x"\n' if '"' in value else f"{name} = 3\n"
        if changed != line and name != "format":
            saved.write_text("".join([*lines[:number], changed, *lines[number + 1 :]]))
            with pytest.raises(ConfigError, match=r"config\.toml"):
                load_config(saved)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content | {"data": 5},
        lambda content: content | {"model": []},
        lambda content: content | {"run": 3},
        lambda content: content | {"more": {"a": 1}},
        lambda content: {name: value for name, value in content.items() if name != "train"},
    ],
)
def test_what_is_of_another_kind_is_refused(saved, damage):
    saved.write_text(tomli_w.dumps(damage(tomllib.loads(saved.read_text()))))
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config(saved)


def test_layout_and_comments_do_not_count(saved):
    config, run = load_config(saved)
    saved.write_text("# a comment\n" + saved.read_text().replace(" = ", "  =  "))
    assert load_config(saved) == (config, run)


def test_checksums_tell_types_apart():
    different = [{"a": value} for value in (1, 1.0, "1", True, None, [1])]
    assert len({content_checksum(content) for content in different}) == len(different)
