import numpy as np
import pytest
import torch

from cure_core.metrics.gallery import rank_one

GALLERY = torch.tensor([[1.0, 0.0], [5.0, 0.1], [0.0, 1.0], [-1.0, 0.0]])
GALLERY_PEOPLE = ["ann", "ann", "bob", "cy"]


def test_share_of_probes_nearest_to_their_template():
    probe = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 1.0], [-3.0, 0.5]])
    assert rank_one(probe, ["ann", "bob", "ann", "cy"], GALLERY, GALLERY_PEOPLE) == 0.75


def test_every_gallery_image_weighs_the_same_whatever_its_norm():
    # Ann's template is half-way between 0 and 90 degrees, not at the long embedding's 0.
    gallery = np.array([[100.0, 0.0], [0.0, 1.0], [1.0, -0.2]])
    probe = np.array([[1.0, 0.0]])
    assert rank_one(probe, [1], gallery, [1, 1, 2]) == 0.0
    assert rank_one(probe, [2], gallery, [1, 1, 2]) == 1.0


def test_fewer_templates_are_easier():
    probe = np.array([[0.2, 1.0]])
    assert rank_one(probe, ["ann"], GALLERY, GALLERY_PEOPLE) == 0.0
    assert rank_one(probe, ["ann"], GALLERY, GALLERY_PEOPLE, restrict_to=["ann", "cy"]) == 1.0


def test_a_collapsed_encoder_finds_no_one():
    ones = np.ones((6, 4), dtype=np.float32)
    people = [1, 1, 2, 2, 3, 3]
    assert rank_one(ones, people, ones, people) == 0.0
    assert rank_one(0 * ones, people, 0 * ones, people) == 0.0


def test_agrees_with_a_naive_search():
    rng = np.random.default_rng(0)
    gallery_people, probe_people = rng.integers(0, 6, 40), rng.integers(0, 6, 30)
    faces = rng.normal(size=(6, 5))
    gallery = faces[gallery_people] + rng.normal(size=(40, 5))
    probe = faces[probe_people] + rng.normal(size=(30, 5))
    hits = 0
    for row, person in zip(probe, probe_people, strict=True):
        best, nearest = -2.0, -1
        for candidate in range(6):
            images = gallery[gallery_people == candidate]
            template = sum(image / np.linalg.norm(image) for image in images)
            cosine = row @ template / np.linalg.norm(row) / np.linalg.norm(template)
            if cosine > best:
                best, nearest = cosine, candidate
        hits += nearest == person
    assert rank_one(probe, probe_people, gallery, gallery_people) == pytest.approx(hits / 30)


def test_unusable_galleries_are_refused():
    probe = np.ones((1, 2))
    with pytest.raises(ValueError, match=r"no template to be found by .*dee"):
        rank_one(probe, ["dee"], GALLERY, GALLERY_PEOPLE)
    with pytest.raises(ValueError, match=r"no template to be found by .*bob"):
        rank_one(probe, ["bob"], GALLERY, GALLERY_PEOPLE, restrict_to=["ann"])
    with pytest.raises(ValueError, match="4 gallery images 1;"):
        rank_one(probe, ["ann"], GALLERY, ["ann"])
    with pytest.raises(ValueError, match="probe is empty"):
        rank_one(probe[:0], [], GALLERY, GALLERY_PEOPLE)
    with pytest.raises(ValueError, match="gallery holds NaN"):
        rank_one(probe, ["ann"], GALLERY * np.nan, GALLERY_PEOPLE)
