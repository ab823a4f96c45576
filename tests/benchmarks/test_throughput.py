"""The benchmarks of throughput and cost run and reckon what they say; how fast is not tested."""

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
throughput, cost = (importlib.import_module(name) for name in ("throughput", "cost"))


def test_a_run_reports_both_rates_and_the_memory(tmp_path, capsys):
    out = tmp_path / "throughput.jsonl"
    asked = ["--device", "cpu", "--batch", "40", "4", "--steps", "1", "--rounds", "1"]
    assert throughput.main([*asked, "--out", str(out)]) in (0, 1)
    result = json.loads(out.read_text())
    assert result["batch"] == [40, 4]
    rates = result["images_per_second"], result["bare_images_per_second"]
    assert result["ratio"] == pytest.approx(rates[0] / rates[1], abs=0.01)
    assert "images_per_second" in capsys.readouterr().out


def test_the_prediction_follows_the_rate():
    """24 epochs of 380,000 images, 9.12 million, at 1,000 a second are 152 minutes."""
    fast, slow = (cost.predicted(rate).set_index("part").minutes for rate in (2000, 1000))
    assert slow["teacher"] == pytest.approx(152)
    assert fast["teacher"] == pytest.approx(76)
    assert slow["all of one seed"] == pytest.approx(slow.iloc[:-1].sum())


def test_measured_rows_cover_what_grows():
    table = cost.measured([40, 80], [2, 4], [0.1, 0.5], images=40, device="cpu")
    assert table.groupby("what").size().to_dict() == {"embedding": 2, "kmeans": 4, "unlearning": 2}
    assert (table.seconds > 0).all()
