import tomllib

import pytest

from storyloom.config import Config, preset_names
from storyloom.runs import Run


def test_lists_each_with_its_claim(command):
    outcome = command("presets")
    assert (outcome.status, outcome.err) == (0, "")
    assert [line.partition(":")[0] for line in outcome.out.splitlines()] == preset_names()


@pytest.mark.parametrize("name", ["laptop", "tiny"])
def test_prints_one_that_can_be_used(command, name):
    outcome = command("presets", name)
    assert outcome.status == 0
    assert outcome.out.startswith(f"# {name}: ")
    assert Config(**tomllib.loads(outcome.out)).model.n_layer >= 3


def test_lists_every_setting(command):
    outcome = command("presets", "--settings")
    assert outcome.status == 0
    listed = [line.split(" = ")[0] for line in outcome.out.splitlines() if not line.startswith(" ")]
    groups = Config().model_dump()
    assert listed == [f"{group}.{name}" for group, settings in groups.items() for name in settings]
    assert "train.precision = auto\n    One of auto, fp32, bf16, fp16. Arithmetic of" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("name", preset_names())
def test_each_prepares_and_trains_on_real_text_at_its_full_size(command, name, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "gpt2-bpe"))
    with (shared / "data/tinystories/train.txt").open(encoding="utf-8") as text:
        (tmp_path / "train.txt").write_text(text.read(1_300_000), encoding="utf-8")
        (tmp_path / "val.txt").write_text(text.read(1_300), encoding="utf-8")
    sources = (tmp_path / "train.txt", "--val", tmp_path / "val.txt")
    outcome = command("prepare", *sources, "--out", tmp_path / "D", "--preset", name)
    assert outcome.status == 0, outcome.err
    few = [f"train.{limit}" for limit in ("max_steps=1", "batch_size=2", "grad_accum_steps=2", "eval_stories=1")]
    settings = [word for setting in (*few, "train.compile=false") for word in ("--set", setting)]
    outcome = command("train", "--data", tmp_path / "D", "--out", tmp_path / "R", "--preset", name, *settings)
    assert outcome.status == 0, outcome.err
    assert Run(tmp_path / "R").has_checkpoint("best")
