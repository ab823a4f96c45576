"""Label-agnostic forgetting: models of the embeddings decide what to keep and what to forget."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cure_core.checks import NOT_NEGATIVE, real, setting, whole
from cure_core.losses import feature_matching_loss
from cure_core.objectives.base import Batch, Objective, Setup
from cure_core.runtime.randomness import seeded


@dataclass(eq=False, kw_only=True)
class Laf(Objective):
    """Retain embeddings stay likely under a model of them, forget embeddings become unlikely.

    Two variational autoencoders are fitted to the teacher's embeddings before the first step and
    then fixed: h to the retain side, h_f to the forget side.
    "extractor": |e - h(e)|^2 on retain samples, less |e - h_f(e)|^2 on forget samples.
    "alignment": log of exp(s_r / T) / sum_f exp(s_f / T), with s the cosine distance to the
    teacher: retain samples are nearer to it than forget samples.
    Without labels: the source needs none, except in its last stage, a supervised repair of the
    classifier, which is left out. Other changes: each step takes both losses, which the source
    alternates; embeddings are L2-normalised, so the first is bounded; h decodes the mean, without
    noise. Sizes, steps, `kl_weight` and the weights are our choice. The paper's body was not
    available: whether h is fitted to all data, and the place of T in "alignment", may differ there.
    Source: Shen et al., ICLR 2024 (arXiv:2404.00506), from its abstract and reviews.
    """

    weights: ClassVar[dict[str, float]] = {"extractor": 1.0, "alignment": 1.0}

    hidden: int = setting(128, whole, 1)
    latent: int = setting(32, whole, 1)
    steps: int = setting(500, whole, 1)
    kl_weight: float = setting(1e-3, real, *NOT_NEGATIVE)

    def start(self, setup: Setup) -> None:
        sizes = self.hidden, self.latent, self.steps, self.kl_weight
        self.retain_vae, self.forget_vae = (
            fit_vae(views.flatten(0, 1), *sizes, self.config.seed)
            for views in (setup.retain_views, setup.forget_views)
        )

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        retain = _squared_error(self.retain_vae, batch.student_retain)
        forget = _squared_error(self.forget_vae, batch.student_forget)
        kept = feature_matching_loss(batch.student_retain, batch.teacher_retain)
        left = feature_matching_loss(batch.student_forget, batch.teacher_forget)
        temperature = self.config.temperature
        return {
            "extractor": retain.mean() - forget.mean(),
            "alignment": kept / temperature - (left / temperature).logsumexp(0),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"retain": self.retain_vae.state_dict(), "forget": self.forget_vae.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for side, weights in state.items():
            with torch.device("meta"):  # no initial weights are drawn
                vae = Vae(len(weights["decode.2.bias"]), self.hidden, self.latent)
            vae.load_state_dict(weights, assign=True)
            setattr(self, f"{side}_vae", vae.requires_grad_(False))


class Vae(nn.Module):
    """A variational autoencoder of embeddings (N, D) with one hidden layer a side."""

    def __init__(self, dim: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction from the mean of the latent distribution."""
        return self.decode(self.encode(x).chunk(2, dim=1)[0])


def fit_vae(
    x: Tensor, hidden: int, latent: int, steps: int, kl_weight: float, seed: int, batch: int = 256
) -> Vae:
    """A VAE of x (N, D): squared error plus `kl_weight` times KL(posterior || standard normal)."""
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        vae = Vae(x.shape[1], hidden, latent).to(x)
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = x[torch.randint(len(x), (min(batch, len(x)),), generator=generator).to(x.device)]
        mean, log_variance = vae.encode(rows).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator).to(x)
        decoded = vae.decode(mean + noise * (log_variance / 2).exp())
        divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
        loss = ((decoded - rows).square().sum(1) + kl_weight * divergence).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return vae.requires_grad_(False)


def _squared_error(vae: Vae, x: Tensor) -> Tensor:
    return (x - vae(x)).square().sum(1)
