"""What is measured of a model: its embeddings of every image that a protocol asks for."""

from functools import cached_property

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.encoders.embedding import mirrored, raw_embeddings
from cure_core.metrics.features import (
    first_of_each,
    nearest_centroid_features,
    view_features,
)
from cure_core.metrics.membership import membership_attack
from cure_core.metrics.pairs import Pairs, similarities
from cure_study.data.faceset import ImageView
from cure_study.evaluation.protocol import Protocol

EACH = 8  # images a person in the clusters of the nearest-centroid attack; also images a cluster


def half_resolution(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, 112, 112) at half the resolution."""
    small = F.avg_pool2d(batch.float(), 2)
    return F.interpolate(small, scale_factor=2, mode="bilinear").round().to(batch.dtype)


def shifted(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, 112, 112) moved 4 pixels right and down, edges repeated."""
    return F.pad(batch.float(), (4, 0, 4, 0), mode="replicate")[..., :112, :112].to(batch.dtype)


def attacked_images(protocol: Protocol) -> np.ndarray:
    """Members, outsiders, forget images, and what else of forgotten people was in training.

    The last are there where only some of a person's images go, to compare those with.
    """
    people = protocol.faces.identities
    asked = np.concatenate([protocol.members, protocol.outsiders, protocol.forget])
    own = protocol.gallery[np.isin(people[protocol.gallery], people[protocol.forget])]
    return np.concatenate([asked, np.setdiff1d(own, asked)])


def view_table(
    protocol: Protocol,
    encoder: nn.Module,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    raw: Tensor | None = None,
) -> pd.DataFrame:
    """`view_features` of the attacked images by one encoder, a row an image, by its number.

    `raw`: its embeddings of them as they are, where known already.
    """
    index = attacked_images(protocol)
    images = ImageView(protocol.faces.images, index)
    views = [
        raw_embeddings(encoder, images, device=device, view=view, progress=progress)
        for view in (*([None] if raw is None else []), mirrored, shifted, half_resolution)
    ]
    known = [] if raw is None else [raw]
    return view_features([*known, *views], protocol.faces.identities[index]).set_axis(index)


def rows_of(embedded: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Where the numbers `index` lie in the sorted `embedded`; KeyError for one that is not there.

    The error names the first image that is missing.
    """
    rows = np.searchsorted(embedded, index).clip(max=len(embedded) - 1)
    if (missing := np.asarray(index)[embedded[rows] != index]).size:
        raise KeyError(f"{missing.size} images were not embedded (first: image {missing.flat[0]})")
    return rows


class Space:
    """One model's embeddings: `space[index]` gives normalised rows by the images' numbers.

    Embeds when it is made; the rest is worked out when it is first asked for. Raises ValueError
    where an embedding is not finite.
    """

    def __init__(
        self,
        protocol: Protocol,
        encoder: nn.Module,
        device: torch.device | str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.protocol, self.encoder = protocol, encoder
        self.device, self.progress = device, progress
        ends = [side for pairs in protocol.pairs.values() for side in (pairs.left, pairs.right)]
        parts = [*ends, attacked_images(protocol), protocol.probes, protocol.gallery]
        self.index = np.unique(np.concatenate(parts))
        images = ImageView(protocol.faces.images, self.index)
        self.raw = raw_embeddings(encoder, images, device=device, progress=progress)
        self.unit = F.normalize(self.raw, dim=1).numpy()

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self.unit[self.rows_of(index)]

    def rows_of(self, index: np.ndarray) -> np.ndarray:
        """Where the images lie in `index`; KeyError, naming the first, for one not embedded."""
        return rows_of(self.index, index)

    @cached_property
    def features(self) -> pd.DataFrame:
        """`view_table` of the model."""
        raw = self.raw[self.rows_of(attacked_images(self.protocol))]
        return view_table(self.protocol, self.encoder, self.device, self.progress, raw)

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """The nearest-centroid features of some of the attacked images, as many a person."""
        attacked = attacked_images(self.protocol)
        some = attacked[first_of_each(self.protocol.faces.identities[attacked], EACH)]
        k = max(2, len(some) // EACH)
        return nearest_centroid_features(self[some], k, self.protocol.seed).set_axis(some)

    @cached_property
    def membership(self) -> dict[str, float]:
        """The membership attack by all view features: recall on the forget set, AUC, TPR."""
        p, people = self.protocol, self.protocol.faces.identities
        members, outsiders, forget = (
            self.features.loc[part].to_numpy() for part in (p.members, p.outsiders, p.forget)
        )
        result = membership_attack(
            members,
            outsiders,
            forget,
            member_people=people[p.members],
            non_member_people=people[p.outsiders],
            seed=p.seed,
        )
        return {
            "membership_recall": result.recall,
            "membership_auc": result.auc,
            "membership_tpr_at_1pct_fpr": result.tpr_at_1pct_fpr,
        }

    def scores(self, pairs: Pairs) -> np.ndarray:
        """Cosine similarity of each pair, (P,)."""
        left, right = self.rows_of(pairs.left), self.rows_of(pairs.right)
        return similarities(self.unit, Pairs(left, right, pairs.genuine))
