"""The moving average of the weights: by hand, and what a run with one keeps."""

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT
from storyloom.runs import load_checkpoint
from storyloom.training import train
from storyloom.training.averaging import WeightAverage
from storyloom.training.trainer import Trainer

EMA = ["train.ema=0.7"]


@pytest.mark.parametrize("tied", [True, False])
def test_three_updates_by_hand(tied):
    model = GPT(ModelConfig(vocab_size=11, block_size=7, n_layer=1, n_head=2, n_embd=12, tie_embeddings=tied))
    average = WeightAverage(model, decay=0.3)
    assert average.model.head.weight is not model.head.weight
    assert (average.model.head.weight is average.model.embedding.weight) == tied
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for step, decay in ((1, 2 / 11), (2, 3 / 12), (3, 0.3)):  # the third would be 4/13, which is above 0.3
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        average.update(model, step)
        for name, parameter in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, parameter in average.model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-6)
        assert not parameter.requires_grad
    assert not average.model.training


def test_training_itself_does_not_see_the_average(make_trainer):
    plain, averaged = make_trainer(), make_trainer(*EMA)
    assert [plain.update() for _ in range(5)] == [averaged.update() for _ in range(5)]
    assert plain.evaluate() != averaged.evaluate()


def test_the_weights_in_training_are_neither_evaluated_nor_told_by(make_trainer):
    trainer = make_trainer(*EMA)
    for _ in range(3):
        trainer.update()
    figures, story = trainer.evaluate(), trainer.sample()
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.zero_()
    assert (trainer.evaluate(), trainer.sample()) == (figures, story)


def test_the_average_is_what_is_evaluated_and_kept(tmp_path, tiny_file, short_data, monkeypatch, metric_rows):
    seen = []
    update = Trainer.update

    def noting(self: Trainer):
        result = update(self)
        seen.append({name: parameter.detach().double() for name, parameter in self.model.named_parameters()})
        return result

    first = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False, settings=["train.max_steps=1"])
    monkeypatch.setattr(Trainer, "update", noting)
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=EMA, progress=False)
    assert len(seen) == 11
    expected = {name: parameter.clone() for name, parameter in seen[0].items()}
    torch.manual_seed(1337)
    start = dict(GPT(run.config.model).named_parameters())
    for step, weights in enumerate(seen, start=1):
        decay = min(0.7, (1 + step) / (10 + step))
        for name, weight in weights.items():
            before = start[name].detach().double() if step == 1 else expected[name]
            expected[name] = decay * before + (1 - decay) * weight
    kept = run.load_model("last")
    for name, parameter in kept.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-6)
    raw = load_checkpoint(run.checkpoint_folder("last")).tensors
    torch.testing.assert_close(raw["raw.embedding.weight"].double(), seen[-1]["embedding.weight"], rtol=0, atol=0)
    assert metric_rows(run.path, "eval")[-1]["nats_per_token"] != metric_rows(first.path, "eval")[-1]["nats_per_token"]
