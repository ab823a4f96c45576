"""Running the comparison: once on tiny faces, and with stand-ins for training."""

import json
import os
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from processes import in_two_processes

from cure_core.metrics.ues import unlearning_efficiency_score
from cure_study.data import manifests
from cure_study.experiments.comparison.plan import Plan
from cure_study.experiments.comparison.runs import compare
from cure_study.experiments.comparison.store import KEYS, read_rows
from cure_study.experiments.comparison.task import Trainer
from cure_study.experiments.comparison.tuning_tables import stale, winners

pytestmark = pytest.mark.xdist_group("comparison")  # they share one run
FRESH = {"forget": "fresh", "retain": "retain", "test": "test"}  # whose accuracies make ues_fresh


@pytest.fixture
def folder(compared, tmp_path):
    """A copy of the finished comparison."""
    return shutil.copytree(compared, tmp_path / "compared")


def test_every_row_is_there_once_and_nothing_is_run_twice(plan, folder, monkeypatch):
    rows = read_rows(folder, "comparison")
    expected = {
        (request, seed, method)
        for request in plan.requests
        for seed in (0, 1)
        for method in ("cure", "scrub", "teacher", "oracle")
    } | {
        ("random_people", 0, method)
        for method in ("supervised_scrub", "supervised_scrub_40", "cure_no_cosine")
    }
    assert set(zip(rows.request, rows.seed, rows.method, strict=True)) == expected
    assert len(rows) == len(expected)
    trials = read_rows(folder, "tuning")
    first, finals = (trials[trials.seed == seed] for seed in (100, 101))
    assert first.groupby("method").trial.apply(list).to_dict() == {
        "cure": [0, 1], "scrub": [0, 1], "supervised_scrub": [0, 1],
    }  # fmt: skip
    assert list(finals.method) == list(first.method)  # two trials, two finalists
    frontier = read_rows(folder, "frontier")
    assert frontier.method.unique() == ["cure"]  # scrub has no strength in this plan
    assert list(frontier.factor) == [0.5, 1.0]
    assert stale(rows, trials, plan).empty
    # If the other trial of cure had won, all rows of cure and of its variant would be stale.
    lost = (trials.method == "cure") & (trials.trial == winners(trials, plan).trial[0])
    other = trials.assign(ues=trials.ues.where(~lost, -1))
    assert dict(stale(rows, other, plan).method.value_counts()) == {"cure": 4, "cure_no_cosine": 1}
    untuned = trials[trials.method != "scrub"]
    assert set(stale(rows, untuned, plan).method) == {"scrub"}

    before = [(folder / f"{name}.csv").read_bytes() for name in ("comparison", "tuning")]
    monkeypatch.setattr(Trainer, "student", None)
    compare(plan, "synthfaces", folder, progress=False)
    after = [(folder / f"{name}.csv").read_bytes() for name in ("comparison", "tuning")]
    assert after == before


def test_rows_have_the_contracts_columns_and_their_oracles_values(compared):
    rows = read_rows(compared, "comparison")
    assert list(rows.columns[:15]) == [
        "dataset", "request", "seed", "method", "ues", "forgetting", "stability",
        "accuracy_forget", "accuracy_retain", "accuracy_test", "tar_forget", "membership_recall",
        "membership_recall_oracle", "seconds", "seconds_oracle",
    ]  # fmt: skip
    assert rows.accuracy_fresh.between(0, 1).all()
    for (request, _), case in rows.groupby(["request", "seed"]):
        cure, teacher, oracle = (
            case[case.method == method].iloc[0] for method in ("cure", "teacher", "oracle")
        )
        for name in ("forget", "retain", "test", "fresh"):
            assert cure[f"accuracy_{name}_before"] == teacher[f"accuracy_{name}"]
        if request == "random_people" and teacher.accuracy_fresh > 0.5:
            score = unlearning_efficiency_score(
                {s: teacher[f"accuracy_{new}"] for s, new in FRESH.items()},
                {s: cure[f"accuracy_{new}"] for s, new in FRESH.items()},
            ).score
            assert cure.ues_fresh == pytest.approx(score, abs=2e-4)
        else:
            assert np.isnan(cure.ues_fresh)
        for name in ("membership_recall", "membership_auc", "seconds"):
            assert set(case[f"{name}_oracle"]) == {oracle[name]}
    assert rows.ues_fresh.notna().any()
    teacher = rows[rows.method == "teacher"]
    assert set(teacher.stability) == {1.0}
    assert set(teacher.ues) == {0.0}


def test_the_tuned_strength_of_the_frontier_is_the_run_of_the_comparison(plan, compared, tmp_path):
    shutil.copy(compared / "tuning.csv", tmp_path)
    part = {"methods": ["cure"], "seeds": [0], "stages": ["frontier"], "progress": False}
    compare(plan, "synthfaces", tmp_path, **part)
    alone, both = (read_rows(folder, "frontier") for folder in (tmp_path, compared))
    pd.testing.assert_frame_equal(alone.drop(columns="seconds"), both.drop(columns="seconds"))
    rows = read_rows(compared, "comparison").set_index(["request", "seed", "method"])
    seconds = rows.seconds["random_people", 0, "cure"]
    assert both.set_index("factor").seconds[1.0] == seconds


def test_an_interrupted_run_ends_as_an_uninterrupted_one(plan, compared, tmp_path, monkeypatch):
    part = {
        "methods": ["cure"], "requests": ["random_people"], "seeds": [0], "progress": False,
        "stages": ["tuning", "comparison"],
    }  # fmt: skip
    for limit in (1, 3):
        left = iter(range(limit))
        student = Trainer.student

        def stopping(*arguments, left=left, student=student):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return student(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "student", stopping)
            with pytest.raises(KeyboardInterrupt):
                compare(plan, "synthfaces", tmp_path, **part)
    compare(plan, "synthfaces", tmp_path, **part)
    for name in ("tuning", "comparison"):
        cut, whole = (
            read_rows(folder, name).drop(columns=["seconds", "seconds_oracle"], errors="ignore")
            for folder in (tmp_path, compared)
        )
        keys = KEYS[name]
        both = whole.set_index(keys).loc[list(cut[keys].itertuples(index=False, name=None))]
        pd.testing.assert_frame_equal(both.reset_index()[list(cut)], cut, check_dtype=False)


def test_the_second_oracle_is_another_training_of_the_first(change, folder):
    plan = Plan(**change("data/synthfaces/oracle_again", True))
    assert "oracle_again" in plan.methods_on("synthfaces")
    before = read_rows(folder, "tuning")
    part = {"methods": ["oracle_again"], "seeds": [0], "progress": False}
    compare(plan, "synthfaces", folder, **part)
    rows = read_rows(folder, "comparison")
    for _, case in rows[rows.seed == 0].groupby("request"):
        found = case.set_index("method")
        assert {"teacher", "oracle", "oracle_again"} <= set(found.index)
        assert found.membership_auc.oracle != found.membership_auc.oracle_again
        assert set(found.membership_recall_oracle) == {found.membership_recall.oracle}
    assert read_rows(folder, "tuning").equals(before)  # it is not tuned


@pytest.mark.slow
def test_the_attacked_students_are_those_of_the_comparison(change, tmp_path, monkeypatch):
    plan = Plan(**change("data/synthfaces/split/heldout", 0.3))  # leaves enough to relearn from
    plan = plan.model_copy(update={"attacked": ["scrub"]})
    part = {"requests": ["random_people"], "seeds": [0], "methods": ["scrub"], "progress": False}
    compare(plan, "synthfaces", tmp_path, **part)
    rows = read_rows(tmp_path, "attacks").set_index("method")
    assert sorted(rows.index) == ["oracle", "scrub", "teacher"]
    ran = read_rows(tmp_path, "comparison").set_index("method").loc[rows.index]
    for found, known in (
        ("as_it_is_accuracy", "accuracy_forget"),
        ("as_it_is_rank1_old_gallery", "rank1_old_gallery"),
        ("as_it_is_tar", "tar_forget"),
    ):
        assert rows[found].to_numpy() == pytest.approx(ran[known].to_numpy(), abs=1e-4)
    assert rows.collateral_spearman.isna().to_dict() == {  # nobody moves by the teacher itself
        "oracle": False, "scrub": False, "teacher": True,
    }  # fmt: skip
    assert rows.settings.dropna().to_dict() == {"scrub": ran.settings["scrub"]}
    assert rows.filter(like="relearning").columns.tolist() == [
        "relearning_3_accuracy_before",
        "relearning_3_accuracy",
    ]

    before = (tmp_path / "attacks.csv").read_bytes()
    monkeypatch.setattr("cure_study.experiments.comparison.runs.measure_attacks", None)
    compare(plan, "synthfaces", tmp_path, **part)
    assert (tmp_path / "attacks.csv").read_bytes() == before


# With stand-ins for training


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch again")
def test_two_processes_share_every_table_and_no_run_is_made_twice(plan, tmp_path, stand_ins):
    plan = plan.model_copy(update={"attacked": ["cure", "scrub"], "requests": plan.requests[:1]})
    compare(plan, "synthfaces", tmp_path / "alone", progress=False)
    alone = Counter(run for run, _ in stand_ins())
    (tmp_path / "log").unlink()
    in_two_processes(lambda: compare(plan, "synthfaces", tmp_path / "both", progress=False))
    assert Counter(run for run, _ in stand_ins()) == alone
    assert len({process for _, process in stand_ins()}) == 2
    for name in KEYS:
        one, both = ((tmp_path / where / f"{name}.csv").read_bytes() for where in ("alone", "both"))
        assert one == both, name


def test_a_trial_that_diverges_is_a_row_that_says_so(plan, tmp_path, stand_ins, monkeypatch):
    columns = {"seconds": np.nan, "diverged_after": 1, "diverged": "the loss is not finite"}
    monkeypatch.setattr(Trainer, "student", lambda self, task, *run: ((*task, *run), columns))
    plan = plan.model_copy(update={"attacked": ["cure"]})
    compare(plan, "synthfaces", tmp_path, methods=["cure"], seeds=[0], progress=False)
    for name in KEYS:
        table = read_rows(tmp_path, name)
        rows = table[table.method == "cure"]
        assert len(rows)
        assert set(rows.diverged) == {"the loss is not finite"}
        assert set(rows.diverged_after) == {1}
    assert len(stand_ins()) == 2 + 2 + 2 * 3 + 1 + 3  # trials, finals, comparison, curve, attacks


def test_a_run_that_does_not_fit_has_no_row_and_the_others_go_on(
    plan, tmp_path, stand_ins, monkeypatch
):
    student = Trainer.student

    def large(self, task, method, settings):
        if method == "cure" and task == ("random_people", 1):
            raise MemoryError("4 GB are needed")
        return student(self, task, method, settings)

    part = {"methods": ["cure", "scrub"], "stages": ["comparison"], "progress": False}
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "student", large)
        with pytest.raises(MemoryError, match=r"1 runs .* random_people 1 cure: 4 GB are needed"):
            compare(plan, "synthfaces", tmp_path, **part)
    before = read_rows(tmp_path, "comparison")
    assert len(before) == 2 * 2 * 4 - 1
    compare(plan, "synthfaces", tmp_path, **part)
    assert len(read_rows(tmp_path, "comparison")) == len(before) + 1


def test_a_users_error_ends_the_run(plan, tmp_path, stand_ins, monkeypatch):
    def wrong(*_):
        raise ValueError("no such setting")

    monkeypatch.setattr(Trainer, "student", wrong)
    with pytest.raises(ValueError, match="no such setting"):
        compare(plan, "synthfaces", tmp_path, progress=False)


def test_a_row_with_other_settings_is_replaced(plan, change, tmp_path, stand_ins):
    part = {"methods": ["cure"], "requests": ["random_people"], "seeds": [0], "progress": False}
    longer = Plan(**change("data/synthfaces/epochs", 3))

    def settings(plan, folder):
        compare(plan, "synthfaces", tmp_path / folder, **part, stages=["comparison"])
        return read_rows(tmp_path / folder, "comparison").set_index("method").setting

    first, second, new = settings(plan, "old"), settings(longer, "old"), settings(longer, "new")
    assert sorted(first.index) == sorted(second.index) == ["cure", "oracle", "teacher"]
    assert first.cure != second.cure == new.cure


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"methods": ["cura"]}, "no method cura is planned; there are cure"),
        ({"requests": ["hardest_people"]}, "no request hardest_people is planned"),
        ({"stages": ["tune"]}, "no stage tune is planned"),
        ({"seeds": [0, 100]}, "no reported seed 100 is planned; there are 0, 1"),
    ],
)
def test_a_part_that_is_not_planned_is_an_error(plan, tmp_path, part, message):
    with pytest.raises(ValueError, match=message):
        compare(plan, "synthfaces", tmp_path, **part)
    assert not list(tmp_path.iterdir())


def test_a_repeat_has_other_faces_and_the_winners_of_its_data_set(
    change, tmp_path, monkeypatch, stand_ins
):
    plan = Plan(**change("repeats", {"again": {"of": "synthfaces", "options": {"seed": 2}}}))
    limited = plan.methods["scrub"].model_copy(update={"only": "synthfaces"})
    plan = plan.model_copy(update={"methods": {**plan.methods, "scrub": limited}})
    assert plan.methods_on("again") == ["cure", "scrub"]  # no references, no variants
    loaded, load = [], manifests.load
    monkeypatch.setattr(manifests, "load", lambda *a, **k: loaded.append((a, k)) or load(*a))
    with pytest.raises(ValueError, match="no method cure_no_cosine is planned; there are cure, sc"):
        compare(plan, "again", tmp_path, methods=["cure_no_cosine"])
    compare(plan, "again", tmp_path, seeds=[0], progress=False)
    assert loaded == [(("synthfaces",), {}), (("synthfaces",), {"seed": 2})]
    trials, found = (read_rows(tmp_path, name) for name in ("tuning", "comparison"))
    assert set(trials.dataset) == {"synthfaces"}
    assert set(found.dataset) == {"again"}
    assert len(found) == 2 * 4  # two requests: two methods, the teacher and the oracle
    assert read_rows(tmp_path, "frontier").empty
    won = winners(trials, plan).set_index("method").settings
    for row in found[found.method.isin(won.index)].to_dict("records"):
        assert json.loads(row["settings"]) == won[row["method"]]
    assert stale(found, trials, plan).empty
    assert len(stale(found.assign(settings="{}"), trials, plan)) == 4
