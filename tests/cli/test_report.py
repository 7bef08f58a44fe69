def test_the_page_is_written_into_the_run(command, copied):
    run = copied("R")
    outcome = command("report", run)
    assert (outcome.status, outcome.out, outcome.err) == (0, f"report: {run / 'report.html'}\n", "")
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_or_to_another_place_from_another_checkpoint(command, tmp_path):
    outcome = command("report", "R-char", "--out", tmp_path / "a.html", "--checkpoint", "last")
    assert (outcome.status, outcome.err) == (0, "")
    assert "by the checkpoint <code>last</code>" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_a_run_without_metrics(refused, copied):
    run = copied("R")
    (run / "metrics.jsonl").unlink()
    assert "metrics.jsonl is missing: put it back" in refused("report", run)


def test_a_damaged_checkpoint(refused, copied):
    run = copied("R")
    (run / "checkpoints" / "best" / "model.safetensors").write_bytes(b"")
    assert "is damaged" in refused("report", run)


def test_a_missing_checkpoint(command, refused, copied):
    """The other one is taken where none was asked for."""
    run = copied("R")
    (run / "checkpoints" / "best").rename(run / "kept")
    assert "has no checkpoint 'best' yet" in refused("report", run, "--checkpoint", "best")
    assert command("report", run).status == 0
    assert "by the checkpoint <code>last</code>" in (run / "report.html").read_text(encoding="utf-8")
