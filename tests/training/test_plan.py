"""From limits to a number of updates; progress and the learning rate under plans that change."""

import numpy as np
import pytest

from storyloom.config import TrainConfig, apply_settings, load_config
from storyloom.data import IGNORED
from storyloom.training.plan import Plan, counted_limits
from storyloom.training.schedule import learning_rate_at


@pytest.fixture
def limits(tiny_file, short_data):
    """Each limit under some settings, in updates."""

    def count(*settings: str) -> dict[str, int]:
        config = apply_settings(load_config(tiny_file)[0], ["train.max_steps=none", *settings])
        return counted_limits(config, short_data)

    return count


def test_each_limit_by_hand(limits, make_trainer, short_data):
    assert limits("train.max_steps=13") == {"max_steps": 13}
    # micro-batches of 3 rows of 37 tokens, but for the last row of an epoch
    assert limits("train.max_tokens=1332") == {"max_tokens": 12}
    assert limits("train.max_tokens=1300") == {"max_tokens": 11}
    assert limits("train.max_tokens=1332", "train.grad_accum_steps=4") == {"max_tokens": 3}
    stories = short_data.manifest.train.stories
    padded = ["data.rows=padded", "train.max_epochs=2.5"]
    assert limits(*padded) == {"max_epochs": round(2.5 * stories / 3)}
    assert limits(*padded, "train.grad_accum_steps=5") == {"max_epochs": round(2.5 * stories / 15)}
    rows = make_trainer().batches.rows_per_epoch
    assert rows == pytest.approx(short_data.manifest.train.tokens / 37, abs=1.6)
    assert limits("train.max_epochs=3") == {"max_epochs": round(3 * rows / 3)}
    assert limits() == {}


@pytest.mark.parametrize("rows", ["packed", "padded"])
def test_so_many_tokens_are_seen_as_were_asked_for(limits, make_trainer, rows):
    """With padded rows the filling was counted, too: the run ended far too early."""
    trainer = make_trainer(f"data.rows={rows}")
    in_five_epochs = 0
    while trainer.batches.epochs < 5:
        in_five_epochs += int(np.count_nonzero(trainer.batches.next()[1] != IGNORED))
    n_steps = limits(f"data.rows={rows}", f"train.max_tokens={in_five_epochs}")["max_tokens"]
    assert n_steps == pytest.approx(5 * trainer.batches.rows_per_epoch / 3, abs=2)


def test_a_limit_below_one_update_is_one_update(limits):
    assert limits("train.max_tokens=1", "train.max_epochs=0.0001") == {"max_tokens": 1, "max_epochs": 1}


def test_progress_by_hand():
    plan = Plan.whole(12, warmup_steps=2)
    assert [plan.progress_at(step) for step in range(13)] == pytest.approx([0, 0, *(n / 10 for n in range(11))])
    slower = plan.changed(step=7, updates=1, warmup_steps=2)  # half of the way is left for one update
    assert [slower.progress_at(step) for step in (7, 8)] == [0.5, 1.0]
    faster = plan.changed(step=7, updates=20, warmup_steps=2)
    assert [faster.progress_at(step) for step in (7, 8, 17, 27)] == pytest.approx([0.5, 0.525, 0.75, 1.0])
    assert faster.progress_at(99) == 1.0


def test_in_the_warm_up_no_plan_makes_progress():
    plan = Plan.whole(None, warmup_steps=5)
    assert [plan.progress_at(step) for step in (0, 3, 999)] == [0.0, 0.0, 0.0]
    first = plan.changed(step=1, updates=2, warmup_steps=5)  # far too few: they would all lie in the warm-up
    second = first.changed(step=3, updates=12, warmup_steps=5)
    assert [second.progress_at(step) for step in (3, 5, 10, 15)] == [0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
@pytest.mark.parametrize("seed", range(20))
def test_under_any_plans_progress_never_falls_and_the_rate_never_rises_again(schedule, seed):
    rng = np.random.default_rng(seed)
    settings = TrainConfig(warmup_steps=int(rng.integers(0, 9)), learning_rate=0.5, min_lr=0.01, schedule=schedule)
    plan, step, progress, rates = Plan.whole(None, settings.warmup_steps), 0, [], []
    plan = plan.changed(0, int(rng.integers(20, 200)), settings.warmup_steps)
    while step < plan.end:
        progress.append(plan.progress_at(step))
        rates.append(learning_rate_at(step, progress[-1], settings))
        step += 1
        if rng.random() < 0.2 and step < plan.end:
            updates = max(1, int((plan.end - step) * rng.choice([0.1, 0.5, 0.9, 1.3])))
            plan = plan.changed(step, updates, settings.warmup_steps)
    assert progress == sorted(progress)
    assert plan.progress_at(step) == 1.0 or step <= settings.warmup_steps
    after = rates[settings.warmup_steps :]
    assert after == sorted(after, reverse=True)
    assert rates[: settings.warmup_steps] == sorted(rates[: settings.warmup_steps])
