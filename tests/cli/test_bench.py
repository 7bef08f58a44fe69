import json

import storyloom
from storyloom.benchmarking.training import Candidate, TrainBench

FOUND = TrainBench(
    preset="laptop",
    parameters=2_160_000,
    tokens_per_update=4096,
    device="cpu",
    threads=2,
    precision="bf16",
    why_precision="the processor has avx512_bf16",
    ceilings={"fp32": 190.0, "bf16": 840.4},
    optimizer_share=0.034,
    candidates=[Candidate("storyloom", "bf16", 30123.4, 0.512, 1.0), Candidate("other", "fp32", 8000.0, 0.6, 3.77)],
)


def test_the_figures_are_told(command, monkeypatch):
    asked = []
    monkeypatch.setattr(storyloom, "bench_train", lambda *words: asked.append(words) or FOUND, raising=False)
    outcome = command("bench", "train", "tiny", "--set", "model.n_layer=3", "--seconds", "7")
    assert (outcome.status, outcome.err) == (0, "")
    assert asked == [("tiny", ["model.n_layer=3"], 7.0)]
    first, second, _, ours, other = outcome.out.splitlines()
    assert first == (
        "laptop: 2.16M parameters, 4,096 tokens an update, cpu, 2 threads; the optimizer takes 3.4% of an update"
    )
    assert second == (
        "matrix product: fp32 190 GFLOP/s, bf16 840 GFLOP/s; trained in bf16: the processor has avx512_bf16"
    )
    assert ours.split() == ["storyloom", "bf16", "30,123", "51.2%", "1.00", "x"]
    assert other.split() == ["other", "fp32", "8,000", "60.0%", "3.77", "x"]


def test_as_json_it_is_one_object(command, monkeypatch):
    monkeypatch.setattr(storyloom, "bench_train", lambda *_: FOUND, raising=False)
    found = json.loads(command("bench", "train", "--json").out)
    assert found["ceilings"] == {"bf16": 840.4, "fp32": 190.0}
    assert [each["speed_up"] for each in found["candidates"]] == [1.0, 3.77]
