import numpy as np
import pandas as pd
import pytest
from sklearn.manifold import trustworthiness

from cure_study.experiments.maps import projections


def space(people=5, each=12, dim=8, seed=0):
    """Unit vectors around one direction for each person."""
    rng = np.random.default_rng(seed)
    centre = np.repeat(rng.normal(size=(people, dim)), each, axis=0)
    x = centre + 0.15 * rng.normal(size=centre.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def spaces():
    one = space()
    return {"before": one, "after": one + np.float32(0.01), "oracle": space(seed=1)}


def test_the_residual_by_hand():
    """(3, 4) against (0, 4): |(3, 0)| / 4."""
    assert projections.residual(np.array([[3.0, 4.0]]), np.array([[0.0, 4.0]])) == 0.75


@pytest.mark.parametrize(
    "fit", [projections.joint_tsne, projections.placed_tsne], ids=["joint", "placed"]
)
def test_a_map_repeats_to_the_last_digit(fit):
    one, two = (fit(spaces(), seed=3, perplexity=8) for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert list(one.columns) == ["model", "point", "x", "y"]
    assert one.groupby("model").size().to_dict() == {"before": 60, "after": 60, "oracle": 60}


def test_a_map_keeps_neighbours_and_places_a_copy_next_to_the_original():
    """People stay together; the same embedding, placed again, falls among its old neighbours."""
    given = spaces()
    table = projections.placed_tsne(given, perplexity=8)
    quality = projections.map_quality(given, table)
    assert quality.trustworthiness["before"] > 0.9
    assert (quality.preserved > quality.chance).all()
    place = {m: t[["x", "y"]].to_numpy() for m, t in table.groupby("model")}
    person = np.repeat(np.arange(5), 12)
    distance = np.linalg.norm(place["after"][:, None] - place["before"][None], axis=2)
    assert (person[distance.argmin(1)] == person).mean() > 0.9


def test_quality_is_scikit_learns_and_perfect_for_a_flat_space():
    flat = {"before": np.random.default_rng(0).normal(size=(40, 2))}
    table = pd.DataFrame(flat["before"], columns=["x", "y"]).assign(model="before", point=range(40))
    perfect = projections.map_quality(flat, table).loc["before"]
    assert perfect[["trustworthiness", "preserved"]].tolist() == pytest.approx([1, 1])
    assert perfect.chance == 15 / 39
    bad = table.assign(x=np.random.default_rng(1).normal(size=40))
    got = projections.map_quality(flat, bad).trustworthiness["before"]
    expected = trustworthiness(flat["before"], bad[["x", "y"]].to_numpy(), n_neighbors=15)
    assert got == pytest.approx(expected)
