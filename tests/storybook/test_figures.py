"""The calibrated figures, each within its range, as `benchmarks/storybook_calibration.py` measures them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from storyloom import storybook
from storyloom.storybook.measuring import coincidence, collision_entropy, limit_bits_per_byte

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "storybook_calibration.py"


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    """Return the benchmark's script as a module."""
    spec = importlib.util.spec_from_file_location("storybook_calibration", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_limit_lies_between_015_and_040_bits_per_byte() -> None:
    """0.184 as calibrated; held within 0.01, since results are compared by it."""
    assert limit_bits_per_byte(storybook.stories(0, 2003)) == pytest.approx(0.184, abs=0.01)


def test_a_word_5gram_stays_well_above_the_limit(calibration: ModuleType) -> None:
    """At least 25 % above. After 20,000 stories it is 50 % above (0.2765, the limit 0.1844); after 5,003 more so."""
    limit = limit_bits_per_byte(storybook.stories(0, 401, start=5003))
    assert 1.4 < calibration.ngram_bits_per_byte(5003, 401) / limit < 2.0


def test_the_5gram_is_a_probability(calibration: ModuleType) -> None:
    """After four words, seen or not, the probabilities of all words sum to 1."""
    model = calibration.WordNgram([story.text for story in storybook.stories(0, 53)])
    once, upon = model.ids["Once"], model.ids[" upon"]
    for context in [(0, 0, once, upon), (once, once, once, once), (0, 0, 0, 0), (5, 7, 11, 13)]:
        code = 0
        for word in context:
            code = code * model.size + word
        grams = np.arange(model.size, dtype=np.int64) + code * model.size
        assert model.probabilities(grams, 0.7).sum() == pytest.approx(1.0, abs=1e-9)


def test_a_coincidence_among_a_million_stories_is_unlikely() -> None:
    """Below 1e-6, which needs 59 bits of collision entropy; so training and validation are never filtered."""
    entropy = collision_entropy(storybook.the_grammar(), samples=2003)
    assert entropy > 100
    assert coincidence(entropy, 1_000_000) < 1e-6
    texts = {story.text for story in storybook.stories(31, 5003)} | {
        story.text for story in storybook.stories(37, 5003)
    }
    assert len(texts) == 10_006
