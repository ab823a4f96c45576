"""The loss terms of CURE (arXiv:2509.19562), as pure functions of embeddings.

Every function takes float16, bfloat16, float32 or float64 and computes in float32 or better, also
under autocast: a cosine rounded to bfloat16 is off by up to 0.004, which a temperature of 0.1
turns into 0.04 nats.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _widen(x: Tensor) -> Tensor:
    """x in float32, or in float64 if that is its type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _dot_products(x: Tensor, y: Tensor) -> Tensor:
    """x @ y.T, (B, K), in float32 or float64 also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        return _widen(x) @ _widen(y).T


def cosine_forgetting_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine similarity to the teacher's embedding: minimising it moves the sample away.

    Shapes: student and teacher (B, D). Returns (B,), in [-1, 1] up to rounding.
    The gradient is zero at student == teacher, the maximum, where CURE's student starts: another
    term has to move it first.
    Source: CURE (arXiv:2509.19562), forget side.
    """
    return F.cosine_similarity(_widen(student), _widen(teacher), dim=1)


def centroid_contrastive_loss(
    embeddings: Tensor, centroids: Tensor, targets: Tensor, temperature: float = 0.1
) -> Tensor:
    """InfoNCE over cluster centroids: towards the target centroid, away from the others.

    Shapes: embeddings (B, D), L2-normalised; centroids (K, D), of length 1 or, as means of unit
    vectors, less: a loose cluster then attracts and repels less. targets (B,) int64 in [0, K),
    checked where they are made, not here (a check would wait for the GPU). Returns (B,), in nats,
    from 0 to log K + 2 / temperature.
    Source: CURE (arXiv:2509.19562), contrastive term; InfoNCE (arXiv:1807.03748).
    """
    logits = _dot_products(embeddings, centroids) / temperature
    return F.cross_entropy(logits, targets, reduction="none")


def margin_contrastive_loss(
    embeddings: Tensor, centroids: Tensor, targets: Tensor, scale: float, margin: float
) -> Tensor:
    """InfoNCE over centroids by angle: the target's is widened by `margin` (radians) first.

    Shapes as for `centroid_contrastive_loss`; centroids are normalised here. Returns (B,), in nats.
    Source: the loss of ArcFace (arXiv:1801.07698, equation 3), with centroids for classes.
    """
    cosine = _dot_products(F.normalize(_widen(embeddings)), F.normalize(_widen(centroids)))
    logits = arcface_logits(cosine, targets, scale, margin)
    return F.cross_entropy(logits, targets, reduction="none")


def arcface_logits(cosine: Tensor, targets: Tensor, scale: float, margin: float) -> Tensor:
    """Scaled cosines (B, C) with `margin` (radians) added to each sample's angle to its target.

    Beyond pi the penalty continues linearly, so that it stays monotone.
    Source: ArcFace (arXiv:1801.07698), equation 3.
    """
    target = cosine.gather(1, targets[:, None]).clamp(-1 + 1e-7, 1 - 1e-7)
    widened = target * math.cos(margin) - (1 - target * target).sqrt() * math.sin(margin)
    beyond = target <= -math.cos(margin)
    widened = torch.where(beyond, target - margin * math.sin(margin), widened)
    return scale * cosine.scatter(1, targets[:, None], widened)


def dispersion_loss(
    embeddings: Tensor, others: Tensor, mask: Tensor, temperature: float = 0.1
) -> Tensor:
    """Soft maximum of the cosines to some other embeddings: minimising it drives them apart.

    T log mean exp(cos / T) over those of `others` that `mask` selects: the nearest counts most.
    Shapes: embeddings (B, D) and others (N, D), L2-normalised; mask (B, N) bool. Returns (B,), in
    [-1, 1]; 0, with a gradient of 0, for a sample without any others.
    Source: our choice of a form for the dispersion of arXiv:2512.13317.
    """
    cosine = _dot_products(embeddings, others)
    count = mask.sum(1)
    # A row without others would be -inf, and its gradient NaN, even if it is masked afterwards.
    logits = (cosine / temperature).masked_fill(~mask & (count > 0)[:, None], -torch.inf)
    soft_maximum = temperature * (logits.logsumexp(1) - count.clamp(min=1).to(cosine).log())
    return torch.where(count > 0, soft_maximum, 0 * cosine.sum(1))


def feature_matching_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine distance to the teacher's embedding: minimising it keeps the sample in place.

    Shapes: student and teacher (B, D). Returns (B,), in [0, 2] up to rounding.
    Source: CURE (arXiv:2509.19562), retain side; the distance is our choice: on the unit sphere it
    is half the squared Euclidean one.
    """
    return 1 - F.cosine_similarity(_widen(student), _widen(teacher), dim=1)


def feature_distribution_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the batch has moved as a whole: |mean difference|^2 + D |covariance difference|^2.

    Shapes: student (B, D) and teacher (B', D), L2-normalised. Returns a scalar >= 0; 0 if either
    side is empty. The covariance is the biased one (divided by B), so that B = 1 works.

    Source: CURE (arXiv:2509.19562) asks for matching distributions; the form is our choice. Not
    MMD: it needs a kernel width, one more hyper-parameter, and on a batch its estimate is noisy,
    while `feature_matching_loss` already keeps each sample and only the overall shape is left.
    The factor D: embeddings uniform on the sphere have covariance I / D, and changing it by a
    factor (1 + e) then costs e^2 whatever D is.
    """
    if 0 in (len(student), len(teacher)):
        return _widen(student).sum() * 0
    student_mean, student_covariance = _moments(_widen(student))
    teacher_mean, teacher_covariance = _moments(_widen(teacher))
    mean_term = (student_mean - teacher_mean).square().sum()
    covariance_term = (student_covariance - teacher_covariance).square().sum()
    return mean_term + student.shape[1] * covariance_term


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and biased covariance (D, D) of the rows of x (B, D)."""
    mean = x.mean(dim=0)
    centred = x - mean
    return mean, _dot_products(centred.T, centred.T) / len(x)
