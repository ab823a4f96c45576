"""Automatic mixed precision."""

import torch

TYPES = {False: None, True: torch.bfloat16, "bfloat16": torch.bfloat16, "float16": torch.float16}


def computes_in_bfloat16(device: torch.device | str) -> bool:
    """Whether bfloat16 is faster than float32 there: a GPU, or a CPU with AVX512-BF16 or AMX."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def resolved(amp: bool | str, device: torch.device | str) -> bool | str:
    """`amp` with "auto" replaced by whether the device is faster in bfloat16."""
    return computes_in_bfloat16(device) if amp == "auto" else amp


def autocast(amp: bool | str, device: torch.device) -> torch.autocast:
    """A context in which convolutions and products run in the type that `amp` names."""
    dtype = TYPES[amp]
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def gradient_scaler(amp: bool | str, device: torch.device) -> torch.amp.GradScaler:
    """Keeps float16 gradients from underflowing; disabled for other types."""
    return torch.amp.GradScaler(device.type, enabled=TYPES[amp] == torch.float16)
