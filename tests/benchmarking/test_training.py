"""The training benchmark: its arithmetic by hand, and who takes part."""

from importlib.util import find_spec

import pytest

from storyloom import storybook
from storyloom.benchmarking import bench_train, training
from storyloom.benchmarking.peers import find_peers
from storyloom.config import load_preset
from storyloom.errors import ConfigError
from storyloom.runtime import choose_runtime, device

SMALL = ["model.n_layer=1", "model.n_head=2", "model.n_embd=32", "model.block_size=37", "train.batch_size=3"]
SMALL += ["train.grad_accum_steps=2", "data.vocab_size=307", "train.precision=fp32", "train.compile=false"]
SMALL += ["train.threads=1"]


@pytest.fixture
def known_times(monkeypatch):
    """Our update takes 0.5, 1 and 4 seconds here, 0.1 of them the optimizer, the matrix product 0.25, 1 and 1, and in
    bf16 half of that."""

    def pretend(actions, seconds, device, least):
        ours, optimizer, product, other = actions
        assert (ours, optimizer) == ("storyloom, eager fp32", "optimizer")
        assert (product, other) == ("matrix product fp32", "matrix product bf16")
        return {ours: [0.5, 1.0, 4.0], optimizer: [0.1] * 3, product: [0.25, 1.0, 1.0], other: [0.1, 0.5, 0.5]}

    monkeypatch.setattr(training, "take_turns", pretend)
    monkeypatch.setattr(training, "largest_product", lambda precision, device: SmallProduct())
    monkeypatch.setattr(training, "seconds_of", lambda action, device: 1.0)
    monkeypatch.setattr(training, "find_peers", lambda *_: {})


def test_the_figures_by_hand(known_times):
    found = bench_train("laptop", SMALL)
    assert found.tokens_per_update == 3 * 2 * 37
    (ours,) = found.candidates
    assert ours.tokens_per_second == 222  # in the median second
    # swiglu of 96: 8/3 of 32, rounded up to 32s; q, k, v and out; the head; and causal attention
    flops = 6 * (3 * 32 * 96 + 4 * 32 * 32 + 307 * 32) + 6 * 1 * 32 * 37
    assert ours.utilization == pytest.approx(222 * flops * 0.5 / 1000)  # half is the median of the ratios
    assert ours.speed_up == 1
    assert found.optimizer_share == pytest.approx(0.1)
    assert found.ceilings == {"fp32": pytest.approx(1e-6), "bf16": pytest.approx(2e-6)}  # also what was not chosen
    assert (found.precision, found.why_precision) == ("fp32", "as train.precision says")


def test_it_runs(monkeypatch):
    monkeypatch.setattr(training, "find_peers", lambda *_: {})
    monkeypatch.setattr(training, "largest_product", lambda precision, device: SmallProduct())
    monkeypatch.setattr(training, "seconds_of", lambda action, device: 1.0)
    found = bench_train("laptop", SMALL, seconds=0.05)
    assert [each.name for each in found.candidates] == ["storyloom, eager"]
    assert found.candidates[0].tokens_per_second > 0
    assert 0 < found.optimizer_share < 1
    assert (found.preset, found.device, found.threads) == ("laptop", "cpu", 1)


class SmallProduct:
    flops = 1000

    def __call__(self) -> None:
        pass


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time_is_refused(seconds):
    with pytest.raises(ConfigError, match="must be above 0 and finite"):
        bench_train("laptop", seconds=seconds)


@pytest.mark.parametrize("name", ["model.vocab_size", "data.vocab_size"])
def test_a_vocabulary_that_the_text_does_not_fit_is_refused(name):
    """It was an IndexError in the embedding."""
    with pytest.raises(
        ConfigError, match=rf"{name} = 7 is too small for the benchmark's text, which needs \d+: raise it"
    ):
        bench_train("tiny", [f"{name}=7"], seconds=0.1)


class KnownProduct:
    """Its arithmetic takes a second, so that its speed is its FLOPs."""

    def __init__(self, flops: float) -> None:
        self.flops = flops


@pytest.fixture
def speeds(monkeypatch):
    """FLOP/s of the matrix product in each precision, to be set."""
    known = {"fp32": 1e12, "bf16": 1e12, "fp16": 1e12}
    monkeypatch.setattr(training, "largest_product", lambda precision, device: KnownProduct(known[precision]))
    monkeypatch.setattr(training, "seconds_of", lambda action, device: 1.0)
    monkeypatch.setattr(training, "fit_to_machine", lambda *_: pytest.fail("it went on"))
    return known


def test_a_precision_that_takes_too_long_is_refused_before_anything_is_timed(speeds):
    """fp16 on a CPU was not done after a minute, whatever the time that it was given."""
    speeds.update(fp32=2e8, bf16=1e9, fp16=1e6)
    wanted = r"train\.precision = fp16 is too slow here: an update takes about \d+ s, and seconds = 3 is for 8 of them"
    with pytest.raises(ConfigError, match=rf"{wanted}; take bf16, whose matrix product is 1000 times as fast"):
        bench_train("laptop", [*SMALL, "train.precision=fp16"], seconds=3.0)


@pytest.mark.parametrize("fp16", [6e7, 1e13])
def test_what_is_slow_in_every_precision_is_measured(speeds, fp16):
    speeds.update(fp32=1e9, bf16=1e9, fp16=fp16)
    with pytest.raises(pytest.fail.Exception, match="it went on"):
        bench_train("laptop", [*SMALL, "train.precision=fp16"], seconds=1e-3)


@pytest.mark.parametrize(
    ("settings", "entries"),
    [
        (["data.tokenizer=bpe"], 307),
        (["data.tokenizer=gpt2"], 50_257),
        (["data.tokenizer=char"], len({*"".join(story.text for story in storybook.stories(0, 999))}) + 2),
        (["data.tokenizer=gpt2", "model.vocab_size=101"], 101),
    ],
)
def test_the_vocabulary_is_the_presets(known_times, monkeypatch, settings, entries):
    seen = []
    trainers = training._our_trainers

    def noting(config, data, runtime):
        seen.append(config.model.vocab_size)
        return trainers(config, data, runtime)

    monkeypatch.setattr(training, "_our_trainers", noting)
    bench_train("laptop", [*SMALL, *settings], seconds=1.0)
    assert seen == [entries]


@pytest.mark.parametrize("asked", ["auto", "true"])
def test_a_compiler_that_fails_leaves_the_eager_step(known_times, monkeypatch, asked):
    def fail(config, data, runtime, compiled):
        raise ConfigError("compiling the training step fails")

    monkeypatch.setattr(training, "compiled_trainer", fail)
    monkeypatch.setattr(training, "has_compiler", lambda _: True)
    monkeypatch.setattr(device, "has_compiler", lambda _: True)
    settings = [*SMALL, f"train.compile={asked}"]
    if asked == "true":
        with pytest.raises(ConfigError, match="compiling the training step fails"):
            bench_train("laptop", settings, seconds=1.0)
    else:
        assert [found.name for found in bench_train("laptop", settings, seconds=1.0).candidates] == ["storyloom, eager"]


def test_who_lacks_a_part_does_not_take_part():
    config = load_preset("laptop")
    other = config.with_(model=config.model.with_(norm="layernorm"))
    assert find_peers(other, choose_runtime(config.train.with_(precision="fp32", threads=1))) == {}


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed: `make peers`")
def test_transformers_trains_the_same_shape():
    from storyloom.config import apply_settings
    from storyloom.model import count_parameters

    config = apply_settings(load_preset("laptop"), [*SMALL, "model.vocab_size=307"])
    peers = find_peers(config, choose_runtime(config.train))
    update = peers[("transformers", "fp32")]
    assert sum(p.numel() for p in update._model.parameters()) == count_parameters(config.model)
    update()
