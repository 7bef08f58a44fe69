"""A model and a prompt to stories."""

from storyloom.generation.arguments import given_or_drawn_seed
from storyloom.generation.story import Story
from storyloom.generation.storyteller import StoryTeller, load
from storyloom.generation.strategies import STRATEGIES, Strategy, make_strategy

__all__ = [
    "STRATEGIES",
    "Story",
    "StoryTeller",
    "Strategy",
    "given_or_drawn_seed",
    "load",
    "make_strategy",
]
