from itertools import pairwise

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from cure_core import clustering
from cure_core.clustering import UnclusterableError, farthest_centroid, kmeans


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def noise(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def blobs(n: int = 600, d: int = 8, k: int = 6) -> Tensor:
    """n samples in k well-separated groups, in turn."""
    return 8 * noise(k, d, seed=1).repeat(n // k, 1) + noise(n, d)


def test_farthest_map_on_a_square():
    corners = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert farthest_centroid(corners).tolist() == [2, 3, 0, 1]


def test_farthest_map_in_chunks(monkeypatch):
    """On a line everything is farthest from one of the ends."""
    monkeypatch.setattr(clustering, "CPU_CHUNK_BYTES", 100)
    line = column(*range(40))
    assert farthest_centroid(line).tolist() == [39] * 20 + [0] * 20


@pytest.mark.parametrize("init", ["k-means++", "random", column(0, 10)])
def test_two_pairs_on_a_line(init):
    result = kmeans(column(0, 1, 10, 11), 2, init=init)
    assert sorted(result.centroids.flatten().tolist()) == pytest.approx([0.5, 10.5])
    assert result.labels[0] == result.labels[1] != result.labels[2] == result.labels[3]
    assert result.inertia == pytest.approx(4 * 0.5**2)


def test_one_update_by_hand():
    """From 0 and 1: 1 and all above go to the second centroid, whose mean is (1 + 4 + 10) / 3."""
    result = kmeans(column(0, 1, 4, 10), 2, init=column(0, 1), max_iter=1)
    assert result.centroids.flatten().tolist() == pytest.approx([0, 5])
    assert result.labels.tolist() == [0, 0, 1, 1]  # the nearest to the new centroids
    assert result.inertia == pytest.approx(0 + 1 + 1 + 25)
    assert result.n_iter == 1


@pytest.mark.parametrize("x", [blobs(), noise(500, 16), noise(300, 2)], ids=["blobs", "16", "2"])
def test_same_start_as_scikit_learn_same_end(x):
    start = x[:20]
    theirs = KMeans(20, init=start.numpy(), n_init=1).fit(x.numpy())
    ours = kmeans(x, 20, init=start)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=0.01)
    assert ours.inertia == pytest.approx(
        (x - ours.centroids[ours.labels]).square().sum().item(), rel=1e-4
    )
    assert torch.equal(ours.labels, torch.cdist(x, ours.centroids).argmin(dim=1))


def test_greedy_start_is_as_good_as_scikit_learns():
    """The inertia after one update, over ten seeds."""
    x = noise(500, 8)
    theirs = KMeans(25, n_init=1, max_iter=1, tol=1e9)
    ours = sum(kmeans(x, 25, seed=seed, max_iter=1).inertia for seed in range(10))
    assert ours == pytest.approx(
        sum(theirs.set_params(random_state=seed).fit(x.numpy()).inertia_ for seed in range(10)),
        rel=0.02,
    )


def test_greedy_start_beats_a_random_one():
    x = noise(500, 8)
    greedy, random = (
        sum(kmeans(x, 25, init=init, seed=seed, max_iter=0).inertia for seed in range(10))
        for init in ("k-means++", "random")
    )
    assert greedy < 0.9 * random


def test_greedy_start_finds_every_blob():
    x = blobs(k=6)
    assert kmeans(x, 6).inertia == pytest.approx(x.shape[1] * len(x), rel=0.1)


def test_far_from_the_origin():
    """Without centring, float32 has no digits left for these distances."""
    assert kmeans(column(0, 1, 10, 11) + 1e5, 2).inertia == pytest.approx(1, rel=1e-3)


def test_chunks_change_nothing(monkeypatch):
    x = noise(500, 8)
    whole = kmeans(x, 10)
    monkeypatch.setattr(clustering, "CPU_CHUNK_BYTES", 70 * 10 * 4)
    chunked = kmeans(x, 10)
    assert torch.equal(chunked.labels, whole.labels)
    assert chunked.inertia == pytest.approx(whole.inertia)


def test_warm_start_from_its_own_end_stops_at_once():
    x = noise(500, 8)
    cold = kmeans(x, 10, tol=0)
    warm = kmeans(x, 10, init=cold.centroids)
    assert cold.n_iter > 5
    assert warm.n_iter == 1
    assert torch.equal(warm.labels, cold.labels)


def test_warm_start_follows_a_drift():
    x = blobs()
    cold = kmeans(x, 6)
    warm = kmeans(x + 0.1, 6, init=cold.centroids)
    assert warm.n_iter <= 2
    assert torch.equal(warm.labels, cold.labels)


def test_empty_clusters_take_the_farthest_samples():
    """100 and -50 attract nothing at first; the outliers 9 and 10 are the farthest from 0."""
    x = column(0, 0.1, 0.2, 9, 10)
    result = kmeans(x, 3, init=column(0, 100, -50), max_iter=1)
    assert sorted(result.centroids.flatten().tolist()) == pytest.approx([0.1, 9, 10])


def test_no_cluster_stays_empty_among_duplicates():
    """The two farthest samples are the same point, so one relocation is not enough."""
    x = column(0, 0, 0, 1, 5, 5)
    result = kmeans(x, 3, init=column(0, 100, 200))
    assert sorted(result.centroids.flatten().tolist()) == pytest.approx([0, 1, 5])
    assert result.inertia == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_as_many_clusters_as_distinct_samples(seed):
    x = noise(12, 4).repeat(50, 1)
    result = kmeans(x, 12, seed=seed, init="random")
    assert result.labels.bincount(minlength=12).tolist() == [50] * 12
    assert result.inertia == pytest.approx(0, abs=1e-3)


def test_spherical_keeps_unit_norm_and_never_loses_cosine():
    x = torch.nn.functional.normalize(noise(400, 6))
    cosines = []
    for max_iter in range(8):
        result = kmeans(x, 10, max_iter=max_iter, tol=0, spherical=True)
        torch.testing.assert_close(result.centroids.norm(dim=1), torch.ones(10))
        cosine = (x * result.centroids[result.labels]).sum()
        cosines.append(cosine.item())
        assert result.inertia == pytest.approx(2 * (len(x) - cosines[-1]), rel=1e-4)
    assert all(after >= before - 1e-3 for before, after in pairwise(cosines))
    assert cosines[-1] > cosines[0] + 10


def test_spherical_survives_a_cluster_whose_mean_is_zero():
    """The left and the right are as near to up as to down, and together they point nowhere."""
    x = torch.tensor([[1.0, 0], [-1, 0], [0, -1]])
    start = torch.tensor([[0.0, 1], [0, -1]])
    assert kmeans(x, 2, init=start, spherical=True).centroids.tolist() == start.tolist()


def test_spherical_counts_directions():
    with pytest.raises(ValueError, match="only 1 distinct"):
        kmeans(torch.tensor([[1.0, 0], [2, 0], [4, 0]]), 2, spherical=True)


def test_seed_decides_everything():
    x = noise(300, 4)
    first, again, other = kmeans(x, 9, seed=3), kmeans(x, 9, seed=3), kmeans(x, 9, seed=4)
    assert torch.equal(first.centroids, again.centroids)
    assert torch.equal(first.labels, again.labels)
    assert first.inertia != other.inertia
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    kmeans(x, 9)
    assert torch.equal(torch.rand(1), expected)  # the global generator is left alone


def test_more_starts_keep_the_best():
    x = noise(300, 4)
    assert kmeans(x, 9, n_init=8).inertia < kmeans(x, 9, n_init=1).inertia


def test_float64_stays_and_the_input_is_untouched():
    x = noise(50, 3).double()
    before = x.clone()
    assert kmeans(x, 4).centroids.dtype == torch.float64
    assert kmeans(x.bfloat16(), 4).centroids.dtype == torch.float32
    assert torch.equal(x, before)


def test_repr_says_what_came_out():
    assert repr(kmeans(column(0, 1, 10, 11), 2)) == (
        "KMeansResult(4 samples in 2 clusters of 2 to 2, D=1, inertia=1, n_iter=1)"
    )


BROKEN = column(0, 1, float("nan"), float("inf"))


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (noise(12, 2).repeat(9, 1), {"n_clusters": 40}, "clusters=40 .* only 12 distinct samples"),
        (noise(0, 2), {"n_clusters": 2}, "clusters=2 .* only 0 distinct samples"),
        (noise(12, 2), {"n_clusters": 1}, "clusters=1; it is a whole number, 2 or more"),
        (BROKEN, {"n_clusters": 2}, r"2 of 4 rows hold NaN or infinity \(first: row 2\)"),
        (noise(12, 2)[0], {"n_clusters": 2}, r"shape \(2,\)"),
        (noise(12, 2), {"n_clusters": 2, "init": "best"}, "init='best'; choose \"k-means"),
        (noise(12, 2), {"n_clusters": 2, "init": noise(3, 2)}, r"shape \(3, 2\).* need \(2, 2\)"),
        (noise(12, 2), {"n_clusters": 2, "init": BROKEN[2:].expand(2, 2)}, "init holds NaN"),
        (noise(12, 2), {"n_clusters": 2, "n_init": 0}, "n_init=0"),
        (noise(12, 2), {"n_clusters": 2.0}, "clusters=2.0; it is a whole number"),
        (noise(12, 2), {"n_clusters": "2"}, "clusters='2'; it is"),
        (noise(12, 2), {"n_clusters": 2, "max_iter": -1}, "max_iter=-1"),
        (noise(12, 2), {"n_clusters": 2, "tol": float("nan")}, "tol=nan"),
        (noise(12, 0), {"n_clusters": 2}, r"shape \(12, 0\)"),
        (1e25 * noise(12, 2), {"n_clusters": 2}, "overflow torch.float32"),
    ],
)
def test_errors_name_the_values(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        kmeans(x, **arguments)


def test_what_cannot_be_clustered_has_an_error_of_its_own():
    for x in (BROKEN, torch.ones(5, 2), 1e25 * noise(12, 2)):
        with pytest.raises(UnclusterableError):
            kmeans(x, 2)


def test_the_farthest_of_one_centroid_or_of_no_number_is_refused():
    with pytest.raises(ValueError, match="1 centroids"):
        farthest_centroid(torch.ones(1, 2))
    with pytest.raises(ValueError, match="NaN or infinity"):
        farthest_centroid(BROKEN)
