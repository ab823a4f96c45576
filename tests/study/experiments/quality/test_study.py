"""The experiment about quality: planted worlds, runs that resume, and what the tables say."""

import os
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from packs import encoded, write_bin
from processes import in_two_processes

from cure_core.unlearning import UnlearningDivergedError
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.experiments.quality import study as quality_study
from cure_study.experiments.quality import tables as quality_tables
from cure_study.experiments.quality.study import Bench, Condition, Setting
from cure_study.experiments.quality.worlds import World, group_of, group_pairs, natural, plant

TINY = Setting(
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
    """Image i is noise of its own; every attribute that groups ask for is there."""
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
    faces = FaceSet("synthfaces", images, identities, "0", attributes=attributes)
    return World(faces, faces, np.zeros(count, bool))


def test_planting_spoils_the_share_asked_for_in_three_ways_and_nothing_else():
    before = painted()
    after = plant(before, 0.3, seed=0)
    how = after.train.attributes.planted.to_numpy()
    assert pd.Series(how).value_counts().to_dict() == {
        "no": 42, "blurred": 6, "covered": 6, "mislabelled": 6,
    }  # fmt: skip
    np.testing.assert_array_equal(after.planted, how != "no")
    same_pixels = (after.train.images == before.train.images).reshape(60, -1).all(1)
    np.testing.assert_array_equal(same_pixels, np.isin(how, ["no", "mislabelled"]))
    same_person = after.train.identities == before.train.identities
    np.testing.assert_array_equal(same_person, how != "mislabelled")
    assert set(after.train.identities) <= set(before.train.identities)
    covered = after.train.images[how == "covered"]
    halves = [(c[56:] == 128).all() or (c[:, :56] == 128).all() for c in covered]
    assert all(halves)
    again = plant(before, 0.3, seed=0)
    np.testing.assert_array_equal(again.train.images, after.train.images)


@pytest.mark.parametrize("share", [0, 0.001, 1])
def test_planting_nothing_or_everything_is_refused(share):
    with pytest.raises(ValueError, match=r"would spoil \d+ of 60"):
        plant(painted(), share, seed=0)


def test_groups_by_hand():
    attributes = painted().train.attributes
    tone = group_of(attributes, "tone")
    assert tone.tolist() == ["light"] * 20 + ["medium"] * 20 + ["dark"] * 20
    assert group_of(attributes, "age")[:6].tolist() == [
        "under_35", "under_35", "35_to_55", "35_to_55", "over_55", "over_55",
    ]  # fmt: skip


def test_pairs_of_a_group_are_within_it():
    faces = painted().train
    drawn = group_pairs(faces, 20, seed=0)
    assert set(drawn) == {
        "tone.light", "tone.medium", "tone.dark", "age.under_35", "age.35_to_55", "age.over_55",
    }  # fmt: skip
    for name, pairs in drawn.items():
        kind, group = name.split(".")
        own = group_of(faces.attributes, kind)
        assert (own[pairs.left] == group).all()
        assert (own[pairs.right] == group).all()
        same = faces.identities[pairs.left] == faces.identities[pairs.right]
        np.testing.assert_array_equal(same, pairs.genuine)


def test_a_world_without_strangers_is_refused():
    with pytest.raises(ValueError, match="give unseen_people"):
        natural({"people": 2, "images_per_person": 2, "unseen_people": 0}, 0)


def own_pairs(folder, count=20):
    """A manifest of pairs as AgeDB-30's, over a .bin of noise: even pairs show one image twice."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2 * count, 112, 112, 3), dtype=np.uint8)
    images[1::4] = images[0::4]
    genuine = np.arange(count) % 2 == 0
    write_bin(folder / "own.bin", [encoded(image) for image in images], genuine)
    fields = yaml.safe_load((manifests.FOLDER / "agedb_30.yaml").read_text())
    fields |= {"path": "own.bin", "images": 2 * count}
    (folder / "own.yaml").write_text(yaml.safe_dump(fields))
    return str(folder / "own.yaml")


def test_pairs_from_a_file_judge_every_model(tmp_path, monkeypatch):
    """Whatever the encoder, an image is nearest to itself: all pairs are told apart."""
    monkeypatch.setenv("CURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path))
    judge = own_pairs(tmp_path)
    made = Bench(replace(TINY, judges=[judge]), 0, "natural")
    values = made.judge(made.start)
    assert values["accuracy_own"] == 1
    assert values["tar_own"] == 1
    rows = pd.DataFrame(
        [{"training": "natural", "method": m, "order": o, "fraction": 0.1, "seed": 0, **values}
         for m, o in (("teacher", "none"), ("cure", "lowest"))]
    )  # fmt: skip
    assert set(quality_tables.changes(rows).protocol) == {"unseen", "cross_age", "own"}


@pytest.mark.parametrize(
    ("judge", "message"), [("agedb_30", "agedb_30.bin"), ("synthfaces", "no verification pairs")]
)
def test_a_judge_that_cannot_is_told_before_any_run(tmp_path, monkeypatch, judge, message):
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        quality_study.run(replace(TINY, judges=[judge]), [0], tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()


def bench(scores):
    made = Bench(TINY, 0, "natural", painted())
    made.__dict__["scores"] = np.asarray(scores, float)
    return made


def test_who_is_chosen():
    scores = np.arange(60)[::-1]
    made = bench(scores)
    assert made.chosen("lowest", 0.05).tolist() == [57, 58, 59]
    assert made.chosen("best", 0.05).tolist() == [0, 1, 2]
    few, many = made.chosen("random", 0.05), made.chosen("random", 0.5)
    assert set(few) < set(many)
    assert len(many) == 30


def test_who_loses_what_by_hand():
    """Person 0 has images 0, 6, ..., 54; all ten go, and one of person 1."""
    facts = bench(np.zeros(60)).about(np.array([*range(0, 60, 6), 1]))
    assert facts["people_touched"] == 2
    assert facts["people_emptied"] == 1
    assert facts["forgotten"] == 11
    assert facts["chosen.tone.light"] == pytest.approx(5 / 20)  # 0, 1, 6, 12, 18
    assert facts["chosen.age.under_35"] == pytest.approx(11 / 20)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fractions": [0.1, 1]}, r"fractions=\[0.1, 1.0\]"),
        ({"oracle_fractions": [0]}, r"oracle_fractions=\[0.0\]"),
        ({"planted": 1}, "planted=1"),
        ({"scorer": "beauty"}, "no scorer 'beauty'"),
        ({"unlearning": {"epochs": 0}}, "epochs=0"),
    ],
)
def test_settings_that_cannot_be(changed, told):
    with pytest.raises(ValueError, match=told):
        Setting(**changed)


def test_a_setting_is_known_by_what_it_says_not_by_its_order():
    one = Setting(teacher={"epochs": 3, "margin": 0.2})
    assert one.key == Setting(teacher={"margin": 0.2, "epochs": 3}).key
    assert one.key != Setting(teacher={"margin": 0.2, "epochs": 4}).key


def test_runs_are_saved_one_by_one_go_on_where_they_were_and_repeat(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    done = []
    whole = Bench.carry_out

    def stopping(self, condition):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(condition)
        return whole(self, condition)

    monkeypatch.setattr(Bench, "carry_out", stopping)
    with pytest.raises(KeyboardInterrupt):
        quality_study.run(TINY, [0], path, progress=False)
    assert len(pd.read_csv(path)) == 3
    first = list(done)
    monkeypatch.setattr(Bench, "carry_out", lambda self, c: done.append(c) or whole(self, c))
    rows = quality_study.run(TINY, [0], path, progress=False)
    assert done == quality_study.conditions(TINY), "each once, the first three not again"
    assert first == done[:3]

    again = quality_study.run(TINY, [0], path, progress=False)
    assert len(done) == len(again) == len(quality_study.conditions(TINY))
    pd.testing.assert_frame_equal(again, rows)
    repeated = whole(Bench(TINY, 0, "natural"), Condition("natural", "cure_plus", "lowest", 0.25))
    row = rows[(rows.method == "cure_plus") & (rows.order == "lowest")].iloc[0]
    assert row.forgotten == 12
    for name in ("accuracy_unseen", "accuracy_cross_age", "cosine_forget", "chosen.tone.light"):
        assert repeated[name] == pytest.approx(row[name], abs=1e-12)

    changed = quality_tables.changes(rows)
    teacher = rows[(rows.training == "planted") & (rows.method == "teacher")].iloc[0]
    oracle = rows[(rows.training == "planted") & (rows.order == "planted")].iloc[0]
    own = changed[(changed.training == "planted") & (changed.order == "planted")]
    by_hand = oracle.accuracy_cross_age - teacher.accuracy_cross_age
    assert own[own.protocol == "cross_age"].change.iloc[0] == pytest.approx(by_hand)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch again")
def test_two_processes_share_the_runs_and_none_is_made_twice(tmp_path, monkeypatch):
    path, log = tmp_path / "rows.csv", tmp_path / "log"

    def carry_out(self, condition):
        time.sleep(0.05)
        with log.open("a") as file:
            file.write(f"{self.seed} {condition} {os.getpid()}\n")
        return {"value": self.seed}

    def work():
        rows = quality_study.run(TINY, [0, 1], path, progress=False)
        wanted = [c.order for c in quality_study.conditions(TINY)] * 2
        assert rows.order.tolist() == wanted, "whatever process was first"

    monkeypatch.setattr(Bench, "carry_out", carry_out)
    in_two_processes(work)
    made = [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
    assert set(Counter(what for what, _ in made).values()) == {1}
    assert len(made) == len(pd.read_csv(path)) == 2 * len(quality_study.conditions(TINY))
    assert len({process for _, process in made}) == 2


def test_a_run_that_diverges_is_a_row_of_its_last_good_student(monkeypatch):
    made = bench(np.zeros(60))

    def diverges(*_, **__):
        raise UnlearningDivergedError("the loss is\nnot finite", made.start, pd.DataFrame())

    monkeypatch.setattr("cure_study.experiments.quality.bench.unlearn", diverges)
    monkeypatch.setattr(Bench, "judge", lambda self, model: {"accuracy_unseen": 0.5})
    monkeypatch.setattr(Bench, "_moved", lambda self, student, request: {"cosine_forget": 1.0})
    monkeypatch.setattr(Bench, "teacher", SimpleNamespace(encoder=made.start))
    row = made.carry_out(Condition("natural", "cure", "lowest", 0.25))
    assert row["diverged"] == "the loss is not finite"
    assert (row["diverged_after"], row["accuracy_unseen"]) == (0, 0.5)


def test_rows_that_are_no_table_are_refused_before_any_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Bench, "carry_out", None)
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
    own = table[(table.order == "lowest") & (table.protocol == "unseen")].iloc[0]
    reach = 4.3027 * 0.01 / np.sqrt(3)
    assert own.change == pytest.approx(0.02)
    assert own.low == pytest.approx(0.02 - reach, abs=1e-5)
    assert own.high == pytest.approx(0.02 + reach, abs=1e-5)
    assert own.against_random == pytest.approx(0, abs=1e-12)
    assert own.against_p == pytest.approx(1)
    assert own.p == pytest.approx(0.0742, abs=1e-4)  # t = 2 sqrt(3) with 2 degrees of freedom


def test_groups_have_their_rate_over_everyones_and_their_change():
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
