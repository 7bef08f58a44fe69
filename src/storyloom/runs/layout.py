"""The names of all files of a run folder and of a model folder; nothing else writes one of them down.

RUN/    config.toml   tokenizer.json   metrics.jsonl   samples.jsonl   plan.jsonl   loss.png   report.html   data/
        checkpoints/best   checkpoints/last
a checkpoint:     model.safetensors   state.safetensors   state.json   manifest.json
a model folder:   config.json   model.safetensors   tokenizer.json   card.md   manifest.json
"""

RUN_CONFIG = "config.toml"
TOKENIZER = "tokenizer.json"
METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
LOGS = (METRICS, SAMPLES)
PLANS = "plan.jsonl"  # the plan rows of the run that this one repeats
OWN_DATA = "data"  # where a source is prepared inside the run folder
PLOT, REPORT = "loss.png", "report.html"
CHECKPOINT_FOLDER = "checkpoints"
CHECKPOINTS = ("best", "last")
BEGUN = "begun"  # stands there until config.toml makes it a run: all that we laid out beside it may be half a start

WEIGHTS, STATE_TENSORS, STATE = "model.safetensors", "state.safetensors", "state.json"

MODEL_CONFIG, CARD = "config.json", "card.md"
