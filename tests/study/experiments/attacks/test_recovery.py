import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from cure_core.training.batches import draw_labelled
from cure_study.experiments.attacks import recovery
from cure_study.experiments.attacks.recovery import few_shot_rank_one, linear_map, relearn


def unit(n, dim, seed):
    return normalize(np.random.default_rng(seed).normal(size=(n, dim)))


def test_a_linear_map_restores_what_was_squeezed():
    """A student that shrinks half of the dimensions to a tenth has hidden them, not lost them."""
    teacher = unit(200, 8, 0)
    student = normalize(teacher * np.repeat([1.0, 0.1], 4))
    plain = (student[150:] * teacher[150:]).sum(axis=1)
    restored = (linear_map(student[:150], teacher[:150])(student[150:]) * teacher[150:]).sum(axis=1)
    assert plain.mean() < 0.85
    assert restored.mean() > 0.97


def test_a_linear_map_is_scikit_learns_ridge():
    """With a clean linear relation the weakest ridge is best by leave-one-out."""
    student = unit(80, 5, 0)
    teacher = student @ np.random.default_rng(1).normal(size=(5, 5)) + 0.3
    expected = Ridge(alpha=1e-4).fit(student[:60], teacher[:60]).predict(student[60:])
    np.testing.assert_allclose(
        linear_map(student[:60], teacher[:60])(student[60:]), normalize(expected), atol=1e-6
    )


def test_a_linear_map_cannot_bring_back_what_is_gone():
    teacher = unit(300, 8, 0)
    student = normalize(teacher * np.repeat([1.0, 0.0], 4))
    mapped = linear_map(student[:200], teacher[:200])(student[200:])
    lost = (normalize(mapped[:, 4:]) * normalize(teacher[200:, 4:])).sum(axis=1)
    assert abs(lost.mean()) < 0.15


def test_rows_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"source is \(3, 2\) and target \(2, 2\)"):
        linear_map(np.ones((3, 2)), np.ones((2, 2)))


PEOPLE = np.arange(6).repeat(7)
OTHERS = np.arange(10, 20).repeat(3)


def test_few_shots_find_people_who_have_an_axis_each():
    others = np.eye(20)[OTHERS]
    assert few_shot_rank_one(np.eye(20)[PEOPLE], PEOPLE, others, OTHERS, shots=1) == 1


def test_few_shots_on_noise_are_at_chance():
    rng = np.random.default_rng(0)
    forget, others = rng.normal(size=(len(PEOPLE) * 20, 24)), rng.normal(size=(30, 24))
    people = np.arange(6).repeat(140)
    found = few_shot_rank_one(forget, people, others, OTHERS, shots=3, repeats=5)
    assert found == pytest.approx(1 / 16, abs=0.03)


def test_more_shots_find_more():
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(6, 16))[PEOPLE]
    forget, others = faces + 1.5 * rng.normal(size=faces.shape), rng.normal(size=(30, 16))
    one, five = (few_shot_rank_one(forget, PEOPLE, others, OTHERS, shots=n) for n in (1, 5))
    assert one < five


def test_a_person_with_no_probe_left_is_not_enrolled():
    """Person 9 has two images, both shown: enrolled, they would be nearer to everyone's probes."""
    rows = np.array([[1, 0.2], [1, 0.2], [1, 0.3], [1, 0], [1, 0]])
    people = np.array([8, 8, 8, 9, 9])
    assert few_shot_rank_one(rows, people, [[-1.0, 0]], [1], shots=2) == 1


def test_unusable_shots_are_refused():
    rows = np.eye(4)
    with pytest.raises(ValueError, match="nobody has more than shots=2"):
        few_shot_rank_one(rows, [1, 1, 2, 2], rows, [3, 3, 4, 4], shots=2)
    with pytest.raises(ValueError, match=r"1 people are on both sides \(first: 2\)"):
        few_shot_rank_one(rows, [1, 1, 2, 2], rows, [2, 3, 4, 4], shots=1)


def test_relearning_starts_at_the_model_and_leaves_it_alone(draw_faces, tiny_encoder):
    images, people = draw_faces(people=4, each=2)
    encoder = tiny_encoder()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    seen = []

    def measure(model):
        seen.append(model)
        return float(len(seen))

    curve = relearn(encoder, images, people, measure, epochs=2)
    assert curve == [(0, 1), (1, 2), (2, 3)]  # eight images are one batch an epoch
    assert seen[0] is encoder
    assert not any(model is encoder for model in seen[1:])
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    assert not torch.equal(next(seen[2].parameters()), next(seen[1].parameters()))


def test_relearning_lowers_the_distance_within_people(draw_faces, tiny_encoder):
    """Images of a person come closer to each other than to those of others."""
    images, people = draw_faces(people=4, each=4)

    def contrast(model):
        with torch.inference_mode():
            raw = model(torch.from_numpy(images.copy()).permute(0, 3, 1, 2))
        rows = normalize(raw.numpy())
        same = people[:, None] == people
        cosine = rows @ rows.T
        return float(cosine[same].mean() - cosine[~same].mean())

    curve = relearn(tiny_encoder(), images, people, contrast, epochs=4)
    assert curve[-1][1] > curve[0][1]


@pytest.mark.parametrize("images", [1, 31, 32, 33, 34, 64, 65, 97])
def test_steps_are_those_of_the_batches_drawn(images):
    """A last batch of a single image joins the one before: batch norm cannot train on it."""
    generator = torch.Generator().manual_seed(0)
    faces = np.zeros((images, 2, 2, 3), np.uint8)
    codes = np.zeros(images, np.int64)
    batches = draw_labelled(faces, codes, 32, generator, torch.device("cpu"), 0)
    assert recovery._steps(images, 32) == sum(1 for _ in batches)
