import json

import storyloom


def test_the_page_of_a_finished_run_has_its_figures(run_copy):
    page = storyloom.write_report(run_copy)
    assert page == run_copy / "report.html"
    html = page.read_text(encoding="utf-8")
    final = json.loads((run_copy / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    for name in ("bits_per_byte", "limit_bits_per_byte", "gap_bits_per_byte", "nats_per_token"):
        assert f"{final[name]:.4f}" in html
