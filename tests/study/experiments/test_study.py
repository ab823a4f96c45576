from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import small_study
import torch
from small_study import painted

from cure_core import encoders
from cure_core.encoders import SmallEncoder
from cure_core.training.arcface import Recipe, Trained
from cure_core.unlearning import CureConfig, unlearn
from cure_study.data.requests import ForgetRequestError
from cure_study.experiments import study
from cure_study.paths import cache_root

SETTING = replace(small_study.SETTING, encoder="tiny")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))


@pytest.fixture
def faces(draw_faces):
    return painted(draw_faces)


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
        ({"method": "none"}, (KeyError, ValueError), "method='none'; there are cure"),
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
    seconds, summary = 1.0, {}


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


@pytest.mark.parametrize("kind", study.REQUESTS)
@pytest.mark.parametrize("count", [10, 900])
def test_more_people_than_there_are_is_an_error_before_any_training(
    faces, no_training, kind, count
):
    setting = replace(SETTING, request=kind, forget_people=count)
    with pytest.raises(ForgetRequestError, match=f"cannot forget {count} of 10 people"):
        study.prepare(faces, setting, 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *(
            ("forget_people", value, "a whole number, 1 or more")
            for value in (0, -3, "3", 1.5, True)
        ),
        ("n_pairs", 0, "a whole number, 1 or more"),
        ("processes", None, "a whole number, 1 or more"),
        ("request", "random_peopel", "did you mean 'random_people'"),
        ("encoder", None, "it is text"),
        ("weights", 3, "it is text"),
        ("recipe", {"epochs": 1}, "pass a Recipe"),
        ("config", None, "pass a CureConfig"),
        ("split", None, "a mapping of min_images"),
        ("split", {"min_image": 5}, "did you mean 'min_images'"),
        ("split", {"heldout": 1}, "heldout=1"),
    ],
)
def test_a_setting_is_checked_on_construction(field, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        study.StudySetting(**{field: value})
    assert field in str(caught.value) or field == "split"  # whose own fields are named


PARAMETERS = {
    "dataset": "synthfaces", "encoder": "small", "weights": None, "split": {}, "forget_people": 2,
    "teacher": {"epochs": 3}, "method": "cure", "unlearning": {"epochs": 4}, "n_pairs": 9,
    "device": None, "processes": 1,
}  # fmt: skip


def test_a_setting_from_parameters():
    setting = study.setting_of(PARAMETERS | {"seeds": [0], "split": {"outsiders": 7}})
    assert (setting.recipe.epochs, setting.config.epochs, setting.n_pairs) == (3, 4, 9)
    assert setting.split["outsiders"] == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": None}, "teacher=None; it is a mapping of epochs"),
        ({"teacher": {"epochz": 3}}, "teacher has no field 'epochz'; did you mean 'epochs'"),
        ({"teacher": {"epochs": "3"}}, "teacher: epochs='3'"),
        ({"unlearning": [1]}, r"unlearning=\[1\]; it is a mapping of clusters"),
        ({"unlearning": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"unlearning": {"epochs": "three"}}, "unlearning: "),
        ({"split": {"outsider": 1}}, "split has no field 'outsider'; did you mean 'outsiders'"),
        ({"forget_people": "many"}, "forget_people='many'"),
    ],
)
def test_a_wrong_parameter_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        study.setting_of(PARAMETERS | change)
    with pytest.raises(ValueError, match="the parameters lack teacher, n_pairs"):
        study.setting_of({n: v for n, v in PARAMETERS.items() if n not in ("teacher", "n_pairs")})


def test_a_finished_student_is_read_from_the_cache_with_all_that_came_of_it(faces, monkeypatch):
    case = study.prepare(faces, SETTING, 0)
    teacher = Trained(case.start, (), 0.0)
    made = []

    def counted(*args, **options):
        made.append(unlearn(*args, **options))
        return made[-1]

    monkeypatch.setattr(study, "unlearn", counted)
    first, again = (study.forget(case, teacher, False) for _ in range(2))
    (real,) = made
    expected = real.student.state_dict()
    for result in (first, again):
        pd.testing.assert_frame_equal(result.history, real.history, check_exact=True)
        assert (result.summary, result.config) == (real.summary, real.config)
        assert result.seconds == real.seconds
        assert not result.student.training
        for name, tensor in result.student.state_dict().items():
            assert torch.equal(tensor, expected[name])
            assert tensor.is_contiguous()  # safetensors saves nothing else
    kept = {p.parent.name for p in cache_root().rglob("*") if p.is_file() and p.suffix != ".lock"}
    assert kept == {"students"}  # no checkpoint of what is done


def test_a_method_that_takes_no_step_comes_back_too(faces):
    case = study.prepare(faces, replace(SETTING, method="ssd"), 0)
    first, again = (study.forget(case, Trained(case.start, (), 0.0), False) for _ in range(2))
    pd.testing.assert_frame_equal(first.history, again.history)
    assert len(again.history) == 0


def test_a_damaged_student_is_made_again(faces):
    case = study.prepare(faces, SETTING, 0)
    teacher = Trained(case.start, (), 0.0)
    first = study.forget(case, teacher, False)
    (kept,) = (cache_root() / "students").glob("*.safetensors")
    content = bytearray(kept.read_bytes())
    content[-3] ^= 4
    kept.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{kept.name} is damaged"):
        again = study.forget(case, teacher, False)
    for one, two in zip(first.student.parameters(), again.student.parameters(), strict=True):
        assert torch.equal(one, two)
