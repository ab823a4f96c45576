from pathlib import Path

import pytest

from cure_study.erasure.setting import RequestSetting, setting_of

GIVEN = {"images": "faces", "forget": "list.txt", "weights": "w.safetensors"}


@pytest.mark.parametrize(
    ("forget", "epochs"),
    [(1, 200), (10, 200), (32, 200), (33, 100), (64, 100), (300, 20), (640, 10), (10_000, 10)],
)
def test_automatic_epochs_give_200_steps_and_at_least_10_epochs(forget, epochs):
    """Batches of 32: 300 images are 10 of them, so 20 epochs; 640 are 20, so 10."""
    assert RequestSetting(**GIVEN).config(forget, 1000).epochs == epochs


@pytest.mark.parametrize(("retain", "epochs"), [(400, 29), (1600, 8), (6400, 4)])
def test_blending_counts_passes_over_the_retain_set(retain, epochs):
    """In batches of 64: 400 images are 7 of them, so 29 epochs; 6,400 are 100, so its own 4."""
    setting = RequestSetting(**GIVEN, goal="blend")
    assert setting.method == "blend"
    assert setting.config(10, retain).retain_epochs == epochs


def test_given_epochs_are_kept():
    setting = RequestSetting(**GIVEN, unlearning={"epochs": 3})
    assert setting.config(10, 10).epochs == 3


def test_the_seed_of_the_request_is_that_of_unlearning_and_of_the_oracle():
    setting = RequestSetting(**GIVEN, seed=7)
    assert (setting.config(5, 5).seed, setting.recipe().seed) == (7, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forget": ""}, "forget=''; it is a path"),
        ({"images": None}, "images=None; it is a path"),
        ({"weights": None}, "no weights are given"),
        ({"after": "earlier"}, "give one"),
        ({"goal": "blend_in"}, "goal='blend_in'; did you mean 'blend'.*there are erase, blend"),
        ({"goal": "blend", "method": "cure"}, "method='cure' is meant for goal='erase'"),
        ({"method": "redistil"}, "meant for goal='blend', not for goal='erase'.*'cure_plus'"),
        ({"method": "cure_pluss"}, "did you mean 'cure_plus'"),
        ({"method": "supervised_scrub"}, "needs identity labels"),
        ({"oracle": True}, "oracle=True trains with identity labels"),
        ({"unlearning": {"epoch": 3}}, "unlearning has no field 'epoch'; did you mean 'epochs'"),
        ({"unlearning": {"epochs": 0}}, "epochs=0"),
        ({"unlearning": {"seed": 4}}, "set the request's seed"),
        ({"teacher": {"margn": 0.1}}, "did you mean 'margin'"),
        ({"seed": -1}, "seed=-1"),
        ({"n_bootstrap": 1.5}, "n_bootstrap=1.5"),
    ],
)
def test_errors_name_the_setting_and_what_is_accepted(changes, message):
    with pytest.raises(ValueError, match=message):
        RequestSetting(**{**GIVEN, **changes})


def test_a_config_file_makes_the_same_setting_from_anywhere(monkeypatch, tmp_path):
    setting = RequestSetting(**GIVEN, identities="people.csv", unlearning={"epochs": 3})
    plain, here = setting.plain(), Path.cwd()
    monkeypatch.chdir(tmp_path)
    again = setting_of(plain)
    assert again.images == here / "faces"
    assert again.identities == str(here / "people.csv")
    assert again.plain() == plain
