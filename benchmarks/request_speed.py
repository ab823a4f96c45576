"""How fast a request is: reading and embedding against the bare network, and the whole.

Usage: python benchmarks/request_speed.py [--images 10000] [--encoder mobilefacenet] [--device cuda]

Writes synthetic faces as JPEG files (a thousand drawn ones, repeated with noise), reads and embeds
them as a request does, and times the network alone on the same images in memory; then a request of
60 among 400 of them, report included. Weights are random: only time is measured. Run it on a quiet
machine; with --device cuda also bfloat16 (autocast).
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from cure_core import encoders
from cure_core.encoders.embedding import embed
from cure_core.encoders.images import take
from cure_core.encoders.model_files import write_model
from cure_core.runtime.amp import autocast
from cure_study import synthfaces
from cure_study.erasure import forget
from cure_study.erasure.images import forget_folder_cache, read_folder

T = TypeVar("T")
DRAWN, BATCH = 1000, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--encoder", default="mobilefacenet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="of network and embedding, in turn")
    options = parser.parse_args()
    encoder = encoders.build(options.encoder).to(options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "images", options.images)
        read_seconds, faces = timed(lambda: read_folder(folder / "images"))
        images = faces.images
        embed(encoder, images[:BATCH], device=options.device)  # a warm-up
        batches = [
            take(images, np.arange(i, min(i + BATCH, options.images)))
            for i in range(0, options.images, BATCH)
        ]
        run_bare = partial(bare, encoder, batches, options.device)
        # In turn, since a machine's speed drifts.
        rounds = [
            (timed(run_bare)[0], timed(lambda: embed(encoder, images, device=options.device))[0])
            for _ in range(options.rounds)
        ]
        bare_seconds, embed_seconds = np.median(rounds, axis=0)
        print(f"bare network: {options.images / bare_seconds:,.0f} images/s")
        if options.device != "cpu":
            amp_seconds, _ = timed(partial(run_bare, amp="bfloat16"))
            print(f"bare network in bfloat16: {options.images / amp_seconds:,.0f} images/s")
        print(
            f"reading {read_seconds:.1f} s, embedding {embed_seconds:.1f} s, bare network "
            f"{bare_seconds:.1f} s: {bare_seconds / embed_seconds:.2f} of its speed, "
            f"{bare_seconds / (read_seconds + embed_seconds):.2f} with reading the files"
        )
        forget_folder_cache(folder / "images")
        seconds = request_seconds(folder, options.encoder, encoder, options.device)
        print(f"a request of 60 among 400 images, report included: {seconds:.0f} s")


def write_images(folder: Path, count: int) -> None:
    """JPEG files of synthetic faces, ten a person."""
    drawn = synthfaces.generate(min(DRAWN, count) // 10, 10).images
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"person_{number // 10:05d}"
        place.mkdir(parents=True, exist_ok=True)
        image = drawn[number % len(drawn)].astype(np.int16) + rng.integers(-9, 10)
        pixels = image.clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number % 10}.jpg", quality=92)


def bare(
    encoder: torch.nn.Module, batches: list[torch.Tensor], device: str, amp: bool | str = False
) -> None:
    """The network alone, on batches that are in memory."""
    with torch.inference_mode(), autocast(amp, torch.device(device)):
        for batch in batches:
            encoder(batch.to(device))
    if device != "cpu":
        torch.cuda.synchronize()


def request_seconds(folder: Path, name: str, encoder: torch.nn.Module, device: str) -> float:
    """Of the whole request, by the study's default."""
    write_images(folder / "few", 400)
    listed = folder / "list.txt"
    listed.write_text("".join(f"person_{i:05d}/\n" for i in range(6)))
    write_model(folder / "encoder.safetensors", encoder.cpu().state_dict(), {})
    seconds, _ = timed(
        lambda: forget(
            folder / "few", listed, folder / "encoder.safetensors", folder / "out",
            encoder=name, device=None if device == "cpu" else device, progress=False,
        )
    )  # fmt: skip
    return seconds


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
