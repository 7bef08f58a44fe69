"""How good a model is, measured on text."""

from storyloom.evaluation.evaluate import evaluate
from storyloom.evaluation.likelihood import Likelihood, measure_likelihood

__all__ = ["Likelihood", "evaluate", "measure_likelihood"]
