"""The compiled training step: the same losses as the eager one, the same bits after a resume, and when it is taken."""

import hashlib

import pytest
import torch

from storyloom.config import apply_settings, load_config, load_preset
from storyloom.data import Data, prepare
from storyloom.errors import ConfigError
from storyloom.model import GPT
from storyloom.runtime import choose_runtime, device
from storyloom.training import autotune, train
from storyloom.training.compiled import CompiledStep
from storyloom.training.trainer import Trainer

needs_compiler = pytest.mark.skipif(not device.has_compiler(torch.device("cpu")), reason="no C++ compiler here")
COMPILED = ["train.compile=true"]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("optimizer", "dropout"), [("adamw", 0.0), ("muon", 0.0), ("muon", 0.1)])
def test_compiled_and_eager_runs_reach_the_same_loss(make_trainer, optimizer, dropout):
    """With dropout too: a compiled step on a CPU takes PyTorch's own random numbers."""
    settings = [f"train.optimizer={optimizer}", f"model.dropout={dropout}", "train.max_steps=50"]
    losses = {}
    for way in ("false", "true"):
        trainer = make_trainer(*settings, f"train.compile={way}")
        losses[way] = [trainer.update().loss for _ in range(50)] + [trainer.evaluate()["nats_per_token"]]
    assert losses["false"][-1] < losses["false"][0] - 0.5
    assert losses["true"] == pytest.approx(losses["false"], abs=1e-3)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_run_that_died_ends_with_the_same_bits(
    tmp_path, tiny_file, short_data, computed, dying_at, precision
):
    settings = [*COMPILED, f"train.precision={precision}", "model.dropout=0.1", "model.n_layer=1"]
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=settings, progress=False)
    assert whole.config.train.compile is True
    with dying_at(7):
        train(short_data, out=tmp_path / "B", config=tiny_file, settings=settings, progress=False)
    torch.manual_seed(99)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


@pytest.mark.slow
@needs_compiler
def test_each_training_of_a_process_is_compiled_however_many_there_were(tmp_path, tiny_file, short_data):
    from torch import _dynamo

    with _dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for width in (32, 40):
            settings = [*COMPILED, f"model.n_embd={width}", "model.n_layer=1", "train.max_steps=2"]
            train(short_data, out=tmp_path / str(width), config=tiny_file, settings=settings, progress=False)


def test_compilation_that_is_asked_for_needs_a_compiler(monkeypatch, tiny_file):
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    config = apply_settings(load_config(tiny_file)[0], COMPILED).train
    with pytest.raises(ConfigError, match=r"train\.compile = true, but there is no compiler for cpu here: install one"):
        choose_runtime(config)
    assert choose_runtime(config.with_(compile="auto")).compile is False


@needs_compiler
def test_a_compiler_that_fails_is_refused_where_asked_for_and_else_left_alone(
    tmp_path, tiny_file, short_data, monkeypatch
):
    def broken(*_: object, **__: object):
        raise torch._dynamo.exc.InternalTorchDynamoError("no luck\nat all")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    with pytest.raises(ConfigError, match=r"compiling the training step fails: no luck; set train\.compile = fal"):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=COMPILED, progress=False)
    assert not (tmp_path / "R").exists()
    monkeypatch.setattr(autotune, "LONG_ENOUGH", 0.0)
    settings = ["train.compile=auto", "train.max_steps=2"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert run.config.train.compile is False


REPEATED = [
    "model.n_layer=2",
    "model.n_embd=64",
    "model.n_head=2",
    "model.block_size=128",
    "train.batch_size=8",
    "train.max_epochs=none",
]
REPEATED += ["train.grad_accum_steps=1", "train.max_steps=20", "train.compile=true", "train.threads=2", "train.seed=5"]


@pytest.fixture(scope="module")
def real_data(shared, tmp_path_factory) -> Data:
    """Some real text, whose frequent words many threads meet at once."""
    text = shared / "data" / "tinystories" / "train.txt"
    return prepare(text, out=tmp_path_factory.mktemp("real") / "D", preset="laptop", limit_mb=0.5)


@needs_compiler
def test_two_compiled_threads_repeat_their_bits(real_data):
    """The embedding's gradient was added up by atomic additions: three runs of one command, three checksums."""
    config = apply_settings(load_preset("laptop"), REPEATED)
    config = config.with_(model=config.model.with_(vocab_size=real_data.tokenizer.vocab_size))
    runtime = choose_runtime(config.train)
    compiled, found = CompiledStep(runtime.device), set()
    try:
        for _ in range(4):
            trainer = Trainer(config, real_data, runtime, compiled)
            for _ in range(6):
                trainer.update()
            found.add(weights_of(trainer.model))
    finally:
        torch.set_num_threads(1)
    assert len(found) == 1
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(1200)
def test_twenty_compiled_runs_on_two_threads_have_one_checksum(tmp_path, real_data):
    found = set()
    for n in range(20):
        run = train(real_data, out=tmp_path / str(n), preset="laptop", settings=REPEATED, progress=False)
        found.add(weights_of(run.load_model("last")))
    assert len(found) == 1


def weights_of(model: GPT) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()
