"""SynthFaces: synthetic faces, drawn by rule, with the ground truth about every image.

from cure_study.synthfaces import generate, unseen_pairs

faces = generate(n_people=100, images_per_person=24, seed=0)
strangers = generate(n_people=100, images_per_person=24, seed=0, first_person=100)
pairs = unseen_pairs(strangers.identities, n_pairs=2000)
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cure_core.checks import whole
from cure_core.runtime.progress import bar
from cure_study.synthfaces.captures import captures, table
from cure_study.synthfaces.degrade import degrade
from cure_study.synthfaces.draw import draw
from cure_study.synthfaces.people import SIZE, Columns, people, uniforms
from cure_study.synthfaces.protocols import cross_age_pairs, unseen_pairs

__all__ = ["SynthFaces", "cross_age_pairs", "generate", "plan", "unseen_pairs"]

VERSION = 1  # part of the fingerprint: raise it if the same seed would draw other images
CHUNK = 32  # images drawn together: enough to amortise a call, few enough to stay in cache


@dataclass(frozen=True, eq=False, repr=False)
class SynthFaces:
    """Synthetic faces and their ground truth.

    `images` (N, 112, 112, 3) uint8 RGB, aligned as ArcFace aligns; `identities` (N,) int64, the
    person's number. `attributes`, one row an image: `person`, `capture`, `age` in years (18 to 85),
    `skin_tone` (1 light to 10 dark, after the Monk scale), `quality` in [0, 1] (higher is better),
    `glasses` (none, clear or dark), and the numbers of `captures.captures` in its units.
    """

    images: NDArray[np.uint8]
    identities: NDArray[np.int64]
    attributes: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"SynthFaces({len(self):,} images of {len(np.unique(self.identities)):,} people)"


def generate(
    n_people: int,
    images_per_person: int,
    seed: int = 0,
    *,
    first_person: int = 0,
    progress: bool | None = False,
) -> SynthFaces:
    """Draw `images_per_person` captures of each of the people first_person, first_person + 1, ...

    Image c of person p depends on (seed, p, c) alone, so more people or captures change no other
    image (bit for bit on one machine). Images are ordered by person, then capture. Takes about 3 ms
    an image on one core.
    Raises ValueError for counts below 1 and for a negative seed or first_person.
    """
    person, capture, attributes = _planned(n_people, images_per_person, seed, first_person)
    count = len(attributes)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)

    def draw_chunk(first: int) -> None:
        rows = slice(first, first + CHUNK)
        of_person, of_capture = (
            {name: column[rows] for name, column in columns.items()}
            for columns in (person, capture)
        )
        images[rows] = degrade(draw(of_person, of_capture), of_capture)

    starts = range(0, count, CHUNK)
    # One thread a core draws chunks, so products within a chunk need none.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        drawn = threads.map(draw_chunk, starts)
        for _ in bar(starts, "drawing faces", progress, unit="chunk"):
            next(drawn)
    return SynthFaces(images, attributes["person"].to_numpy(np.int64), attributes)


def plan(
    n_people: int, images_per_person: int, seed: int = 0, *, first_person: int = 0
) -> pd.DataFrame:
    """The `attributes` of what `generate` would draw, in milliseconds; raises what it raises."""
    return _planned(n_people, images_per_person, seed, first_person)[2]


def _planned(
    n_people: int, images_per_person: int, seed: int, first_person: int
) -> tuple[Columns, Columns, pd.DataFrame]:
    """Each image's person and capture, and the attributes."""
    whole("n_people", n_people, 1)
    whole("images_per_person", images_per_person, 1)
    whole("seed", seed)
    whole("first_person", first_person)
    numbers = np.arange(first_person, first_person + n_people)
    blocks = np.stack([uniforms(seed, int(person), images_per_person) for person in numbers])
    traits = people(blocks[:, 0])
    person = {name: np.repeat(value, images_per_person, axis=0) for name, value in traits.items()}
    capture = captures(person, blocks[:, 1:].reshape(-1, blocks.shape[2]))
    attributes = table(person, capture)
    attributes.insert(0, "person", np.repeat(numbers.astype(np.int64), images_per_person))
    attributes.insert(1, "capture", np.tile(np.arange(images_per_person), n_people))
    return person, capture, attributes
