"""SynthFaces: images that depend on seed, person and capture alone, faces that carry identity, the
ground truth about every image, and protocols with disjoint people a fold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cure_study import synthfaces
from cure_study.synthfaces import cross_age_pairs, generate, unseen_pairs
from cure_study.synthfaces.captures import quality
from cure_study.synthfaces.degrade import compress, optics
from cure_study.synthfaces.people import people, uniforms


@pytest.fixture(scope="module")
def faces():
    return generate(40, 10, seed=3)


def test_shapes_and_types(faces):
    assert faces.images.shape == (400, 112, 112, 3)
    assert faces.images.dtype == np.uint8
    assert faces.identities.dtype == np.int64
    assert faces.identities.tolist() == np.repeat(np.arange(40), 10).tolist()
    assert faces.attributes["person"].equals(faces.attributes["person"].astype(np.int64))
    assert faces.attributes["capture"].tolist() == list(range(10)) * 40
    assert len(faces) == len(faces.attributes) == 400
    assert "400 images of 40 people" in repr(faces)


def test_images_are_neither_flat_nor_clipped(faces):
    pixels = faces.images.astype(np.float32)
    assert (pixels.std(axis=(1, 2, 3)) > 8).all()
    assert 70 < pixels.mean() < 170
    assert np.isin(pixels, (0, 255)).mean() < 0.06


def test_an_image_depends_on_seed_person_and_capture_alone(faces):
    """Fewer captures, another first person, another place in the chunk: the same images."""
    again = generate(2, 7, seed=3, first_person=5)
    images = faces.images.reshape(40, 10, 112, 112, 3)[5:7, :7]
    np.testing.assert_array_equal(again.images.reshape(images.shape), images)
    rows = faces.attributes.query("person in (5, 6) and capture < 7").reset_index(drop=True)
    assert rows.equals(again.attributes)


@pytest.mark.parametrize("chunk", [1, 5, 32])
def test_the_chunk_changes_no_pixel(faces, chunk, monkeypatch):
    monkeypatch.setattr(synthfaces, "CHUNK", chunk)
    np.testing.assert_array_equal(generate(3, 10, seed=3).images, faces.images[:30])


def test_another_seed_draws_other_people(faces):
    other = generate(1, 10, seed=4)
    assert (other.images != faces.images[:10]).mean() > 0.9


def test_the_images_of_this_version_are_kept():
    """Up to what another processor rounds another way: on two, 6 bytes in 100,000 differ, by 7."""
    sheet = np.asarray(Image.open(Path(__file__).parent / "synthfaces_version_1.png"))
    drawn = np.hstack(generate(4, 1, seed=3).images)
    assert synthfaces.VERSION == 1, "keep a sheet of the new version, and leave the old one out"
    assert (drawn != sheet).mean() < 1e-3, "other images: raise VERSION"


def test_a_person_resembles_itself_more_than_others(faces):
    """In the crudest likeness, colours of the middle of the face; a network finds far more."""
    middle = faces.images[:, 40:104, 30:82].reshape(400, 8, 8, 4, 13, 3).mean(axis=(2, 4))
    looks = middle.reshape(400, -1)
    distance = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    same = faces.identities[:, None] == faces.identities
    within = distance[same & ~np.eye(400, dtype=bool)].mean()
    between = distance[~same].mean()
    assert within < 0.9 * between
    assert within > 0.3 * between  # and yet no two images of a person are nearly the same


def test_the_background_does_not_tell_who_it_is(faces):
    corner = faces.images[:, 40:60, :6].reshape(400, -1, 3).mean(axis=1)
    distance = np.linalg.norm(corner[:, None] - corner[None], axis=2)
    same = faces.identities[:, None] == faces.identities
    within = distance[same & ~np.eye(400, dtype=bool)].mean()
    assert within > 0.85 * distance[~same].mean()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("age", 18, 85), ("skin_tone", 1, 10), ("quality", 0, 1), ("yaw", -45, 45),
        ("pitch", -30, 30), ("roll", -6, 6), ("light_strength", 0, 1), ("smile", -1, 1),
        ("mouth_open", 0, 1), ("occlusion", 0, 0.5), ("blur", 0, 4), ("resolution", 16, 112),
        ("noise", 0, 0.2), ("jpeg", 1, 100),
    ],
)  # fmt: skip
def test_attributes_stay_in_their_range(faces, name, low, high):
    values = faces.attributes[name]
    assert values.between(low, high).all()
    assert values.nunique() > 5


def test_attributes_cover_their_range(faces):
    truth = faces.attributes
    assert set(truth["skin_tone"]) == set(range(1, 11))
    assert truth["skin_tone"].groupby(truth["person"]).nunique().eq(1).all()
    assert set(truth["glasses"]) == {"none", "clear", "dark"}
    assert truth["quality"].quantile(0.05) < 0.45 < 0.6 < truth["quality"].median()
    span = truth["age"].groupby(truth["person"]).agg(np.ptp)
    assert span.median() > 25


@pytest.mark.parametrize(
    "worse",
    [
        {"blur": 2.0}, {"resolution": 30.0}, {"noise": 0.1}, {"jpeg": 10.0}, {"yaw": -40.0},
        {"pitch": 20.0}, {"occlusion": 0.3}, {"glasses_kind": 2.0}, {"eye_open": 0.2},
    ],
)  # fmt: skip
def test_quality_falls_with_each_nuisance(worse):
    best = {
        "yaw": 0.0, "pitch": 0.0, "blur": 0.0, "resolution": 112.0, "noise": 0.006, "jpeg": 100.0,
        "occlusion": 0.0, "glasses_kind": 0.0, "exposure": 1.0, "light_azimuth": 0.0,
        "light_strength": 0.5, "eye_open": 1.0,
    }  # fmt: skip
    score = {
        name: float(quality({k: np.array([v]) for k, v in shot.items()})[0])
        for name, shot in (("best", best), ("worse", best | worse))
    }
    assert score["best"] == pytest.approx(1)
    assert 0 < score["worse"] < 0.95


def test_low_quality_shows_in_the_image(faces):
    """Blurred and coarse images have less fine detail, noise apart."""
    truth = faces.attributes
    grey = faces.images.mean(axis=3)
    detail = np.abs(np.diff(grey[:, 30:100, 25:87], axis=2)).mean(axis=(1, 2))
    quiet = truth["noise"] < 0.02
    soft = quiet & ((truth["blur"] > 1) | (truth["resolution"] < 50))
    assert detail[soft].mean() < 0.75 * detail[quiet & ~soft].mean()


def test_optics_keep_brightness_and_take_detail():
    matrices = optics(np.array([0.35, 2.0, 0.35]), np.array([112.0, 112.0, 28.0]))
    np.testing.assert_allclose(matrices.sum(axis=2), 1, atol=1e-5)
    stripes = np.tile([0.0, 1.0], 56)
    sharp, blurred, coarse = (matrices @ stripes).std(axis=1)
    assert sharp > 0.4
    assert blurred < 0.1
    assert coarse < 0.1


def test_compression_is_lossy_and_keeps_the_shape(faces):
    image = faces.images[0]
    errors = [np.abs(compress(image, q).astype(int) - image).mean() for q in (95, 50, 10)]
    assert compress(image, 50).shape == image.shape
    assert errors == sorted(errors)


def test_traits_do_not_depend_on_other_people():
    block = np.stack([uniforms(0, person, 1)[0] for person in range(50)])
    together, alone = people(block), people(block[17:18])
    for name, trait in together.items():
        np.testing.assert_allclose(trait[17], alone[name][0], rtol=1e-12)


def test_unseen_pairs_keep_people_in_one_fold(faces):
    pairs = unseen_pairs(faces.identities, 400, seed=1)
    _check_folds(pairs, faces.identities, 400)


def test_cross_age_pairs_are_far_apart(faces):
    ages = faces.attributes["age"].to_numpy()
    pairs = cross_age_pairs(faces.identities, ages, 60, seed=1)
    _check_folds(pairs, faces.identities, 60)
    assert (np.abs(ages[pairs.left] - ages[pairs.right]) >= 30).all()


def test_protocols_repeat_with_the_seed(faces):
    first, again = (unseen_pairs(faces.identities, 100, seed=5) for _ in range(2))
    other = unseen_pairs(faces.identities, 100, seed=6)
    np.testing.assert_array_equal(first.left, again.left)
    assert (first.left != other.left).any()


def test_too_few_candidates_say_how_many_there_are(faces):
    with pytest.raises(ValueError, match=r"needs 500 genuine .* have 180 and 600; ask for fewer"):
        unseen_pairs(faces.identities, 10_000)
    with pytest.raises(ValueError, match=r"at least 70 years apart"):
        cross_age_pairs(faces.identities, faces.attributes["age"], 200, min_gap=70)


@pytest.mark.parametrize("n_pairs", [0, 10, 30, -20])
def test_folds_must_come_out_even(faces, n_pairs):
    with pytest.raises(ValueError, match=f"n_pairs is {n_pairs}; .* multiple of 20"):
        unseen_pairs(faces.identities, n_pairs)


def test_ages_must_match(faces):
    with pytest.raises(ValueError, match="400 identities and 3 ages"):
        cross_age_pairs(faces.identities, [20, 30, 40], 20)
    with pytest.raises(ValueError, match="min_gap is -1"):
        cross_age_pairs(faces.identities, faces.attributes["age"], 20, min_gap=-1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_people": 0}, {"images_per_person": 0}, {"seed": -1}, {"first_person": -1},
    ],
)  # fmt: skip
def test_bad_counts(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=f"{name}={value}; it is a whole number"):
        generate(**{"n_people": 1, "images_per_person": 1} | arguments)


def _check_folds(pairs, identities, count):
    assert len(pairs) == count
    np.testing.assert_array_equal(pairs.genuine, identities[pairs.left] == identities[pairs.right])
    assert (pairs.left != pairs.right).all()
    folds = np.arange(count) // (count // 10)
    people_of = [
        set(identities[pairs.left[folds == k]]) | set(identities[pairs.right[folds == k]])
        for k in range(10)
    ]
    assert all(pairs.genuine[folds == k].mean() == 0.5 for k in range(10))
    assert sum(map(len, people_of)) == len(set().union(*people_of))
    assert len(set(zip(pairs.left, pairs.right, strict=True))) == count
