"""How useful a face image is for recognition, estimated without labels.

"Quality" is utility (ISO/IEC 29794-1 and, for faces, 29794-5): not whether an image is pleasant,
but whether comparisons with it go right. No scorer sees that; each sees a cause or a symptom of it,
and its docstring says why that should predict utility.

from cure_study.experiments.quality import score

score(faces.images, "sharpness")
score(faces.images, "fused", encoder=teacher)
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from cure_core.checks import nearest
from cure_core.encoders.images import Images, check_images, take
from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest, ForgetRequestError
from cure_study.experiments.quality.scorers import classical, encoded

__all__ = ["CLASSICAL", "ENCODED", "FUSED", "RELATIVE", "SCORERS", "lowest_quality", "score"]

Scorer = str | Callable[[Images], np.ndarray]

CLASSICAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sharpness": classical.sharpness,
    "detail": classical.detail,
    "edges": classical.edges,
    "noise": classical.noise,
    "compression": classical.compression,
    "exposure": classical.exposure,
    "contrast": classical.contrast,
    "symmetry": classical.symmetry,
}
ENCODED: dict[str, Callable[[nn.Module, Images], np.ndarray]] = {
    "norm": encoded.norm,
    "mirror_agreement": encoded.mirror_agreement,
    "dropout_agreement": encoded.dropout_agreement,
    "cluster_margin": encoded.cluster_margin,
}
# What is fused, and the weight of each rank. `edges` most: it falls with blur and with noise, which
# sharpness mistakes for detail and which hides compression. Not exposure and contrast, which fall
# on dark skin; not noise, which blur hides; not the encoder's other signs, which agree less.
FUSED = {"sharpness": 1, "detail": 1, "edges": 4, "compression": 1, "symmetry": 1}
FUSED_WITH_ENCODER = {"mirror_agreement": 1}
RELATIVE = ("fused", "cluster_margin")  # depend on all images of a call: no threshold lasts
SCORERS = (*CLASSICAL, *ENCODED, "fused")
CHUNK = 256


def score(images: Images, scorer: Scorer, encoder: nn.Module | None = None) -> np.ndarray:
    """The quality of each image, (N,) float32, higher is better.

    `images`: uint8 (N, 112, 112, 3), an array, memory map, view or data set. `scorer` is one of
    `SCORERS`, or a function from images to (N,) scores. Those of `ENCODED` need an `encoder`;
    "fused" uses one if it is given. Scores of different scorers are not comparable, and those of
    `RELATIVE` scorers only within one call, since they depend on all the images.
    Raises ValueError for an unknown scorer, an empty set, images of another shape, a missing
    encoder or one without the layer that is needed, and scores that are not N finite numbers.
    """
    if (size := check_images(images)) != (112, 112):
        raise ValueError(f"the images are {size[0]} x {size[1]}; quality is scored at 112 x 112")
    if not isinstance(scorer, str):
        return _checked(scorer(images), len(images), getattr(scorer, "__name__", "the scorer"))
    if scorer not in SCORERS:
        raise ValueError(f"no scorer {scorer!r}; {nearest(scorer, SCORERS)}")
    if scorer == "fused":
        return fused(images, encoder)
    if scorer in CLASSICAL:
        values = np.concatenate([CLASSICAL[scorer](grey) for grey in _grey(images)])
    elif encoder is None:
        raise ValueError(f"{scorer!r} looks through an encoder; pass encoder=...")
    else:
        values = ENCODED[scorer](encoder, images)
    return _checked(values, len(images), scorer)


def lowest_quality(
    faces: FaceSet,
    scorer: Scorer,
    *,
    fraction: float | None = None,
    threshold: float | None = None,
    encoder: nn.Module | None = None,
) -> ForgetRequest:
    """`ForgetRequest.lowest_quality` by the scores of `score(faces.images, scorer, encoder)`.

    Raises what the two raise, and ForgetRequestError for a threshold on a scorer of `RELATIVE`,
    whose scores hold within one call only.
    """
    if threshold is not None and scorer in RELATIVE:
        raise ForgetRequestError(
            f"{scorer!r} compares the images of one call, so a threshold on it means nothing; "
            "give a fraction, or take a single scorer"
        )
    scores = score(faces.images, scorer, encoder)
    return ForgetRequest.lowest_quality(faces, scores, fraction=fraction, threshold=threshold)


def fused(images: Images, encoder: nn.Module | None = None) -> np.ndarray:
    """Several scorers in one, by rank: the weighted geometric mean of each image's ranks, (0, 1].

    One defect makes an image bad however good it is otherwise, so the geometric mean, which low
    ranks dominate, fits better than the arithmetic one (our choice, as are the parts and their
    weights, on SynthFaces that no result uses). Ranks are within this call.
    """
    weights = FUSED if encoder is None else FUSED | FUSED_WITH_ENCODER
    total = np.zeros(len(images))
    for name, weight in weights.items():
        total += weight * np.log(rankdata(score(images, name, encoder)) / len(images))
    return np.exp(total / sum(weights.values())).astype(np.float32)


def _grey(images: Images) -> Iterator[np.ndarray]:
    """Luminance (B, 112, 112) float32 in 0..255, chunk by chunk."""
    weight = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
    for index in np.split(np.arange(len(images)), range(CHUNK, len(images), CHUNK)):
        yield torch.einsum("bchw,c->bhw", take(images, index).float(), weight).numpy()


def _checked(values: np.ndarray, count: int, name: str) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float32)
    if scores.shape != (count,):
        raise ValueError(f"{name} gave scores of shape {scores.shape} for {count} images")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"{name} gave {len(bad)} scores that are not finite (first: {scores[bad[0]]} for image "
            f"{bad[0]}); a request needs finite scores"
        )
    return scores
