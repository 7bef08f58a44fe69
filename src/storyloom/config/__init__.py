"""Every setting of storyloom: typed, documented, validated; and the named configurations (presets)."""

from storyloom.config.loading import (
    apply_settings,
    describe_presets,
    describe_settings,
    load_config,
    load_preset,
    preset_names,
    preset_text,
    save_config,
)
from storyloom.config.schema import Config, DataConfig, ModelConfig, TrainConfig

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "apply_settings",
    "describe_presets",
    "describe_settings",
    "load_config",
    "load_preset",
    "preset_names",
    "preset_text",
    "save_config",
]
