"""The comparison on painted faces with stand-ins for the costly parts, and its tables by hand."""

import json
import os
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cure_study.experiments.comparison.bench import (
    attacked,
    bench,
    carry_out,
    judged,
    taken,
    verified,
)
from processes import in_two_processes
from scipy import stats

from cure_core import encoders
from cure_core.config import CureConfig
from cure_core.encoders import SmallEncoder
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.ues import unlearning_efficiency_score
from cure_core.objectives import METHODS, build
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.evaluate import accuracies
from cure_study.evaluation.protocol import fewer_pairs, verification_only
from cure_study.evaluation.space import Space
from cure_study.experiments.comparison import compare, read_plan
from cure_study.experiments.comparison.claims import against_paper, verdicts
from cure_study.experiments.comparison.plan import PLAN, Method, Plan, split_settings, varied
from cure_study.experiments.comparison.runs import Work
from cure_study.experiments.comparison.store import KEYS, REFERENCES, read_rows
from cure_study.experiments.comparison.tables import (
    complete,
    differences,
    kind,
    matrix,
    planned_trials,
    readable,
    shrinkage,
    stale,
    summary,
    winners,
)
from cure_study.experiments.comparison.tuning import EXPLORED, finalists, propose, trials_on, winner

FRESH = {"forget": "fresh", "retain": "retain", "test": "test"}  # whose accuracies make ues_fresh
ARENA = {
    "trials": 2,
    "encoder": "tiny",
    "forget_people": 3,
    "split": {"min_images": 6, "max_images": 7, "outsiders": 4, "heldout": 0.3},
    "teacher": {"epochs": 1, "batch_size": 16},
    "unlearning": {"batch_size": [8, 8], "clusters": [2, 3]},
    "epochs": 1,
    "n_pairs": 20,
    "validation": {"seeds": [100], "finals": [101], "finalists": 2, "n_pairs": 10},
    "seeds": [0, 1],
    "few_seeds": [0],
}
PLANNED = {
    "data": {"synthfaces": ARENA},
    "requests": ["random_people", "random_samples"],
    "methods": {
        "cure": {"search": {"learning_rate": [1e-4, 5e-4, 3e-3]}, "strength": "learning_rate"},
        "scrub": {"search": {"ascent": [0.2, 0.6, 1.0], "weights.retain": [0.1, 1.0, 2.0]}},
    },
    "references": {"supervised_scrub": {"search": {"temperature": [0.05, 0.1, 0.3]}}},
    "variants": {
        "supervised_scrub_40": {"of": "supervised_scrub", "noise": 0.4},
        "cure_no_cosine": {"of": "cure", "weights.cosine": 0},
    },
    "factors": [0.5],
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch, draw_faces):
    images, identities = draw_faces(people=14, each=7)
    faces = FaceSet("synthfaces", images, identities, "abc")
    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))
    monkeypatch.setattr(manifests, "load", lambda *_, **__: faces)
    return faces


@pytest.fixture
def plan():
    return Plan(**PLANNED)


def changed(path, value):
    """The plan with the entry at `path` (a/b/c) changed."""
    plan = json.loads(json.dumps(PLANNED))
    *way, last = path.split("/")
    place = plan
    for name in way:
        place = place[name]
    place[last] = value
    return plan


# The plan


def test_the_committed_plan_names_every_peer_and_every_ablation_asked_for():
    plan = read_plan()
    peers = {m for m in METHODS if kind(m) == "peer"}
    assert set(plan.methods) == peers | {"cure", "cure_plus", "cure_scatter"}
    assert set(plan.references) == {m for m in METHODS if m.startswith("supervised")}
    assert set(plan.data) == {"synthfaces", "lfw"}
    for arena in plan.data.values():
        assert len(arena.seeds) == 5


def test_the_search_starts_from_each_methods_own_defaults():
    for name, method in read_plan().tuned.items():
        config, own = split_settings(method.defaults())
        weights = config.pop("weights", {})
        labels = {"forget_labels": [0], "retain_labels": [0]} if name.startswith("sup") else {}
        objective = build(name, **labels)(CureConfig())
        assert weights == {k: v for k, v in objective.weights.items() if k in weights}
        assert CureConfig(**config) == CureConfig()
        assert all(getattr(objective, k) == v for k, v in own.items())


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("methods/laff", {"search": {}}, "no method 'laff'"),
        ("requests", ["everyone"], "no request everyone"),
        ("attacked", ["cura"], "attacked cura; there are cure, scrub"),
        ("data/synthfaces/seeds", [100, 1], r"seeds \[100\] are both"),
        ("data/synthfaces/few_seeds", [101], r"seeds \[101\] are both"),
        ("data/synthfaces/few_seeds", [7], r"few_seeds \[7\] are not among seeds \[0, 1\]"),
        ("data/synthfaces/validation/finals", [100], "name a seed twice"),
        ("data/synthfaces/validation/finals", [], "2 finalists and finals"),
        ("data/synthfaces/validation/finalists", 1, "1 finalists and finals"),
        ("methods/cure/search/learning_rate", [1e-3, 5e-4, 3e-3], "no .low, default, high. above"),
        ("methods/cure/strength", "temperature", "strength 'temperature'"),
        ("variants/cure_no_cosine/of", "cura", "is `of` 'cura'"),
        ("variants/cure_no_cosine/of", "scrub", "name that begins with scrub_"),
        ("variants/cure_plus_cosine", {"of": "cure"}, "begins with cure_ and with no longer"),
        ("methods/cure/only", "casia", "cure is `only` for 'casia'"),
        ("variants/scrub", {"of": "cure"}, "has the name of a method"),
        ("variants/cure_no_cosine/only", "casia", "is `only` for 'casia'; the data are synth"),
        ("data/synthfaces/teacher", {"epoch": 3}, "epoch"),
        ("data/synthfaces/trials", 0, "trials"),
        ("data/synthfaces/unlearning", {"learning_rate": 1}, "unlearning sets learning_rate, by"),
        (
            "variants/cure_no_cosine",
            {"of": "cure", "labeler": "hdbscan"},
            "cure_no_cosine: .*labeler",
        ),
        ("variants/cure_no_cosine", {"of": "cure", "labeller": "kmean"}, "labeller='kmean'; there"),
        (
            "methods/scrub/search",
            {"weights.cosin": [1, 2, 3]},
            "scrub: no weight cosin; there are",
        ),
        (
            "methods/scrub/search",
            {"ascent": [1, 3, 5]},
            "scrub: ascent=3; it is a number from 0 to 1",
        ),
        ("data/synthfaces/after", "casia", "after 'casia'; the data are synthfaces"),
        ("repeats", {"again": {"of": "casia", "options": {"seed": 2}}}, "again is `of` 'casia'"),
        (
            "repeats",
            {"synthfaces": {"of": "synthfaces", "options": {"seed": 2}}},
            "name of its own",
        ),
        ("repeats", {"again": {"of": "synthfaces", "options": {}}}, "has the faces of synthfaces"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(tmp_path, path, value, told):
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(ValueError, match=told) as error:
        read_plan(file)
    assert str(file) in str(error.value)


def test_settings_go_where_they_belong():
    settings = {"learning_rate": 1, "weights.cosine": 2, "ascent": 0.3}
    assert split_settings(settings) == (
        {"learning_rate": 1, "weights": {"cosine": 2}},
        {"ascent": 0.3},
    )


# Tuning


SEARCH = Method(search={"learning_rate": [1e-4, 5e-4, 3e-3], "steps": [1, 3, 5]}, strength=None)


def tuned(score, trials, seed=0, method=SEARCH):
    known = []
    for _ in range(trials):
        settings = propose(method, known, seed)
        known.append((settings, score(settings)))
    return known


def test_trials_begin_at_the_defaults_and_stay_in_range():
    known = tuned(lambda s: s["learning_rate"], 12)
    assert known[0][0] == {"learning_rate": 5e-4, "steps": 3}
    for settings, _ in known:
        assert 1e-4 <= settings["learning_rate"] <= 3e-3
        assert settings["steps"] in range(1, 6)
        assert isinstance(settings["steps"], int)


def test_a_search_taken_up_again_proposes_what_it_would_have():
    whole = tuned(lambda s: s["learning_rate"], 8)
    assert propose(SEARCH, json.loads(json.dumps(whole[:6]))) == whole[6][0]
    assert tuned(lambda s: s["learning_rate"], 8, seed=1)[1:] != whole[1:]


@pytest.mark.parametrize("name", ["cure", "neg_grad"])
def test_the_committed_trials_follow_from_the_plan(name):
    """The settings of each, up to where the Gaussian process takes over, from the rows before it.

    The table is the whole record of a search: a clone, which has nothing else, goes on with it.
    """
    plan, table = read_plan(), read_rows(PLAN.parents[4] / "figures", "tuning")
    own = table[(table.dataset == "synthfaces") & (table.method == name)]
    done = trials_on(own, plan.data["synthfaces"].validation.seeds)
    assert len(done) >= EXPLORED
    for trial in range(EXPLORED):
        before = [done[earlier] for earlier in range(trial)]
        assert propose(plan.tuned[name], before) == done[trial][0]


def test_the_search_learns():
    """Towards a peak in the range it draws nearer than random trials do, over several seeds."""

    def distance(trials):
        found = max(trials, key=lambda trial: trial[1])[0]
        return abs(np.log(found["learning_rate"] / 2e-3))

    def score(settings):
        return -abs(np.log(settings["learning_rate"] / 2e-3))

    gained = [distance(tuned(score, 4, s)) - distance(tuned(score, 16, s)) for s in range(5)]
    assert min(gained) >= 0
    assert np.mean(gained) > 0.1


def test_no_setting_is_tried_twice_at_the_end_of_a_range():
    """Where the best lies at a corner, the sampler alone comes back to it again and again."""

    def corner(settings):
        return np.log(settings["learning_rate"])

    alone = Method(search={"learning_rate": [1e-4, 5e-4, 3e-3]})
    tried = [settings["learning_rate"] for settings, _ in tuned(corner, 24, method=alone)]
    assert 3e-3 in tried
    assert len(set(tried)) == 24


def test_the_finalists_of_the_data_set_before_are_tried_after_the_defaults(tiny, tmp_path):
    two = {"synthfaces": ARENA, "lfw": {**ARENA, "after": "synthfaces", "trials": 4}}
    plan = Plan(**changed("data", two))
    part = {"methods": ["scrub"], "stages": ["tuning"], "progress": False}
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


def test_the_finalists_meet_again_and_the_best_mean_of_all_seeds_wins(plan, tmp_path, monkeypatch):
    """Of 0.1, 0.5, 0.4, 0.3 on seed 100, the second falls behind the third in the finals."""
    scores = {100: [0.1, 0.5, 0.4, 0.3], 101: [None, 0.2, 0.5, 0.9]}
    seen, judged = [], []

    def scored(self, seed, method, settings):
        if settings not in seen:
            seen.append(settings)
        judged.append((seed, seen.index(settings)))
        ues = scores[seed][seen.index(settings)]
        return {"ues": ues, "forgetting": 1.0, "stability": 1.0, "seconds": 1.0}

    monkeypatch.setattr(Work, "_verified", scored)
    monkeypatch.setattr(Work, "_bench", lambda self, request, seed, *rest, **more: seed)
    validation = {"seeds": [100], "finals": [101], "finalists": 2, "n_pairs": 10}
    arena = {**ARENA, "trials": 4, "validation": validation}
    work = Work(Plan(**changed("data/synthfaces", arena)), "synthfaces", tmp_path, False)
    assert work.tuned("cure") is None
    settings = work.tune("cure")
    assert judged == [(100, 0), (100, 1), (100, 2), (100, 3), (101, 1), (101, 2)]
    assert settings == seen[2] == work.tuned("cure")
    won = winners(read_rows(tmp_path, "tuning"), work.plan).iloc[0]
    assert (won.trial, won.defaults, won.settings) == (2, 0.1, settings)
    assert won.ues == pytest.approx(0.45)
    low, _, high = work.plan.methods["cure"].search["learning_rate"]
    table = read_rows(tmp_path, "tuning")
    for rate, told in ((low, "learning_rate"), (high, "learning_rate"), (low * 2, "")):
        there = table.settings.mask(table.trial == 2, json.dumps({"learning_rate": rate}))
        assert winners(table.assign(settings=there), work.plan).at_bound[0] == told
    gone = work.plan.model_copy(update={"methods": {}})
    assert winners(table, gone).at_bound[0] == ""  # trials of what is no longer planned

    table = read_rows(tmp_path, "tuning")  # a gap is filled, and nothing else is done again
    table.drop(index=[1]).to_csv(tmp_path / "tuning.csv", index=False)
    assert work.tuned("cure") is None
    judged.clear()
    assert work.tune("cure") == settings
    assert judged == [tuple(table[["seed", "trial"]].iloc[1])]
    pd.testing.assert_frame_equal(read_rows(tmp_path, "tuning"), table)


def test_the_first_among_equals_wins(plan):
    arena = plan.data["synthfaces"].model_copy(update={"trials": 3})
    ues = {(0, 100): 0.2, (1, 100): 0.5, (2, 100): 0.5, (1, 101): 0.1, (2, 101): 0.1}
    table = pd.DataFrame(
        [(t, s, value, json.dumps({"a": t})) for (t, s), value in ues.items()],
        columns=["trial", "seed", "ues", "settings"],
    )
    assert list(finalists(table, arena)) == [1, 2]
    assert winner(table, arena) == (1, {"a": 1})
    assert winner(table[:-1], arena) is None  # a final is missing
    assert winner(table[1:], arena) is None  # a trial is missing
    fewer = arena.model_copy(update={"trials": 2})
    assert list(finalists(table, fewer)) == [1, 0]  # what a longer search had does not count


# Carrying out


def test_every_row_is_there_once_and_nothing_is_done_twice(plan, tmp_path, monkeypatch):
    compare(plan, "synthfaces", tmp_path, progress=False)
    rows = read_rows(tmp_path, "comparison")
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
    trials = read_rows(tmp_path, "tuning")
    first, finals = (trials[trials.seed == seed] for seed in (100, 101))
    assert first.groupby("method").trial.apply(list).to_dict() == {
        "cure": [0, 1], "scrub": [0, 1], "supervised_scrub": [0, 1],
    }  # fmt: skip
    assert list(finals.method) == list(first.method)  # two trials, two finalists
    frontier = read_rows(tmp_path, "frontier")
    assert frontier.method.unique() == ["cure"]  # scrub has no strength in this plan
    assert list(frontier.factor) == [0.5, 1.0]
    assert stale(rows, trials, plan).empty
    # Had the other trial of cure won, all of cure's rows would be to do again, its variant's too.
    lost = (trials.method == "cure") & (trials.trial == winners(trials, plan).trial[0])
    turned = trials.assign(ues=trials.ues.where(~lost, -1))
    old = stale(rows, turned, plan)
    assert dict(old.method.value_counts()) == {"cure": 4, "cure_no_cosine": 1}
    untuned = trials[trials.method != "scrub"]
    assert set(stale(rows, untuned, plan).method) == {"scrub"}

    before = [(tmp_path / f"{name}.csv").read_bytes() for name in ("comparison", "tuning")]
    monkeypatch.setattr("cure_study.experiments.comparison.runs.carry_out", None)
    compare(plan, "synthfaces", tmp_path, progress=False)
    after = [(tmp_path / f"{name}.csv").read_bytes() for name in ("comparison", "tuning")]
    assert after == before


SCORE = {
    "ues": 0.5, "forgetting": 0.5, "stability": 1.0, "accuracy_forget": 0.6,
    "accuracy_retain": 0.9, "accuracy_test": 0.8, "membership_recall": 0.1, "membership_auc": 0.6,
}  # fmt: skip


@pytest.fixture
def cheap(tmp_path, monkeypatch):
    """`Work` with stand-ins for all computing; returns a function: what ran, in what process."""
    log = tmp_path / "log"

    def ran(*what):
        time.sleep(0.02)
        with log.open("a") as file:
            file.write(f"{json.dumps(what)} {os.getpid()}\n")

    monkeypatch.setattr(Work, "_bench", lambda self, *setting, **rest: setting[:2])
    monkeypatch.setattr(Work, "_reference", lambda self, own, name: ((*own, name), 1.0))
    monkeypatch.setattr(
        Work, "_student", lambda self, own, *made: ((*own, *made), {"seconds": 1.0})
    )
    for name in ("verified", "judged", "attacked"):
        monkeypatch.setattr(
            f"cure_study.experiments.comparison.runs.{name}", lambda own, made: ran(made) or SCORE
        )
    return lambda: [line.rsplit(" ", 1) for line in log.read_text().splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch again")
def test_two_processes_share_every_table_and_no_run_is_made_twice(plan, tmp_path, cheap):
    plan = plan.model_copy(update={"attacked": ["cure", "scrub"], "requests": plan.requests[:1]})
    compare(plan, "synthfaces", tmp_path / "alone", progress=False)
    alone = Counter(what for what, _ in cheap())
    (tmp_path / "log").unlink()

    def work():
        compare(plan, "synthfaces", tmp_path / "both", progress=False)

    in_two_processes(work)
    assert Counter(what for what, _ in cheap()) == alone
    assert len({process for _, process in cheap()}) == 2
    for name in KEYS:
        one, both = ((tmp_path / where / f"{name}.csv").read_bytes() for where in ("alone", "both"))
        assert one == both, name


def test_a_trial_that_diverges_is_a_row_that_says_so(plan, tmp_path, cheap, monkeypatch):
    def diverges(self, own, method, settings):
        return (*own, method, settings), {
            "seconds": np.nan, "diverged_after": 1, "diverged": "the loss is not finite",
        }  # fmt: skip

    monkeypatch.setattr(Work, "_student", diverges)
    plan = plan.model_copy(update={"attacked": ["cure"]})
    compare(plan, "synthfaces", tmp_path, methods=["cure"], seeds=[0], progress=False)
    for name in KEYS:
        table = read_rows(tmp_path, name)
        own = table[table.method == "cure"]
        assert len(own)
        assert set(own.diverged) == {"the loss is not finite"}
        assert set(own.diverged_after) == {1}
    assert len(cheap()) == 2 + 2 + 2 * 3 + 1 + 3  # tuning, finals, comparison, frontier, attacks


def test_a_run_that_does_not_fit_has_no_row_and_the_others_go_on(
    plan, tmp_path, cheap, monkeypatch
):
    student = Work._student

    def large(self, own, method, settings):
        if method == "cure" and own == ("random_people", 1):
            raise MemoryError("4 GB are needed")
        return student(self, own, method, settings)

    part = {"methods": ["cure", "scrub"], "stages": ["comparison"], "progress": False}
    with monkeypatch.context() as patched:
        patched.setattr(Work, "_student", large)
        with pytest.raises(MemoryError, match=r"1 runs .* random_people 1 cure: 4 GB are needed"):
            compare(plan, "synthfaces", tmp_path, **part)
    before = read_rows(tmp_path, "comparison")
    assert len(before) == 2 * 2 * 4 - 1
    compare(plan, "synthfaces", tmp_path, **part)
    assert len(read_rows(tmp_path, "comparison")) == len(before) + 1


def test_a_users_error_ends_the_run(plan, tmp_path, cheap, monkeypatch):
    def wrong(*_):
        raise ValueError("no such setting")

    monkeypatch.setattr(Work, "_student", wrong)
    with pytest.raises(ValueError, match="no such setting"):
        compare(plan, "synthfaces", tmp_path, progress=False)


@pytest.mark.slow
def test_attacks_meet_the_students_of_the_comparison(plan, tmp_path, monkeypatch):
    plan = plan.model_copy(update={"attacked": ["scrub"]})
    part = {"requests": ["random_people"], "seeds": [0], "progress": False}
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
    monkeypatch.setattr("cure_study.experiments.comparison.runs.attacked", None)
    compare(plan, "synthfaces", tmp_path, **part)
    assert (tmp_path / "attacks.csv").read_bytes() == before


def test_the_tuned_strength_of_the_frontier_is_the_run_of_the_comparison(plan, tmp_path):
    part = {"methods": ["cure"], "requests": ["random_people"], "seeds": [0], "progress": False}
    compare(plan, "synthfaces", tmp_path / "alone", **part, stages=["frontier"])
    compare(plan, "synthfaces", tmp_path / "both", **part)
    alone, both = (read_rows(tmp_path / folder, "frontier") for folder in ("alone", "both"))
    pd.testing.assert_frame_equal(alone.drop(columns="seconds"), both.drop(columns="seconds"))
    ran = read_rows(tmp_path / "both", "comparison").set_index("method").seconds["cure"]
    assert both.set_index("factor").seconds[1.0] == ran


def test_rows_hold_the_contracts_columns_and_their_oracles_values(tmp_path):
    plan = Plan(**changed("data/synthfaces/split/heldout", 0.6))  # enough for fresh pairs
    compare(plan, "synthfaces", tmp_path, methods=["cure"], seeds=[0], stages=["comparison"])
    rows = read_rows(tmp_path, "comparison")
    assert list(rows.columns[:15]) == [
        "dataset", "request", "seed", "method", "ues", "forgetting", "stability",
        "accuracy_forget", "accuracy_retain", "accuracy_test", "tar_forget", "membership_recall",
        "membership_recall_oracle", "seconds", "seconds_oracle",
    ]  # fmt: skip
    assert rows.accuracy_fresh.between(0, 1).all()
    for request, case in rows.groupby("request"):
        own, teacher = (case[case.method == m].iloc[0] for m in ("cure", "teacher"))
        for before in ("forget", "retain", "test", "fresh"):
            assert own[f"accuracy_{before}_before"] == teacher[f"accuracy_{before}"]
        score = unlearning_efficiency_score(
            {s: teacher[f"accuracy_{new}"] for s, new in FRESH.items()},
            {s: own[f"accuracy_{new}"] for s, new in FRESH.items()},
        ).score
        of_people = request != "random_samples"
        expected = score if of_people else np.nan
        assert own.ues_fresh == pytest.approx(expected, abs=2e-4, nan_ok=True)
        oracle = case[case.method == "oracle"].iloc[0]
        assert set(case.membership_recall_oracle) == {oracle.membership_recall}
        assert set(case.membership_auc_oracle) == {oracle.membership_auc}
        assert set(case.seconds_oracle) == {oracle.seconds}
    teacher = rows[rows.method == "teacher"]
    assert set(teacher.stability) == {1.0}
    assert set(teacher.ues) == {0.0}


def test_the_second_oracle_is_another_training_of_the_first(tmp_path):
    plan = Plan(**changed("data/synthfaces/oracle_again", True))
    assert "oracle_again" in plan.methods_on("synthfaces")
    part = {"methods": ["oracle_again"], "seeds": [0], "progress": False}
    compare(plan, "synthfaces", tmp_path, **part)
    rows = read_rows(tmp_path, "comparison")
    for _, case in rows.groupby("request"):
        own = case.set_index("method")
        assert set(own.index) == {"teacher", "oracle", "oracle_again"}
        assert own.membership_auc.oracle != own.membership_auc.oracle_again
        assert set(own.membership_recall_oracle) == {own.membership_recall.oracle}
    assert read_rows(tmp_path, "tuning").empty  # nothing of it is tuned
    assert kind("oracle_again") == "reference"


def test_a_row_made_with_other_settings_gives_way(plan, tmp_path):
    part = {"methods": ["cure"], "requests": ["random_people"], "seeds": [0]}
    longer = Plan(**changed("data/synthfaces/epochs", 3))

    def made(plan, folder):
        compare(plan, "synthfaces", tmp_path / folder, **part, stages=["comparison"])
        return read_rows(tmp_path / folder, "comparison").set_index("method").setting

    first, second, anew = made(plan, "old"), made(longer, "old"), made(longer, "new")
    assert sorted(first.index) == sorted(second.index) == ["cure", "oracle", "teacher"]
    assert first.cure != second.cure == anew.cure


def test_an_interrupted_run_ends_as_an_uninterrupted_one(plan, tmp_path, monkeypatch):
    from cure_study.experiments.comparison import runs

    part = {"requests": ["random_people"], "stages": ["tuning", "comparison"], "progress": False}
    compare(plan, "synthfaces", tmp_path / "whole", **part)
    for limit in (1, 4):
        left = iter(range(limit))
        real = runs.carry_out

        def stopping(*arguments, left=left, real=real):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(runs, "carry_out", stopping)
        with pytest.raises(KeyboardInterrupt):
            compare(plan, "synthfaces", tmp_path / "cut", **part)
        monkeypatch.setattr(runs, "carry_out", real)
    compare(plan, "synthfaces", tmp_path / "cut", **part)
    for name in ("tuning", "comparison"):
        whole, cut = (read_rows(tmp_path / folder, name) for folder in ("whole", "cut"))
        timed = ["seconds", "seconds_oracle"]
        pd.testing.assert_frame_equal(
            whole.drop(columns=timed, errors="ignore"),
            cut.drop(columns=timed, errors="ignore"),
            check_like=True,
        )


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"methods": ["cura"]}, "no method cura is planned; there are cure"),
        ({"requests": ["hardest_people"]}, "no request hardest_people is planned"),
        ({"stages": ["tune"]}, "no stage tune is planned"),
        ({"seeds": [0, 100]}, "no reported seed 100 is planned; there are 0, 1"),
    ],
)
def test_a_part_that_is_not_planned_is_told(plan, tmp_path, part, told):
    with pytest.raises(ValueError, match=told):
        compare(plan, "synthfaces", tmp_path, **part)
    assert not list(tmp_path.iterdir())


def test_a_variant_of_another_data_set_is_not_run(plan):
    plan = Plan(**changed("data/lfw", ARENA))
    only = {**plan.variants, "cure_frozen": {"of": "cure", "batchnorm": "frozen", "only": "lfw"}}
    plan = plan.model_copy(update={"variants": only})
    assert set(plan.methods_on("lfw")) - set(plan.methods_on("synthfaces")) == {"cure_frozen"}
    limited = plan.methods["cure"].model_copy(update={"only": "synthfaces"})
    plan = plan.model_copy(update={"methods": {**plan.methods, "cure": limited}})
    gone = set(plan.methods_on("synthfaces")) - set(plan.methods_on("lfw"))
    assert gone == {"cure", "cure_no_cosine"}  # what varies it goes with it
    assert plan.changed("cure_frozen", {"tau": 1}) == {"tau": 1, "batchnorm": "frozen"}


def test_a_repeat_has_other_faces_and_the_winners_of_its_data_set(plan, tmp_path, monkeypatch):
    again = {"again": {"of": "synthfaces", "options": {"seed": 2}}}
    limited = plan.methods["scrub"].model_copy(update={"only": "synthfaces"})
    plan = Plan(**changed("repeats", again))
    plan = plan.model_copy(update={"methods": {**plan.methods, "scrub": limited}})
    assert plan.methods_on("again") == ["cure", "scrub"]  # no references, no variants
    asked_for, load = [], manifests.load
    monkeypatch.setattr(manifests, "load", lambda *a, **k: asked_for.append((a, k)) or load(*a))
    with pytest.raises(ValueError, match="no method cure_no_cosine is planned; there are cure, sc"):
        compare(plan, "again", tmp_path, methods=["cure_no_cosine"])
    compare(plan, "again", tmp_path, seeds=[0], progress=False)
    assert asked_for == [(("synthfaces",), {}), (("synthfaces",), {"seed": 2})]
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


def test_verification_alone_gives_the_whole_protocols_accuracies(plan, tiny):
    whole = bench(plan.data["synthfaces"], tiny, "random_people", 0, None, fast=False)
    light = verification_only(whole.protocol)
    assert accuracies(Space(light, whole.teacher)) == accuracies(whole.space)


def test_a_set_of_many_pairs_of_its_own_is_cut_to_the_arenas(plan, tiny):
    people = tiny.identities
    kept = np.flatnonzero((people < 10) | (np.arange(len(people)) % 7 < 4))  # four have four images
    images, people = tiny.images[kept], people[kept]
    strangers = np.flatnonzero(people >= 10)
    left, right = (side.ravel() for side in np.meshgrid(strangers, strangers))
    own = {"own": Pairs(left, right, people[left] == people[right])}
    faces = FaceSet(tiny.name, images, people, "abc", protocols=own)
    for n_pairs, most in ((None, ARENA["n_pairs"]), (10, 10)):
        found = bench(plan.data["synthfaces"], faces, "random_people", 0, n_pairs)
        pairs = found.protocol.pairs["test"]
        assert np.count_nonzero(pairs.genuine) == np.count_nonzero(~pairs.genuine) == most


def test_fewer_pairs_are_some_of_the_pairs_in_their_folds(plan, tiny):
    whole = bench(plan.data["synthfaces"], tiny, "random_people", 0, fast=False)
    few = fewer_pairs(whole.protocol, 5)
    for name, pairs in few.pairs.items():
        assert np.count_nonzero(pairs.genuine) == np.count_nonzero(~pairs.genuine) == 5
        kept = set(zip(pairs.left, pairs.right, few.folds[name], strict=True))
        own = whole.protocol
        every = zip(own.pairs[name].left, own.pairs[name].right, own.folds[name], strict=True)
        assert kept <= set(every)


def test_a_run_that_diverges_leaves_its_last_good_student(plan, tiny):
    own = bench(plan.data["synthfaces"], tiny, "random_people", 0, None, fast=False)
    config = {"epochs": 2, "clusters": (2, 3), "batch_size": (8, 8), "clip": 1e30}
    student, facts = carry_out(own, plan, "cure", {"learning_rate": 1e30}, config)
    assert facts["diverged_after"] == 0
    assert "finite" in facts["diverged"]
    for a, b in zip(student.parameters(), own.teacher.parameters(), strict=True):
        assert a.equal(b)


@pytest.mark.parametrize("raw", [0.0, 1.0, np.nan])
def test_a_student_that_collapsed_is_a_row_that_says_so(plan, tiny, raw):
    """One embedding for every face: all is forgotten (F = 1), nothing is kept (S = 0)."""

    own = bench(plan.data["synthfaces"], tiny, "random_people", 0, None, fast=False)

    class Collapsed(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return torch.full_like(own.teacher(images), raw)

    rows = {measure: taken(measure, own, Collapsed()) for measure in (verified, judged, attacked)}
    assert rows[attacked]["diverged"].startswith("the student collapsed: ")
    assert ("diverged" in rows[judged]) == (raw != 1)  # all that it holds can be measured then
    assert ("diverged" in rows[verified]) == np.isnan(raw)
    for row in (rows[verified], rows[judged]):
        assert (row["ues"], row["forgetting"], row["stability"]) == (0, 1, 0)

    def wrong(*_):
        raise ValueError("no such measure")

    with pytest.raises(ValueError, match="no such measure"):
        taken(wrong, own, own.teacher)


# Tables


def rows(scores, recall=0.5):
    """Rows from {(request, method): [UES a seed]}; F is UES and S is 1."""
    return pd.DataFrame(
        [
            {
                "dataset": "synthfaces", "request": request, "seed": seed, "method": method,
                "ues": ues, "forgetting": ues, "stability": 1.0, "membership_auc": 0.7,
                "ues_fresh": ues / 2 if method != "laf" else np.nan,
                "rank1_new_gallery": 1 - ues,
                "membership_recall": recall + (0.1 if method == "scrub" else 0.0),
                "membership_recall_oracle": 0.5, "membership_auc_oracle": 0.7,
            }
            for (request, method), values in scores.items()
            for seed, ues in enumerate(values)
        ]
    )  # fmt: skip


SCORES = {
    ("random_people", "cure"): [0.5, 0.6, 0.7],
    ("random_people", "cure_scatter"): [0.8, 0.8, 0.9],
    ("random_people", "scrub"): [0.1, 0.3, 0.2],
    ("random_people", "laf"): [0.2, 0.1, 0.75],
    ("random_people", "oracle"): [0.0, 0.1, 0.0],
}


def score_bounds(values):
    """Where (mean - mu)^2 = t^2 / n * phi * mu * (1 - mu), as roots of that quadratic."""
    mean, n = np.mean(values), len(values)
    pull = stats.t.ppf(0.975, n - 1) ** 2 * np.var(values, ddof=1) / n / (mean * (1 - mean))
    return sorted(np.roots([1 + pull, -2 * mean - pull, mean**2]))


def test_summary_by_hand():
    table = summary(rows(SCORES)).set_index("method")
    cure = table.loc["cure"]
    assert (cure.ues, cure.ues_low) == pytest.approx((0.6, score_bounds([0.5, 0.6, 0.7])[0]))
    assert table["rank"].to_dict() == pytest.approx(
        {
            "cure_scatter": 1,
            "cure": (2 + 2 + 3) / 3,
            "laf": (3 + 4 + 2) / 3,
            "scrub": (4 + 3 + 4) / 3,
        }
        | {"oracle": np.nan},
        nan_ok=True,
    )
    assert table.loc["scrub", "gap"] == pytest.approx(0.1)
    assert table.loc["cure", "gap"] == 0
    assert list(table.index[:2]) == ["cure_scatter", "cure"]
    fresh = ["fresh", "fresh_low"]
    assert cure[fresh].to_list() == pytest.approx([0.3, score_bounds([0.25, 0.3, 0.35])[0]])
    assert table.loc["laf", fresh].isna().all()
    told = readable(table.reset_index()).set_index("method")
    fresh = {
        "cure_scatter": (0.4, 0.4, 0.45), "cure": (0.25, 0.3, 0.35),
        "scrub": (0.05, 0.15, 0.1), "oracle": (0, 0.05, 0),
    }  # fmt: skip
    assert told["UES, new pictures"].to_dict() == {"laf": ""} | {
        name: "{:.3f} [{:.3f}, {:.3f}]".format(np.mean(values), *score_bounds(values))
        for name, values in fresh.items()
    }
    assert told["rank one, re-enrolled"]["cure"] == "0.40"


def test_differences_are_paired_by_seed():
    short = {**SCORES, ("random_people", "scrub"): [0.1, 0.3]}
    found = differences(rows(short)).set_index(["method", "other"])
    assert set(found.index.get_level_values("method")) == {"cure", "cure_scatter"}
    line = found.loc["cure_scatter", "cure"]
    test = stats.ttest_rel([0.8, 0.8, 0.9], [0.5, 0.6, 0.7]).confidence_interval(0.95)
    assert (line.less, line.less_low, line.less_high) == pytest.approx((0.7 / 3, *test))
    assert found.loc["cure", "cure_scatter"].less == pytest.approx(-line.less)
    assert found.seeds["cure", "scrub"] == 2
    assert found.less["cure", "scrub"] == pytest.approx((0.4 + 0.3) / 2)
    half = differences(rows(SCORES), "ues_fresh").set_index(["method", "other"])
    assert half.less["cure_scatter", "cure"] == pytest.approx(line.less / 2)
    assert ("cure", "laf") not in half.index  # it has no new pictures
    told = matrix(differences(rows(SCORES)))
    assert list(told.columns) == ["cure less it", "cure_scatter less it"]
    assert told["cure_scatter less it"]["cure"] == "0.233 [0.090, 0.377]"
    assert told["cure less it"]["cure"] == ""


def test_a_verdict_needs_the_whole_interval_above_every_peers():
    found = verdicts(summary(rows(SCORES))).set_index("method")
    assert list(found.rival) == ["laf", "laf"]
    assert not found.above.any()  # laf's interval is wide
    clear = {**SCORES, ("random_people", "laf"): [0.2, 0.1, 0.15]}
    found = verdicts(summary(rows(clear))).set_index("method").above.to_dict()
    assert found == {"cure_scatter": True, "cure": False}
    assert verdicts(summary(rows(clear))).nearer.all()
    coin = rows(clear)
    coin.loc[coin.method == "cure", "membership_auc"] = 0.54  # its recall says nothing
    found = verdicts(summary(coin)).set_index("method")
    assert found[["told", "nearer"]].loc["cure"].to_list() == [False, False]
    assert found[["told", "nearer"]].loc["cure_scatter"].to_list() == [True, True]
    recall = against_paper(summary(coin)).query("claim == 'lowest membership recall'")
    assert list(recall.verdict == "not told: the attack is at chance") == list(
        recall.method == "cure"
    )


def test_one_seed_decides_nothing():
    """Neither that intervals overlap nor that they lie apart can be said without any."""
    table = summary(rows({key: values[:1] for key, values in SCORES.items()}))
    found = against_paper(table).set_index(["method", "claim"]).verdict
    assert found["cure_scatter", "highest UES of the label-free methods"] == (
        "holds by the mean, undecided: one seed, no interval"
    )
    assert not found.str.contains("overlap").any()
    assert not verdicts(table)[["decided", "above"]].any(axis=None)
    assert verdicts(summary(rows(SCORES))).decided.all()
    alike = {**SCORES, ("random_people", "laf"): [0.3, 0.3, 0.3]}
    found = against_paper(summary(rows(alike))).verdict
    assert "holds by the mean, undecided: seeds all the same, no interval" in set(found)


def test_a_recall_far_below_the_oracles_is_no_success():
    """Marked and explained in the table, and said in the verdict."""
    own = rows(SCORES, recall=0.5)
    own["membership_recall"] = own.membership_recall.mask(own.method == "cure", 0.1)
    table = summary(own)
    assert table.set_index("method").detectable.to_dict() == {
        "cure": True, "cure_scatter": False, "scrub": False, "laf": False, "oracle": False,
    }  # fmt: skip
    shown = readable(table)
    (column,) = (name for name in shown if name.startswith("membership recall"))
    assert "detectable" in column
    assert set(shown.method[shown[column].str.endswith("†")]) == {"cure"}
    recall = against_paper(table).query("claim == 'lowest membership recall'")
    assert "detectable" in recall.set_index("method").verdict["cure"]
    blind = readable(summary(own.assign(membership_auc=0.5)))
    (column,) = (name for name in blind if name.startswith("membership recall"))
    assert column == "membership recall (?: attack at chance)"


def test_a_value_that_is_missing_leaves_its_own_cell_empty():
    own = rows(SCORES)
    own.loc[own.method == "laf", "membership_recall"] = np.nan
    table = summary(own)
    assert table.set_index("method").recall.isna().to_dict()["laf"]
    assert len(readable(table)) == 5
    assert len(against_paper(table)) == 6
    assert len(verdicts(table)) == 2


def test_what_a_validation_score_is_worth():
    chosen = pd.DataFrame(
        [("a", "x", 0.9), ("a", "y", 0.5), ("b", "x", 0.4)], columns=["dataset", "method", "ues"]
    )
    table = pd.DataFrame(
        [("a", "people", "x", 0.6), ("a", "people", "y", 0.6), ("a", "samples", "x", 0.1)],
        columns=["dataset", "request", "method", "ues"],
    )
    found = shrinkage(chosen, table, "people")
    assert list(found.method) == ["x", "y"]  # b has no reported run
    np.testing.assert_allclose(found.less, [0.3, -0.1])


def test_only_requests_that_all_were_run_on_are_compared():
    short = {**SCORES, ("random_people", "scrub"): [0.1, 0.3]}
    kept = complete(rows(short), ["cure", "scrub"])
    assert sorted(zip(kept.method, kept.seed, strict=True)) == [
        ("cure", 0), ("cure", 1), ("scrub", 0), ("scrub", 1),
    ]  # fmt: skip
    elsewhere = rows(SCORES).assign(dataset="lfw").query("method != 'scrub'")
    both = complete(pd.concat([rows(short), elsewhere]), ["cure", "scrub"])
    assert both.groupby("dataset").size().to_dict() == {"synthfaces": 4, "lfw": 3}


def test_one_seed_has_no_interval():
    table = summary(rows({key: values[:1] for key, values in SCORES.items()}))
    assert table.ues_low.isna().all()
    assert set(readable(table)["UES (CURE)"]) == {"0.500", "0.800", "0.100", "0.200", "0.000"}


def test_a_claim_is_of_the_mean_and_says_where_intervals_overlap():
    found = against_paper(summary(rows(SCORES))).set_index(["method", "claim"])
    rivals = list(found["best peer"].str.split().str[0])
    assert rivals == ["laf", "scrub", "laf"] * 2  # laf has no new pictures, scrub a higher recall
    assert found.verdict["cure", "highest UES of the label-free methods"] == (
        "holds, intervals overlap"
    )
    assert found.verdict["cure_scatter", "lowest membership recall"].startswith("does not hold")
    clear = {**SCORES, ("random_people", "laf"): [0.2, 0.1, 0.15]}
    found = against_paper(summary(rows(clear))).set_index(["method", "claim"])
    assert found.verdict["cure_scatter", "highest UES of the label-free methods"] == "holds"


def test_a_recall_counts_where_the_attack_tells_members_apart():
    own = rows(SCORES)
    coin = own.assign(membership_auc=own.membership_auc.mask(own.method == "scrub", 0.51))
    for told, nearest in ((own, "scrub"), (coin, "laf")):
        table = summary(told)
        assert list(table.method) == ["cure_scatter", "cure", "laf", "scrub", "oracle"]
        found = verdicts(table.assign(gap=[0.4, 0.3, 0.2, 0.1, 0.0]))  # in the order of UES
        assert set(found.nearest) == {nearest}
    blind = summary(own.assign(membership_auc_oracle=0.54))  # then nobody's can be beside it
    assert not blind.told.any()
    assert not verdicts(blind).nearer.any()
    recall = against_paper(blind).query("claim == 'lowest membership recall'")
    assert set(recall.verdict) == {"not told: the attack is at chance"}


def test_tables_are_readable_without_any_of_ours():
    alone = {key: values for key, values in SCORES.items() if not key[1].startswith("cure")}
    assert len(readable(summary(rows(alone)))) == 3
    none, alike = differences(rows(alone)), differences(rows(SCORES))
    assert none.empty
    assert list(none) == list(alike)
    assert differences(rows(SCORES).drop(columns="ues_fresh"), "ues_fresh").empty


def test_a_search_further_on_or_left_behind_is_not_asked_for(plan):
    """Two trials are planned, both go to the finals; a third trial and its final came of others."""
    table = pd.DataFrame(
        [("synthfaces", "cure", t, s, 0.1, "{}") for t in (0, 1, 2) for s in (100, 101)],
        columns=["dataset", "method", "trial", "seed", "ues", "settings"],
    ).assign(settings=[json.dumps({"a": t}) for t in (0, 0, 1, 1, 2, 2)])
    kept = planned_trials(table, plan)
    assert sorted(zip(kept.trial, kept.seed, strict=True)) == [
        (0, 100),
        (0, 101),
        (1, 100),
        (1, 101),
    ]
    one = plan.data["synthfaces"].model_copy(update={"trials": 3})
    three = plan.model_copy(update={"data": {"synthfaces": one}})
    best_last = table.assign(ues=table.trial / 10)
    kept = planned_trials(best_last, three)
    assert sorted(kept[kept.seed == 101].trial) == [1, 2]
    assert planned_trials(table[:0], plan).empty


def test_trials_of_another_search_or_other_faces_give_way(plan, tiny, tmp_path, monkeypatch):
    part = {"methods": ["cure"], "stages": ["tuning"], "progress": False}
    compare(plan, "synthfaces", tmp_path, **part)
    first = read_rows(tmp_path, "tuning")
    wider = Plan(**changed("methods/cure/search/learning_rate", [1e-4, 1e-3, 3e-3]))
    compare(wider, "synthfaces", tmp_path, **part)
    second = read_rows(tmp_path, "tuning")
    assert [json.loads(s)["learning_rate"] for s in (first.settings[0], second.settings[0])] == [
        5e-4, 1e-3,
    ]  # fmt: skip
    other = FaceSet("synthfaces", tiny.images, tiny.identities, "xyz")
    monkeypatch.setattr(manifests, "load", lambda *_, **__: other)
    compare(wider, "synthfaces", tmp_path, **part)
    third = read_rows(tmp_path, "tuning")
    assert list(third[third.seed == 100].trial) == [0, 1]
    assert len(third) == 4  # with the finals; none is left of the searches before
    assert third.setting.nunique() == 1
    assert not set(third.setting) & set(second.setting)


def test_no_claim_is_made_where_there_is_no_peer():
    alone = {key: values for key, values in SCORES.items() if key[1] == "cure"}
    assert against_paper(summary(rows(alone))).empty


def test_kinds():
    names = ["cure", "cure_plus", "cure_plus_frozen", "cure_hdbscan", "scrub", "supervised_scrub"]
    kinds = ["ours", "ours", "ablation", "ablation", "peer", "reference"]
    assert [kind(name) for name in [*names, "oracle", "teacher"]] == [*kinds, *["reference"] * 2]
    bases = {
        "cure_tau_2": "cure",
        "cure_plus_frozen": "cure_plus",
        "neg_grad_plus_x": "neg_grad_plus",
    }
    assert {name: varied(name) for name in bases} == bases
    assert varied("supervised_x") is None
    assert {kind(name) for name in bases} == {"ablation"}


def test_the_committed_tables_fit_the_plan():
    """Every row is of the plan, each once; a method's trials are counted from 0."""
    plan, folder = read_plan(), PLAN.parents[4] / "figures"
    table = read_rows(folder, "comparison")
    assert not table.duplicated(["dataset", "request", "seed", "method"]).any()
    for dataset, own in table.groupby("dataset"):
        assert set(own.method) <= {*plan.methods_on(dataset), *REFERENCES}
    sets = ("forget", "retain", "test")
    for row in table.to_dict("records"):
        before, after = (
            {s: row[f"accuracy_{s}{end}"] for s in (*sets, "fresh")} for end in ("_before", "")
        )
        assert row["ues"] == pytest.approx(row["forgetting"] * row["stability"], abs=2e-5)
        assert row["ues"] == pytest.approx(
            unlearning_efficiency_score(before, after).score, abs=2e-4
        )
        if not np.isnan(row["ues_fresh"]):
            new = ({**values, "forget": values["fresh"]} for values in (before, after))
            score = unlearning_efficiency_score(*new).score
            assert row["ues_fresh"] == pytest.approx(score, abs=2e-4)
    aims = table[table.method == "oracle"].set_index(["dataset", "request", "seed"])
    for row in table.to_dict("records"):
        aim = aims.loc[row["dataset"], row["request"], row["seed"]]
        apart = [abs(row[f"accuracy_{s}"] - aim[f"accuracy_{s}"]) for s in sets]
        assert row["tow"] == pytest.approx(
            (1 - apart[0]) * (1 - apart[1]) * (1 - apart[2]), abs=2e-5
        )
    trials = read_rows(folder, "tuning")
    assert not trials.duplicated(KEYS["tuning"]).any()
    for (dataset, _), own in trials.groupby(["dataset", "method"]):
        v = plan.data[dataset].validation
        assert set(own[own.seed.isin(v.seeds)].trial) == set(range(own.trial.max() + 1))
        assert set(own.seed) <= {*v.seeds, *v.finals}
    main = planned_trials(trials[trials.method.isin(plan.methods)], plan).groupby(
        ["dataset", "method"]
    )
    assert main.size().groupby("dataset").nunique().eq(1).all()  # as much for each
    assert main.settings.nunique().eq(main.trial.nunique()).all()  # and nothing twice
    attacks = read_rows(folder, "attacks")
    assert not attacks.duplicated(KEYS["attacks"]).any()
    for dataset, own in attacks.groupby("dataset"):
        few = plan.data[dataset].few_seeds
        assert len(own) == len(few) * len([*plan.attacked, *REFERENCES])
    assert stale(table, trials, plan).empty
    assert stale(attacks, trials, plan).empty
    won = winners(trials, plan).set_index(["dataset", "method"]).settings
    for point in read_rows(folder, "frontier").to_dict("records"):
        tuned = won[point["dataset"], point["method"]][point["strength"]]
        assert point["value"] == float(f"{tuned * point['factor']:.5g}")  # as written


def test_committed_trials_hold_on_any_machine(tiny, monkeypatch):
    """Or the command would begin a night's work anew instead of going on with it."""
    plan, folder = read_plan(), PLAN.parents[4] / "figures"
    manifest = manifests.read("synthfaces")
    assert isinstance(manifest, manifests.SynthFacesManifest)
    drawn = replace(tiny, fingerprint=manifests.fingerprint(manifest.options))
    monkeypatch.setattr(manifests, "load", lambda *_, **__: drawn)
    work = Work(plan, "synthfaces", folder, fast=True)
    assert [name for name in plan.tuned if work.tuned(name) is None] == []
