"""How fast it is: always as a ratio, to what the machine can do and to what other libraries do, in the same run."""

from storyloom.benchmarking.training import bench_train

__all__ = ["bench_train"]
