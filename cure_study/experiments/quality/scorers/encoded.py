"""Quality as an encoder sees it: (encoder, N images) -> (N,). No labels are used."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.cluster_count import choose_clusters
from cure_core.clustering import kmeans, rows_per_chunk
from cure_core.encoders.embedding import embed, raw_embeddings
from cure_core.encoders.images import Images, mirrored

PASSES, RATE = 40, 0.3  # of dropout


def norm(encoder: nn.Module, images: Images) -> np.ndarray:
    """Length of the raw embedding.

    Training with a margin lets the norm grow where an image is easy and shrink where it is not
    (MagFace, arXiv:2103.06627, trains for it; AdaFace, arXiv:2204.00964, observes it). It fails
    where the last layer is a batch norm, as here, which ties the scale of every image to that of
    the batch, and on images unlike all of training, whose norm may be anything.
    """
    return raw_embeddings(encoder, images).norm(dim=1).numpy()


def mirror_agreement(encoder: nn.Module, images: Images) -> np.ndarray:
    """Cosine between the embeddings of an image and of its mirror image.

    A clearly visible face keeps its embedding under mirroring; one that is turned or half covered
    changes more. A variant of SER-FIQ by augmentation.
    """
    original, mirror = (raw_embeddings(encoder, images, view=view) for view in (None, mirrored))
    return F.cosine_similarity(original, mirror).numpy()


def dropout_agreement(encoder: nn.Module, images: Images, seed: int = 0) -> np.ndarray:
    """Agreement of embeddings under random dropout before the last layer, in [0, 1].

    An embedding that depends on a few features changes when they are dropped: a sign that the image
    gave the encoder little information. All images share the masks, so that scores are comparable.
    Source: SER-FIQ (arXiv:2003.09373), equation 2: 2 sigmoid(-mean distance) over pairs of passes;
    40 passes at a rate of 0.3 are our choice. Raises ValueError for an encoder without a linear or
    convolutional layer.
    """
    generator = torch.Generator().manual_seed(seed)
    masks: dict[int, Tensor] = {}

    def drop(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """The layer sees every image `PASSES` times, each time with other features missing."""
        x = inputs[0]
        width = x.shape[1]
        if width not in masks:
            masks[width] = torch.rand(PASSES, width, generator=generator) >= RATE
        kept = masks[width].to(x).reshape(1, PASSES, width, *[1] * (x.ndim - 2)) / (1 - RATE)
        return ((x[:, None] * kept).flatten(0, 1),)

    hook = _last_layer(encoder).register_forward_pre_hook(drop)
    try:
        return raw_embeddings(_Agreement(encoder), images)[:, 0].numpy()
    finally:
        hook.remove()


def cluster_margin(encoder: nn.Module, images: Images) -> np.ndarray:
    """Ratio of the cosines to the nearest and to the second nearest pseudo-cluster's centroid.

    An image that lies at the core of its cluster and far from the next is easy to classify, and
    how easy a *training* image was to classify predicts its utility. Between clusters lie poor
    images, rare views and wrong labels alike. CR-FIQA (arXiv:2112.06592), equation 3, with K-means
    clusters, their number chosen without labels, in place of classes; CR-FIQA learns to predict
    the ratio for images not trained on, which this does not.
    """
    embeddings = embed(encoder, images)
    clusters = kmeans(embeddings, choose_clusters(embeddings).k)
    centroids = F.normalize(clusters.centroids)
    chunks = embeddings.split(rows_per_chunk(embeddings, len(centroids)))
    first, second = torch.cat([(x @ centroids.T).topk(2, dim=1).values for x in chunks]).T
    return (first / (second + 1 + 1e-6)).numpy()


class _Agreement(nn.Module):
    """The agreement of an encoder's `PASSES` embeddings of each image: (B, 1)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.training = encoder.training  # the mode that `raw_embeddings` restores

    def forward(self, images: Tensor) -> Tensor:
        unit = F.normalize(self.encoder(images).float(), dim=1)
        unit = unit.unflatten(0, (len(images), PASSES))
        first, second = torch.triu_indices(PASSES, PASSES, 1, device=unit.device)
        cosine = (unit @ unit.transpose(1, 2))[:, first, second]
        distance = (2 - 2 * cosine).clamp(min=0).sqrt().mean(dim=1)
        return 2 * torch.sigmoid(-distance)[:, None]


def _last_layer(encoder: nn.Module) -> nn.Module:
    layers = [m for m in encoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ValueError(
            f"{type(encoder).__name__} has no linear or convolutional layer with inputs to drop; "
            "use 'mirror_agreement'"
        )
    return layers[-1]
