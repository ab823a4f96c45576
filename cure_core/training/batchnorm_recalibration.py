"""Batch norm's running statistics, taken anew when training is over."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from cure_core.encoders.embedding import module_device
from cure_core.encoders.images import Images, take


def recalibrate_batchnorm(
    student: nn.Module, retain: Images, generator: torch.Generator, images: int = 2048
) -> None:
    """Take batch norm's running statistics anew, from retain images and the weights as they are.

    During training they trail the weights by some ten steps, in which an unlearning student moves
    far; what it has learnt then shows in train mode only. `images` are drawn at random, all where
    there are fewer. Source: precise batch norm (arXiv:2105.07576); retain images, which are what
    the student will go on seeing, are our choice.
    """
    device = module_device(student)
    drawn = torch.randperm(len(retain), generator=generator)[:images]
    batches = (take(retain, i.numpy()).to(device) for i in drawn.chunk(math.ceil(len(drawn) / 128)))
    update_bn(batches, student)
