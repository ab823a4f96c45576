"""The tables by hand: means and intervals over seeds, paired differences, what is planned."""

import json

import numpy as np
import pandas as pd
import pytest
from comparison_rows import SCORES, one_seed, rows, score_bounds
from scipy import stats

from cure_study.experiments.comparison.tables import (
    complete,
    difference_matrix,
    differences,
    readable,
    shrinkage,
    summary,
)
from cure_study.experiments.comparison.tuning_tables import planned_trials


def test_summary_by_hand():
    table = summary(rows()).set_index("method")
    cure = table.loc["cure"]
    assert (cure.ues, cure.ues_low) == pytest.approx((0.6, score_bounds([0.5, 0.6, 0.7])[0]))
    ranks = {
        "cure_scatter": 1,
        "cure": (2 + 2 + 3) / 3,
        "laf": (3 + 4 + 2) / 3,
        "scrub": (4 + 3 + 4) / 3,
        "oracle": np.nan,
    }
    assert table["rank"].to_dict() == pytest.approx(ranks, nan_ok=True)
    assert table.loc["scrub", "gap"] == pytest.approx(0.1)
    assert table.loc["cure", "gap"] == 0
    assert list(table.index[:2]) == ["cure_scatter", "cure"]
    fresh = ["fresh", "fresh_low"]
    assert cure[fresh].to_list() == pytest.approx([0.3, score_bounds([0.25, 0.3, 0.35])[0]])
    assert table.loc["laf", fresh].isna().all()
    text = readable(table.reset_index()).set_index("method")
    fresh = {
        "cure_scatter": (0.4, 0.4, 0.45), "cure": (0.25, 0.3, 0.35),
        "scrub": (0.05, 0.15, 0.1), "oracle": (0, 0.05, 0),
    }  # fmt: skip
    assert text["UES, new images"].to_dict() == {"laf": ""} | {
        name: "{:.3f} [{:.3f}, {:.3f}]".format(np.mean(values), *score_bounds(values))
        for name, values in fresh.items()
    }
    assert text["rank one, re-enrolled"]["cure"] == "0.40"


def test_differences_are_paired_by_seed():
    short = {**SCORES, ("random_people", "scrub"): [0.1, 0.3]}
    found = differences(rows(short)).set_index(["method", "other"])
    assert set(found.index.get_level_values("method")) == {"cure", "cure_scatter"}
    line = found.loc["cure_scatter", "cure"]
    test = stats.ttest_rel([0.8, 0.8, 0.9], [0.5, 0.6, 0.7]).confidence_interval(0.95)
    bounds = line.difference_low, line.difference_high
    assert (line.difference, *bounds) == pytest.approx((0.7 / 3, *test))
    assert found.loc["cure", "cure_scatter"].difference == pytest.approx(-line.difference)
    assert found.seeds["cure", "scrub"] == 2
    assert found.difference["cure", "scrub"] == pytest.approx((0.4 + 0.3) / 2)
    half = differences(rows(), "ues_fresh").set_index(["method", "other"])
    assert half.difference["cure_scatter", "cure"] == pytest.approx(line.difference / 2)
    assert ("cure", "laf") not in half.index  # it has no new images
    text = difference_matrix(differences(rows()))
    assert list(text.columns) == ["cure minus it", "cure_scatter minus it"]
    assert text["cure_scatter minus it"]["cure"] == "0.233 [0.090, 0.377]"
    assert text["cure minus it"]["cure"] == ""


def test_a_recall_far_below_the_oracles_is_marked_and_explained():
    table = rows()
    table["membership_recall"] = table.membership_recall.mask(table.method == "cure", 0.1)
    found = summary(table)
    assert found.set_index("method").detectable.to_dict() == {
        "cure": True, "cure_scatter": False, "scrub": False, "laf": False, "oracle": False,
    }  # fmt: skip
    shown = readable(found)
    (column,) = (name for name in shown if name.startswith("membership recall"))
    assert "detectable" in column
    assert set(shown.method[shown[column].str.endswith("†")]) == {"cure"}
    chance = readable(summary(table.assign(membership_auc=0.5)))
    assert "membership recall (?: attack at chance)" in chance


def test_the_difference_between_validation_and_reported_scores():
    chosen = pd.DataFrame(
        [("a", "x", 0.9), ("a", "y", 0.5), ("b", "x", 0.4)], columns=["dataset", "method", "ues"]
    )
    table = pd.DataFrame(
        [("a", "people", "x", 0.6), ("a", "people", "y", 0.6), ("a", "samples", "x", 0.1)],
        columns=["dataset", "request", "method", "ues"],
    )
    found = shrinkage(chosen, table, "people")
    assert list(found.method) == ["x", "y"]  # b has no reported run
    np.testing.assert_allclose(found.difference, [0.3, -0.1])


def test_only_requests_on_which_all_were_run_are_compared():
    short = rows({**SCORES, ("random_people", "scrub"): [0.1, 0.3]})
    kept = complete(short, ["cure", "scrub"])
    assert sorted(zip(kept.method, kept.seed, strict=True)) == [
        ("cure", 0), ("cure", 1), ("scrub", 0), ("scrub", 1),
    ]  # fmt: skip
    elsewhere = rows().assign(dataset="lfw").query("method != 'scrub'")
    both = complete(pd.concat([short, elsewhere]), ["cure", "scrub"])
    assert both.groupby("dataset").size().to_dict() == {"synthfaces": 4, "lfw": 3}


def test_one_seed_has_no_interval():
    table = summary(one_seed())
    assert table.ues_low.isna().all()
    assert set(readable(table)["UES (CURE)"]) == {"0.500", "0.800", "0.100", "0.200", "0.000"}


def test_tables_are_readable_without_any_of_ours():
    peers = {key: values for key, values in SCORES.items() if not key[1].startswith("cure")}
    assert len(readable(summary(rows(peers)))) == 3
    none = differences(rows(peers))
    assert none.empty
    assert list(none) == list(differences(rows()))
    assert differences(rows().drop(columns="ues_fresh"), "ues_fresh").empty


def test_trials_of_a_longer_or_shorter_search_are_not_planned(plan):
    """Two trials are planned, both run in the finals; the third and its final are of another."""
    table = pd.DataFrame(
        [("synthfaces", "cure", t, s, 0.1, "{}") for t in (0, 1, 2) for s in (100, 101)],
        columns=["dataset", "method", "trial", "seed", "ues", "settings"],
    ).assign(settings=[json.dumps({"a": t}) for t in (0, 0, 1, 1, 2, 2)])
    kept = planned_trials(table, plan)
    pairs = sorted(zip(kept.trial, kept.seed, strict=True))
    assert pairs == [(0, 100), (0, 101), (1, 100), (1, 101)]
    longer = plan.data["synthfaces"].model_copy(update={"trials": 3})
    three = plan.model_copy(update={"data": {"synthfaces": longer}})
    kept = planned_trials(table.assign(ues=table.trial / 10), three)  # the last is the best
    assert sorted(kept[kept.seed == 101].trial) == [1, 2]
    assert planned_trials(table[:0], plan).empty
