from pathlib import Path

import storyloom.demo
from storyloom.demo import Demo
from storyloom.runs import Run


def test_shows_what_was_made_and_found(command, workspace, monkeypatch, tmp_path):
    asked = []

    def pretend(out, minutes, say):
        asked.append((out, minutes))
        say("1. A chapter.")
        run = Run(workspace / "R")
        assert run.figures is not None
        stories = {"greedy": "[red] cat", "top-p": "A dog."}
        return Demo(run, run.figures, stories, 0.75, [f"at {n}" for n in range(7)], Path("P.png"))

    monkeypatch.setattr(storyloom.demo, "run_demo", pretend)
    outcome = command("demo", "--minutes", "0.7", "--out", tmp_path / "X")
    assert (outcome.status, outcome.err, asked) == (0, "", [(tmp_path / "X", 0.7)])
    assert outcome.out.startswith(
        "1. A chapter.\n\n--- greedy\n[red] cat\n\n--- top-p\nA dog.\n\n75% of the sampled stories"
    )
    assert outcome.out.count("  one leaves it at ") == 5
    assert "exact limit " in outcome.out
    assert outcome.out.endswith(f"\nplot: P.png\nmore stories: storyloom tell --model {workspace / 'R'}\n")


def test_ctrl_c_names_the_run_to_go_on_with(command, copied, tmp_path, monkeypatch):
    copied("R").rename(tmp_path / "run")

    def interrupt(out, minutes, say):
        raise KeyboardInterrupt

    monkeypatch.setattr(storyloom.demo, "run_demo", interrupt)
    outcome = command("demo", "--out", tmp_path)
    assert outcome.status == 130
    assert outcome.err.endswith(
        f"storyloom: interrupted; to continue: storyloom train --out {tmp_path / 'run'} --resume\n"
    )
