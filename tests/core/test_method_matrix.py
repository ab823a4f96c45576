"""Every method on every encoder, and every method killed after a step and resumed."""

import numpy as np
import pandas as pd
import pytest
import torch
from failing_step import failing_step
from torch import nn

from cure_core import encoders, unlearning
from cure_core.encoders import REGISTRY
from cure_core.encoders.embedding import embed
from cure_core.objectives import METHODS, build
from cure_core.training import loop
from cure_core.training.batchnorm_recalibration import recalibrate_batchnorm
from cure_core.unlearning import CureConfig, unlearn

CONFIG = CureConfig(clusters=2, epochs=2, batch_size=(4, 4), learning_rate=1e-3)
LABELS = {"forget_labels": [0, 0, 0, 0, 1, 1, 1, 1], "retain_labels": [2] * 4 + [3] * 4}
SETTINGS = {
    "ssd": {"alpha": 1.0},  # half of the images go: nothing is twice as important to them
    "laf": {"steps": 3},
    "supervised_scrub": LABELS,
    "supervised_neg_grad_plus": LABELS,
}


RETRAINED = [name for name in METHODS if not METHODS[name].shows_forget]


def method(name):
    return build(name, **SETTINGS.get(name, {}))


@pytest.fixture
def sets(draw_faces):
    images, _ = draw_faces(4, 4)
    return images[:8], images[8:]


def marked(pairs, fast):
    """The pairs, those that `fast` does not choose marked slow."""
    return [pair if fast(*pair) else pytest.param(*pair, marks=pytest.mark.slow) for pair in pairs]


ENCODERS = marked(
    [(name, encoder) for encoder in REGISTRY for name in METHODS],
    lambda name, encoder: (name, encoder) == ("cure_plus", "small"),
)


@pytest.mark.parametrize(("name", "encoder"), ENCODERS)
def test_every_method_takes_a_step_on_every_encoder(name, encoder, sets):
    teacher = encoders.build(encoder)
    config = CureConfig(clusters=2, epochs=1, retain_epochs=1, batch_size=(4, 4))
    few = [images[::2] for images in sets]
    recalibrate_batchnorm(teacher, sets[1], torch.Generator())  # or a deep untrained one overflows
    labels = {side: given[::2] for side, given in LABELS.items()} if "sup" in name else {}
    objective = build(name, **{**SETTINGS.get(name, {}), **labels})
    result = unlearn(teacher, *few, config, objective=objective, progress=False)
    assert len(result.history) == (name != "ssd")
    assert embed(result.student, sets[0]).isfinite().all()
    before, after = teacher.state_dict(), result.student.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    frozen = [key for key, p in teacher.named_parameters() if not p.requires_grad]
    assert frozen == (["features.weight"] if encoder.startswith("iresnet") else [])
    assert all(torch.equal(before[key], after[key]) for key in frozen)


@pytest.mark.parametrize("name", METHODS)
def test_a_frozen_and_an_unused_parameter_stay_as_they_are(name, sets, tiny_encoder):
    """As iresnet's last scale, which is frozen, and a layer that the forward pass leaves out."""
    teacher = tiny_encoder()
    teacher.unused = nn.Linear(2, 2)
    teacher.project.bn.weight.requires_grad_(False)
    student = unlearn(teacher, *sets, CONFIG, objective=method(name)).student
    for before, after in (
        (teacher.project.bn.weight, student.project.bn.weight),
        (teacher.unused.weight, student.unused.weight),
    )[: 1 if name in RETRAINED else 2]:  # those shrink every layer
        assert torch.equal(before, after)
    assert not torch.equal(teacher.project.conv.weight, student.project.conv.weight)


# Each method in one mode, and in both where every mode is tried.
RESUMED = marked(
    [
        (name, mode)
        for name in METHODS
        for mode in (("train",) if name in RETRAINED else ("train", "frozen"))
    ],
    lambda name, mode: name in RETRAINED or mode == ("train", "frozen")[len(name) % 2],
)


@pytest.mark.parametrize(("name", "batchnorm"), RESUMED)
def test_every_method_is_resumed_to_the_last_bit_with_dropout(
    name, batchnorm, sets, tiny_encoder, tmp_path, monkeypatch
):
    """Killed after the third of four steps, the first of the second epoch."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    teacher = tiny_encoder()
    teacher.stages.append(nn.Dropout(0.3))
    size = 2 if name in RETRAINED else 4  # 8 images in two steps
    config = CureConfig(
        clusters=2,
        epochs=2,
        retain_epochs=2,
        batch_size=(size, size),
        learning_rate=1e-3,
        batchnorm=batchnorm,
    )
    path = tmp_path / "run.pt"
    torch.manual_seed(3)
    whole = unlearn(teacher, *sets, config, objective=method(name))

    torch.rand(5)
    with failing_step(4) as steps:
        if name == "ssd":  # takes no step
            unlearn(teacher, *sets, config, objective=method(name), checkpoint=path)
        else:
            with pytest.raises(KeyboardInterrupt):
                unlearn(teacher, *sets, config, objective=method(name), checkpoint=path)
            assert len(steps) == 4
    torch.rand(7)
    resumed = unlearn(teacher, *sets, config, objective=method(name), checkpoint=path)
    ours, theirs = whole.student.state_dict(), resumed.student.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    pd.testing.assert_frame_equal(whole.history, resumed.history, check_exact=True)
    assert whole.summary == resumed.summary
    assert any(not torch.equal(ours[key], tensor) for key, tensor in teacher.state_dict().items())
    assert embed(whole.student, sets[0]).isfinite().all()
    assert np.isfinite(whole.history).all(axis=None)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ssd", {"alpha": -1.0}, "alpha=-1.0"),
        ("ssd", {"lambda_": float("nan")}, "lambda_=nan"),
        ("ssd", {"batch_size": 0}, "batch_size=0"),
        ("laf", {"steps": 0}, "steps=0"),
        ("laf", {"kl_weight": float("inf")}, "kl_weight=inf"),
        ("scrub", {"ascent": 1.5}, "ascent=1.5"),
        ("cure_scatter", {"scatter_temperature": 0.0}, "scatter_temperature=0.0"),
        ("supervised_scrub", {**LABELS, "noise": 2.0}, "noise=2.0"),
        ("supervised_scrub", {**LABELS, "ascent": -0.1}, "ascent=-0.1"),
        ("supervised_scrub", {**LABELS, "forget_labels": [0.5] * 8}, "forget_labels holds float64"),
        ("ssd", {"alpha": "2"}, "alpha='2'"),
        ("laf", {"hidden": 1.5}, "hidden=1.5"),
    ],
)
def test_a_method_names_the_setting_that_is_out_of_range(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)(CONFIG)


def test_labels_for_other_images_are_refused_before_any_work(sets, tiny_encoder, monkeypatch):
    monkeypatch.setattr(unlearning, "teacher_views", None)
    labels = {"forget_labels": [0, 1], "retain_labels": [2] * 8}
    with pytest.raises(ValueError, match="2 and 8 labels for 8 forget and 8 retain images"):
        unlearn(tiny_encoder(), *sets, CONFIG, objective=build("supervised_scrub", **labels))
