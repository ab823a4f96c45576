import math
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_list import ImageList

from cure_core.encoders import SmallEncoder
from cure_core.losses import arcface_logits
from cure_core.training.arcface import Recipe, train
from cure_study import training_cache
from cure_study.training_cache import train_cached

RECIPE = Recipe(epochs=2, batch_size=8)


def same(a, b) -> bool:
    """Whether two encoders hold the same numbers, bit for bit."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_arcface_by_hand():
    """Own angles 60 and 170 degrees, margin 20: cos 80, and past 180 cos 170 - m sin m."""
    cosine = torch.tensor([[60.0, 30], [45, 170]], dtype=torch.float64).deg2rad().cos()
    m = math.radians(20)
    logits = arcface_logits(cosine, torch.tensor([0, 1]), scale=2.0, margin=m)
    expected = [
        [2 * math.cos(math.radians(80)), 2 * math.cos(math.radians(30))],
        [2 * math.cos(math.radians(45)), 2 * (math.cos(math.radians(170)) - m * math.sin(m))],
    ]
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-6)


def test_arcface_agrees_with_pytorch_metric_learning():
    from pytorch_metric_learning.losses import ArcFaceLoss

    generator = torch.Generator().manual_seed(0)
    embeddings, head = (
        torch.randn(n, 3, generator=generator, dtype=torch.float64).requires_grad_()
        for n in (200, 4)
    )
    people = torch.arange(200) % 4
    theirs = ArcFaceLoss(num_classes=4, embedding_size=3, margin=math.degrees(0.4), scale=32)
    theirs.W.data = head.detach().T.clone()
    cosine = F.normalize(embeddings) @ F.normalize(head).T
    own = cosine.gather(1, people[:, None])
    assert (own < -math.cos(0.4)).any()  # the angles that would pass pi are among them
    ours = F.cross_entropy(arcface_logits(cosine, people, 32, 0.4), people)
    expected = theirs(embeddings, people)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(ours, embeddings)[0],
        torch.autograd.grad(expected, embeddings)[0],
        rtol=1e-5,
        atol=1e-8,
    )


def test_arcface_gradient_is_finite_at_the_poles():
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    arcface_logits(cosine, torch.tensor([0, 0]), 32.0, 0.4).sum().backward()
    assert cosine.grad is not None
    assert cosine.grad.isfinite().all()


def test_training_learns_and_leaves_the_start_alone(tiny_encoder, draw_faces):
    images, people = draw_faces(4, 8)
    start = tiny_encoder()
    result = train(start, images, people, Recipe(epochs=8, batch_size=8, margin=0.1))
    assert same(start, tiny_encoder())
    assert not start.training
    assert not result.encoder.training
    assert len(result.losses) == 8
    assert result.losses[-1] < result.losses[0] / 2
    assert repr(result).startswith("Trained(8 epochs in ")


def test_a_seed_repeats_bit_for_bit_whatever_else_draws(tiny_encoder, draw_faces):
    images, people = draw_faces(3, 5)
    first = train(tiny_encoder(), images, people, RECIPE)
    torch.rand(17)
    np.random.default_rng().random(3)
    again = train(tiny_encoder(), images, people, RECIPE)
    assert same(first.encoder, again.encoder)
    assert first.losses == again.losses
    other = train(tiny_encoder(), images, people, replace(RECIPE, seed=1))
    assert not same(first.encoder, other.encoder)


def test_only_who_is_the_same_person_matters_not_the_numbers(tiny_encoder, draw_faces):
    images, people = draw_faces(3, 5)
    first = train(tiny_encoder(), images, people, RECIPE)
    renamed = train(tiny_encoder(), images, people * 1000 - 7, RECIPE)
    assert same(first.encoder, renamed.encoder)


def test_a_head_of_centroids_starts_where_the_people_are(draw_faces):
    """With an encoder that hands on coarse pixels, and nothing moving, the loss is by hand."""

    class Coarse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images):
            return (F.avg_pool2d(images.float(), 112).flatten(1) - 128) * self.scale

    # One colour an image, so that a mirror changes nothing: 3 people, in no order.
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (7, 3))
    images = np.broadcast_to(colours[:, None, None], (7, 112, 112, 3)).astype(np.uint8)
    people = np.array([20, 10, 20, 30, 10, 20, 30])
    still = Recipe(epochs=1, batch_size=7, learning_rate=0, head_learning_rate=0, head="centroids")
    unit = (colours - 128) / np.linalg.norm(colours - 128, axis=1, keepdims=True)
    means = np.stack([unit[people == p].mean(0) for p in (10, 20, 30)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    losses = []
    for row, own in zip(unit @ means.T, np.searchsorted([10, 20, 30], people), strict=True):
        angle = math.acos(min(1.0, row[own]))
        assert angle < math.pi - 0.4
        logits = 32.0 * row
        logits[own] = 32.0 * math.cos(angle + 0.4)
        losses.append(np.logaddexp.reduce(logits) - logits[own])
    result = train(Coarse(), images, people, still)
    assert result.losses[0] == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_head_of_another_name_is_refused():
    with pytest.raises(ValueError, match="head='mean'"):
        Recipe(head="mean")


def test_a_last_batch_of_one_is_trained_on(tiny_encoder, draw_faces):
    """9 images in batches of 4 leave one over, with which batch norm cannot train."""
    images, people = draw_faces(3, 3)
    result = train(tiny_encoder(), images, people, replace(RECIPE, batch_size=4))
    assert all(map(math.isfinite, result.losses))


def test_labels_that_cannot_be_trained_on_are_refused(tiny_encoder, draw_faces):
    images, people = draw_faces(2, 2)
    with pytest.raises(ValueError, match="4 images, 4 labels and 1 people"):
        train(tiny_encoder(), images, np.zeros(4, int))
    with pytest.raises(ValueError, match="4 images, 3 labels and 2 people"):
        train(tiny_encoder(), images, people[:3])


def test_half_precision_trains_nearly_the_same(tiny_encoder, draw_faces):
    images, people = draw_faces(4, 4)
    once = replace(RECIPE, epochs=1, learning_rate=1e-3)
    plain, half = (train(tiny_encoder(), images, people, once, amp=a) for a in (False, True))
    assert not same(plain.encoder, half.encoder)
    assert half.losses[0] == pytest.approx(plain.losses[0], rel=0.05)
    assert all(p.dtype == torch.float32 for p in half.encoder.parameters())


def test_half_precision_has_its_own_place_in_the_cache(tiny_encoder, draw_faces, trainings):
    images, people = draw_faces(3, 4)
    for amp in (False, True, "bfloat16", "float16"):
        train_cached(tiny_encoder(), images, people, replace(RECIPE, epochs=1), amp=amp)
    assert len(trainings) == len(cached_files()) == 3  # True is bfloat16


def test_divergence_says_when_and_what_to_lower(tiny_encoder, draw_faces):
    images, people = draw_faces(2, 8)
    recipe = replace(RECIPE, learning_rate=1e38)
    with pytest.raises(FloatingPointError, match=r"epoch [12].*; lower learning_rate=1e\+38"):
        train(tiny_encoder(), images, people, recipe)


# The oracle must not know the forget set: else every comparison with it is worthless.


def train_oracle_alone(job: str, result: str) -> None:
    """In a process that has never seen a teacher."""
    torch.set_num_threads(1)
    start, images, people = torch.load(job, weights_only=False)
    oracle = train(start, images, people, RECIPE).encoder
    torch.save(oracle.state_dict(), result + ".part")
    os.replace(result + ".part", result)


def test_nothing_of_the_teacher_leaks_into_the_oracle(tiny_encoder, draw_faces, tmp_path):
    images, people = draw_faces(5, 4)
    forget = people < 2
    start = tiny_encoder()

    job, result = tmp_path / "job.pt", tmp_path / "oracle.pt"
    torch.save((start, images[~forget], people[~forget]), job)
    fresh = multiprocessing.get_context("spawn").Process(
        target=train_oracle_alone, args=(str(job), str(result))
    )
    fresh.start()
    teacher = train(start, images, people, RECIPE).encoder
    oracle = train(start, images[~forget], people[~forget], RECIPE).encoder
    fresh.join(timeout=300)
    assert fresh.exitcode == 0

    alone = SmallEncoder(dim=16, widths=(4, 6, 8))
    alone.load_state_dict(torch.load(result, weights_only=True))
    assert not same(teacher, oracle)
    assert same(oracle, alone)


@pytest.mark.parametrize("head", ["random", "centroids"])
@pytest.mark.parametrize("trainer", [train, train_cached])
def test_the_oracle_does_not_depend_on_what_is_forgotten(tiny_encoder, draw_faces, trainer, head):
    """Pixels and labels of the forget set are scrambled before both trainings; it never shows."""
    images, people = draw_faces(5, 4)
    forget, recipe = people < 2, replace(RECIPE, head=head)
    scrambled, relabelled = images.copy(), people.copy()
    scrambled[forget] = 255 - scrambled[forget]
    relabelled[forget] = [7, 8, 9, 10, 11, 12, 13, 14]

    def oracle_after_teacher(images, people):
        start = tiny_encoder()
        trainer(start, images, people, recipe)
        return trainer(start, images[~forget], people[~forget], recipe).encoder

    first, other = oracle_after_teacher(images, people), oracle_after_teacher(scrambled, relabelled)
    assert same(first, other)


# The cache.


@pytest.fixture
def trainings(monkeypatch):
    """How often the real training ran."""
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return train(*args, **options)

    monkeypatch.setattr(training_cache, "train", counted)
    return calls


def cached_files() -> list[Path]:
    """What is in the cache beside locks: encoders, checkpoints of trainings that were stopped."""
    files = (p for p in Path(os.environ["CURE_CACHE"]).rglob("*") if p.is_file())
    return sorted(p for p in files if p.suffix != ".lock")


def test_the_second_call_reads_what_the_first_trained(tiny_encoder, draw_faces, monkeypatch):
    images, people = draw_faces(3, 4)
    trained = train(tiny_encoder(), images, people, RECIPE)
    first = train_cached(tiny_encoder(), images, people, RECIPE)

    def never(*args, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(training_cache, "train", never)
    again = train_cached(tiny_encoder(), list(images), people.tolist(), RECIPE)
    assert same(trained.encoder, first.encoder)
    assert same(first.encoder, again.encoder)
    assert trained.losses == first.losses == again.losses
    assert first.seconds == again.seconds
    assert not again.encoder.training
    assert len(cached_files()) == 1


class Mirrored(SmallEncoder):
    """The same tensors, another function."""

    def forward(self, images):
        return super().forward(images.flip(-1))


def test_every_part_of_what_made_it_is_in_the_key(tiny_encoder, draw_faces, trainings):
    images, people = draw_faces(3, 4)
    pixel = images.copy()
    pixel[11, 111, 111, 2] += 1
    swapped = people.copy()
    swapped[[0, 11]] = swapped[[11, 0]]
    start = tiny_encoder()
    counted, otherwise = tiny_encoder(), Mirrored(dim=16, widths=(4, 6, 8))
    counted.stem.bn.running_mean += 1e-3
    otherwise.load_state_dict(start.state_dict())
    once = replace(RECIPE, epochs=1)
    made_of = [
        (start, images, people, once),
        (start, images, people, replace(once, seed=1)),
        (start, images, people, replace(once, margin=0.3)),
        (start, pixel, people, once),
        (start, images, swapped, once),
        (start, images[:11], people[:11], once),
        (tiny_encoder(1), images, people, once),
        (counted, images, people, once),
        (otherwise, images, people, once),
    ]
    for call in made_of:
        train_cached(*call)
    assert len(trainings) == len(cached_files()) == len(made_of)
    for call in made_of:
        train_cached(*call)
    assert len(trainings) == len(made_of)


def test_a_full_disk_leaves_nothing_in_the_cache(tiny_encoder, draw_faces):
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    images, people = draw_faces(2, 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))  # the encoder takes 14 kB
    try:
        with pytest.raises(OSError, match="File too large"):
            train_cached(tiny_encoder(), images, people, RECIPE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cached_files() == []
    assert train_cached(tiny_encoder(), images, people, RECIPE).losses


def test_a_damaged_encoder_is_named_and_trained_again(tiny_encoder, draw_faces, trainings):
    images, people = draw_faces(2, 4)
    call = (tiny_encoder(), images, people, replace(RECIPE, epochs=1))
    first = train_cached(*call)
    (path,) = cached_files()
    content = bytearray(path.read_bytes())
    content[-9] ^= 16
    for damaged in (content, content[: len(content) // 2], b""):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=f"{path} is damaged .* making it again"):
            again = train_cached(*call)
        assert same(first.encoder, again.encoder)
    assert len(trainings) == 4


@pytest.mark.parametrize("head", ["random", "centroids"])
@pytest.mark.parametrize("trainer", [train, train_cached])
def test_a_data_set_indexed_by_number_trains_as_its_array_does(
    tiny_encoder, draw_faces, trainer, head
):
    images, people = draw_faces(2, 4)
    recipe = replace(RECIPE, epochs=1, head=head)
    array = train(tiny_encoder(), images, people, recipe)
    assert same(array.encoder, trainer(tiny_encoder(), ImageList(images), people, recipe).encoder)


@pytest.mark.parametrize("trainer", [train, train_cached])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": np.zeros((4, 112, 112, 3))}, "the image set holds float64"),
        ({"images": np.zeros((4, 96, 112, 3), np.uint8)}, r"images of 96 x 112 pixels, but"),
        ({"images": [(np.zeros((112, 112, 3), np.uint8), 0)] * 4}, "the image set yields tuple"),
        ({"images": []}, "the image set is empty"),
        ({"amp": "half"}, "amp='half'; it is False, True, 'bfloat16' or 'float16'"),
        ({"recipe": {"epochs": 1}}, "recipe is a dict; pass a Recipe"),
    ],
)
def test_what_cannot_be_trained_on_is_named(tiny_encoder, trainer, wrong, message):
    given = {
        "images": np.zeros((4, 112, 112, 3), np.uint8),
        "people": np.arange(4) // 2,
        "recipe": RECIPE,
    }
    with pytest.raises(ValueError, match=message):
        trainer(tiny_encoder(), **(given | wrong))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("epochs", [0, 1.5, "8", True, None]),
        ("batch_size", [0, -4, [8]]),
        ("learning_rate", [-1e-3, math.nan, math.inf, "0.1", None, True]),
        ("head_learning_rate", [-1]),
        ("momentum", [1, -0.1]),
        ("weight_decay", [-1]),
        ("scale", [0]),
        ("margin", [-0.1, 4]),
        ("warmup", [1.1]),
        ("head", ["mean", None]),
        ("seed", [-1, 0.5]),
    ],
)
def test_every_field_of_a_recipe_is_checked(field, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{field}=") as caught:
            Recipe(**{field: value})
        assert repr(value) in str(caught.value)


def test_a_recipe_holds_plain_numbers():
    """numpy's and YAML's: the cache's key is the same for 1, 1.0 and np.float64(1)."""
    one = Recipe(epochs=np.int64(3), scale=np.float32(2), learning_rate=1)
    assert repr(one) == repr(Recipe(epochs=3, scale=2.0, learning_rate=1.0))
