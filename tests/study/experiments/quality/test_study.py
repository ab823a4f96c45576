"""The quality experiment: planted defects, runs that resume, and what the tables say."""

import os
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from packs import encoded, write_bin
from processes import in_two_processes

from cure_core import encoders
from cure_core.unlearning import UnlearningDivergedError
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.experiments.quality import study as quality_study
from cure_study.experiments.quality import tables as quality_tables
from cure_study.experiments.quality.experiment import Experiment
from cure_study.experiments.quality.faces import (
    group_of,
    group_pairs,
    natural_faces,
    plant_defects,
)
from cure_study.experiments.quality.setting import (
    Condition,
    QualitySetting,
    conditions,
    setting_of,
)
from cure_study.runner import runs

TINY = QualitySetting(
    dataset_options={
        "people": 6, "images_per_person": 8, "unseen_people": 20, "unseen_images": 8,
        "unseen_pairs": 40, "cross_age_pairs": 20,
    },
    teacher={"epochs": 1, "batch_size": 16},
    unlearning={"epochs": 1, "batch_size": (16, 16), "clusters": 2},
    fractions=[0.25],
    oracle_fractions=[0.25],
    planted=0.25,
    group_pairs=30,
)  # fmt: skip


def painted(count=60, people=6):
    """Every image is different noise; every attribute that groups need is there."""
    rng = np.random.default_rng(0)
    attributes = pd.DataFrame(
        {
            "skin_tone": np.repeat([1, 3, 4, 7, 8, 10], count // 6),
            "age": np.tile([20, 34.9, 35, 54.9, 55, 80], count // 6),
            "quality": rng.uniform(size=count),
            "planted": "no",
        }
    )
    images = rng.integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
    identities = np.arange(count) % people
    return FaceSet("synthfaces", images, identities, "0", attributes=attributes)


def test_defects_are_planted_in_the_given_share_in_three_ways_and_nothing_else():
    before = painted()
    after = plant_defects(before, 0.3, seed=0)
    planted = after.attributes.planted.to_numpy()
    assert pd.Series(planted).value_counts().to_dict() == {
        "no": 42, "blurred": 6, "covered": 6, "mislabelled": 6,
    }  # fmt: skip
    same_pixels = (after.images == before.images).reshape(60, -1).all(1)
    np.testing.assert_array_equal(same_pixels, np.isin(planted, ["no", "mislabelled"]))
    same_person = after.identities == before.identities
    np.testing.assert_array_equal(same_person, planted != "mislabelled")
    assert set(after.identities) <= set(before.identities)
    covered = after.images[planted == "covered"]
    halves = [(c[56:] == 128).all() or (c[:, :56] == 128).all() for c in covered]
    assert all(halves)
    again = plant_defects(before, 0.3, seed=0)
    np.testing.assert_array_equal(again.images, after.images)


@pytest.mark.parametrize("share", [0, 0.001, 1])
def test_planting_nothing_or_everything_is_refused(share):
    with pytest.raises(ValueError, match=r"would spoil \d+ of 60"):
        plant_defects(painted(), share, seed=0)


def test_groups_by_hand():
    attributes = painted().attributes
    tone = group_of(attributes, "tone")
    assert tone.tolist() == ["light"] * 20 + ["medium"] * 20 + ["dark"] * 20
    assert group_of(attributes, "age")[:6].tolist() == [
        "under_35", "under_35", "35_to_55", "35_to_55", "over_55", "over_55",
    ]  # fmt: skip


def test_pairs_of_a_group_are_within_it():
    faces = painted()
    drawn = group_pairs(faces, 20, seed=0)
    assert set(drawn) == {
        "tone.light", "tone.medium", "tone.dark", "age.under_35", "age.35_to_55", "age.over_55",
    }  # fmt: skip
    for name, pairs in drawn.items():
        kind, group = name.split(".")
        groups = group_of(faces.attributes, kind)
        assert (groups[pairs.left] == group).all()
        assert (groups[pairs.right] == group).all()
        same = faces.identities[pairs.left] == faces.identities[pairs.right]
        np.testing.assert_array_equal(same, pairs.genuine)


def test_faces_without_unseen_people_are_refused():
    with pytest.raises(ValueError, match="give unseen_people"):
        natural_faces({"people": 2, "images_per_person": 2, "unseen_people": 0}, 0)


def pairs_manifest(folder, count=20):
    """Pairs like AgeDB-30's over a .bin of noise: even pairs show one image twice."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2 * count, 112, 112, 3), dtype=np.uint8)
    images[1::4] = images[0::4]
    genuine = np.arange(count) % 2 == 0
    write_bin(folder / "judge.bin", [encoded(image) for image in images], genuine)
    return manifest(folder, "agedb_30", path="judge.bin", images=2 * count)


def manifest(folder, name, **changes):
    """The path of a copy of the manifest `name`, with some fields changed."""
    fields = yaml.safe_load((manifests.FOLDER / f"{name}.yaml").read_text())
    (folder / "judge.yaml").write_text(yaml.safe_dump(fields | changes))
    return str(folder / "judge.yaml")


def test_pairs_from_a_file_judge_every_model(tmp_path, monkeypatch):
    """An image is nearest to itself with any encoder: all pairs are classified correctly."""
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path))
    experiment = Experiment(replace(TINY, judges=[pairs_manifest(tmp_path)]), 0)
    values = experiment.measure(encoders.build("small", seed=0))
    assert values["accuracy_judge"] == 1
    assert values["tar_judge"] == 1
    rows = pd.DataFrame(
        [{"training": "natural", "method": m, "order": o, "fraction": 0.1, "seed": 0, **values}
         for m, o in (("teacher", "none"), ("cure", "lowest"))]
    )  # fmt: skip
    assert set(quality_tables.changes(rows).protocol) == {"unseen", "cross_age", "judge"}


@pytest.mark.parametrize(
    ("judge", "changes", "message"),
    [
        ("agedb_30", {}, "agedb_30.bin"),
        (
            "synthfaces",
            {"options": {**TINY.dataset_options, "min_gap": 30.0, "seed": 0}},
            "no verif",
        ),
    ],
)
def test_a_judge_without_pairs_or_data_is_an_error_before_any_run(
    tmp_path, monkeypatch, judge, changes, message
):
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path))
    setting = replace(TINY, judges=[manifest(tmp_path, judge, **changes)])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        quality_study.run(setting, [0], tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()


def experiment_with(scores):
    experiment = Experiment(TINY, 0)
    experiment.__dict__.update(train_set=painted(), scores=np.asarray(scores, float))
    return experiment


def test_which_images_are_chosen():
    chosen = experiment_with(np.arange(60)[::-1]).images_to_forget
    assert chosen("lowest", 0.05).tolist() == [57, 58, 59]
    assert chosen("best", 0.05).tolist() == [0, 1, 2]
    few, many = chosen("random", 0.05), chosen("random", 0.5)
    assert set(few) < set(many)
    assert len(many) == 30


def test_who_loses_what_by_hand():
    """Person 0 has images 0, 6, ..., 54; all ten go, and one of person 1."""
    values = experiment_with(np.zeros(60)).removal_measures(np.array([*range(0, 60, 6), 1]))
    assert values["people_touched"] == 2
    assert values["people_emptied"] == 1
    assert values["forgotten"] == 11
    assert values["chosen.tone.light"] == pytest.approx(5 / 20)  # 0, 1, 6, 12, 18
    assert values["chosen.age.under_35"] == pytest.approx(11 / 20)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fractions": [0.1, 1]}, "fractions=1; it is a number between 0 and 1"),
        ({"oracle_fractions": [0]}, "oracle_fractions=0"),
        ({"planted": 1}, "planted=1"),
        ({"scorer": "beauty"}, "no scorer 'beauty'"),
        ({"unlearning": {"epochs": 0}}, "epochs=0"),
    ],
)
def test_a_setting_that_is_not_accepted(changed, message):
    with pytest.raises(ValueError, match=message):
        QualitySetting(**changed)


def test_the_key_of_a_setting_depends_on_values_not_on_their_order():
    one = QualitySetting(teacher={"epochs": 3, "margin": 0.2})
    assert one.key == QualitySetting(teacher={"margin": 0.2, "epochs": 3}).key
    assert one.key != QualitySetting(teacher={"margin": 0.2, "epochs": 4}).key


def test_the_committed_rows_are_those_of_the_profile_quick():
    source = runs.find_notebook("03_quality_aware_forgetting")
    given = runs.declared(source) | runs.profile_parameters(source, "quick")
    rows = pd.read_csv(runs.ROOT / "figures" / "quality_rows.csv", dtype={"setting": str})
    assert setting_of(given).key in set(rows.setting)


def test_runs_are_saved_one_by_one_go_on_where_they_were_and_repeat(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    done = []
    whole = Experiment.run

    def stopping(self, condition):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(condition)
        return whole(self, condition)

    monkeypatch.setattr(Experiment, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        quality_study.run(TINY, [0], path, progress=False)
    assert len(pd.read_csv(path)) == 3
    first = list(done)
    monkeypatch.setattr(Experiment, "run", lambda self, c: done.append(c) or whole(self, c))
    rows = quality_study.run(TINY, [0], path, progress=False)
    assert done == conditions(TINY), "each once, the first three not again"
    assert first == done[:3]

    again = quality_study.run(TINY, [0], path, progress=False)
    assert len(done) == len(again) == len(conditions(TINY))
    pd.testing.assert_frame_equal(again, rows)
    repeated = whole(Experiment(TINY, 0), Condition("natural", "cure_plus", "lowest", 0.25))
    row = rows[(rows.method == "cure_plus") & (rows.order == "lowest")].iloc[0]
    assert row.forgotten == 12
    for name in ("accuracy_unseen", "accuracy_cross_age", "cosine_forget", "chosen.tone.light"):
        assert repeated[name] == pytest.approx(row[name], abs=1e-12)

    changed = quality_tables.changes(rows)
    teacher = rows[(rows.training == "planted") & (rows.method == "teacher")].iloc[0]
    oracle = rows[(rows.training == "planted") & (rows.order == "planted")].iloc[0]
    runs = changed[(changed.training == "planted") & (changed.order == "planted")]
    by_hand = oracle.accuracy_cross_age - teacher.accuracy_cross_age
    assert runs[runs.protocol == "cross_age"].change.iloc[0] == pytest.approx(by_hand)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch again")
def test_two_processes_share_the_runs_and_none_is_made_twice(tmp_path, monkeypatch):
    path, log = tmp_path / "rows.csv", tmp_path / "log"

    def run(self, condition):
        time.sleep(0.05)
        with log.open("a") as file:
            file.write(f"{self.seed} {condition} {os.getpid()}\n")
        return {"value": self.seed}

    def work():
        rows = quality_study.run(TINY, [0, 1], path, progress=False)
        wanted = [c.order for c in conditions(TINY)] * 2
        assert rows.order.tolist() == wanted, "in order, in both processes"

    monkeypatch.setattr(Experiment, "run", run)
    in_two_processes(work)
    made = [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
    assert set(Counter(what for what, _ in made).values()) == {1}
    assert len(made) == len(pd.read_csv(path)) == 2 * len(conditions(TINY))
    assert len({process for _, process in made}) == 2


def test_a_run_that_diverges_is_a_row_of_its_last_good_student(monkeypatch):
    experiment = experiment_with(np.zeros(60))
    encoder = encoders.build("small", seed=0)

    def diverges(*_, **__):
        raise UnlearningDivergedError("the loss is\nnot finite", encoder, pd.DataFrame())

    monkeypatch.setattr("cure_study.experiments.quality.experiment.unlearn", diverges)
    monkeypatch.setattr(Experiment, "measure", lambda self, model: {"accuracy_unseen": 0.5})
    monkeypatch.setattr(Experiment, "teacher", encoder)
    row = experiment.run(Condition("natural", "cure", "lowest", 0.25))
    assert row["diverged"] == "the loss is not finite"
    assert (row["diverged_after"], row["accuracy_unseen"]) == (0, 0.5)


def test_rows_that_are_no_table_are_refused_before_any_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Experiment, "run", None)
    path = tmp_path / "rows.csv"
    path.write_text(
        "setting,seed,training,method,order,fraction\n1.2E+15,0,natural,cure,best,0.1\n"
    )
    with pytest.raises(ValueError, match=r"rows\.csv, line 2: setting is '1\.2E\+15'"):
        quality_study.run(TINY, [0], path, progress=False)


def made_rows(changes, against):
    """Three seeds: a teacher at 0.8, cure_plus by `changes` above it, at random by `against`."""
    rows = []
    for seed, (change, control) in enumerate(zip(changes, against, strict=True)):
        for method, order, value in (
            ("teacher", "none", 0.8),
            ("cure_plus", "lowest", 0.8 + change),
            ("cure_plus", "random", 0.8 + control),
        ):
            rows.append(
                {"training": "natural", "method": method, "order": order, "seed": seed,
                 "fraction": 0.0 if method == "teacher" else 0.1, "images": 100, "forgotten": 10,
                 "accuracy_unseen": value, "accuracy_cross_age": value,
                 "chosen.tone.dark": 0.2, "accuracy.tone.dark": value - 0.1}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_changes_are_signed_and_tested_against_random_seed_by_seed():
    """Student's t by hand: changes 1, 2, 3 points, mean 2, sd 1, t(2) = 4.3027 for 95 %."""
    changed = quality_tables.changes(made_rows([0.01, 0.02, 0.03], [0.02, 0.01, 0.03]))
    table = quality_tables.change_table(changed)
    row = table[(table.order == "lowest") & (table.protocol == "unseen")].iloc[0]
    reach = 4.3027 * 0.01 / np.sqrt(3)
    assert row.change == pytest.approx(0.02)
    assert row.low == pytest.approx(0.02 - reach, abs=1e-5)
    assert row.high == pytest.approx(0.02 + reach, abs=1e-5)
    assert row.against_random == pytest.approx(0, abs=1e-12)
    assert row.against_p == pytest.approx(1)
    assert row.p == pytest.approx(0.0742, abs=1e-4)  # t = 2 sqrt(3) with 2 degrees of freedom


def test_groups_have_their_rate_relative_to_all_and_their_change():
    table = quality_tables.group_table(made_rows([0.01, 0.02, 0.03], [0, 0, 0]))
    (row,) = table.itertuples()
    assert row.group == "tone.dark"
    assert row.chosen_ratio == pytest.approx(2)
    assert row.accuracy_before == pytest.approx(0.7)
    assert row.accuracy_change == pytest.approx(0.02)


def test_shares_of_kinds_over_the_ranks():
    table = quality_tables.score_shares(np.array([1, 2, 3, 4.0]), np.array(["a", "b", "a", "a"]), 2)
    shares = table.pivot_table(index="kind", columns="rank", values="share")
    assert shares.loc["a"].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert shares.loc["b"].tolist() == [1, 0]
