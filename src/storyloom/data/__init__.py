"""Stories to token ids. Knows no model and imports no torch."""

from storyloom.data.dataset import IGNORED, Batches
from storyloom.data.prepare import prepare
from storyloom.data.progress import Progress
from storyloom.data.shards import Data, EncodedStory

__all__ = ["IGNORED", "Batches", "Data", "EncodedStory", "Progress", "prepare"]
