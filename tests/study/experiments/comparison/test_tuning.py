"""Proposals, finals and winners; a search over several data sets, with stand-ins for training."""

import json

import numpy as np
import pandas as pd
import pytest

from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.experiments.comparison import search
from cure_study.experiments.comparison.plan import PLAN, Method, Plan, read_plan
from cure_study.experiments.comparison.runs import compare
from cure_study.experiments.comparison.search import Search
from cure_study.experiments.comparison.store import read_rows
from cure_study.experiments.comparison.task import Trainer
from cure_study.experiments.comparison.tuning import (
    EXPLORED,
    complete_trials,
    finalists,
    propose,
    winner,
)
from cure_study.experiments.comparison.tuning_tables import winners

METHOD = Method(search={"learning_rate": [1e-4, 5e-4, 3e-3], "steps": [1, 3, 5]})
TUNING = {"stages": ["tuning"], "progress": False}


def run_trials(score, count, seed=0, method=METHOD):
    trials = []
    for _ in range(count):
        settings = propose(method, trials, seed)
        trials.append((settings, score(settings)))
    return trials


def rate(settings):
    return settings["learning_rate"]


def test_trials_begin_at_the_defaults_and_stay_in_range():
    trials = run_trials(rate, 12)
    assert trials[0][0] == {"learning_rate": 5e-4, "steps": 3}
    for settings, _ in trials:
        assert 1e-4 <= settings["learning_rate"] <= 3e-3
        assert settings["steps"] in range(1, 6)
        assert isinstance(settings["steps"], int)


def test_a_resumed_search_proposes_the_same():
    trials = run_trials(rate, 8)
    assert propose(METHOD, json.loads(json.dumps(trials[:6]))) == trials[6][0]
    assert run_trials(rate, 8, seed=1)[1:] != trials[1:]


@pytest.mark.parametrize("name", ["cure", "neg_grad"])
def test_the_committed_trials_follow_from_the_plan(name):
    """The settings of each, up to where the Gaussian process takes over, from the rows before it.

    The table is the whole record of a search: a clone, which has nothing else, continues it.
    """
    plan, table = read_plan(), read_rows(PLAN.parents[1] / "figures", "tuning")
    rows = table[(table.dataset == "synthfaces") & (table.method == name)]
    done = complete_trials(rows, plan.data["synthfaces"].validation.seeds)
    assert len(done) >= EXPLORED
    for trial in range(EXPLORED):
        before = [done[earlier] for earlier in range(trial)]
        assert propose(plan.tuned[name], before) == done[trial][0]


def test_the_search_learns():
    """It comes nearer to a peak inside the range than random trials do, over several seeds."""

    def distance(trials):
        best = max(trials, key=lambda trial: trial[1])[0]
        return abs(np.log(best["learning_rate"] / 2e-3))

    def score(settings):
        return -abs(np.log(settings["learning_rate"] / 2e-3))

    runs = [run_trials(score, 16, seed) for seed in range(5)]
    gained = [distance(trials[:4]) - distance(trials) for trials in runs]
    assert min(gained) >= 0
    assert np.mean(gained) > 0.1


def test_no_setting_is_tried_twice_at_the_end_of_a_range():
    """If the best lies in a corner, the sampler alone proposes it again and again."""
    method = Method(search={"learning_rate": [1e-4, 5e-4, 3e-3]})
    trials = run_trials(lambda settings: np.log(rate(settings)), 24, method=method)
    tried = [rate(settings) for settings, _ in trials]
    assert 3e-3 in tried
    assert len(set(tried)) == 24


def test_of_equal_trials_the_first_wins(plan):
    part = plan.data["synthfaces"].model_copy(update={"trials": 3})
    ues = {(0, 100): 0.2, (1, 100): 0.5, (2, 100): 0.5, (1, 101): 0.1, (2, 101): 0.1}
    table = pd.DataFrame(
        [(t, s, value, json.dumps({"a": t})) for (t, s), value in ues.items()],
        columns=["trial", "seed", "ues", "settings"],
    )
    assert list(finalists(table, part)) == [1, 2]
    assert winner(table, part) == (1, {"a": 1})
    assert winner(table[:-1], part) is None  # a final is missing
    assert winner(table[1:], part) is None  # a trial is missing
    shorter = part.model_copy(update={"trials": 2})
    assert list(finalists(table, shorter)) == [1, 0]  # the rest of a longer search does not count


def test_the_finalists_run_again_and_the_best_mean_of_all_seeds_wins(change, tmp_path, monkeypatch):
    """Of 0.1, 0.5, 0.4, 0.3 on seed 100, the second falls behind the third in the finals."""
    scores = {100: [0.1, 0.5, 0.4, 0.3], 101: [None, 0.2, 0.5, 0.9]}
    tried, runs = [], []

    def ues_row(trainer, seed, method, settings):
        if settings not in tried:
            tried.append(settings)
        runs.append((seed, tried.index(settings)))
        ues = scores[seed][tried.index(settings)]
        return {"ues": ues, "forgetting": 1.0, "stability": 1.0, "seconds": 1.0}

    monkeypatch.setattr(search, "ues_row", ues_row)
    monkeypatch.setattr(Trainer, "_prepare", lambda self, request, seed, *_, **__: seed)
    plan = Plan(**change("data/synthfaces/trials", 4))
    tuning = Search(Trainer(plan, "synthfaces"), tmp_path)
    assert tuning.winner("cure") is None
    settings = tuning.settings("cure")
    assert runs == [(100, 0), (100, 1), (100, 2), (100, 3), (101, 1), (101, 2)]
    assert settings == tried[2] == tuning.winner("cure")
    table = read_rows(tmp_path, "tuning")
    won = winners(table, plan).iloc[0]
    assert (won.trial, won.defaults, won.settings) == (2, 0.1, settings)
    assert won.ues == pytest.approx(0.45)
    low, _, high = plan.methods["cure"].search["learning_rate"]
    for value, at_bound in ((low, "learning_rate"), (high, "learning_rate"), (low * 2, "")):
        there = table.settings.mask(table.trial == 2, json.dumps({"learning_rate": value}))
        assert winners(table.assign(settings=there), plan).at_bound[0] == at_bound
    without = plan.model_copy(update={"methods": {}})
    assert winners(table, without).at_bound[0] == ""  # trials of a method no longer planned

    table.drop(index=[1]).to_csv(tmp_path / "tuning.csv", index=False)  # only the gap is run again
    assert tuning.winner("cure") is None
    runs.clear()
    assert tuning.settings("cure") == settings
    assert runs == [tuple(table[["seed", "trial"]].iloc[1])]
    pd.testing.assert_frame_equal(read_rows(tmp_path, "tuning"), table)


def test_the_finalists_of_the_earlier_data_set_follow_the_defaults(change, tmp_path, stand_ins):
    data = change("factors", [])["data"]
    later = {**data["synthfaces"], "after": "synthfaces", "trials": 4}
    plan = Plan(**change("data", {**data, "lfw": later}))
    part = {"methods": ["scrub"], **TUNING}
    with pytest.raises(ValueError, match=r"is not tuned; do `cure compare synthfaces"):
        compare(plan, "lfw", tmp_path, **part)
    compare(plan, "synthfaces", tmp_path, **part)
    compare(plan, "lfw", tmp_path, **part)
    table = read_rows(tmp_path, "tuning")
    before, here = (
        table[(table.dataset == name) & (table.seed == 100)].sort_values("trial")
        for name in ("synthfaces", "lfw")
    )
    tried = [json.loads(settings) for settings in here.settings]
    assert tried[0] == plan.methods["scrub"].defaults()
    best_first = before.sort_values("ues", ascending=False, kind="stable").settings
    assert tried[1:3] == [json.loads(settings) for settings in best_first]  # both of two trials
    assert tried[3] not in tried[:3]
    table = table[(table.dataset == "synthfaces") & (table.seed == 100)]  # without finals
    table.to_csv(tmp_path / "tuning.csv", index=False)
    with pytest.raises(ValueError, match="is not tuned"):
        compare(plan, "lfw", tmp_path, **part)


def test_trials_of_another_search_or_other_faces_are_replaced(
    plan, change, tiny, tmp_path, monkeypatch, stand_ins
):
    part = {"methods": ["cure"], **TUNING}
    compare(plan, "synthfaces", tmp_path, **part)
    first = read_rows(tmp_path, "tuning")
    wider = Plan(**change("methods/cure/search/learning_rate", [1e-4, 1e-3, 3e-3]))
    compare(wider, "synthfaces", tmp_path, **part)
    second = read_rows(tmp_path, "tuning")
    rates = [rate(json.loads(table.settings[0])) for table in (first, second)]
    assert rates == [5e-4, 1e-3]
    other = FaceSet("synthfaces", tiny.images, tiny.identities, "xyz")
    monkeypatch.setattr(manifests, "load", lambda *_, **__: other)
    compare(wider, "synthfaces", tmp_path, **part)
    third = read_rows(tmp_path, "tuning")
    assert list(third[third.seed == 100].trial) == [0, 1]
    assert len(third) == 4  # with the finals; nothing is left of the searches before
    assert third.setting.nunique() == 1
    assert not set(third.setting) & set(second.setting)
