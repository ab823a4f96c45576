"""Face encoders: uint8 images (B, 3, 112, 112) in, raw embeddings (B, D) float32 out."""

import importlib
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.checks import nearest
from cure_core.encoders.iresnet import UNITS, IResNet
from cure_core.encoders.model_files import model_digest, read_safetensors
from cure_core.runtime.randomness import seeded


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
    safetensors file, or to one of `torch.save`, which is read without unpickling code: a state
    dict, or a training's checkpoint that holds one, under whatever key or prefix. Tensors beside
    that prefix (a classifier, an optimiser) are not the encoder's; counters of batch norm may be
    absent; half precision is converted. The global random state is left as it was.
    Raises FileNotFoundError for a missing file, and ValueError for an unknown name, where the
    file's tensors do not fit the encoder or are not finite, or an encoder of your own is none.
    """
    if not isinstance(name, str) or (name not in REGISTRY and ":" not in name):
        raise ValueError(
            f"no encoder {name!r}; {nearest(name, sorted(REGISTRY))}, and 'module:function' for "
            "your own"
        )
    state = None if weights is None else read_weights(weights)
    with seeded(seed):
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
    """The tensors in a weights file, by their dotted names: safetensors, or a file of `torch.save`.

    No code in the file is run. Raises FileNotFoundError for a missing file, and ValueError naming
    the file, the reason and the remedy for what is damaged or no weights file.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass the weights file in it")
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights at {path}; set CURE_DATA_ROOT to the folder that holds models/, "
            "or pass the path of a .safetensors file"
        )
    with path.open("rb") as file:  # a file that may not be read is an OSError by its name
        start = file.read(64)
    try:
        if start[8:9] == b"{":
            state, metadata = read_safetensors(path)
            known = metadata.get("sha256")
            if known is not None and model_digest(state, metadata.get("made", "")) != known:
                raise ValueError("its content does not match its SHA-256")
        elif start.startswith((b"PK", b"\x80")):
            if start.startswith(b"PK"):
                _check_archive(path)
            saved = torch.load(path, map_location="cpu", weights_only=True)
            state = dict(_named_tensors(saved))
        else:
            raise ValueError(_no_weights(start))
        if not state:
            raise ValueError("it holds no tensors by name; save model.state_dict()")
    except Exception as error:
        raise ValueError(f"{path} holds no readable weights: {_reason(error)}") from None
    return state


def _check_archive(path: Path) -> None:
    """Raise ValueError for a zip archive that is no plain `torch.save`, or has a damaged entry."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is cut short or damaged; get the file again")
    with zipfile.ZipFile(path) as archive:
        parts = {name.partition("/")[2].partition("/")[0] for name in archive.namelist()}
        if "constants.pkl" in parts:
            raise ValueError(
                "it is a TorchScript archive; save the state dict alone: "
                "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')"
            )
        if "data.pkl" not in parts:
            raise ValueError("it is a zip archive, but none that torch.save has written")
        summed = any(entry.CRC for entry in archive.infolist())  # torch can leave checksums out
        if summed and (damaged := archive.testzip()):  # and does not compare those there are
            raise ValueError(f"its entry {damaged} is damaged; get the file again")


def _no_weights(start: bytes) -> str:
    if not start:
        return "it is empty; get the file again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself: git lfs pull"
    return (
        "it is neither safetensors nor a file of torch.save (ONNX, HDF5 and text are not read); "
        "save model.state_dict() by one of the two"
    )


def _reason(error: Exception) -> str:
    """Why a file cannot be read; not torch's own advice, which is to run the code in it."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"objects ({found[1]})" if found else "objects"
        return (
            f"it is damaged, or holds pickled {what}, whose code would have to be run; save the "
            "weights alone, where the model was trained: "
            "torch.save(model.state_dict(), 'weights.pt')"
        )
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def _named_tensors(saved: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dicts, by its keys joined with dots."""
    if isinstance(saved, dict):
        for key, value in saved.items():
            yield from _named_tensors(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(saved, Tensor) and prefix:
        yield prefix, saved


def _load(encoder: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load the tensors that fit, wherever in the file they are."""
    own = encoder.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    prefix = _prefix(own.keys() - counters, state, source)
    found = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    missing = sorted(own.keys() - found.keys() - counters)
    unknown = sorted(found.keys() - own.keys())
    shapes = sorted(n for n in own.keys() & found.keys() if own[n].shape != found[n].shape)
    if missing or unknown or shapes:
        raise ValueError(
            f"{source} does not fit {type(encoder).__name__}: missing {missing[:3]}, "
            f"unknown {unknown[:3]}, of another shape {shapes[:3]}"
            + (f" (below {prefix!r})" if prefix else "")
        )
    for name, tensor in found.items():
        _check_numbers(f"{source}: {prefix}{name}", tensor, own[name])
    encoder.load_state_dict(found, strict=False)


def _prefix(own: set[str], state: dict[str, Tensor], source: str) -> str:
    """What stands before the encoder's names in a file: "", "module.", "state_dict.backbone.", ...

    The prefix below which most of them are. Raises ValueError where several hold them all.
    """
    counts = Counter[str]()
    for name in state:
        parts = name.split(".")
        for i in range(len(parts)):
            if (rest := ".".join(parts[i:])) in own:
                counts[name.removesuffix(rest)] += 1
    whole = sorted(prefix for prefix, count in counts.items() if count == len(own))
    if len(whole) > 1:
        raise ValueError(
            f"{source} holds {len(whole)} networks that fit, at {', '.join(map(repr, whole))}; "
            "save the state dict of one of them"
        )
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")


def _check_numbers(name: str, tensor: Tensor, own: Tensor) -> None:
    """Raise ValueError for a tensor that does not become the encoder's own kind of number."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    if not plain or own.is_floating_point() != tensor.is_floating_point() or tensor.is_complex():
        raise ValueError(f"{name} is {tensor.dtype}, {tensor.layout}; expected {own.dtype}")
    bad = int((~tensor.to(own.dtype).isfinite()).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} values that are NaN or infinite, of {tensor.numel()}; "
            "take weights from before the training diverged, or get the file again"
        )
