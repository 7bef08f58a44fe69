import json
from dataclasses import asdict

import storyloom
from storyloom.cli.info import describe
from storyloom.runtime.machine import Extra, Machine

FOUND = Machine(
    versions={"python": "3.12.1", "torch": "2.10.0"},
    system="Linux-6",
    processor="A processor",
    logical_cores=16,
    usable_cores=8,
    physical_cores=4,
    cpu_quota=2.5,
    memory=16_400_000_000,
    memory_limit=8_000_000_000,
    threads=3,
    devices=("cpu", "cuda:0 (A GPU)"),
    device="cuda:0",
    precision="bf16",
    why_precision="the GPU has bf16",
    cpu_capability="AVX2",
    compiler=None,
    openmp="OpenMP 201511",
    variables={"GOMP_SPINCOUNT": "7"},
    extras={"hub": Extra(False, "data sets", {"pyarrow": "1.0"}), "peer": Extra(True, "comparing", {"peer": "2.0"})},
)


def test_a_line_for_each_question():
    assert describe(FOUND).splitlines() == [
        "versions:    python 3.12.1, torch 2.10.0",
        "system:      Linux-6",
        "processor:   A processor; PyTorch's own kernels use AVX2",
        "cores:       16 logical, of which this process may use 8 (4 physical), with a CPU quota of 2.5",
        "memory:      16.4 GB, limited to 8.0 GB",
        "threads:     3, run by OpenMP 201511",
        "device:      cuda:0, of cpu, cuda:0 (A GPU)",
        "precision:   bf16: the GPU has bf16",
        "compiler:    none: training is not compiled",
        "environment: GOMP_SPINCOUNT=7",
        "hub:         not installed (data sets)",
        "peer:        peer 2.0 (comparing)",
    ]


def test_this_machine(command):
    outcome = command("info")
    assert (outcome.status, outcome.err) == (0, "")
    assert f"torch {storyloom.info().versions['torch']}" in outcome.out


def test_as_json_it_is_one_object(command):
    outcome = command("info", "--json")
    assert (outcome.status, outcome.out.count("\n")) == (0, 1)
    found = json.loads(outcome.out)
    assert found == json.loads(json.dumps(asdict(storyloom.info())))
