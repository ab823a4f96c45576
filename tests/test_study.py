from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cure_core import encoders, study
from cure_core.encoders import SmallEncoder
from cure_core.faces.faceset import FaceSet
from cure_core.recognition import Recipe, Trained
from cure_core.requests import ForgetRequestError
from cure_core.unlearning import CureConfig

SETTING = study.Setting(
    encoder="tiny",
    forget_people=3,
    split={"min_images": 6, "outsiders": 4, "heldout": 0.3},
    recipe=Recipe(epochs=1, batch_size=16),
    config=CureConfig(clusters=(2, 3), epochs=1, batch_size=(8, 8)),
    n_pairs=20,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))


@pytest.fixture
def faces(draw_faces):
    images, identities = draw_faces(people=14, each=7)
    return FaceSet("painted", images, identities, "abc")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(study, "train_cached", refuse)


def parts(case):
    protocol = case.protocol
    return [
        case.split.train, case.split.heldout, case.split.outsiders,
        case.request.forget_index, case.request.retain_index,
        protocol.members, protocol.probes,
        *(side for pairs in protocol.pairs.values() for side in (pairs.left, pairs.right)),
    ]  # fmt: skip


def weights(case):
    return [tensor.numpy() for tensor in case.start.state_dict().values()]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_seed_repeats_its_case_and_another_draws_anew(faces):
    first, again, other = (study.prepare(faces, SETTING, seed) for seed in (3, 3, 4))
    assert same(parts(first), parts(again))
    assert same(weights(first), weights(again))
    for a, b in zip(parts(first)[:5], parts(other)[:5], strict=True):
        assert not np.array_equal(a, b)
    assert not same(weights(first), weights(other))
    assert (first.config.seed, other.config.seed) == (3, 4)


def test_recipe_and_config_change_nothing_about_the_draw(faces):
    longer = replace(SETTING, recipe=Recipe(epochs=9), config=CureConfig(epochs=7))
    one, two = study.prepare(faces, SETTING, 0), study.prepare(faces, longer, 0)
    assert same(parts(one), parts(two))
    assert two.config.epochs == 7


def test_a_case_is_of_the_people_asked_for(faces):
    case = study.prepare(faces, SETTING, 0)
    people = faces.identities
    gone, stay = set(people[case.request.forget_index]), set(people[case.request.retain_index])
    assert (len(gone), len(stay)) == (3, 14 - 4 - 3)
    assert gone.isdisjoint(stay)
    assert np.array_equal(
        np.union1d(case.request.forget_index, case.request.retain_index), case.split.train
    )


def test_the_oracle_starts_alike_and_never_sees_the_forgotten(faces, monkeypatch):
    seen = {}

    def record(start, images, people, recipe, **_):
        seen[len(seen)] = (start, images.index, people, recipe)
        return Trained(start, (), 0.0)

    monkeypatch.setattr(study, "train_cached", record)
    case = study.prepare(faces, SETTING, 3)
    study.train_teacher(case)
    study.train_oracle(case)
    (start, index, people, recipe), (oracle_start, oracle_index, oracle_people, oracle_recipe) = (
        seen.values()
    )
    assert set(index) == set(case.split.train)
    assert set(oracle_index) == set(case.split.train) - set(case.request.forget_index)
    assert np.array_equal(people, faces.identities[index])
    assert np.array_equal(oracle_people, faces.identities[oracle_index])
    assert set(oracle_people).isdisjoint(faces.identities[case.request.forget_index])
    assert oracle_start is start
    assert oracle_recipe == recipe == replace(SETTING.recipe, seed=3)
    for held_out in (case.split.heldout, case.split.outsiders):
        assert not set(index) & set(held_out)


def test_missing_weights_are_named_before_any_training(faces, tmp_path, monkeypatch, no_training):
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path / "data"))
    setting = replace(SETTING, weights="models/none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"data/models/none\.safetensors"):
        study.run(faces, setting, 0)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"forget_people": 10}, ForgetRequestError, "cannot forget 10 of 10 people"),
        ({"split": {"min_images": 8}}, ValueError, "0 people have 8 images"),
        ({"encoder": "none"}, ValueError, "no encoder 'none'"),
        ({"method": "none"}, (KeyError, ValueError), "no method 'none'"),
    ],
)
def test_what_cannot_be_is_said_before_any_training(faces, no_training, change, error, said):
    with pytest.raises(error, match=said):
        study.run(faces, replace(SETTING, **change), 0)


def test_a_run_from_draw_to_rows(faces):
    """The whole way on tiny things, and again from the cache: the same numbers."""
    outcome, again = (study.run(faces, SETTING, 1, n_bootstrap=0, progress=False) for _ in range(2))
    tidy = outcome.tidy()
    assert {
        "dataset", "request", "method", "seed", "seconds", "seconds_oracle", "clusters_forget",
    } <= set(tidy.columns)  # fmt: skip
    assert set(tidy.model) == {"before", "after", "oracle"}
    assert set(tidy.seed) == {1}
    assert set(tidy.method) == {SETTING.method}
    assert tidy.clusters_forget.unique().tolist() == [2]
    assert tidy.value.notna().all()
    assert again.teacher.seconds == outcome.teacher.seconds  # of the one real training
    assert again.oracle.seconds == outcome.oracle.seconds
    varying = [name for name in tidy.columns if not name.startswith("seconds")]
    pd.testing.assert_frame_equal(again.tidy()[varying], tidy[varying])
    assert outcome.history()[["epoch", "seed"]].to_numpy().tolist() == [[1, 1]]
    assert repr(outcome).startswith("Outcome(seed 1: UES(")


def test_another_setting_has_another_digest(faces):
    """Rows of runs that differ in any number can be told apart."""
    case = study.prepare(faces, SETTING, 0)

    def setting(case):
        outcome = study.Outcome(case, TRAINED, RESULT, TRAINED, ROWS)
        return outcome.tidy()["setting"]

    one, two = setting(case), setting(replace(case, setting=replace(SETTING, n_pairs=21)))
    assert one == setting(study.prepare(faces, SETTING, 1))
    assert one != two


class Result:
    seconds, facts = 1.0, {}


class Rows:
    def tidy(self, **context):
        return context


TRAINED, RESULT, ROWS = Trained(None, (), 2.0), Result(), Rows()


@pytest.mark.parametrize("kind", study.REQUESTS)
def test_every_kind_of_request_takes_from_the_training_images(faces, kind, monkeypatch):
    monkeypatch.setattr(study, "train_cached", lambda start, *_, **__: Trained(start, (), 0.0))
    case = study.prepare(faces, replace(SETTING, request=kind), 0)
    gone, stay = case.request.forget_index, case.request.retain_index
    assert np.array_equal(np.union1d(gone, stay), case.split.train)
    assert len(gone) == 3 * len(case.split.train) / 10  # all have as many images
    people = faces.identities
    whole = set(people[gone]).isdisjoint(people[stay])
    assert whole == (kind != "random_samples")


def test_an_unknown_request_is_told_before_any_training(faces, no_training):
    with pytest.raises(ValueError, match=r"request='everyone'; there are random_people"):
        study.prepare(faces, replace(SETTING, request="everyone"), 0)
