"""How good a model is, measured on text."""

from storyloom.evaluation.evaluate import evaluate, why_not_comparable
from storyloom.evaluation.likelihood import Likelihood, measure_likelihood
from storyloom.evaluation.quality import StrategyQuality, compare_strategies, distinct_n, repetition

__all__ = [
    "Likelihood",
    "StrategyQuality",
    "compare_strategies",
    "distinct_n",
    "evaluate",
    "measure_likelihood",
    "repetition",
    "why_not_comparable",
]
