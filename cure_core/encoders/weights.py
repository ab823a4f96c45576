"""Weights files: read without unpickling code, and loaded whatever prefix their names have."""

import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cure_core.encoders.adapter import Adapted
from cure_core.encoders.model_files import model_digest, read_safetensors

ONNX_WORDS = (b"pytorch", b"onnx", b"torch", b"tf2onnx", b"mxnet", b"skl2onnx", b"ONNX")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a safetensors or `torch.save` file, by their dotted names.

    No code in the file is run. Raises FileNotFoundError for a missing file, and ValueError naming
    the file, the reason and the remedy if it is damaged or not a weights file.
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
    """Raise ValueError for a zip archive that `torch.save` did not write, or that is damaged."""
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
            raise ValueError("it is a zip archive, but torch.save did not write it")
        summed = any(entry.CRC for entry in archive.infolist())  # torch can leave checksums out
        if summed and (damaged := archive.testzip()):  # and does not compare those there are
            raise ValueError(f"its entry {damaged} is damaged; get the file again")


def _no_weights(start: bytes) -> str:
    if not start:
        return "it is empty; get the file again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself: git lfs pull"
    if start.startswith(b"\x08") and any(word in start for word in ONNX_WORDS):
        return (
            "it is an ONNX graph, which cannot be trained; give the PyTorch module that it was "
            "exported from (encoder 'module:function') and its model.state_dict()"
        )
    if start.startswith(b"\x89HDF"):
        return (
            "it is an HDF5 file (Keras), which is not read; convert the network to PyTorch and "
            "save its model.state_dict()"
        )
    return (
        "it is neither safetensors nor a file of torch.save; save model.state_dict() in one of "
        "these formats"
    )


def _reason(error: Exception) -> str:
    """Why a file cannot be read, without torch's advice to run the code in it."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"objects ({found[1]})" if found else "objects"
        return (
            f"it is damaged, or holds pickled {what}, which cannot be read without running code; "
            "save the weights alone, where the model was trained: "
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


def load_weights(encoder: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load the tensors that fit, under any prefix. Raises ValueError naming `source`.

    Of an `Adapted`, the network's: the file may be of either.
    """
    encoder = encoder.network if isinstance(encoder, Adapted) else encoder
    expected = encoder.state_dict()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    prefix = _prefix(expected.keys() - counters, state, source)
    found = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    missing = sorted(expected.keys() - found.keys() - counters)
    unknown = sorted(found.keys() - expected.keys())
    shapes = [
        f"{n} is {tuple(found[n].shape)}, expected {tuple(expected[n].shape)}"
        for n in sorted(found)
        if n in expected and expected[n].shape != found[n].shape
    ]
    if missing or unknown or shapes:
        raise ValueError(
            f"{source} does not fit {type(encoder).__name__}: missing {_few(missing)}, "
            f"unknown {_few(unknown)}, of another shape {_few(shapes)}"
            + (f" (below {prefix!r})" if prefix else "")
            + "; name the encoder that they were trained with"
        )
    for name, tensor in found.items():
        _check_numbers(f"{source}: {prefix}{name}", tensor, expected[name])
    encoder.load_state_dict(found, strict=False)


def _few(names: list[str]) -> str:
    """The first three, and how many more."""
    return f"{names[:3]}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _prefix(expected: set[str], state: dict[str, Tensor], source: str) -> str:
    """The prefix of the encoder's names in a file: "", "module.", "state_dict.backbone.", ...

    It is the prefix that matches most names. Raises ValueError if several match all of them.
    """
    counts = Counter[str]()
    for name in state:
        parts = name.split(".")
        for i in range(len(parts)):
            if (rest := ".".join(parts[i:])) in expected:
                counts[name.removesuffix(rest)] += 1
    whole = sorted(prefix for prefix, count in counts.items() if count == len(expected))
    if len(whole) > 1:
        raise ValueError(
            f"{source} holds {len(whole)} networks that fit, at {', '.join(map(repr, whole))}; "
            "save the state dict of one of them"
        )
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")


def _check_numbers(name: str, tensor: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless `tensor` is finite and converts to the type of `expected`."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    same_kind = expected.is_floating_point() == tensor.is_floating_point()
    if not plain or not same_kind or tensor.is_complex():
        raise ValueError(f"{name} is {tensor.dtype}, {tensor.layout}; expected {expected.dtype}")
    bad = int((~tensor.to(expected.dtype).isfinite()).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} values that are NaN or infinite, of {tensor.numel()}; "
            "take weights from before the training diverged, or get the file again"
        )
