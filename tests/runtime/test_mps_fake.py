"""Apple's mps has no float64. A device of that name, made of tensors on the CPU, refuses it as mps does.

It shows which types and devices meet, on code that runs as it is; it shows nothing of mps's own arithmetic.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import storyloom
from storyloom.config import Config, apply_settings, load_config
from storyloom.data import Data
from storyloom.evaluation.likelihood import measure_likelihood
from storyloom.generation import STRATEGIES, StoryTeller
from storyloom.runtime import Runtime
from storyloom.training import train
from storyloom.training.trainer import Trainer

REFUSAL = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"
MPS = torch.device("mps", 0)  # PyTorch asks for the current device where the index is left out


class OnMps(torch.Tensor):
    """A tensor that says that it is on mps. What it holds is on the CPU, and below Python so is the tensor itself."""

    held: torch.Tensor

    def __new__(cls, held: torch.Tensor) -> Self:
        with torch.inference_mode(False):  # autograd, which calls this, makes inference tensors of its own
            new = torch.Tensor._make_wrapper_subclass(cls, held.size(), strides=held.stride(), dtype=held.dtype)
        new.held = held
        return new

    def __repr__(self) -> str:
        return f"OnMps({self.held})"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func == torch.Tensor.device.__get__:
            return MPS
        if func in (torch.Tensor.cpu, torch.Tensor.tolist):
            return getattr(args[0].held.clone(), func.__name__)()
        if func is torch.Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu()")
        return super().__torch_function__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run_on_mps(func, args, kwargs or {})


class Constants(TorchFunctionMode):
    """Numbers reach mps by way of the CPU: `torch.tensor` would go there without asking any dispatch mode."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.pop("device", None) if func is torch.tensor else None
        made = func(*args, **kwargs)
        return made if device is None else made.to(device)


class FakeMps(TorchDispatchMode):
    """Also sees what makes a tensor on mps, or takes one there."""

    def __enter__(self) -> Self:
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # parameters become tensors of the fake
        self._constants = Constants()
        self._constants.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._constants.__exit__(*raised)
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run_on_mps(func, args, kwargs or {})


def run_on_mps(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on what the tensors hold. Its results are on mps where that is asked for, else where they are."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, OnMps)}
    asked = kwargs.get("device")
    is_on_mps = bool(ours) if asked is None else torch.device(asked).type == "mps"
    moves = asked is not None or "copy" in str(func) or "index" in str(func)  # an index may stay on the CPU
    if ours and not moves and any(tensor.dim() and not isinstance(tensor, OnMps) for tensor in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found mps:0 and cpu ({func})")
    held = tree_map(lambda leaf: leaf.held if isinstance(leaf, OnMps) else leaf, (args, kwargs))
    if asked is not None and is_on_mps:
        held[1]["device"] = torch.device("cpu")

    def as_asked(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not is_on_mps:
            return leaf
        if leaf.dtype == torch.float64:
            raise TypeError(f"{REFUSAL} ({func})")
        return ours[id(leaf)] if id(leaf) in ours else OnMps(leaf)  # in place: the very tensor

    return tree_map(as_asked, func(*held[0], **held[1]))


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is loaded here is loaded onto the fake."""
    monkeypatch.setattr("storyloom.runs.weights.choose_device", lambda *_: MPS)


@pytest.fixture(scope="module")
def run(story_data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two updates, trained on the CPU."""
    sizes = {"model.n_layer": 2, "model.n_embd": 32, "model.n_head": 2, "model.block_size": 13}
    short = {"train.max_steps": 2, "train.batch_size": 3, "train.precision": "fp32", "train.threads": 1}
    settings = [f"{name}={value}" for name, value in (sizes | short).items()]
    out = tmp_path_factory.mktemp("mps") / "R"
    return train(story_data, out=out, settings=settings, progress=False).path


def test_the_fake_refuses_what_mps_refuses() -> None:
    with FakeMps():
        ones = torch.ones(3, 5, device=MPS)
        assert ones.device.type == (ones @ ones.T).device.type == "mps"
        assert (ones + 2.0).cpu().tolist() == [[3.0] * 5] * 3
        for make in (
            lambda: ones.double(),
            lambda: ones.sum(dtype=torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device=MPS),
            lambda: torch.zeros(2, dtype=torch.float64).to(MPS),
        ):
            with pytest.raises(TypeError, match="doesn't support float64"):
                make()
        with pytest.raises(RuntimeError, match="same device"):
            ones + torch.ones(3, 5)


def test_a_run_is_evaluated(run: Path, mps: None) -> None:
    """Losses were summed in float64 on the device, so that no run outlived its first evaluation."""
    with FakeMps():
        figures = storyloom.evaluate(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storyloom.runs.weights.choose_device", lambda *_: torch.device("cpu"))
        expected = storyloom.evaluate(run)
    assert figures.pop("text_sha256") == expected.pop("text_sha256")
    assert figures == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_every_strategy_tells_what_it_tells_on_the_cpu(run: Path, mps: None, penalty: float) -> None:
    """Samples during training are told so, too; beyond the block the window is prefilled again."""
    options = {"num_stories": 2, "max_new_tokens": 17, "repetition_penalty": penalty}
    with FakeMps():
        teller = storyloom.load(run)
        assert teller.model.embedding.weight.device == MPS
        compared = storyloom.compare_strategies(teller, "In a", **options)
        several = teller.tell_all("In a", num_stories=2, top_k=7, top_p=0.9, min_p=0.01, seed=3, max_new_tokens=11)
    assert {quality.strategy for quality in compared} == set(STRATEGIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storyloom.runs.weights.choose_device", lambda *_: torch.device("cpu"))
        teller = storyloom.load(run)
    expected = storyloom.compare_strategies(teller, "In a", **options)
    assert [quality.stories for quality in compared] == [quality.stories for quality in expected]
    again = teller.tell_all("In a", num_stories=2, top_k=7, top_p=0.9, min_p=0.01, seed=3, max_new_tokens=11)
    assert several == again


MODELS = [
    "model.position=rope",
    "model.position=sinusoidal",
    "model.position=learned",
    "model.attention=eager",
    "model.embedding_scale=true",
    "model.norm=layernorm",
    "model.n_kv_head=1",
]


@pytest.mark.parametrize("setting", MODELS)
def test_every_kind_of_model_evaluates_and_tells(
    setting: str, story_data: Data, make_config: Callable[..., Config]
) -> None:
    torch.manual_seed(3)
    model = trainer(make_config(setting), story_data).model.eval()
    stories = story_data.val_stories(2)
    expected = measure_likelihood(model, stories, story_data.tokenizer.eot).nats_per_token
    told = StoryTeller(model, story_data.tokenizer).tell("In", seed=3, max_new_tokens=43)
    with FakeMps():
        on_mps = model.to(MPS)
        measured = measure_likelihood(on_mps, stories, story_data.tokenizer.eot).nats_per_token
        assert StoryTeller(on_mps, story_data.tokenizer).tell("In", seed=3, max_new_tokens=43) == told
    assert measured == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def make_config(tiny_file: Path, story_data: Data) -> Callable[..., Config]:
    def make(*settings: str) -> Config:
        config = apply_settings(load_config(tiny_file)[0], settings)
        return config.with_(model=config.model.with_(vocab_size=story_data.tokenizer.vocab_size))

    return make


def trainer(config: Config, data: Data, device: torch.device = torch.device("cpu")) -> Trainer:  # noqa: B008
    return Trainer(config, data, Runtime(device, "fp32", 1))


@pytest.mark.parametrize(
    "settings",
    [
        ["train.optimizer=adam", "train.grad_clip=0.01", "Adam"],
        ["train.optimizer=adamw", "train.ema=0.9", "train.grad_accum_steps=2", "average"],
        ["train.optimizer=muon", "train.grad_clip=none", "Muon"],
        ["loss in chunks"],
    ],
    ids=lambda settings: settings[-1],
)
def test_a_model_learns_evaluates_and_tells(
    settings: list[str], story_data: Data, make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward, backward, the gradient's norm and clipping, the optimizer, the average; then what a run does between."""
    if "loss in chunks" in settings:
        monkeypatch.setattr("storyloom.model.loss.LARGE_VOCABULARY", 1)
    config = make_config("model.tie_embeddings=false", *settings[:-1])  # the fake's parameters are new ones, not tied
    with FakeMps():
        learner = trainer(config, story_data, MPS)
        updates = [learner.update() for _ in range(2)]
        assert next(learner.model.parameters()).grad.device == MPS
        evaluated, told = learner.evaluate()["nats_per_token"], learner.sample()
    on_cpu = trainer(config, story_data)
    assert [update.loss for update in updates] == pytest.approx([on_cpu.update().loss for _ in range(2)], rel=1e-3)
    assert evaluated == pytest.approx(on_cpu.evaluate()["nats_per_token"], rel=1e-3)
    assert len(told) > 1
