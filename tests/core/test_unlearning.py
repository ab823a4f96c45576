import ast
import multiprocessing
import os
import pickle
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from image_list import ImageList
from torch import nn

from cure_core import preflight, unlearning
from cure_core.encoders.embedding import embed
from cure_core.objectives import METHODS, Objective, build
from cure_core.runtime import amp, denormals
from cure_core.training.checkpoint import Checkpoint
from cure_core.training.loop import Loop
from cure_core.training.optimiser_step import optimiser_step
from cure_core.unlearning import CureConfig, UnlearningDivergedError
from cure_study.data import FaceSet
from cure_study.data.faceset import ImageView
from cure_study.experiments.clusters.drift import watch_drift

unlearn = partial(unlearning.unlearn, objective="cure")  # the objective that these terms are of
CONFIG = CureConfig(clusters=(3, 4), epochs=3, batch_size=(5, 8), learning_rate=1e-3)
TERMS = ["cosine", "contrastive_forget", "contrastive_retain", "matching", "distribution"]


@pytest.fixture
def teacher(tiny_encoder):
    return tiny_encoder()


@pytest.fixture
def sets(draw_faces):
    """Twelve images to forget, sixteen to retain."""
    images, _ = draw_faces(7, 4)
    return images[:12], images[12:]


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two encoders hold the same numbers, bit for bit."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def assert_same_run(a, b) -> None:
    assert same(a.student, b.student)
    pd.testing.assert_frame_equal(a.history, b.history, check_exact=True)


# No label is asked for.


class Sealed:
    """Labels that raise whatever is done with them."""

    def _touched(self, *args, **options):
        raise AssertionError("a label was touched")

    __getattr__ = __getitem__ = __len__ = __iter__ = __array__ = __bool__ = __eq__ = _touched


def test_no_label_is_reached(teacher, sets):
    """Arrays, memory-mapped views, data sets, and a face set whose identities raise: one result."""
    images = np.concatenate(sets)
    faces = FaceSet("sealed", images, Sealed(), "fingerprint", attributes=Sealed())  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="touched"):
        repr(faces)
    expected = unlearn(teacher, *sets, CONFIG)
    views = [ImageView(faces.images, index) for index in np.split(np.arange(28), [12])]
    assert_same_run(unlearn(teacher, *views, CONFIG), expected)
    whole = FaceSet("sealed", sets[0], Sealed(), "fingerprint")  # type: ignore[arg-type]
    assert_same_run(unlearn(teacher, whole, ImageList(sets[1]), CONFIG), expected)


ROOT = Path(unlearning.__file__).parent


@pytest.mark.parametrize(
    "file",
    [
        *("unlearning.py", "preflight.py", "cluster_count.py", "encoders/embedding.py"),
        *(
            f"{folder}/{path.name}"
            for folder in ("objectives", "runtime", "training")
            for path in sorted((ROOT / folder).glob("*.py"))
            if path.stem != "arcface"  # which trains with labels
        ),
    ],
)
def test_the_loop_imports_nothing_that_knows_labels(file):
    """Data goes one way: no face set, split, training or metric to the loop's left."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    names += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    labels = ("cure_study", "cure_core.metrics", "cure_core.training.arcface")
    assert not [name for name in names if name.startswith(labels) or name == "cure_core"]


# What comes back.


def test_the_student_moves_and_the_teacher_does_not(teacher, sets, tiny_encoder):
    result = unlearn(teacher, *sets, CONFIG)
    assert same(teacher, tiny_encoder())
    assert not teacher.training
    assert not result.student.training
    assert result.student is not teacher
    moved = result.student.state_dict()
    for name, tensor in teacher.named_parameters():
        assert not torch.equal(moved[name], tensor), name
    ids = {id(p) for p in teacher.parameters()}
    assert not any(id(p) in ids for p in result.student.parameters())
    assert repr(result).startswith("UnlearningResult(3 epochs in ")
    assert result.summary == {"clusters_forget": 3, "clusters_retain": 4}


def test_it_forgets_what_it_is_asked_to(teacher, sets):
    """The forget set ends farther from where the teacher had it than the retain set."""
    config = replace(CONFIG, epochs=20, learning_rate=5e-3)
    student = unlearn(teacher, *sets, config).student
    forget, retain = ((embed(student, x) * embed(teacher, x)).sum(1).mean() for x in sets)
    assert forget < 0.5 < retain


def test_history_has_a_row_an_epoch_and_every_term(teacher, sets):
    seen = []

    def on_epoch(student):
        seen.append(student)
        assert not student.training
        return {"spread": embed(student, sets[0]).std().item(), "calls": len(seen)}

    config = replace(CONFIG, weights={"matching": 5.0, "distribution": 0.5})
    history = unlearn(teacher, *sets, config, on_epoch).history
    assert list(history) == ["epoch", *TERMS, "loss", "gradient_norm", "spread", "calls"]
    assert history.epoch.tolist() == history.calls.tolist() == [1, 2, 3]
    weights = pd.Series(
        {
            "cosine": 1,
            "contrastive_forget": 1,
            "contrastive_retain": 1,
            "matching": 5,
            "distribution": 0.5,
        }
    )
    np.testing.assert_allclose(history[TERMS] @ weights[TERMS], history.loss, rtol=1e-5)


def test_watching_changes_nothing(teacher, sets):
    def restless(student):
        torch.rand(5)
        return {"spread": embed(student, sets[1]).std().item()}

    watched, alone = unlearn(teacher, *sets, CONFIG, restless), unlearn(teacher, *sets, CONFIG)
    assert same(watched.student, alone.student)
    assert watched.history[TERMS].equals(alone.history[TERMS])


def test_a_seed_repeats_bit_for_bit(teacher, sets):
    first = unlearn(teacher, *sets, CONFIG)
    torch.rand(11)
    assert_same_run(first, unlearn(teacher, *sets, CONFIG))
    assert not same(first.student, unlearn(teacher, *sets, replace(CONFIG, seed=1)).student)


def test_a_shorter_run_is_the_start_of_a_longer(teacher, sets):
    long, short = (unlearn(teacher, *sets, replace(CONFIG, epochs=e)) for e in (3, 2))
    pd.testing.assert_frame_equal(long.history[:2], short.history, check_exact=True)


# What cannot be done is said.


@pytest.mark.parametrize(
    ("clusters", "numbers"),
    [((13, 4), "13.* 12 "), ((3, 17), "17.* 16 ")],
)
def test_more_clusters_than_samples_names_both_numbers(teacher, sets, clusters, numbers):
    with pytest.raises(ValueError, match=numbers):
        unlearn(teacher, *sets, replace(CONFIG, clusters=clusters))


@pytest.mark.parametrize("side", [0, 1])
def test_an_empty_side_is_named(teacher, sets, side):
    emptied = [x[:0] if i == side else x for i, x in enumerate(sets)]
    with pytest.raises(ValueError, match=f"the {('forget', 'retain')[side]} set is empty"):
        unlearn(teacher, *emptied, CONFIG)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda x: x.astype(np.float32), "float32 images of shape .112, 112, 3"),
        (lambda x: np.moveaxis(x, 3, 1), "uint8 images of shape .3, 112, 112"),
        (lambda x: x[..., 0], "uint8 images of shape .112, 112"),
    ],
)
def test_images_of_another_kind_are_refused(teacher, sets, wrong, named):
    for side, name in enumerate(("forget", "retain")):
        given = [wrong(x) if i == side else x for i, x in enumerate(sets)]
        with pytest.raises(ValueError, match=f"the {name} set holds {named}"):
            unlearn(teacher, *given, CONFIG)


def test_a_data_set_that_also_yields_labels_is_refused(teacher, sets):
    labelled = [(image, 3) for image in sets[0]]
    with pytest.raises(ValueError, match="the forget set yields tuple"):
        unlearn(teacher, labelled, sets[1], CONFIG)


def test_numpys_integers_are_numbers_of_clusters(teacher, sets):
    config = replace(CONFIG, epochs=1, clusters=np.int64(3))
    assert unlearn(teacher, *sets, config).summary == {"clusters_forget": 3, "clusters_retain": 3}


def test_an_unknown_weight_is_named_with_those_there_are(teacher, sets):
    with pytest.raises(ValueError, match=f"no loss term cosin in Cure; .*{', '.join(TERMS)}"):
        unlearn(teacher, *sets, replace(CONFIG, weights={"cosin": 1.0}))


def test_weights_that_are_all_zero_are_refused(teacher, sets):
    with pytest.raises(ValueError, match="every weight is 0"):
        unlearn(teacher, *sets, replace(CONFIG, weights=dict.fromkeys(TERMS, 0.0)))


def test_a_damaged_teacher_is_refused(teacher, sets):
    with torch.no_grad():
        teacher.project.conv.weight[0] = torch.nan
    with pytest.raises(ValueError, match="12 images are not finite"):
        unlearn(teacher, *sets, CONFIG)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"temperature": 0.0},
        {"learning_rate": -1.0},
        {"clip": 0.0},
        {"check_every": 0},
        {"tau": -1},
        {"batch_size": (0, 4)},
        {"batchnorm": "eval"},
        {"clusters": "many"},
        {"clusters": (3, 4, 5)},
        {"clusters": 3.5},
        {"clusters": 1},
        {"clusters": (3, True)},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"learning_rate": "1e-3"},  # text, as YAML 1.1 reads it
        {"epochs": "10"},
        {"epochs": 10.0},
        {"epochs": True},
        {"batch_size": 32},
        {"batch_size": (3, True)},
        {"batch_size": (32.0, 32)},
        {"weights": None},
        {"weights": {"cosine": float("nan")}},
        {"weights": {"cosine": "1"}},
        {"weights": {"cosine": -1.0}},
        {"seed": -1},
        {"seed": 2**32},
        {"amp": 1},
        {"compile": "no"},
        {"channels_last": 0},
        {"tau": None},
        {"clip": None},
        {"batchnorm": True},
    ],
)
def test_a_config_that_makes_no_sense_names_the_setting(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        CureConfig(**wrong)


# The loop, seen through objectives made for it.


class Recorder(Objective):
    """Pulls both sides to a fixed direction, and writes down what the loop does with it."""

    weights = {"pull": 1.0}  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.epochs, self.steps, self.batches = [], 0, []
        Recorder.last = self

    def start(self, setup):
        self.setup = setup

    def begin_epoch(self, epoch, student_forget):
        self.epochs.append((epoch, self.steps, student_forget()))

    def terms(self, batch):
        self.steps += 1
        self.batches.append(batch)
        return {"pull": 1 - torch.cat([batch.student_forget, batch.student_retain])[:, 0]}


def test_an_epoch_begins_with_the_student_that_the_last_one_left(teacher, sets):
    """12 images in batches of 5 are 3 steps an epoch, and 3 epochs run."""
    students = [embed(teacher, sets[0])]

    def on_epoch(student):
        students.append(embed(student, sets[0]))
        return {}

    unlearn(teacher, *sets, CONFIG, on_epoch, objective=Recorder)
    assert [(epoch, steps) for epoch, steps, _ in Recorder.last.epochs] == [(0, 0), (1, 3), (2, 6)]
    for student, (_, _, shown) in zip(students[:-1], Recorder.last.epochs, strict=True):
        assert torch.equal(shown, student)


def test_the_objective_is_given_the_student_and_both_views_of_the_teacher(teacher, sets):
    """The views are the two that the batches name."""
    config = replace(CONFIG, epochs=1, batch_size=(12, 16))
    student = unlearn(teacher, *sets, config, objective=Recorder).student
    setup, batch = Recorder.last.setup, Recorder.last.batches[0]
    assert setup.student is student
    assert setup.forget is sets[0]
    assert setup.retain is sets[1]
    for views, images in ((setup.forget_views, sets[0]), (setup.retain_views, sets[1])):
        assert torch.equal(views[0], embed(teacher, images))
        mirrors = embed(teacher, images[:, :, ::-1])
        torch.testing.assert_close(views[1], mirrors, atol=1e-5, rtol=0)
    forget = setup.forget_views[batch.forget_view, batch.forget_index]
    retain = setup.retain_views[batch.retain_view, batch.retain_index]
    assert torch.equal(forget, batch.teacher_forget)
    assert torch.equal(retain, batch.teacher_retain)
    assert set(batch.forget_view.tolist()) == set(batch.retain_view.tolist()) == {0, 1}


class Shrinks(Objective):
    """Without terms: changes the student at the start and is done."""

    def start(self, setup):
        with torch.no_grad():
            setup.student.project.conv.weight.mul_(0.5)


def test_an_objective_without_terms_takes_no_step(teacher, sets, tmp_path):
    before = teacher.project.conv.weight.clone()
    result = unlearn(teacher, *sets, CONFIG, objective=Shrinks, checkpoint=tmp_path / "run.pt")
    assert torch.equal(result.student.project.conv.weight, before / 2)
    assert torch.equal(result.student.stem.conv.weight, teacher.stem.conv.weight)
    assert not result.student.training
    assert len(result.history) == 0


def test_every_epoch_shows_each_forget_sample_once_beside_retain_samples(teacher, sets):
    unlearn(teacher, *sets, replace(CONFIG, epochs=2), objective=Recorder)
    batches = Recorder.last.batches
    sizes = [(len(b.student_forget), len(b.student_retain)) for b in batches]
    assert sizes == [(5, 8), (5, 8), (2, 8)] * 2
    for epoch in (batches[:3], batches[3:]):
        shown = torch.cat([b.forget_index for b in epoch])
        assert sorted(shown.tolist()) == list(range(12))
    assert all(0 <= i < 16 for b in batches for i in b.retain_index.tolist())
    orders = [torch.cat([b.forget_index for b in e]).tolist() for e in (batches[:3], batches[3:])]
    assert orders[0] != orders[1]


def test_batches_larger_than_a_set_are_cut_to_it(teacher, sets):
    config = replace(CONFIG, batch_size=(500, 700), epochs=2)
    unlearn(teacher, *sets, config, objective=Recorder)
    sizes = [(len(b.student_forget), len(b.student_retain)) for b in Recorder.last.batches]
    assert sizes == [(12, 16), (12, 16)]


def test_the_teachers_embedding_is_of_the_view_the_student_sees(teacher, sets):
    """At the first step, batch norm frozen, both are the same, mirrored images among them."""
    config = replace(CONFIG, batchnorm="frozen", epochs=1, batch_size=(12, 16))
    unlearn(teacher, *sets, config, objective=Recorder)
    batch = Recorder.last.batches[0]
    torch.testing.assert_close(batch.student_forget, batch.teacher_forget, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.student_retain, batch.teacher_retain, atol=1e-5, rtol=0)
    plain = embed(teacher, sets[0])[batch.forget_index]
    unmirrored = (plain - batch.teacher_forget).abs().amax(1) < 1e-5
    assert 0 < unmirrored.sum() < 12


def statistics(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t for n, t in encoder.named_buffers() if "running" in n or "tracked" in n}


def test_frozen_batch_norm_keeps_the_teachers_statistics_and_train_moves_them(teacher, sets):
    frozen, trained = (
        unlearn(teacher, *sets, replace(CONFIG, batchnorm=mode)).student
        for mode in ("frozen", "train")
    )
    known = statistics(teacher)
    assert known
    assert all(torch.equal(t, known[n]) for n, t in statistics(frozen).items())
    assert not any(torch.equal(t, known[n]) for n, t in statistics(trained).items())
    assert not torch.equal(frozen.stem.bn.weight, teacher.stem.bn.weight)


def test_cosine_alone_has_no_gradient_at_the_start(teacher, sets):
    """Student = teacher is the maximum of the cosine; CURE's centroid term breaks the tie."""
    only = {**dict.fromkeys(TERMS, 0.0), "cosine": 1.0}
    config = replace(CONFIG, batchnorm="frozen", epochs=1, batch_size=(12, 16), weights=only)
    alone = unlearn(teacher, *sets, config).history.iloc[0]
    assert alone.cosine == pytest.approx(1, abs=1e-5)
    whole = unlearn(teacher, *sets, replace(config, weights={})).history.iloc[0]
    assert alone.gradient_norm < 1e-4 * whole.gradient_norm


# Divergence.


class Breaks(Recorder):
    """As Recorder until its fifth step, in the second epoch; from there not a number."""

    def terms(self, batch):
        terms = super().terms(batch)
        return terms if self.steps < 5 else {"pull": terms["pull"] * torch.nan}


@pytest.mark.parametrize(("check_every", "step"), [(1, 2), (2, 2), (50, 3)])
def test_divergence_says_when_and_keeps_the_last_good_student(teacher, sets, check_every, step):
    """3 steps an epoch: the fifth is the second of epoch 2."""
    config = replace(CONFIG, check_every=check_every)
    with pytest.raises(UnlearningDivergedError, match=f"epoch 2, by step {step}") as caught:
        unlearn(teacher, *sets, config, objective=Breaks)
    assert "learning_rate=0.001" in str(caught.value)
    good = unlearn(teacher, *sets, replace(config, epochs=1), objective=Recorder)
    assert_same_run(caught.value, good)
    assert not caught.value.student.training


def test_divergence_in_the_first_epoch_gives_the_teacher_back(teacher, sets):
    class AtOnce(Recorder):
        def terms(self, batch):
            return {"pull": batch.student_forget[:, 0] * torch.inf}

    with pytest.raises(UnlearningDivergedError, match="epoch 1, ") as caught:
        unlearn(teacher, *sets, CONFIG, objective=AtOnce)
    assert same(caught.value.student, teacher)
    assert len(caught.value.history) == 0


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("batch", [(5, 8), (12, 16)], ids=["three-steps", "one-step"])
def test_a_huge_learning_rate_diverges_by_name(teacher, sets, batch, batchnorm):
    config = replace(CONFIG, learning_rate=1e30, batch_size=batch, batchnorm=batchnorm)
    with pytest.raises(UnlearningDivergedError, match="lower learning_rate=1e") as caught:
        unlearn(teacher, *sets, config)
    assert embed(caught.value.student, sets[0]).isfinite().all()


# Interrupted and taken up again.


def probe(student) -> dict[str, float]:
    return {"stem": student.stem.conv.weight.abs().sum().item()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch")
def test_killed_and_resumed_is_the_same_to_the_last_bit(teacher, sets, tmp_path):
    """After two epochs are saved the child waits in the third to be killed."""
    config, checkpoint = replace(CONFIG, epochs=5, tau=2), tmp_path / "runs" / "run.pt"
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def run_until_killed():
        epochs = []

        def on_epoch(student):
            epochs.append(student)
            if len(epochs) == 3:
                ready.set()
                time.sleep(600)
            return probe(student)

        unlearn(teacher, *sets, config, on_epoch, checkpoint=checkpoint)

    child = context.Process(target=run_until_killed, daemon=True)
    child.start()
    whole = unlearn(teacher, *sets, config, probe)
    assert ready.wait(120), "the run ended before it could be killed"
    child.kill()
    child.join()
    assert child.exitcode == -9
    assert len(torch.load(checkpoint, weights_only=True)["state"]["history"]) == 2

    counted = []
    resumed = unlearn(
        teacher, *sets, config, lambda s: counted.append(s) or probe(s), checkpoint=checkpoint
    )
    assert len(counted) == 3  # epochs 3, 4 and 5; the first two were not run again
    assert_same_run(resumed, whole)
    assert sorted(os.listdir(checkpoint.parent)) == ["run.pt", "run.pt.1"]


@pytest.mark.parametrize(
    ("fails_in", "settings"),
    [
        (1, {}),
        (3, {}),
        (3, {"clusters": "auto", "batchnorm": "frozen"}),
        # Taken up where no renewal is due: the centroids of the last one have to be in the file.
        (4, {"epochs": 4, "tau": 2, "learning_rate": 0.02}),
    ],
)
def test_an_error_in_any_epoch_can_be_resumed_from(teacher, sets, tmp_path, fails_in, settings):
    config, path, calls = replace(CONFIG, **settings), tmp_path / "run.pt", []

    def fails(student):
        calls.append(student)
        if len(calls) == fails_in:
            raise KeyboardInterrupt
        return probe(student)

    with pytest.raises(KeyboardInterrupt):
        unlearn(teacher, *sets, config, fails, checkpoint=path)
    resumed = unlearn(teacher, *sets, config, probe, checkpoint=path)
    assert_same_run(resumed, unlearn(teacher, *sets, config, probe))


def test_a_path_without_a_suffix_will_do(teacher, sets, tmp_path):
    """torch.save to a hidden name without a suffix fails, and temporary names are hidden."""
    first = unlearn(teacher, *sets, replace(CONFIG, epochs=1), checkpoint=tmp_path / "run")
    again = unlearn(teacher, *sets, replace(CONFIG, epochs=1), checkpoint=str(tmp_path / "run"))
    assert_same_run(again, first)


@pytest.mark.parametrize("mode", [False, True], ids=["eval", "train"])
def test_a_finished_run_is_not_run_again(teacher, sets, tmp_path, mode):
    path = tmp_path / "run.pt"
    teacher.train(mode)
    first = unlearn(teacher, *sets, CONFIG, probe, checkpoint=path)

    def never(student):
        raise AssertionError("an epoch was run")

    again = unlearn(teacher, *sets, CONFIG, never, checkpoint=path)
    assert_same_run(again, first)
    assert again.summary == first.summary
    assert not again.student.training


def test_values_from_numpy_can_be_resumed(teacher, sets, tmp_path):
    """Metrics return numpy's numbers; a checkpoint that holds them must still be read."""

    def on_epoch(student):
        return {"median": np.float64(0.5), "count": np.int64(3), "single": np.float32(0.25)}

    path = tmp_path / "run.pt"
    config = replace(CONFIG, learning_rate=np.float64(1e-3), weights={"cosine": np.float32(0.5)})
    first = unlearn(teacher, *sets, config, on_epoch, checkpoint=path)
    again = unlearn(teacher, *sets, config, on_epoch, checkpoint=path)
    assert same(first.student, again.student)
    pd.testing.assert_frame_equal(first.history, again.history, check_dtype=False)


def test_a_checkpoint_of_another_run_is_refused_and_kept(teacher, sets, tmp_path, tiny_encoder):
    path = tmp_path / "run.pt"
    unlearn(teacher, *sets, replace(CONFIG, epochs=1), checkpoint=path)
    before = path.read_bytes()
    pixel = sets[0].copy()
    pixel[3, 5, 5, 0] += 1
    config = replace(CONFIG, epochs=1)
    others = {
        "learning_rate: 0.001 there, 0.002 now": (
            (teacher, *sets, replace(config, learning_rate=2e-3))
        ),
        "seed: 0 there, 1 now": (teacher, *sets, replace(config, seed=1)),
        "teacher: '.*' there, '.*' now": (tiny_encoder(1), *sets, config),
        "forget: '.*' there, '.*' now": (teacher, pixel, sets[1], config),
        "retain: '.*' there, '.*' now": (teacher, sets[0], sets[1][::-1], config),
    }
    for named, run in others.items():
        with pytest.raises(ValueError, match=f"another run .([a-z]*.)?{named}.;") as caught:
            unlearn(*run, checkpoint=path)
        assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match="objective: 'Cure' there, 'Recorder' now"):
        unlearn(teacher, *sets, config, objective=Recorder, checkpoint=path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["run.pt", "run.pt.1"]


def test_a_truncated_checkpoint_gives_way_to_the_one_before(teacher, sets, tmp_path):
    path = tmp_path / "run.pt"
    whole = unlearn(teacher, *sets, CONFIG, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match=re.escape(f"{path} is damaged")):
        assert_same_run(unlearn(teacher, *sets, CONFIG, checkpoint=path), whole)


def test_a_disk_that_fills_leaves_the_older_checkpoint_to_resume_from(
    teacher, sets, tmp_path, monkeypatch
):
    path, save, saved = tmp_path / "run.pt", torch.save, []

    def fills(state, file):
        saved.append(file)
        if len(saved) == 4:  # the views, the start, the first epoch, the second
            write = file.write if hasattr(file, "write") else file.write_bytes
            write(b"half a checkpoint")
            raise OSError(28, "No space left on device")
        save(state, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fills)
        with pytest.raises(OSError, match="No space left"):
            unlearn(teacher, *sets, CONFIG, checkpoint=path)
    assert sorted(os.listdir(tmp_path)) == ["run.pt", "run.pt.1", "run.pt.views"]
    assert len(torch.load(path, weights_only=True)["state"]["history"]) == 1
    assert_same_run(
        unlearn(teacher, *sets, CONFIG, checkpoint=path), unlearn(teacher, *sets, CONFIG)
    )


# Faster arithmetic, the same run.


def test_channels_last_is_only_a_layout(teacher, sets):
    """To 1e-4, where Adam does not turn rounding into steps.

    In train mode it does: a bias between two batch norms has no gradient but rounding, of which
    Adam makes steps of the learning rate; so there only the first epoch's losses are compared.
    """
    first, other = (
        unlearn(teacher, *sets, replace(CONFIG, batchnorm="frozen", channels_last=c))
        for c in (True, False)
    )
    np.testing.assert_allclose(first.history, other.history, atol=1e-4, rtol=1e-4)
    for images in sets:
        ours, theirs = embed(first.student, images), embed(other.student, images)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    first, other = (
        unlearn(teacher, *sets, replace(CONFIG, epochs=1, channels_last=c)) for c in (True, False)
    )
    np.testing.assert_allclose(first.history, other.history, atol=1e-4, rtol=1e-4)


def test_denormals_count_as_zero_in_the_loop_and_nowhere_else(teacher, sets):
    """2**-130 halved is 2**-131, whose significand float32 has no leading one for."""

    def halved(student=None):
        return {"halved": torch.full((1,), 2.0**-130).div(2).item()}

    if not torch.set_flush_denormal(False):
        pytest.skip("this processor has no such mode")
    run = unlearn(teacher, *sets, replace(CONFIG, epochs=1), on_epoch=halved)
    assert run.history.halved.item() == 0
    assert halved()["halved"] == 2.0**-131
    with denormals.flush_denormals():
        unlearn(teacher, *sets, replace(CONFIG, epochs=1))
        assert halved()["halved"] == 0  # as it was found


def test_bfloat16_runs_on_the_cpu_and_stays_close(teacher, sets):
    plain, half = (unlearn(teacher, *sets, replace(CONFIG, amp=a)) for a in (False, True))
    assert all(p.dtype == torch.float32 for p in half.student.parameters())
    assert not same(plain.student, half.student)
    first = (run.history[TERMS].iloc[0] for run in (half, plain))  # later its rounding has grown
    np.testing.assert_allclose(*first, atol=0.1)
    cosine = (embed(plain.student, sets[0]) * embed(half.student, sets[0])).sum(1)
    assert cosine.min() > 0.98


def test_float16_learns_with_scaled_gradients(teacher, sets):
    result = unlearn(teacher, *sets, replace(CONFIG, amp="float16", epochs=8))
    assert all(p.dtype == torch.float32 for p in result.student.parameters())
    assert np.isfinite(result.history).all(axis=None)
    assert result.history.loss.iloc[-1] < result.history.loss.iloc[0]


def test_float16_leaves_out_a_step_that_overflows():
    """A gradient of 2, scaled by 2**15, passes float16's 65504: no step, and half the scale."""
    weight = torch.ones(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.5)
    scaler = amp.gradient_scaler("float16", torch.device("cpu"))
    for scale, moved in ((2.0**16, 0.0), (2.0**15, 0.0), (2.0**14, 1.0)):
        before = weight.item()
        assert scaler.get_scale() == scale
        norm = optimiser_step((2 * weight.half()).float().sum(), optimiser, scaler, clip=9.0)
        assert before - weight.item() == moved
        assert norm.item() == 2 * moved


def test_float16_does_not_take_a_gradient_without_a_number_for_an_overflow():
    """The root at 0 has an infinite slope at any scale: told once 2**16 is below 2**-14."""
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.5)
    scaler = amp.gradient_scaler("float16", torch.device("cpu"))
    norms = [optimiser_step(weight.sqrt().sum(), optimiser, scaler, clip=9.0) for _ in range(31)]
    assert [norm.isfinite().item() for norm in norms] == [True] * 30 + [False]


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="amp='half'; it is"):
        CureConfig(amp="half")


# What is checked before any work.


class Turns(nn.Module):
    """What `change` makes of a mean colour's embedding (B, 4)."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(3, 4), change

    def forward(self, images):
        return self.change(self.linear(images.float().mean((2, 3))))


@pytest.fixture
def untouched(monkeypatch):
    """Nothing is embedded."""

    def never(*arguments, **options):
        raise AssertionError("work began")

    monkeypatch.setattr(unlearning, "teacher_views", never)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "small"}, "the teacher is 'small', a str; expected an nn.Module"),
        ({"teacher": nn.Flatten()}, "every parameter of the teacher is frozen"),
        ({"config": {"epochs": 1}}, r"config is a dict; .* CureConfig\(\*\*settings\)"),
        ({"forget": "faces/"}, "the forget set is a str; expected images"),
        ({"retain": None}, "the retain set is a NoneType; expected images"),
        ({"forget": {"a": 1}}, "the forget set is a dict; expected images"),
        ({"retain": pd.DataFrame({"a": [1]})}, "first image of the retain set, a DataFrame"),
        ({"objective": "cure_pluss"}, r"no method 'cure_pluss' \(did you mean 'cure_plus'\?\)"),
        ({"objective": "supervised_scrub"}, "supervised_scrub needs forget_labels and retain_la"),
        ({"objective": Objective(CONFIG)}, "objective=.*; give a method's name"),
        ({"objective": lambda config: 3}, "objective=.*; give a method's name"),
        ({"views": (torch.zeros(2, 12, 16), torch.zeros(2, 15, 16))}, "12 forget and 16 retain"),
        ({"views": (torch.zeros(2, 12, 16), torch.full((2, 16, 16), torch.nan))}, "views hold NaN"),
        ({"config": replace(CONFIG, clusters=(13, 4))}, "clusters=13 for the forget set of 12 im"),
        ({"device": "gpu"}, "device='gpu' is not available"),
        ({"checkpoint": ""}, "checkpoint=''; expected the path of a file"),
        ({"checkpoint": "."}, "checkpoint='.'"),
        ({"checkpoint": 5}, "checkpoint=5"),
        ({"on_epoch": 3}, "on_epoch=3; expected a function"),
        ({"views": 3}, r"views of shapes \[\]"),
        ({"teacher": Turns(lambda x: x[:, 0])}, r"turns an image into torch.float32 \(1,\)"),
        ({"teacher": Turns(lambda x: (x,))}, "turns an image into tuple"),
        ({"teacher": Turns(lambda x: x @ x)}, "the teacher fails on an image"),
    ],
)
def test_arguments_are_checked_before_any_work(teacher, sets, untouched, changes, message):
    given = {"teacher": teacher, "forget": sets[0], "retain": sets[1], "config": CONFIG}
    with pytest.raises(ValueError, match=message):
        unlearn(**{**given, **changes})


def test_images_in_both_sets_are_refused_and_named(teacher, sets, untouched):
    both = np.concatenate(sets)
    with pytest.raises(ValueError, match="forget and retain are the same set"):
        unlearn(teacher, both, both, CONFIG)
    with pytest.raises(ValueError, match="share 28 of 28 forget images"):
        unlearn(teacher, both, both.copy(), CONFIG)


def test_a_few_images_in_both_sets_are_named_in_a_warning(teacher, sets):
    """A data set may hold an image twice."""
    both = np.concatenate(sets)
    with pytest.warns(UserWarning, match=r"share 2 of 12 .*\(first: forget 10 is retain 0\)"):
        unlearn(teacher, both[:12], both[10:], CONFIG)


def test_the_default_objective_is_cure_plus_and_a_name_does_for_a_class(teacher, sets):
    config = replace(CONFIG, epochs=1)
    default = unlearning.unlearn(teacher, *sets, config)
    assert_same_run(default, unlearn(teacher, *sets, config, objective="cure_plus"))
    assert "dispersion" in default.history
    named, classed, built = (
        unlearn(teacher, *sets, config, objective=objective)
        for objective in ("scrub", METHODS["scrub"], build("scrub"))
    )
    assert_same_run(named, classed)
    assert_same_run(named, built)


def test_on_epoch_may_return_nothing_but_no_loss_term(teacher, sets):
    config = replace(CONFIG, epochs=1)
    assert_same_run(
        unlearn(teacher, *sets, config, lambda student: None), unlearn(teacher, *sets, config)
    )
    with pytest.raises(ValueError, match="on_epoch names loss, a loss term"):
        unlearn(teacher, *sets, config, lambda student: {"loss": 1.0})


def test_it_runs_where_gradients_are_off(teacher, sets):
    config = replace(CONFIG, epochs=1)
    whole = unlearn(teacher, *sets, config)
    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            assert_same_run(unlearn(teacher, *sets, config), whole)


# One seed, one result.


def with_dropout(encoder: nn.Module) -> nn.Module:
    encoder.stages.append(nn.Dropout(0.3))
    return encoder


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
def test_dropout_follows_the_seed_and_leaves_the_generator_alone(teacher, sets, batchnorm):
    """Neither what was drawn before nor what `on_epoch` draws changes the student."""
    config = replace(CONFIG, epochs=2, batchnorm=batchnorm)
    with_dropout(teacher)

    def draws(student):
        torch.rand(7)
        return {}

    torch.manual_seed(1)
    first = unlearn(teacher, *sets, config)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = unlearn(teacher, *sets, config, draws)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_run(first, again)
    if batchnorm == "train":  # else the mask is never drawn
        other = unlearn(teacher, *sets, replace(config, seed=1)).history.loss
        assert not other.equals(first.history.loss)


# A student that is of no further use.


def collapse(student: nn.Module) -> None:
    """Every image gets the same embedding."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()


@pytest.mark.parametrize("watched", ["collapses", "drift"])
def test_a_collapsed_student_is_a_divergence_that_carries_the_one_before(teacher, sets, watched):
    """CURE clusters the student's embeddings again before each epoch, and drift after each."""
    config = replace(CONFIG, tau=1 if watched == "collapses" else 0)
    drift, seen = watch_drift(teacher, sets[0], 3), []

    def on_epoch(student):
        seen.append(student)
        if len(seen) == 2:
            collapse(student)
        return drift(student) if watched == "drift" else {}

    with pytest.raises(UnlearningDivergedError, match=r"collapsed.* 1 distinct.*of epoch 1 is"):
        unlearn(teacher, *sets, config, on_epoch)
    seen.clear()
    with pytest.raises(UnlearningDivergedError) as caught:
        unlearn(teacher, *sets, config, on_epoch)
    good = unlearn(teacher, *sets, replace(config, epochs=1))
    assert same(caught.value.student, good.student)
    assert len(caught.value.history) == 1
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert same(copied.student, good.student)
    pd.testing.assert_frame_equal(copied.history, caught.value.history)


def test_a_start_that_breaks_the_student_gives_the_teacher_back(teacher, sets):
    class Damages(Objective):
        def start(self, setup):
            setup.student.project.conv.weight.data.fill_(torch.nan)

    with pytest.raises(UnlearningDivergedError, match="not finite; the student of epoch 0") as e:
        unlearn(teacher, *sets, CONFIG, objective=Damages)
    assert same(e.value.student, teacher)


# Resuming does not compute again what is known.


def test_a_resumed_run_embeds_nothing_of_the_teacher(teacher, sets, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def fails(student):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(teacher, *sets, CONFIG, fails, checkpoint=path)
    assert sorted(os.listdir(tmp_path)) == ["run.pt", "run.pt.views"]
    embedded = []
    monkeypatch.setattr(unlearning, "teacher_views", lambda *a: embedded.append(a))
    resumed = unlearn(teacher, *sets, CONFIG, checkpoint=path)
    again = unlearn(teacher, *sets, CONFIG, checkpoint=path)  # done: without the views' file
    assert sorted(os.listdir(tmp_path)) == ["run.pt", "run.pt.1"]
    monkeypatch.undo()
    whole = unlearn(teacher, *sets, CONFIG)
    assert_same_run(resumed, whole)
    assert_same_run(again, whole)
    assert embedded == []


def test_a_missing_or_damaged_file_of_views_is_made_again(teacher, sets, tmp_path):
    path, views = tmp_path / "run.pt", tmp_path / "run.pt.views"

    def fails(student):
        raise KeyboardInterrupt

    for damage in (views.unlink, lambda: views.write_bytes(b"not views")):
        with pytest.raises(KeyboardInterrupt):
            unlearn(teacher, *sets, CONFIG, fails, checkpoint=path)
        damage()
    with pytest.warns(UserWarning, match=f"{views} is damaged"):
        resumed = unlearn(teacher, *sets, CONFIG, checkpoint=path)
    assert_same_run(resumed, unlearn(teacher, *sets, CONFIG))


# What an objective holds is in the checkpoint, or refused.


class Holds(Recorder):
    """Counts its steps in a list, a dict and a tuple, and weights its term by them."""

    def __init__(self, config):
        Objective.__init__(self, config)

    def start(self, setup):
        self.counts, self.tensors, self.pair = [0], {"sum": torch.zeros(2)}, (np.float64(1), None)

    def begin_epoch(self, epoch, student_forget):
        pass

    def terms(self, batch):
        self.counts[0] += 1
        self.tensors["sum"] += self.counts[0]
        scale = self.counts[0] + self.tensors["sum"][1] + self.pair[0]
        return {"pull": scale * (1 - batch.student_forget[:, 0])}


def test_lists_and_dicts_of_an_objective_are_resumed(teacher, sets, tmp_path):
    path, calls = tmp_path / "run.pt", []

    def fails(student):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        unlearn(teacher, *sets, CONFIG, fails, objective=Holds, checkpoint=path)
    resumed = unlearn(teacher, *sets, CONFIG, objective=Holds, checkpoint=path)
    assert_same_run(resumed, unlearn(teacher, *sets, CONFIG, objective=Holds))


def test_what_a_checkpoint_cannot_hold_is_named_at_the_first_save(teacher, sets, tmp_path):
    class Headed(Holds):
        def start(self, setup):
            super().start(setup)
            self.layers = {"head": [nn.Linear(2, 2)]}

    with pytest.raises(ValueError, match=r"Headed.layers\['head'\]\[0\] is a Linear, which a ch"):
        unlearn(teacher, *sets, CONFIG, objective=Headed, checkpoint=tmp_path / "run.pt")
    assert not (tmp_path / "run.pt").exists()
    assert len(unlearn(teacher, *sets, CONFIG, objective=Headed).history) == 3


def test_an_image_that_cannot_be_read_is_no_divergence(teacher, sets):
    """A disk that fails after the first epoch, say."""

    class Failing:
        fails = False

        def __len__(self):
            return len(sets[0])

        def __getitem__(self, i):
            if self.fails:
                raise OSError("the disk is gone")
            return sets[0][i]

    forget = Failing()

    def fail(student):
        forget.fails = True

    with pytest.raises(OSError, match="the disk is gone"):
        unlearn(teacher, forget, sets[1], CONFIG, fail)


def test_a_checkpoint_of_another_format_is_refused(teacher, sets, tmp_path, monkeypatch):
    config, path = replace(CONFIG, epochs=1), tmp_path / "run.pt"
    unlearn(teacher, *sets, config, checkpoint=path)
    monkeypatch.setattr(preflight, "FORMAT", 1)
    with pytest.raises(ValueError, match="format: 2 there, 1 now"):
        unlearn(teacher, *sets, config, checkpoint=path)


def test_adam_counts_its_steps_on_the_cpu_after_a_resume_too():
    """There each step would wait for the device; only an objective's tensors are moved."""
    network = nn.Linear(1, 1)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1)).backward()
    optimiser.step()
    device = torch.device("meta")
    parts = {"optimiser": optimiser}
    loop = Loop(parts, torch.Generator(), Checkpoint(None, {}), device, problem=lambda: None)
    loop.load_state_dict(loop.state_dict())
    assert {state["step"].device.type for state in optimiser.state.values()} == {"cpu"}
