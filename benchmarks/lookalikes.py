"""How many of the images that a list forgot are found, and how many of those found are right.

Usage: CURE_DATA_ROOT=... python benchmarks/lookalikes.py

Of some people who ask, the list lacks three in ten images of each (five draws). Writes
figures/lookalikes.csv: precision and recall of `lookalikes` from each threshold. SynthFaces with
the encoder of the demonstration; LFW with MobileFaceNet, where the data root has it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cure_core import encoders
from cure_core.encoders.embedding import embed
from cure_core.training.arcface import Recipe
from cure_study import synthfaces
from cure_study.data import manifests
from cure_study.data.faceset import ImageView
from cure_study.erasure.lookalikes import INCLUDED, LISTED, above
from cure_study.evaluation.report import save_table
from cure_study.paths import data_root
from cure_study.training_cache import train_cached

OUT = Path(__file__).parents[1] / "figures" / "lookalikes.csv"
ASKING, LACKING, DRAWS = 8, 0.3, 5
WEIGHTS = "models/mobilefacenet_casia.safetensors"


def data_sets() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, embeddings (N, D) and people (N,)."""
    faces = synthfaces.generate(40, 10)
    recipe = Recipe(epochs=24, margin=0.2)
    trained = train_cached(encoders.build("small"), faces.images, faces.identities, recipe)
    yield "synthfaces", embed(trained.encoder, faces.images).numpy(), faces.identities
    if not (data_root() / WEIGHTS).is_file():
        return
    lfw = manifests.load("lfw")
    names, counts = np.unique(lfw.identities, return_counts=True)
    some = np.random.default_rng(0).permutation(names[(counts >= 5) & (counts <= 40)])[:150]
    index = np.flatnonzero(np.isin(lfw.identities, some))
    encoder = encoders.build("mobilefacenet", data_root() / WEIGHTS)
    yield "lfw", embed(encoder, ImageView(lfw.images, index)).numpy(), lfw.identities[index]


def measured(unit: np.ndarray, people: np.ndarray, seed: int) -> Iterator[tuple[float, ...]]:
    """Deviations, threshold, precision and recall, for both thresholds."""
    rng = np.random.default_rng(seed)
    listed, lacking = [], []
    for person in rng.permutation(np.unique(people))[:ASKING]:
        images = rng.permutation(np.flatnonzero(people == person))
        cut = max(1, round(LACKING * len(images)))
        lacking += images[:cut].tolist()
        listed += images[cut:].tolist()
    rest = np.setdiff1d(np.arange(len(people)), listed)
    truth = np.isin(rest, lacking)
    for deviations in (LISTED, INCLUDED):
        found, threshold = above(unit[rest], unit[listed], deviations)
        precision = truth[found].mean() if found.any() else np.nan
        yield deviations, threshold, precision, found[truth].mean()


def main() -> None:
    rows = [
        (name, seed, *values)
        for name, unit, people in data_sets()
        for seed in range(DRAWS)
        for values in measured(unit, people, seed)
    ]
    columns = ["dataset", "seed", "deviations", "threshold", "precision", "recall"]
    table = pd.DataFrame(rows, columns=columns)
    save_table(table.round(4), OUT)
    print(table.groupby(["dataset", "deviations"])[["threshold", "precision", "recall"]].mean())


if __name__ == "__main__":
    main()
