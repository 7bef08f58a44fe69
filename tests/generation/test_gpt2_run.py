"""A run with GPT-2's tokenizer carries it: told from and evaluated with neither network nor tiktoken's cache."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storyloom.data import prepare
from storyloom.training import train

SETTINGS = {
    "model.n_layer": 1, "model.n_head": 1, "model.n_embd": 6, "model.block_size": 29, "train.max_steps": 3,
    "train.batch_size": 2, "train.precision": "fp32", "train.compile": False, "train.threads": 1,
    "train.eval_stories": 2,
}  # fmt: skip
OFFLINE = """
import socket, sys
def unreachable(*_): raise AssertionError("asked the network")
socket.getaddrinfo = socket.socket.connect = unreachable
from storyloom.cli import main
try:
    main(sys.argv[1:])
finally:
    assert "tiktoken" not in sys.modules
"""


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps of a tiny model on a little data."""
    if not (shared / "gpt2-bpe").is_dir():
        pytest.skip(f"no GPT-2 vocabulary in {shared / 'gpt2-bpe'}")
    folder = tmp_path_factory.mktemp("gpt2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "gpt2-bpe"))
        data = prepare("storybook", out=folder / "D", tokenizer="gpt2", limit_mb=0.02)
    assert data.tokenizer.vocab_size == 50_257
    train(data, out=folder / "R", settings=[f"{name}={value}" for name, value in SETTINGS.items()], progress=False)
    return folder / "R"


def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """What the command line prints in a process of its own, offline and with an empty cache."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    command = [sys.executable, "-c", OFFLINE, *map(str, words)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    return done.stdout


def test_it_tells_offline(run, tmp_path, monkeypatch):
    told = offline(tmp_path, monkeypatch, "tell", "Once upon a time", "--model", run, "--max-new-tokens", 37)
    assert told.startswith("Once upon a time")
    assert len(told) > 41


def test_it_evaluates_offline(run, tmp_path, monkeypatch):
    found = json.loads(offline(tmp_path, monkeypatch, "evaluate", run, "--json"))
    assert found["nats_per_token"] == pytest.approx(10.82, abs=0.2)  # ln 50,257: it has learned next to nothing
    assert found["comparable"] is True
