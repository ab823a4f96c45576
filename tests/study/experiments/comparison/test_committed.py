"""The committed tables: every row is of the plan, and its columns agree with each other."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cure_core.metrics.ues import unlearning_efficiency_score
from cure_study.data import drawn, manifests
from cure_study.experiments.comparison.methods import BASELINES
from cure_study.experiments.comparison.plan import PLAN, read_plan
from cure_study.experiments.comparison.search import Search
from cure_study.experiments.comparison.store import KEYS, read_rows
from cure_study.experiments.comparison.task import Trainer
from cure_study.experiments.comparison.tuning_tables import planned_trials, stale, winners

FIGURES = PLAN.parents[1] / "figures"
SETS = ("forget", "retain", "test")


@pytest.fixture(scope="module")
def committed():
    return read_plan(), {name: read_rows(FIGURES, name) for name in KEYS}


def test_rows_are_of_the_plan_and_of_settings_that_won(committed):
    plan, tables = committed
    for name, table in tables.items():
        assert not table.duplicated(KEYS[name]).any()
    for dataset, rows in tables["comparison"].groupby("dataset"):
        assert set(rows.method) <= {*plan.methods_on(dataset), *BASELINES}
    for dataset, rows in tables["attacks"].groupby("dataset"):
        attacked = [name for name in plan.attacked if name in plan.methods_on(dataset)]
        expected = len(plan.data[dataset].few_seeds) * len([*attacked, *BASELINES])
        assert len(rows) == expected
    trials = tables["tuning"]
    for name in ("comparison", "attacks"):
        assert stale(tables[name], trials, plan).empty
    won = winners(trials, plan).set_index(["dataset", "method"]).settings
    for point in tables["frontier"].to_dict("records"):
        tuned = won[point["dataset"], point["method"]][point["strength"]]
        assert point["value"] == float(f"{tuned * point['factor']:.5g}")  # as written


def test_every_method_has_as_many_different_trials_counted_from_0(committed):
    plan, tables = committed
    trials = tables["tuning"]
    for (dataset, _), rows in trials.groupby(["dataset", "method"]):
        validation = plan.data[dataset].validation
        first = rows[rows.seed.isin(validation.seeds)]
        assert set(first.trial) == set(range(rows.trial.max() + 1))
        assert set(rows.seed) <= set(validation.all_seeds)
    main = planned_trials(trials[trials.method.isin(plan.methods)], plan)
    main = main.groupby(["dataset", "method"])
    assert main.size().groupby("dataset").nunique().eq(1).all()
    assert main.settings.nunique().eq(main.trial.nunique()).all()


def test_the_scores_follow_from_the_accuracies(committed):
    """UES, UES on new images, and ToW against the row of the oracle."""
    table = committed[1]["comparison"]
    oracles = table[table.method == "oracle"].set_index(["dataset", "request", "seed"])
    for row in table.to_dict("records"):
        before, after = (
            {s: row[f"accuracy_{s}{end}"] for s in (*SETS, "fresh")} for end in ("_before", "")
        )
        assert row["ues"] == pytest.approx(row["forgetting"] * row["stability"], abs=2e-5)
        ues = unlearning_efficiency_score(before, after).score
        assert row["ues"] == pytest.approx(ues, abs=2e-4)
        if not np.isnan(row["ues_fresh"]):
            fresh = ({**values, "forget": values["fresh"]} for values in (before, after))
            ues = unlearning_efficiency_score(*fresh).score
            assert row["ues_fresh"] == pytest.approx(ues, abs=2e-4)
        oracle = oracles.loc[row["dataset"], row["request"], row["seed"]]
        tow = math.prod(1 - abs(after[s] - oracle[f"accuracy_{s}"]) for s in SETS)
        assert row["tow"] == pytest.approx(tow, abs=2e-5)


def test_committed_trials_are_valid_on_any_machine(tiny, monkeypatch):
    """Otherwise the command would repeat a night's work instead of continuing it."""
    plan, manifest = read_plan(), manifests.read("synthfaces")
    assert isinstance(manifest, manifests.SynthFacesManifest)
    faces = replace(tiny, fingerprint=drawn.fingerprint(manifest.options))
    monkeypatch.setattr(manifests, "load", lambda *_, **__: faces)
    tuning = Search(Trainer(plan, "synthfaces", fast=True), FIGURES)
    assert [name for name in plan.tuned if tuning.winner(name) is None] == []
