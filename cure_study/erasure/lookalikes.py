"""What a list may have forgotten: images that stay and look like the forgotten people."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cure_study.erasure.duplicates import duplicates
from cure_study.erasure.images import ImageFolder

COLUMNS = ("file", "kind", "like", "similarity", "included")
NEAREST = 3  # forgotten images whose mean similarity counts: a single one may be a coincidence
LISTED, INCLUDED = 3.0, 4.0  # thresholds, in standard deviations above the median
CHUNK = 4096  # images compared at once
EXPLAINED = (
    "An image is listed from a similarity of {listed:.2f} to its {nearest} most similar forgotten "
    "images: {z:g} standard deviations above the median of the images that stay, the deviation "
    "estimated from the lower half, which people who match cannot raise. --include-lookalikes "
    "takes those from {included:.2f} ({strict:g} deviations)."
)


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """The images that stay and look like the forgotten ones.

    `table`: file, kind (exact, near, similar), like (the most similar forgotten file), similarity,
    included; `index` (L,): their positions in the folder; `threshold` and `strict`: cosines from
    which an image is listed, and from which `include_lookalikes` takes it along.
    """

    table: pd.DataFrame
    index: np.ndarray
    threshold: float
    strict: float

    @property
    def explained(self) -> str:
        return EXPLAINED.format(
            listed=self.threshold, included=self.strict, nearest=NEAREST, z=LISTED, strict=INCLUDED
        )

    @property
    def sure(self) -> np.ndarray:
        """Positions in the folder of duplicates and of images from the stricter threshold."""
        return self.index[(self.table.kind != "similar") | (self.table.similarity >= self.strict)]

    def __repr__(self) -> str:
        counts = self.table.kind.value_counts()
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return (
            f"{len(self.table)} remaining images look like the forgotten{': ' * bool(found)}{found}"
        )


def lookalikes(
    folder: ImageFolder, embeddings: np.ndarray, forget: np.ndarray, among: np.ndarray
) -> Found:
    """Exact and near duplicates of the forgotten images, and images similar by the encoder.

    `embeddings` (N, D): the teacher's, L2-normalised. `forget` and `among`: positions in the
    folder. Source: our choice; docs/requests.md has its precision and recall on both data sets.
    """
    similarity, nearest = _similarity(embeddings[among], embeddings[forget])
    threshold, strict = (_threshold(similarity, z) for z in (LISTED, INCLUDED))
    copies = duplicates(folder, forget, among)
    rows = np.flatnonzero(similarity >= threshold)
    similar = pd.DataFrame(
        {
            "file": [folder.files[i] for i in among[rows]],
            "kind": "similar",
            "like": [folder.files[i] for i in forget[nearest[rows]]],
            "similarity": similarity[rows],
        }
    )
    table = pd.concat([copies, similar[~similar["file"].isin(copies["file"])]], ignore_index=True)
    order = {"exact": 0, "near": 1, "similar": 2}
    table = table.sort_values(
        ["kind", "similarity"],
        key=lambda c: c.map(order) if c.name == "kind" else -c,
        kind="stable",
    ).reset_index(drop=True)
    position = {folder.files[i]: i for i in among}
    index = np.array([position[file] for file in table["file"]], np.int64)
    return Found(table.assign(included=False)[[*COLUMNS]], index, threshold, strict)


def above(among: np.ndarray, forget: np.ndarray, deviations: float) -> tuple[np.ndarray, float]:
    """Which rows of `among` (N, D) are similar to those of `forget`, (N,) bool; the threshold."""
    similarity, _ = _similarity(among, forget)
    threshold = _threshold(similarity, deviations)
    return similarity >= threshold, threshold


def _threshold(similarity: np.ndarray, deviations: float) -> float:
    """So many standard deviations above the median, by the lower half, at most 1."""
    median = float(np.median(similarity))
    deviation = median - float(np.quantile(similarity, 0.1587))  # a normal one's sigma
    return min(1.0, median + deviations * deviation)


def _similarity(among: np.ndarray, forget: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine of each row to its `NEAREST` nearest of `forget`, and which is the nearest."""
    k = min(NEAREST, len(forget))
    means, nearest = [], []
    for start in range(0, len(among), CHUNK):
        cosine = among[start : start + CHUNK] @ forget.T
        means.append(np.partition(cosine, -k, axis=1)[:, -k:].mean(axis=1))
        nearest.append(cosine.argmax(axis=1))
    return np.concatenate(means), np.concatenate(nearest)
