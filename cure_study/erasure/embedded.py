"""One model's embeddings of a request's images."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import nn

from cure_study.erasure.request import Request, embed_by, normalised


@dataclass(frozen=True, eq=False, repr=False)
class Embedded:
    """One model's raw embeddings of the folder's images and of the strangers', if there are any."""

    model: nn.Module
    raw: np.ndarray
    stranger_raw: np.ndarray | None

    @cached_property
    def unit(self) -> np.ndarray:
        """Of the folder's images, rows (N, D) of length 1."""
        return normalised(self.raw)

    @cached_property
    def stranger_unit(self) -> np.ndarray:
        """Of the strangers' images, which there must be."""
        assert self.stranger_raw is not None
        return normalised(self.stranger_raw)


def embed_request(request: Request, model: nn.Module, progress: bool | None) -> Embedded:
    """Raises ValueError naming an image whose embedding is not finite."""
    files, device = request.files, request.files.setting.device
    raw = embed_by(model, files.folder.images, device, progress)
    if files.strangers is None:
        return Embedded(model, raw, None)
    return Embedded(model, raw, embed_by(model, files.strangers.images, device, progress))
