"""The losses of our variants and of the peers against plain Python."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from circle import on_circle
from torch import nn

from cure_core.encoders.embedding import embed
from cure_core.objectives import Batch, Setup, build
from cure_core.objectives.bad_teacher import reinitialised
from cure_core.objectives.laf import fit_vae
from cure_core.objectives.ssd import Ssd, importance
from cure_core.objectives.supervised import corrupt_labels
from cure_core.unlearning import CureConfig

TEMPERATURE = 0.5
CONFIG = CureConfig(clusters=(3, 2), temperature=TEMPERATURE)
CPU = torch.device("cpu")


# Forget: groups at 0, 90 and 200 degrees. Retain: 45 and 225. A mirror image is turned 3 degrees.
FORGET_ANGLES, RETAIN_ANGLES = (-1, 1, 89, 91, 199, 201), (44, 46, 224, 226)
VIEWS = [
    torch.stack([on_circle(*angles), on_circle(*(a + 3 for a in angles))])
    for angles in (FORGET_ANGLES, RETAIN_ANGLES)
]
SETUP = Setup(nn.Identity(), torch.zeros(6), torch.zeros(4), *VIEWS, CPU)
LABELS = {"forget_labels": [7, 7, 3, 3, 5, 5], "retain_labels": [2, 2, 4, 4]}
FORGET, RETAIN = torch.tensor([2, 5, 0]), torch.tensor([0, 3])  # the batch, and its views
FORGET_VIEW, RETAIN_VIEW = torch.tensor([0, 1, 0]), torch.tensor([1, 0])


def started(name: str, config: CureConfig = CONFIG, **settings):
    objective = build(name, **settings)(config)
    objective.start(SETUP)
    objective.begin_epoch(0, lambda: VIEWS[0][0])
    return objective


def batch(forget: torch.Tensor, retain: torch.Tensor) -> Batch:
    return Batch(
        student_forget=forget,
        student_retain=retain,
        teacher_forget=VIEWS[0][FORGET_VIEW, FORGET],
        teacher_retain=VIEWS[1][RETAIN_VIEW, RETAIN],
        forget_index=FORGET,
        retain_index=RETAIN,
        forget_view=FORGET_VIEW,
        retain_view=RETAIN_VIEW,
    )


# Each loss once more, on lists of floats: f, r the student's rows, tf, tr the teacher's.

# A mean of two unit vectors 2 degrees apart is cos(1 degree) long.
HEAD = [[math.cos(math.radians(1)) * x for x in on_circle(a)[0].tolist()] for a in (0, 90, 200)]
HEAD += [[math.cos(math.radians(1)) * x for x in on_circle(a)[0].tolist()] for a in (45, 225)]
FORGET_CLASSES, RETAIN_CLASSES = [1, 2, 0], [3, 4]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def distance(a, b):
    return 1 - dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def log_probabilities(e):
    logits = [dot(e, c) / TEMPERATURE for c in HEAD]
    total = math.log(sum(math.exp(x) for x in logits))
    return [x - total for x in logits]


def cross_entropy(rows, classes):
    return mean(-log_probabilities(e)[c] for e, c in zip(rows, classes, strict=True))


def divergence(students, teachers):
    """KL(teacher || student)."""
    pairs = [
        (log_probabilities(s), log_probabilities(t))
        for s, t in zip(students, teachers, strict=True)
    ]
    return mean(sum(math.exp(p) * (p - q) for q, p in zip(s, t, strict=True)) for s, t in pairs)


def distances(a, b):
    return [distance(x, y) for x, y in zip(a, b, strict=True)]


def neg_grad(objective, f, r, tf, tr):
    return -cross_entropy(f, FORGET_CLASSES)


def neg_grad_plus(objective, f, r, tf, tr):
    return 0.95 * cross_entropy(r, RETAIN_CLASSES) - 0.05 * cross_entropy(f, FORGET_CLASSES)


def fine_tune(objective, f, r, tf, tr):
    return cross_entropy(r, RETAIN_CLASSES)


def scrub(objective, f, r, tf, tr):
    return divergence(r, tr) + cross_entropy(r, RETAIN_CLASSES) - divergence(f, tf)


def random_relabel(objective, f, r, tf, tr):
    """The random targets are the objective's, checked by other tests; found here by their angle."""
    drawn = objective.centroids[objective.forget_targets[FORGET]].tolist()
    classes = [min(range(5), key=lambda k: math.dist(HEAD[k], c)) for c in drawn]
    return cross_entropy(f, classes) + cross_entropy(r, RETAIN_CLASSES)


def bad_teacher(objective, f, r, tf, tr):
    rows = objective.incompetent.tolist()
    bad = [rows[v][i] for v, i in zip(FORGET_VIEW.tolist(), FORGET.tolist(), strict=True)]
    return mean(distances(f, bad)) + mean(distances(r, tr))


def dispersion(objective, f, r, tf, tr):
    def near(i):
        others = [math.exp(dot(f[i], f[j]) / TEMPERATURE) for j in range(len(f)) if j != i]
        return TEMPERATURE * math.log(mean(others))

    return mean(near(i) for i in range(len(f))) + 30 * mean(distances(r, tr))


def cure_plus(objective, f, r, tf, tr):
    """Samples 2, 5, 0 are compared with the teacher's embeddings of 3, 4, 1."""
    others = [on_circle(a)[0].tolist() for a in (91, 199, 1)]

    def retained(e, target):
        logits = [dot(e, c) / TEMPERATURE for c in HEAD[3:]]
        return math.log(sum(math.exp(x) for x in logits)) - logits[target]

    return (
        mean(1 - d for d in distances(f, tf))
        + 10 * mean(dot(e, other) for e, other in zip(f, others, strict=True))
        + mean(retained(e, target - 3) for e, target in zip(r, RETAIN_CLASSES, strict=True))
        + 30 * mean(distances(r, tr))
    )


def cure_scatter(objective, f, r, tf, tr):
    """The random targets are the objective's, found here by their angle."""
    drawn = objective.centroids[objective.scatter_targets[FORGET]].tolist()
    targets = [min(HEAD, key=lambda c: math.dist(c, place)) for place in drawn]

    def away(e, place):
        return math.log(sum(math.exp((dot(e, c) - dot(e, place)) / 0.3) for c in HEAD))

    scattered = mean(away(e, place) for e, place in zip(f, targets, strict=True))
    return cure_plus(objective, f, r, tf, tr) + scattered


def laf(objective, f, r, tf, tr):
    """The models are the objective's, applied here layer by layer."""
    state = objective.state_dict()

    def layer(side, name, x):
        weights, biases = (state[side][f"{name}.{kind}"].tolist() for kind in ("weight", "bias"))
        return [dot(weight, x) + bias for weight, bias in zip(weights, biases, strict=True)]

    def error(side, x):
        code = layer(side, "encode.2", [max(h, 0) for h in layer(side, "encode.0", x)])
        hidden = [max(h, 0) for h in layer(side, "decode.0", code[: len(code) // 2])]
        decoded = layer(side, "decode.2", hidden)
        return sum((a - b) ** 2 for a, b in zip(decoded, x, strict=True))

    unlikely = mean(error("retain", x) for x in r) - mean(error("forget", x) for x in f)
    left = math.log(sum(math.exp(s / TEMPERATURE) for s in distances(f, tf)))
    return unlikely + mean(distances(r, tr)) / TEMPERATURE - left


NAIVE = {
    function.__name__: (function, settings)
    for function, settings in (
        (neg_grad, {}),
        (neg_grad_plus, {}),
        (fine_tune, {}),
        (scrub, {}),
        (random_relabel, {}),
        (dispersion, {}),
        (cure_plus, {}),
        (cure_scatter, {}),
        (laf, {"hidden": 6, "latent": 2, "steps": 20}),
    )
}
NAIVE["supervised_scrub"] = (scrub, LABELS)
NAIVE["supervised_neg_grad_plus"] = (neg_grad_plus, LABELS)


def finite_differences(loss, rows: torch.Tensor) -> torch.Tensor:
    """The gradient of `loss(rows as lists)`, one coordinate after the other."""
    gradient = torch.zeros_like(rows)
    for i, j in np.ndindex(*rows.shape):
        up, down = rows.clone(), rows.clone()
        up[i, j] += 1e-5
        down[i, j] -= 1e-5
        gradient[i, j] = (loss(up.tolist()) - loss(down.tolist())) / 2e-5
    return gradient


@pytest.mark.parametrize("turned", [0.0, 25.0], ids=["at-the-teacher", "moved"])
@pytest.mark.parametrize("name", [*NAIVE, "bad_teacher"])
def test_gradient_of_the_first_step_is_that_of_the_naive_sum(name, turned):
    if name == "bad_teacher":
        function, objective = bad_teacher, build(name)(CONFIG)
        objective.load_state_dict({"incompetent": torch.stack([on_circle(*range(120, 126))] * 2)})
        objective.incompetent[1] = objective.incompetent[1].flip(0)
    else:
        function, settings = NAIVE[name]
        objective = started(name, **settings)
    teacher = batch(torch.empty(0), torch.empty(0))
    turn = torch.stack([on_circle(turned)[0], on_circle(turned + 90)[0]])
    forget = (teacher.teacher_forget @ turn).requires_grad_()
    retain = (teacher.teacher_retain @ turn.T).requires_grad_()
    terms = objective.terms(batch(forget, retain))
    assert terms.keys() == objective.weights.keys()
    loss = sum(weight * terms[term].mean() for term, weight in objective.weights.items())
    gradients = torch.autograd.grad(
        loss, (forget, retain), materialize_grads=True, allow_unused=True
    )

    fixed = teacher.teacher_forget.tolist(), teacher.teacher_retain.tolist()
    f, r = forget.detach(), retain.detach()
    assert loss.item() == pytest.approx(
        function(objective, f.tolist(), r.tolist(), *fixed), abs=1e-9
    )
    by_hand = (
        finite_differences(lambda rows: function(objective, rows, r.tolist(), *fixed), f),
        finite_differences(lambda rows: function(objective, f.tolist(), rows, *fixed), r),
    )
    for ours, theirs in zip(gradients, by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)


# Classes, and what is done with them.


def test_a_head_holds_the_clusters_of_both_sides():
    """Each sample's class is the centroid at its group's angle."""
    objective = started("neg_grad")
    assert objective.centroids.shape == (5, 2)
    assert objective.summary() == {"clusters_forget": 3, "clusters_retain": 2}
    angles = torch.rad2deg(torch.atan2(*objective.centroids.T.flip(0))) % 360
    assert angles[objective.forget_classes].tolist() == pytest.approx([0, 0, 90, 90, 200, 200])
    assert angles[objective.retain_classes].tolist() == pytest.approx([45, 45, 225, 225])


def test_a_random_label_is_any_other():
    """Sixty draws of four wrong classes leave none out, and a seed repeats them."""
    drawn = torch.stack(
        [
            started("random_relabel", CureConfig(clusters=(3, 2), seed=seed)).forget_targets
            for seed in range(60)
        ]
    )
    again = started("random_relabel", CureConfig(clusters=(3, 2), seed=4)).forget_targets
    assert torch.equal(again, drawn[4])
    for seed, targets in enumerate(drawn):
        classes = started("neg_grad", CureConfig(clusters=(3, 2), seed=seed)).forget_classes
        assert not (targets == classes).any()
    assert all(len(column.unique()) == 5 for column in drawn.T)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])  # two of one group


def test_fine_tuning_has_no_loss_on_the_forget_samples():
    forget = on_circle(80, 190, 10).requires_grad_()
    terms = started("fine_tune").terms(batch(forget, on_circle(40, 220).requires_grad_()))
    (gradient,) = torch.autograd.grad(terms["retain"].sum(), forget, allow_unused=True)
    assert gradient is None


def test_scrub_ascends_in_the_first_share_of_the_epochs_only():
    objective = started("scrub", CureConfig(clusters=(3, 2), epochs=4), ascent=0.5)
    forget = on_circle(80, 190, 10).requires_grad_()
    values = []
    for epoch in range(4):
        objective.begin_epoch(epoch, lambda: VIEWS[0][0])
        term = objective.terms(batch(forget, on_circle(40, 220)))["forget_divergence"]
        assert term.requires_grad == (epoch < 2)
        values.append(term.tolist())
    assert values == [values[0]] * 4  # still logged


# Bad Teacher.


def test_the_incompetent_teacher_is_the_same_network_untrained(tiny_encoder, draw_faces):
    teacher, images = tiny_encoder(), draw_faces(3, 2)[0]
    before = embed(teacher, images)
    first, again, other = (reinitialised(teacher, seed) for seed in (1, 1, 2))
    assert torch.equal(embed(teacher, images), before)
    assert torch.equal(embed(first, images), embed(again, images))
    assert not torch.equal(embed(first, images), embed(other, images))
    for (name, fresh), (_, old) in zip(
        first.state_dict().items(), teacher.state_dict().items(), strict=True
    ):
        assert fresh.shape == old.shape
        if name.endswith("conv.weight"):
            assert not torch.equal(fresh, old), name
    assert not any(
        buffer.abs().any() for name, buffer in first.named_buffers() if "running_mean" in name
    )


def test_the_incompetent_embeddings_are_of_both_views(tiny_encoder, draw_faces):
    images = draw_faces(3, 2)[0]
    objective = build("bad_teacher")(CONFIG)
    objective.start(Setup(tiny_encoder(5), images, images, *VIEWS, CPU))
    fresh = reinitialised(tiny_encoder(), CONFIG.seed + 1_000_000)
    expected = torch.stack([embed(fresh, images), embed(fresh, images[:, :, ::-1])])
    torch.testing.assert_close(objective.incompetent, expected, atol=1e-5, rtol=0)


def test_a_network_that_cannot_be_reset_is_named():
    class NoReset(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match="NoReset holds parameters but has no reset_parameters"):
        reinitialised(nn.Sequential(nn.Linear(2, 2), NoReset()), 0)


# Dispersion.


@pytest.mark.parametrize("temperature", [1e-3, 1e4])
def test_dispersion_goes_from_the_nearest_to_the_mean_with_temperature(temperature):
    """On 0, 30 and 90 degrees: cosines 0.866, 0 from the first; 0.866, 0.5; 0, 0.5."""
    objective = started("dispersion", CureConfig(clusters=(3, 2), temperature=temperature))
    terms = objective.terms(batch(on_circle(0, 30, 90), on_circle(44, 226)))
    near = math.cos(math.radians(30))
    expected = [near, near, 0.5] if temperature < 1 else [near / 2, (near + 0.5) / 2, 0.25]
    assert terms["dispersion"].tolist() == pytest.approx(expected, abs=1e-3)


# Label-agnostic forgetting.


def test_each_vae_knows_its_own_side_better_and_repeats():
    generator = torch.Generator().manual_seed(0)
    sides = F.normalize(
        torch.randn(2, 1, 8, generator=generator)
        + 0.2 * torch.randn(2, 40, 8, generator=generator),
        dim=2,
    )
    first, second, again = (fit_vae(sides[i], 32, 4, 150, 1e-3, seed=0) for i in (0, 1, 0))

    def error(vae, x):
        return (vae(x) - x).square().sum(1).mean()

    assert error(first, sides[0]) < 0.2 * error(first, sides[1])
    assert error(second, sides[1]) < 0.2 * error(second, sides[0])
    assert torch.equal(first(sides[0]), again(sides[0]))
    assert not any(p.requires_grad for p in first.parameters())


# Selective synaptic dampening.


class Colours(nn.Module):
    """A matrix on the mean colour: its columns belong to red, green and blue."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.arange(1.0, 7).reshape(2, 3))

    def forward(self, images):
        return images.float().mean((2, 3)) @ self.matrix.T / 255


def coloured(*levels: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((112, 112, 3), level, np.uint8) for level in levels])


RED = coloured((200, 0, 20), (100, 0, 50), (150, 0, 5))  # to forget: red, and a little blue
GREEN = coloured((0, 90, 20), (0, 180, 50), (0, 30, 40), (0, 60, 9), (0, 80, 7), (0, 20, 30))


def dampened(**settings) -> tuple[torch.Tensor, Ssd]:
    encoder, objective = Colours(), Ssd(CONFIG, **settings)
    objective.start(Setup(encoder, RED, GREEN, *VIEWS, CPU))
    return encoder.matrix.detach(), objective


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_importance_is_the_mean_gradient_of_the_squared_norm_by_batch(size):
    """d|Wx|^2 / dW_ij = 2 (Wx)_i x_j; within a batch it is averaged before |.|."""
    matrix = np.arange(1.0, 7).reshape(2, 3)
    expected = np.zeros((2, 3))
    for start in range(0, len(RED), size):
        gradient = np.zeros((2, 3))
        for image in RED[start : start + size]:
            x = image[0, 0] / 255
            gradient += [[2 * dot(row, x) * value for value in x] for row in matrix]
        expected += abs(gradient) / len(RED)
    (ours,) = importance(Colours(), RED, CPU, size)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_only_what_matters_for_the_forget_set_is_dampened():
    """Red is theirs alone: of all data's importance a third, three of nine images."""
    matrix, objective = dampened(alpha=2.0)
    before = Colours().matrix.detach()
    torch.testing.assert_close(matrix[:, 0], before[:, 0] / 3)
    assert torch.equal(matrix[:, 1:], before[:, 1:])
    assert objective.summary() == {"dampened": pytest.approx(2 / 6)}


def test_lambda_is_what_stays_of_a_chosen_parameter_and_none_grows():
    before = Colours().matrix.detach()
    torch.testing.assert_close(dampened(lambda_=0.3)[0][:, 0], 0.1 * before[:, 0])
    assert torch.equal(dampened(lambda_=3.1)[0], before)


@pytest.mark.parametrize("alpha", [3.01, 1e9])
def test_alpha_above_all_datas_ratio_changes_nothing(alpha):
    """A third of the images can stand out three times at most."""
    matrix, objective = dampened(alpha=alpha)
    assert torch.equal(matrix, Colours().matrix)
    assert objective.summary() == {"dampened": 0}


# References with labels.


@pytest.mark.parametrize("name", ["scrub", "neg_grad_plus"])
def test_right_labels_equal_pseudo_labels_that_are_right(name):
    seen = batch(on_circle(80, 190, 10), on_circle(40, 220))
    ours, theirs = (
        objective.terms(seen)
        for objective in (started(name), started(f"supervised_{name}", **LABELS))
    )
    for term, values in ours.items():
        torch.testing.assert_close(values, theirs[term], atol=1e-12, rtol=0)


def test_a_label_on_both_sides_is_one_class():
    """Forget [7, 7, 3, ...] beside retain [7, 7, 4, 4]: the mean of 7 is of four samples."""
    given = {**LABELS, "retain_labels": [7, 7, 4, 4]}
    objective = started("supervised_scrub", **given)
    assert objective.centroids.shape == (4, 2)
    together = torch.cat([VIEWS[0][0, :2], VIEWS[1][0, :2]]).mean(0)
    shared = objective.forget_classes[0]
    assert objective.retain_classes.tolist()[:2] == [shared, shared]
    torch.testing.assert_close(objective.centroids[shared], together)


def test_a_missing_label_is_counted():
    with pytest.raises(ValueError, match="5 and 4 labels for 6 forget and 4 retain images"):
        started("supervised_scrub", **{**LABELS, "forget_labels": [7, 7, 3, 3, 5]})


@pytest.mark.parametrize(("share", "wrong"), [(0, 0), (0.2, 20), (0.4, 40), (1, 100)])
def test_a_share_of_the_labels_is_made_wrong(share, wrong):
    labels = np.arange(100) % 7 * 10
    noisy = corrupt_labels(labels, share, seed=3)
    assert (noisy != labels).sum() == wrong
    assert set(noisy) <= set(labels)
    assert np.array_equal(noisy, corrupt_labels(labels, share, seed=3))
    worse = corrupt_labels(labels, 1.0, seed=3)
    assert np.array_equal(noisy[noisy != labels], worse[noisy != labels])
    if wrong:
        assert not np.array_equal(noisy, corrupt_labels(labels, share, seed=4))


def test_corrupt_labels_says_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"share=1\.5"):
        corrupt_labels([1, 2], 1.5, 0)
    with pytest.raises(ValueError, match="one label"):
        corrupt_labels([4, 4], 0.5, 0)


def test_noise_reaches_both_sides():
    right = started("supervised_scrub", **LABELS)
    wrong = started("supervised_scrub", **LABELS, noise=1.0)
    assert not torch.equal(right.forget_classes, wrong.forget_classes)
    assert not torch.equal(right.retain_classes, wrong.retain_classes)
