import math
import platform

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cure_core.metrics.ues import unlearning_efficiency_score
from cure_study.evaluation.report import LINES, Report, save_table, summarise

SCORES = pd.DataFrame(columns=["model", "set", "genuine", "score"])
ACCURACY = {
    "before": {"forget": 0.9, "retain": 0.95, "test": 0.8},
    "after": {"forget": 0.6, "retain": 0.9, "test": 0.77},
    "oracle": {"forget": 0.85, "retain": 0.94, "test": 0.79},
}


def report(models=tuple(ACCURACY), shift=0.0, auc=0.9):
    rows = [
        {
            "model": model,
            "set": which,
            "metric": "accuracy",
            "value": value - (shift if model == "after" else 0),
            "low": value - 0.02,
            "high": value + 0.01,
        }
        for model in models
        for which, value in ACCURACY[model].items()
    ]
    attack = {"membership_recall": 0.25, "membership_auc": auc}
    for metric, value in attack.items():
        for model in models:
            rows.append({"model": model, "set": "forget", "metric": metric, "value": value})
    return Report(pd.DataFrame(rows), SCORES)


def test_the_score_is_that_of_the_accuracies():
    """By hand: F = 0.3 / 0.4; S = (1 - 0.05 / 0.45) (1 - 0.03 / 0.3) = 0.8 for both kept sets."""
    ues = report().ues()
    assert ues == unlearning_efficiency_score(ACCURACY["before"], ACCURACY["after"])
    assert ues.forgetting == pytest.approx(0.75)
    assert ues.stability == pytest.approx(8 / 9 * 0.9)
    assert ues.score == pytest.approx(0.6)
    assert report().ues(kept=["test"]).score == pytest.approx(0.75 * 0.9)
    assert report().ues("before").score == 0


def test_derived_measures_by_hand():
    tidy = report().tidy(seed=0)
    after = tidy[(tidy.model == "after") & (tidy.set == "all")].set_index("metric").value
    assert after.h_mean == pytest.approx(2 * 0.3 * 0.9 / (0.3 + 0.9))
    assert after.tow == pytest.approx((1 - 0.25) * (1 - 0.04) * (1 - 0.02))
    assert tidy[(tidy.model == "oracle") & (tidy.metric == "tow")].value.item() == 1


def test_a_measure_by_name_and_one_that_was_not_taken():
    assert report().value("accuracy", "retain", "oracle") == 0.94
    assert report().accuracies("after") == ACCURACY["after"]
    with pytest.raises(KeyError, match="rank1_old_gallery of forget for after"):
        report().value("rank1_old_gallery")


def test_tidy_rows_carry_context_and_versions():
    tidy = report().tidy(dataset="painted", seed=3)
    assert list(tidy.columns) == [
        "model", "set", "metric", "value", "low", "high",
        "dataset", "seed", "cure_core", "torch", "python",
    ]  # fmt: skip
    assert set(tidy.dataset) == {"painted"}
    assert set(tidy.seed) == {3}
    assert set(tidy.torch) == {torch.__version__}
    assert set(tidy.python) == {platform.python_version()}
    assert not tidy.duplicated(["model", "set", "metric"]).any()


def test_the_table_of_one_seed():
    """A line a measure in the order of LINES, a column a model, an interval where there is one."""
    table = report().summary()
    assert list(table.columns) == ["before", "after", "oracle"]
    labels = [label for _, _, label in LINES]
    assert list(table.index) == [label for label in labels if label in table.index]
    assert table.loc["UES (CURE)"].tolist() == ["0.000", "0.600", "0.118"]
    assert table.loc["accuracy, forget pairs", "before"] == "0.900 [0.880, 0.910]"
    assert table.loc["membership recall, forget", "after"] == "0.250"
    assert table.loc["ToW against the oracle (RUM)", "oracle"] == "1.000"


def test_what_a_reader_sees_is_the_table():
    shown = repr(report())
    assert "UES (CURE)" in shown
    assert "0.900 [0.880, 0.910]" in shown
    assert "<table" in report()._repr_html_()


def test_without_an_oracle_there_is_no_column_and_no_gap_to_it():
    table = report(models=("before", "after")).summary()
    assert list(table.columns) == ["before", "after"]
    assert "ToW against the oracle (RUM)" not in table.index
    assert table.notna().all(axis=None)


@pytest.mark.parametrize(("auc", "marked"), [(0.549, True), (0.55, False)])
def test_a_recall_that_means_nothing_is_marked(auc, marked):
    """Under an AUC of 0.55 the attack hardly beats a coin, whatever it recalls (DESIGN)."""
    table = report(auc=auc).summary()
    recall = table.loc["membership recall, forget", "after"]
    assert recall.startswith("0.250")
    assert (recall != "0.250") == marked


def test_several_seeds_by_a_score_interval_and_one_by_one():
    shifts = [0.0, 0.02, 0.07, 0.01]
    tidy = pd.concat([report(shift=s).tidy(seed=seed) for seed, s in enumerate(shifts)])
    shown = summarise(tidy).loc["accuracy, forget pairs", "after"]
    values = 0.6 - np.array(shifts)
    mean, pull = values.mean(), stats.t.ppf(0.975, 3) ** 2 * stats.sem(values) ** 2
    pull /= mean * (1 - mean)
    low, high = sorted(np.roots([1 + pull, -2 * mean - pull, mean**2]))
    each = ", ".join(f"{value:.3f}" for value in values)
    assert shown == f"{mean:.3f} [{low:.3f}, {high:.3f}]; {each}"


def test_several_seeds_that_agree_and_a_measure_of_one_seed_alone():
    tidy = pd.concat([report().tidy(seed=0), report().tidy(seed=1)], ignore_index=True)
    lone = {"model": "after", "set": "test", "metric": "eer", "value": 0.125, "seed": 1}
    table = summarise(pd.concat([tidy, pd.DataFrame([lone])], ignore_index=True))
    assert table.loc["UES (CURE)", "after"] == "0.600; 0.600, 0.600"  # no spread, no interval
    assert table.loc["EER, unseen people", "after"] == "0.125"


def test_a_csv_gives_back_the_table(tmp_path):
    """Values are written to the last bit, no bound where none was, versions as text."""
    tidy = report(shift=math.pi / 100).tidy(dataset="painted", seed=0)
    path = save_table(tidy, tmp_path / "deep" / "results.csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), tidy, rtol=1e-14)
    assert pd.read_csv(path, dtype=str).value.map(float).tolist() == tidy.value.tolist()
    assert [p.name for p in path.parent.iterdir()] == ["results.csv"]


def test_a_table_that_cannot_be_written_leaves_the_earlier_one(tmp_path):
    class Broken(pd.DataFrame):
        def to_csv(self, path, **options):
            path.write_text("half")
            raise OSError("disk full")

    save_table(pd.DataFrame({"a": [1]}), tmp_path / "t.csv")
    with pytest.raises(OSError, match="disk full"):
        save_table(Broken({"a": [2]}), tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv").a.tolist() == [1]
    assert len(list(tmp_path.iterdir())) == 1
