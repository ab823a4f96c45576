"""What the attacks see of a model: its embeddings of a protocol's images, and features of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core.embedding import embed, mirrored, raw_embeddings
from cure_core.evaluation import half_resolution, shifted
from cure_core.faces.faceset import ImageView
from cure_core.metrics.clusters import equal_share, nearest_centroid_features
from cure_core.metrics.membership import view_features
from cure_core.protocol import Protocol

EACH = 8  # images a person in the clusters of the nearest-centroid attack; also images a cluster


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
) -> pd.DataFrame:
    """`view_features` of the attacked images by one encoder, a row an image, by its number."""
    index = attacked_images(protocol)
    images = ImageView(protocol.faces.images, index)
    views = [
        raw_embeddings(encoder, images, device=device, view=view, progress=progress)
        for view in (None, mirrored, shifted, half_resolution)
    ]
    return view_features(views, protocol.faces.identities[index]).set_axis(index)


class Space:
    """One model's embeddings: `space[index]` gives normalised rows by the images' numbers.

    `features` as `view_table`; `clusters`: the nearest-centroid features, of some images a person.
    """

    def __init__(
        self,
        protocol: Protocol,
        encoder: nn.Module,
        device: torch.device | str | None = None,
        progress: bool | None = None,
    ) -> None:
        attacked = attacked_images(protocol)
        ends = [side for pairs in protocol.pairs.values() for side in (pairs.left, pairs.right)]
        parts = [*ends, attacked, protocol.probes, protocol.gallery]
        self.index = np.unique(np.concatenate(parts))
        images = ImageView(protocol.faces.images, self.index)
        self.unit = embed(encoder, images, device=device, progress=progress).numpy()
        self.features = view_table(protocol, encoder, device, progress)
        some = attacked[equal_share(protocol.faces.identities[attacked], EACH)]
        k = max(2, len(some) // EACH)
        self.clusters = nearest_centroid_features(self[some], k, protocol.seed).set_axis(some)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self.unit[np.searchsorted(self.index, index)]
