"""Shared by all tests: small data, tiny configurations, and the real text where this machine has it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # tests run side by side; torch reads it as it is imported
import torch

from storyloom.config import Config, ModelConfig
from storyloom.data import Data, prepare

PROJECT = Path(__file__).parents[1]

TINY = """
[data]
tokenizer = "bpe"
vocab_size = 307

[model]
n_layer = 2
n_head = 2
n_embd = 32
block_size = 37
qk_norm = true

[train]
max_steps = 11
batch_size = 3
learning_rate = 3e-3
warmup_steps = 2
precision = "fp32"
threads = 1
compile = false
eval_interval = 5
eval_stories = 3
sample_interval = 7
checkpoint_interval = 2
"""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny tensors gain nothing from two threads, and tests share the machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def ctrl_c_as_found() -> Iterator[None]:
    """A test that leaves Ctrl-C ignored spoils those behind it, and in the processes that they start."""
    before = signal.getsignal(signal.SIGINT)
    yield
    left, _ = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGINT, before)
    assert left is before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real texts, which are not part of the project."""
    folder = Path(os.environ.get("STORYLOOM_SHARED", PROJECT.parent / "shared"))
    if not (folder / "data" / "tinystories" / "valid.txt").is_file():
        pytest.skip(f"no TinyStories text below {folder}: set STORYLOOM_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def story_data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """A little of the storybook as a data folder; read only."""
    return prepare("storybook", out=tmp_path_factory.mktemp("data") / "D", vocab_size=307, limit_mb=0.05)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """A configuration that trains in a second or two."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def small_model() -> ModelConfig:
    """A model whose sizes are all different."""
    return ModelConfig(vocab_size=53, block_size=23, n_layer=3, n_head=2, n_embd=28, qk_norm=True)


@pytest.fixture
def default_config() -> Config:
    """All defaults."""
    return Config()
