"""Face encoders: uint8 images (B, 3, 112, 112) in, raw embeddings (B, D) float32 out."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.iresnet import UNITS, IResNet


class ConvBlock(nn.Module):
    """Convolution, batch norm and, unless linear, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileFaceNet(nn.Module):
    """MobileFaceNet, 128-d, about 1.0 M parameters (arXiv:1804.07573).

    Looks at columns 8..103 of the 112 x 112 crop; pixels are scaled as (x - 127.5) / 128.
    """

    # expansion, output channels, repeats, stride of the first
    STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))

    def __init__(self, dim: int = 128) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = ConvBlock(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = ConvBlock(64, 64, 3, padding=1, groups=64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, outputs, repeats, stride in self.STAGES:
            for i in range(repeats):
                blocks.append(Bottleneck(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvBlock(128, 512, 1)
        self.linear7 = ConvBlock(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = ConvBlock(512, dim, 1, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        x = (images[..., 8:104].float() - 127.5) / 128
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        return self.linear1(self.linear7(x)).flatten(1).float()


class SmallEncoder(nn.Module):
    """A residual network of about 0.3 M parameters for SynthFaces on a laptop; 64-d (our choice).

    Works at half resolution (56 x 56), which drawn faces survive.
    """

    def __init__(self, dim: int = 64, widths: tuple[int, int, int] = (24, 48, 96)) -> None:
        super().__init__()
        self.dim = dim
        self.stem = ConvBlock(3, widths[0], 3, stride=2, padding=1)
        stages: list[nn.Module] = []
        channels = widths[0]
        for width in widths:
            if width != channels:
                stages.append(ConvBlock(channels, width, 3, stride=2, padding=1))
            stages.append(Residual(width))
            channels = width
        self.stages = nn.Sequential(*stages)
        self.pool = ConvBlock(channels, channels, 7, groups=channels, linear=True)
        self.project = ConvBlock(channels, dim, 1, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        x = (F.avg_pool2d(images.float(), 2) - 127.5) / 128
        return self.project(self.pool(self.stages(self.stem(x)))).flatten(1).float()


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(width, width, 3, padding=1),
            ConvBlock(width, width, 3, padding=1, linear=True),
        )
        self.prelu = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.body(x))


REGISTRY: dict[str, Callable[[], nn.Module]] = {
    "mobilefacenet": MobileFaceNet,
    "small": SmallEncoder,
    **{name: partial(IResNet, units) for name, units in UNITS.items()},
}


class Adapted(nn.Module):
    """A network of one's own with its preprocessing, as an encoder.

    It is given ((x - mean) / std) of the 112 x 112 image, resized to `size` (height, width) where
    that is set, blue first where `bgr`.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: float = 127.5,
        std: float = 127.5,
        size: tuple[int, int] | None = None,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.mean, self.std, self.size, self.bgr = network, mean, std, size, bgr

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - self.mean) / self.std
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        return self.network(x.flip(1) if self.bgr else x).float()


def build(name: str, weights: str | Path | None = None, *, seed: int = 0) -> nn.Module:
    """A named encoder in eval mode, freshly initialised from `seed` or with `weights` loaded.

    `name` is one of `REGISTRY`, or "module:function" for one of your own: what the function, called
    without arguments, returns (`Adapted` adds preprocessing). `weights` is a path to a
    `.safetensors` file, or to a `torch.save`d state dict, which is read without unpickling code.
    The global random state is left as it was.
    Raises KeyError for an unknown name, FileNotFoundError for a missing file, and ValueError where
    the file's tensors do not fit the encoder, or an encoder of your own is none.
    """
    if name not in REGISTRY and ":" not in name:
        raise KeyError(
            f"no encoder {name!r}; there are {', '.join(sorted(REGISTRY))}, and "
            "'module:function' for your own"
        )
    state = None if weights is None else read_weights(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _own(name) if ":" in name else REGISTRY[name]()
    if state is not None:
        _load(encoder, state, f"{weights}")
    return encoder.eval()


def _own(name: str) -> nn.Module:
    """What `module:function` makes, tried on one image."""
    module, _, function = name.partition(":")
    try:
        encoder = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot make the encoder {name}: {error}") from error
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"{name} gives a {type(encoder).__name__}; expected an nn.Module")
    with torch.inference_mode():
        raw = encoder.eval()(torch.zeros(1, 3, 112, 112, dtype=torch.uint8))
    if not isinstance(raw, Tensor) or raw.dtype != torch.float32 or raw.dim() != 2 or len(raw) != 1:
        raise ValueError(
            f"{name} turns one image into {tuple(getattr(raw, 'shape', ()))}; expected float32 "
            "(1, D) from uint8 (1, 3, 112, 112); cure_core.encoders.Adapted adds preprocessing"
        )
    return encoder


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or `weights_only` torch file, by name."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights at {path}; set CURE_DATA_ROOT to the folder that holds models/, "
            "or pass the path of a .safetensors file"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return _unwrapped(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ValueError(f"{path} holds no readable weights ({error})") from error


def _unwrapped(saved: dict) -> dict[str, Tensor]:
    """The state dict inside a training checkpoint, and without the prefix of a parallel wrapper."""
    for key in ("state_dict_backbone", "state_dict"):  # arcface_torch's, and most others'
        saved = saved.get(key, saved)
    prefix = "module."
    if all(name.startswith(prefix) for name in saved):
        saved = {name.removeprefix(prefix): tensor for name, tensor in saved.items()}
    return dict(saved)


def _load(encoder: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = encoder.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - state.keys() - counters)
    unknown = sorted(state.keys() - own.keys())
    shapes = sorted(n for n in own.keys() & state.keys() if own[n].shape != state[n].shape)
    if missing or unknown or shapes:
        raise ValueError(
            f"{source} does not fit {type(encoder).__name__}: missing {missing[:3]}, "
            f"unknown {unknown[:3]}, of another shape {shapes[:3]}"
        )
    encoder.load_state_dict(state, strict=False)
