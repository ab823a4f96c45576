"""Batch norm's running statistics, computed again once training is over."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from cure_core.encoders.embedding import module_device
from cure_core.encoders.images import Images, take


def recalibrate_batchnorm(
    student: nn.Module, retain: Images, generator: torch.Generator, images: int = 2048
) -> None:
    """Recompute batch norm's running statistics from retain images and the final weights.

    During training they lag the weights by about ten steps, in which an unlearning student moves
    far; what it has learned would then show in train mode only. Uses `images` random images, or all
    if there are fewer. Source: precise batch norm (arXiv:2105.07576); retain images, which the
    student will continue to see, are our choice.
    """
    device = module_device(student)
    drawn = torch.randperm(len(retain), generator=generator)[:images]
    batches = (take(retain, i.numpy()).to(device) for i in drawn.chunk(math.ceil(len(drawn) / 128)))
    update_bn(batches, student)
