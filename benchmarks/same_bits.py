"""Digests of what must not change while the code is reorganised: run on both commits and compare.

    python benchmarks/same_bits.py > before.json   # on one commit
    python benchmarks/same_bits.py > after.json    # on the other, same machine, one thread

A teacher trained on SynthFaces, the student of each of five methods, and the data of every
committed figure. Bits differ between processors, so nothing is compared with a stored value.
"""

import hashlib
import json
import tempfile
from os import environ
from pathlib import Path

import torch

environ["CURE_CACHE"] = tempfile.mkdtemp()

from cure_core import encoders, objectives
from cure_core.encoders.embedding import weight_arrays
from cure_core.files import digest, file_sha256
from cure_core.training.arcface import Recipe, train
from cure_core.unlearning import CureConfig, unlearn
from cure_study.data import manifests

METHODS = ("cure", "cure_plus", "cure_scatter", "random_relabel", "scrub")
FIGURES = Path(__file__).parents[1] / "figures"


def main() -> None:
    """Print one digest for each teacher, student and figure's data."""
    torch.set_num_threads(1)
    faces = manifests.load(
        "synthfaces", people=10, images_per_person=8, unseen_people=0, unseen_pairs=0,
        cross_age_pairs=0,
    )  # fmt: skip
    start = encoders.build("small", seed=0)
    recipe = Recipe(epochs=3, batch_size=16)
    teacher = train(start, faces.images, faces.identities, recipe)
    found = {"faces": hashlib.sha256(faces.images[:].tobytes()).hexdigest()[:16]}
    found["teacher"] = digest(*weight_arrays(teacher.encoder))
    forget, retain = faces.images[:24], faces.images[24:]
    for name in METHODS:
        config = CureConfig(epochs=2, batch_size=(8, 8), clusters=(3, 7))
        done = unlearn(
            teacher.encoder, forget, retain, config, objective=objectives.build(name),
            progress=False,
        )  # fmt: skip
        found[f"student of {name}"] = digest(*weight_arrays(done.student))
    found |= {path.name: file_sha256(path)[:16] for path in sorted(FIGURES.glob("*.csv"))}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
