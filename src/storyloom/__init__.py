"""storyloom trains, looks into and ships small GPT story models, from scratch, on a laptop.

    import storyloom

    data = storyloom.prepare("my.txt", out="D", tokenizer="bpe", vocab_size=2048)
    run = storyloom.train(data, out="R", preset="laptop", minutes=10)
    print(storyloom.load("R").tell("Once upon a time"))

Importing it loads no torch: each name below is fetched when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyloom.benchmarking import bench_train
    from storyloom.data import prepare
    from storyloom.evaluation import compare_strategies, evaluate
    from storyloom.exporting import export
    from storyloom.generation import Story, load
    from storyloom.reporting import compare_runs, plot_losses, write_report
    from storyloom.runtime import info
    from storyloom.training import dry_run, train

__all__ = [
    "Story",
    "bench_train",
    "compare_runs",
    "compare_strategies",
    "dry_run",
    "evaluate",
    "export",
    "info",
    "load",
    "plot_losses",
    "prepare",
    "train",
    "write_report",
]

_HOMES = {
    "bench_train": "storyloom.benchmarking",
    "info": "storyloom.runtime",
    "prepare": "storyloom.data",
    "dry_run": "storyloom.training",
    "train": "storyloom.training",
    "export": "storyloom.exporting",
    "Story": "storyloom.generation",
    "load": "storyloom.generation",
    "compare_strategies": "storyloom.evaluation",
    "evaluate": "storyloom.evaluation",
    "compare_runs": "storyloom.reporting",
    "plot_losses": "storyloom.reporting",
    "write_report": "storyloom.reporting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'storyloom' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
