"""A network's tensors in a safetensors file that carries a SHA-256 of what it holds."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cure_core.files import DamagedFileError, atomic_path


def write_model(path: str | Path, state: Mapping[str, Tensor], made: Mapping[str, Any]) -> None:
    """Write a state dict, with `made` as JSON and a digest of both in the file's metadata.

    Any memory layout and shared tensors are accepted; what is written is contiguous.
    Raises OSError naming the path, with nothing written, where the disk is full.
    """
    from safetensors.torch import save

    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    text = json.dumps(made)
    content = save(plain, metadata={"made": text, "sha256": model_digest(plain, text)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_model(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and `made` that `write_model` wrote.

    Raises DamagedFileError where a byte of either differs, FileNotFoundError where there is none.
    """
    path = Path(path)
    with path.open("rb"):  # an error of the system, by the file's name
        pass
    try:
        state, metadata = read_safetensors(path)
        text, known = metadata["made"], metadata["sha256"]
    except KeyError as error:
        raise DamagedFileError(path, "it holds no SHA-256") from error
    except Exception as error:
        raise DamagedFileError(path, str(error)) from error
    if model_digest(state, text) != known:
        raise DamagedFileError(path, "its content does not match its SHA-256")
    return state, json.loads(text)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of any safetensors file; nothing is checked."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def model_digest(state: Mapping[str, Tensor], made: str) -> str:
    """SHA-256, in hex, of a state dict (names, types, shapes, bytes) and a text beside it."""
    sha = hashlib.sha256(made.encode())
    for name, tensor in sorted(state.items()):
        sha.update(f"\0{name}\0{tensor.dtype}{tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
