"""A model and a prompt to stories."""

from storyloom.generation.arguments import given_or_drawn_seed
from storyloom.generation.sampling import PROCESSORS, STRATEGIES, Strategy, make_strategy
from storyloom.generation.story import Story
from storyloom.generation.storyteller import StoryTeller, load

__all__ = [
    "PROCESSORS",
    "STRATEGIES",
    "Story",
    "StoryTeller",
    "Strategy",
    "given_or_drawn_seed",
    "load",
    "make_strategy",
]
