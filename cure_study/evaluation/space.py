"""One model's embeddings of every image that a protocol needs, and what follows from them."""

from functools import cached_property

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.encoders.embedding import raw_embeddings
from cure_core.encoders.images import Images, mirrored
from cure_core.metrics.membership import MembershipResult, membership_attack
from cure_core.metrics.pairs import Pairs, similarities
from cure_study.data.faceset import ImageView
from cure_study.evaluation.features import (
    first_of_each,
    nearest_centroid_features,
    view_features,
)
from cure_study.evaluation.protocol import Protocol

EACH = 8  # images a person in the clusters of the nearest-centroid attack; also images a cluster


class Space:
    """One model's embeddings: `space[index]` gives normalised rows by the images' numbers.

    Embeds on construction; the rest is computed on first use. Raises ValueError if an embedding is
    not finite.
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
        sides = [side for pairs in protocol.pairs.values() for side in (pairs.left, pairs.right)]
        parts = [*sides, attacked_images(protocol), protocol.probes, protocol.gallery]
        self.index = np.unique(np.concatenate(parts))
        images = ImageView(protocol.faces.images, self.index)
        self.raw = raw_embeddings(encoder, images, device=device, progress=progress)
        self.unit = F.normalize(self.raw, dim=1).numpy()

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self.unit[rows_of(self.index, index)]

    def scores(self, pairs: Pairs) -> np.ndarray:
        """Cosine similarity of each pair, (P,)."""
        left, right = (rows_of(self.index, side) for side in (pairs.left, pairs.right))
        return similarities(self.unit, Pairs(left, right, pairs.genuine))

    @cached_property
    def features(self) -> pd.DataFrame:
        """`view_table` of the model."""
        raw = self.raw[rows_of(self.index, attacked_images(self.protocol))]
        return view_table(self.protocol, self.encoder, self.device, self.progress, raw)

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """The nearest-centroid features of attacked images, `EACH` a person, by their numbers."""
        index = attacked_images(self.protocol)
        index = index[first_of_each(self.protocol.faces.identities[index], EACH)]
        k = max(2, len(index) // EACH)
        return nearest_centroid_features(self[index], k, self.protocol.seed).set_axis(index)

    @cached_property
    def membership(self) -> dict[str, float]:
        """The membership attack by all view features: recall on the forget set, AUC, TPR."""
        result = self.membership_by(self.features, n_bootstrap=0)
        return {
            "membership_recall": result.recall,
            "membership_auc": result.auc,
            "membership_tpr_at_1pct_fpr": result.tpr_at_1pct_fpr,
        }

    def membership_by(self, features: pd.DataFrame, n_bootstrap: int) -> MembershipResult:
        """`membership_attack` by some features (N, F) of attacked images, by their numbers."""
        p, people = self.protocol, self.protocol.faces.identities
        parts = [part[np.isin(part, features.index)] for part in (p.members, p.outsiders, p.forget)]
        return membership_attack(
            *(features.loc[part].to_numpy() for part in parts),
            member_people=people[parts[0]],
            non_member_people=people[parts[1]],
            seed=p.seed,
            n_bootstrap=n_bootstrap,
        )


def attacked_images(protocol: Protocol) -> np.ndarray:
    """Members, outsiders, forget images, and the forgotten people's other training images.

    The last exist if only some of a person's images are forgotten, to compare those with.
    """
    people = protocol.faces.identities
    index = np.concatenate([protocol.members, protocol.outsiders, protocol.forget])
    of_forgotten = protocol.gallery[np.isin(people[protocol.gallery], people[protocol.forget])]
    return np.concatenate([index, np.setdiff1d(of_forgotten, index)])


def view_table(
    protocol: Protocol,
    encoder: nn.Module,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    raw: Tensor | None = None,
) -> pd.DataFrame:
    """`view_features` of the attacked images by one encoder, a row an image, by its number.

    `raw`: its embeddings of the images themselves, if already computed.
    """
    index = attacked_images(protocol)
    images = ImageView(protocol.faces.images, index)
    if raw is None:
        raw = raw_embeddings(encoder, images, device=device, progress=progress)
    views = raw, *changed_views(encoder, images, device, progress)
    return view_features(views, protocol.faces.identities[index]).set_axis(index)


def changed_views(
    encoder: nn.Module,
    images: Images,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> list[Tensor]:
    """Raw embeddings (N, D) of images under each of the `CHANGES` that an attack looks at."""
    return [
        raw_embeddings(encoder, images, device=device, view=change, progress=progress)
        for change in CHANGES
    ]


def rows_of(embedded: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The positions of the images `index` in the sorted `embedded`.

    Raises KeyError, naming the first, for an image that is not there.
    """
    rows = np.searchsorted(embedded, index).clip(max=len(embedded) - 1)
    if (missing := np.asarray(index)[embedded[rows] != index]).size:
        raise KeyError(f"{missing.size} images were not embedded (first: image {missing.flat[0]})")
    return rows


def half_resolution(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, H, W) at half the resolution."""
    small = F.avg_pool2d(batch.float(), 2)
    return F.interpolate(small, scale_factor=2, mode="bilinear").round().to(batch.dtype)


def shifted(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, H, W) moved 4 pixels right and down, edges repeated."""
    moved = F.pad(batch.float(), (4, 0, 4, 0), mode="replicate")
    return moved[..., : batch.shape[2], : batch.shape[3]].to(batch.dtype)


CHANGES = (mirrored, shifted, half_resolution)  # of an image, which members survive better
