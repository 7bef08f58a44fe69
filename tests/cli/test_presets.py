import tomllib

import pytest

from storyloom.config import Config, preset_names


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
