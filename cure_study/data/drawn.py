"""SynthFaces as a face set: people to train on, then the unseen people of its protocols."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch

from cure_core.files import digest
from cure_core.metrics.pairs import Pairs
from cure_core.runtime.memory import available
from cure_study import synthfaces
from cure_study.data.faceset import FaceSet
from cure_study.data.image_cache import IMAGE_BYTES, cache_path, cached_images
from cure_study.data.manifest_schema import Drawing


def draw(drawing: Drawing, name: str) -> FaceSet:
    """The images, drawn on the first call only; `attributes` mark the protocols' as `unseen`.

    Raises MemoryError for more images than fit into memory, and ValueError if there are too few
    pairs among them, both before anything is drawn.
    """
    blocks, identity = _blocks(drawing), fingerprint(drawing)
    key = f"synthfaces-{identity}"
    if not cache_path(f"{key}.npy").exists():
        _check_memory(sum(block["n_people"] * block["images_per_person"] for block in blocks))
    plans = [synthfaces.plan(**block) for block in blocks]
    attributes = pd.concat(plans, ignore_index=True)
    attributes["unseen"] = attributes["person"] >= drawing.people
    protocols = _protocols(drawing, attributes)

    def draw_from(first: int) -> Iterator[np.ndarray]:
        for block, plan in zip(blocks, plans, strict=True):
            if first < len(plan):
                yield from synthfaces.generate(**block, progress=None).images[first:]
            first = max(0, first - len(plan))

    return FaceSet(
        name=name,
        images=cached_images(key, len(attributes), draw_from, lambda image: image, progress=False),
        identities=attributes["person"].to_numpy(np.int64),
        fingerprint=identity,
        people=tuple(f"person_{i:04d}" for i in range(drawing.people + drawing.unseen_people)),
        attributes=attributes,
        protocols=protocols,
    )


def fingerprint(drawing: Drawing) -> str:
    """A digest of the options, not of the pixels: another processor rounds a few differently."""
    options = drawing.model_dump(exclude={"unseen_pairs", "cross_age_pairs", "min_gap"})
    return digest("synthfaces", synthfaces.VERSION, options)


def _check_memory(count: int) -> None:
    free = available(torch.device("cpu"))
    if free is not None and count * IMAGE_BYTES > free:
        raise MemoryError(
            f"{count:,} drawn images take {count * IMAGE_BYTES / 1e9:,.1f} GB of memory, of which "
            f"{free / 1e9:,.1f} GB are free; ask for fewer people or images"
        )


def _blocks(drawing: Drawing) -> list[dict[str, int]]:
    """The arguments of `synthfaces.generate`: the trained people first, then any unseen ones."""
    counts = [
        (drawing.people, drawing.images_per_person, 0),
        (drawing.unseen_people, drawing.unseen_images, drawing.people),
    ]
    return [
        {"n_people": n, "images_per_person": each, "seed": drawing.seed, "first_person": first}
        for n, each, first in counts
        if n
    ]


def _protocols(drawing: Drawing, attributes: pd.DataFrame) -> Mapping[str, Pairs]:
    unseen = np.flatnonzero(attributes["unseen"])
    people = attributes["person"].to_numpy()[unseen]
    ages = attributes["age"].to_numpy()[unseen]
    pairs: dict[str, Pairs] = {}
    if len(unseen) and drawing.unseen_pairs:
        pairs["unseen"] = synthfaces.unseen_pairs(people, drawing.unseen_pairs, drawing.seed)
    if len(unseen) and drawing.cross_age_pairs:
        pairs["cross_age"] = synthfaces.cross_age_pairs(
            people, ages, drawing.cross_age_pairs, drawing.seed, min_gap=drawing.min_gap
        )
    return {
        name: Pairs(unseen[pair.left], unseen[pair.right], pair.genuine)
        for name, pair in pairs.items()
    }
