"""What the formula expects and what is made of the times, by hand; the texts by a law. Only the last test trains."""

import json
from functools import partial

import cost
import cost_report
import pytest
from cost import FULL, Plan, Shape

from storyloom.benchmarking.measuring import MatrixProduct

REFERENCE = Shape(3, 128, 32)
OTHERS = (Shape(2, 64, 32), Shape(3, 128, 64), Shape(3, 128, 64, "sdpa"))
PLAN = Plan(REFERENCE, (*OTHERS, REFERENCE), 1.0, 0.02, (3,), 1, ("train.threads=1", "train.compile=false"))


@pytest.fixture
def figures():
    """As they are written, of a machine that makes 100 GFLOP/s and whose second round is three times as slow."""
    seconds = {"matrix product": 0.02, "2 x 64 at 32": 0.25, "3 x 128 at 32": 0.5, "3 x 128 at 64": 1.0}
    seconds["3 x 128 at 64, fused"] = 2.0
    times = {name: [each, 3 * each, each] for name, each in seconds.items()}
    circumstances = {"cpu": "Abacus", "device": "cpu", "threads": 7, "precision": "bf16", "compiled": True}
    circumstances |= {"torch": "2.11", "storyloom": "0.0.5", "preset": "laptop", "vocab_size": 4096}
    circumstances |= {"tokens_per_update": 4096, "command": "make cost", "date": "2026-01-02", "minutes": 1.7}
    memory = [
        {"tokens": 1009, "disk": 2_018_000, "updates": 19, "resident": 503_000_000, "anonymous": 307_000_000},
        {"tokens": 3019, "disk": 6_038_000, "updates": 19, "resident": None, "anonymous": None},
    ]
    return {**circumstances, **cost.speeds_from(times, 2_000_000_000, PLAN), "memory": memory}


# swiglu's width is 8/3 of the model's, rounded up to 32s: 192 for 64, 352 for 128
FLOPS = {
    "2 x 64 at 32": 6 * (2 * (4 * 64 * 64 + 3 * 64 * 192) + 4096 * 64) + 6 * 2 * 64 * 32,
    "3 x 128 at 32": 6 * (3 * (4 * 128 * 128 + 3 * 128 * 352) + 4096 * 128) + 6 * 3 * 128 * 32,
    "3 x 128 at 64": 6 * (3 * (4 * 128 * 128 + 3 * 128 * 352) + 4096 * 128) + 6 * 3 * 128 * 64,
}


def test_speeds_by_hand(figures):
    assert (figures["ceiling_gflops"], figures["rounds"], figures["reference"]) == (100.0, 3, "3 x 128 at 32")
    found = {row["name"]: row for row in figures["shapes"]}
    assert {name: found[name]["flops_per_token"] for name in FLOPS} == FLOPS
    assert found["3 x 128 at 64, fused"]["flops_per_token"] == FLOPS["3 x 128 at 64"]
    assert found["2 x 64 at 32"]["tokens_per_second"] == 4096 / 0.25
    assert found["2 x 64 at 32"]["quartiles"] == [pytest.approx(4096 / 0.75, abs=0.1), 4096 / 0.25]
    share = 4096 * FLOPS["3 x 128 at 32"] / 0.5 / 100e9
    assert found["3 x 128 at 32"]["utilisation"] == pytest.approx(share, abs=1e-4)


def test_expectations_by_hand(figures):
    """The reference's own speed is expected of it; of another shape the same operations a second."""
    expected = {row["name"]: row["expected"] for row in cost_report.with_expectations(figures)}
    speed = 4096 / 0.5
    assert expected["3 x 128 at 32"] == pytest.approx(speed, rel=1e-3)
    for name, flops in FLOPS.items():
        assert expected[name] == pytest.approx(speed * FLOPS["3 x 128 at 32"] / flops, rel=1e-3)


def test_the_page_holds_every_figure(figures):
    page = cost_report.document(figures)
    lines = [line for line in page.splitlines() if line.startswith("| ") and "layers x width" not in line]
    speed, memory = [line for line in lines if " x " in line], [line for line in lines if "MB" in line]
    assert [line.split(" | ")[:2] for line in speed] == [
        *(["| 2 x 64", "32"], ["| 3 x 128", "32"]),
        *(["| 3 x 128", "32"], ["| 3 x 128", "64"], ["| 3 x 128", "64, fused"]),
    ]
    # the other way twice as slow as the plain one, at half of the reference's speed and hardly more operations
    assert [line.split(" | ")[4] for line in speed] == ["16,384", "8,192", "8,192", "4,096", "2,048"]
    assert [line.split(" | ")[-1] for line in speed[1:]] == ["1.00 |", "1.00 |", "0.51 |", "0.25 |"]
    assert memory == ["| 1,009 | 2.0 MB | 503 MB | 307 MB |", "| 3,019 | 6.0 MB | - | - |"]
    for fact in ("Abacus, cpu, 7 threads", "100 GFLOP/s in bf16", "compiled", "torch 2.11", "2026-01-02, `make cost`"):
        assert fact in page


def test_the_picture_shows_each_shape_in_its_panel(figures, tmp_path, monkeypatch):
    drawn = []

    class Kept(cost_report.Figure):
        def savefig(self, *arguments, **options):
            drawn.append(self)
            super().savefig(*arguments, **options)

    monkeypatch.setattr(cost_report, "Figure", Kept)
    cost_report.draw(figures, tmp_path / "cost.png")
    by_parameters, by_context = drawn[0].axes
    parameters = {row["name"]: row["parameters"] / 1e6 for row in figures["shapes"]}
    points = [list(zip(*bar.lines[0].get_data(), strict=True)) for bar in by_parameters.containers]
    assert points == [[(parameters["2 x 64 at 32"], 16_384), (parameters["3 x 128 at 32"], 8_192)]]
    points = [list(zip(*bar.lines[0].get_data(), strict=True)) for bar in by_context.containers]
    assert points == [[(32, 8_192), (64, 4_096)], [(64, 2_048)]]
    expected = {row["name"]: row["expected"] for row in cost_report.with_expectations(figures)}
    for axes, (first, last) in {by_parameters: ("2 x 64 at 32", "3 x 128 at 32"), by_context: list(FLOPS)[1:]}.items():
        line = axes.get_lines()[0].get_ydata()
        assert (line[0], line[-1]) == (expected[first], expected[last])
    assert (tmp_path / "cost.png").stat().st_size < 150_000


def test_the_full_plan_keeps_the_tokens_of_an_update():
    """And has the reference once, as part of both panels."""
    for shape in FULL.shapes:
        train = shape.config().train
        assert train.batch_size * train.grad_accum_steps * shape.block_size == 4096
        assert shape.config().model.head_size == 64
    assert FULL.shapes.count(FULL.reference) == 1
    assert len(set(FULL.shapes)) == len({shape.name for shape in FULL.shapes}) == len(FULL.shapes)


def test_a_larger_text_is_the_same_stories_over_and_over(tmp_path, story_data):
    train = story_data.manifest.train
    larger = cost.repeat_corpus(story_data, tmp_path / "D", 3)
    once, thrice = story_data.tokens("train"), larger.tokens("train")
    period = len(once) - 1  # the end-of-text between two is shared
    assert len(thrice) == larger.manifest.train.tokens == 1 + 3 * period
    for start in (0, period, 2 * period):
        assert (thrice.read(start, start + len(once)) == once.read(0, len(once))).all()
    assert len(thrice.positions_of(larger.tokenizer.eot)) == 1 + larger.manifest.train.stories
    assert larger.manifest.train.bytes == 3 * train.bytes
    assert len(larger.val_stories()) == story_data.manifest.val.stories


def test_anonymous_memory_counts_what_is_allocated_and_given_back():
    with cost.AnonymousMemory() as memory:
        before = memory.peak
        held = bytearray(b"x") * 67_000_000
        memory._look()
        del held
    if before is None:
        pytest.skip("no /proc here")
    assert memory.peak - before == pytest.approx(67_000_000, rel=0.05)


def test_documents_without_figures_are_refused_in_one_line(tmp_path, capsys):
    assert cost.main(["--write", "--out", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err
    assert "no figures in" in complaint
    assert complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_measures_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cost, "QUICK", PLAN)
    monkeypatch.setattr(cost, "WARM_UP", 1)
    monkeypatch.setattr(cost, "MatrixProduct", partial(MatrixProduct, n=509))
    monkeypatch.setattr(cost, "take_turns", lambda actions, *_: {name: [0.5, 1.5, 0.5] for name in actions})
    assert cost.main(["--quick", "--out", str(tmp_path / "docs")]) == 0
    page = capsys.readouterr().out
    figures = json.loads((tmp_path / "docs" / "cost.json").read_text(encoding="utf-8"))
    assert [row["tokens_per_second"] for row in figures["shapes"]] == [8192.0] * 4
    assert figures["compiled"] is False
    (memory,) = figures["memory"]
    assert memory["disk"] == 2 * memory["tokens"]
    if memory["resident"] is not None:
        assert memory["resident"] > memory["anonymous"] > 10_000_000
    assert page.strip() == cost_report.document(figures).strip()
    (tmp_path / "docs" / "cost.md").unlink()
    assert cost.main(["--write", "--out", str(tmp_path / "docs")]) == 0
    assert (tmp_path / "docs" / "cost.md").read_text(encoding="utf-8") == cost_report.document(figures)
