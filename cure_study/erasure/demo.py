"""A request to try everything with: synthetic people as files, a list, and a small encoder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from cure_core import encoders
from cure_core.encoders.model_files import write_model
from cure_core.files import atomic_folder, digest
from cure_core.runtime.progress import bar
from cure_core.training.arcface import Recipe
from cure_study import synthfaces
from cure_study.training_cache import train_cached

LEFT_OUT = 3  # images of the last person that the list forgets, for the lookalikes to find


def write_demo(
    parent: Path,
    recipe: Recipe,
    *,
    people: int = 40,
    images_per_person: int = 10,
    leaving: int = 6,
    strangers: int = 20,
    seed: int = 0,
    progress: bool | None = None,
) -> Mapping[str, str]:
    """Write the demonstration's files, if they are not there; returns parameters of notebook 07.

    They go into a folder of `parent` whose name says how they were made, which appears when all is
    written. `images`: a folder for each synthetic person; `forget`: a list of some people, which
    leaves out a few images of the last; `weights`: of a `small` encoder trained on them;
    `strangers`: people that it never saw.
    """
    counts = people, images_per_person, leaving, strangers, seed
    folder = parent / f"faces-{people}x{images_per_person}-{digest(counts, asdict(recipe))[:8]}"
    if not folder.is_dir():
        with atomic_folder(folder) as partial:
            _write(partial, *counts, recipe, progress)
    names = {"images": "images", "forget": "forget.txt", "strangers": "strangers"}
    names["weights"] = "encoder.safetensors"
    return {"encoder": "small", **{name: str(folder / path) for name, path in names.items()}}


def _write(
    folder: Path,
    people: int,
    images_per_person: int,
    leaving: int,
    strangers: int,
    seed: int,
    recipe: Recipe,
    progress: bool | None,
) -> None:
    drawn = synthfaces.generate(people, images_per_person, seed, progress=progress)
    never_seen = synthfaces.generate(
        strangers, images_per_person, seed, first_person=people, progress=progress
    )
    _write_images(folder / "images", drawn, progress)
    _write_images(folder / "strangers", never_seen, progress)
    asked = np.random.default_rng(seed).permutation(people)[:leaving]
    *whole, partly = (f"person_{person:03d}" for person in asked)
    kept = [f"{partly}/image_{i:02d}.png" for i in range(max(1, images_per_person - LEFT_OUT))]
    lines = ["# one path, folder or glob a line", *(f"{name}/" for name in whole), *kept]
    (folder / "forget.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    trained = train_cached(
        encoders.build("small", seed=seed),
        drawn.images,
        drawn.identities,
        recipe,
        progress=progress,
    )
    made = {"encoder": "small", "trained_on": "synthetic faces"}
    write_model(folder / "encoder.safetensors", trained.encoder.state_dict(), made)


def _write_images(folder: Path, faces: synthfaces.SynthFaces, progress: bool | None) -> None:
    first = faces.identities.min()
    counts: dict[int, int] = {}
    for image, person in zip(
        bar(faces.images, "writing images", progress, "image"), faces.identities, strict=True
    ):
        number = counts[person] = counts.get(person, -1) + 1
        place = folder / f"person_{person - first:03d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"image_{number:02d}.png", compress_level=1)
