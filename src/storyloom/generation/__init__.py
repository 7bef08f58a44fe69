"""A model and a prompt to stories."""

from storyloom.generation.sampling import STRATEGIES, Strategy, make_strategy
from storyloom.generation.storyteller import StoryTeller, load

__all__ = ["STRATEGIES", "StoryTeller", "Strategy", "load", "make_strategy"]
