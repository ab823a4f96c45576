import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import silhouette_score

from cure_core import clustering
from cure_core.cluster_count import ClusterChoice, choose_clusters, resolve_clusters, silhouette
from cure_core.clustering import KMeansResult, kmeans


def blobs(k: int, each: int = 12, d: int = 24, spread: float = 0.05, seed: int = 0) -> torch.Tensor:
    """k groups on the unit sphere around near-orthogonal directions."""
    generator = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(k, d, generator=generator))
    noise = spread * torch.randn(k * each, d, generator=generator)
    return F.normalize(centres.repeat_interleave(each, 0) + noise)


@pytest.mark.parametrize("k", [2, 3, 5, 8, 13, 20])
def test_finds_the_number_of_groups(k):
    choice = choose_clusters(blobs(k))
    assert choice.k == k
    assert choice.tried.silhouette.max() == choice.tried.set_index("k").silhouette[k]
    assert choice.tried.k.is_monotonic_increasing
    assert f"k={k}, " in repr(choice)


def naive_silhouette(x: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> float:
    """Sample by sample, the centroid of its cluster computed without it."""
    scores = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if labels[j] == labels[i] and j != i]
        if not others:
            scores.append(0.0)
            continue
        a = np.linalg.norm(x[i] - x[others].mean(0))
        b = min(np.linalg.norm(x[i] - c) for k, c in enumerate(centroids) if k != labels[i])
        scores.append((b - a) / max(a, b))
    return float(np.mean(scores))


@pytest.mark.parametrize("k", [2, 4, 15, 40])
def test_silhouette_is_the_naive_loop(k):
    x = blobs(4, spread=0.3)
    result = kmeans(x, k, max_iter=300, tol=0)
    sizes = result.labels.bincount(minlength=k)
    assert k < 40 or (sizes == 1).any()  # samples alone in their cluster are among them
    means = torch.stack([x[result.labels == j].mean(0) for j in range(k)])
    expected = naive_silhouette(*(t.double().numpy() for t in (x, result.labels, means)))
    assert silhouette(x, result) == pytest.approx(expected, abs=1e-5)
    assert silhouette(x, result, chunk=7) == pytest.approx(expected, abs=1e-5)


def test_silhouette_by_hand():
    """On a line, {0, 2} and {10}: a = 2, b = 10 and 8; alone counts 0: (0.8 + 0.75 + 0) / 3."""
    x = torch.tensor([[0.0], [2.0], [10.0]])
    clustering = KMeansResult(torch.tensor([[1.0], [10.0]]), torch.tensor([0, 0, 1]), 2.0, 1)
    assert silhouette(x, clustering) == pytest.approx((0.8 + 0.75) / 3)


def test_silhouette_ranks_as_the_classical_one():
    x = blobs(6, each=20, spread=0.12)
    results = [kmeans(x, k, seed=1) for k in (2, 3, 4, 6, 12, 30)]
    ours = [silhouette(x, result) for result in results]
    theirs = [silhouette_score(x.numpy(), result.labels.numpy()) for result in results]
    assert np.argmax(ours) == np.argmax(theirs) == 3
    assert np.corrcoef(np.argsort(np.argsort(ours)), np.argsort(np.argsort(theirs)))[0, 1] > 0.9


def test_a_seed_repeats():
    x = blobs(5, spread=0.3)
    first, again = choose_clusters(x, seed=4), choose_clusters(x, seed=4)
    assert first.k == again.k
    assert first.tried.equals(again.tried)


def test_tiny_and_repeated_sets():
    """Four distinct samples are the fewest; copies do not count."""
    four = torch.eye(4)
    assert choose_clusters(four).k == 2
    with pytest.raises(ValueError, match="needs 4 distinct samples to choose from, got 3"):
        choose_clusters(four[:3].repeat(10, 1))


def test_what_a_configs_clusters_mean():
    forget, retain = blobs(3), blobs(5)
    assert resolve_clusters(7, forget, retain, 0) == (7, 7)
    assert resolve_clusters((4, 9), forget, retain, 0) == (4, 9)
    assert resolve_clusters("auto", forget, retain, 0) == (3, 5)


def test_the_silhouettes_chunks_shrink_as_clusters_grow(monkeypatch):
    """Rows times K stay within the bytes of a chunk of K-means."""
    monkeypatch.setattr(clustering, "CPU_CHUNK_BYTES", 4 * 600)
    sizes = []

    def counted(rows, centroids):
        sizes.append(len(rows) * len(centroids))
        return cdist(rows, centroids)

    cdist = torch.cdist
    x = blobs(4, spread=0.3)
    for k in (3, 20):
        result = kmeans(x, k)
        monkeypatch.setattr(torch, "cdist", cdist)
        expected = silhouette(x, result, chunk=1)
        monkeypatch.setattr(torch, "cdist", counted)
        sizes.clear()
        assert silhouette(x, result) == pytest.approx(expected, abs=1e-5)
        assert max(sizes) <= 600


def test_equal_choices_compare_equal_with_nan_too():
    def choice(value):
        return ClusterChoice(2, pd.DataFrame({"k": [2, 3], "silhouette": [value, float("nan")]}))

    assert choice(0.5) == choice(0.5)
    assert choice(0.5) != choice(0.4)
    assert hash(choice(0.5)) == hash(choice(0.5))
