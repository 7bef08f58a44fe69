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
import json, socket, sys
def unreachable(*_): raise AssertionError("asked the network")
socket.getaddrinfo = socket.socket.connect = unreachable
import storyloom
story = storyloom.load(sys.argv[1]).tell("Once upon a time", max_new_tokens=37)
print(json.dumps({"story": story, **storyloom.evaluate(sys.argv[1])}))
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
        data = prepare("storybook", out=folder / "D", tokenizer="gpt2", limit_mb=0.01)
    assert data.tokenizer.vocab_size == 50_257
    train(data, out=folder / "R", settings=[f"{name}={value}" for name, value in SETTINGS.items()], progress=False)
    return folder / "R"


def test_it_tells_and_evaluates_offline(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", OFFLINE, str(run)], capture_output=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["story"].startswith("Once upon a time")
    assert len(found["story"]) > 41
    assert found["nats_per_token"] == pytest.approx(10.82, abs=0.2)  # ln 50,257: it has learned next to nothing
    assert found["comparable"] is True
    assert list(tmp_path.iterdir()) == []
