"""A look at a data set as a person would take one before training on it.

from cure_core import doctor

doctor.examine("lfw")
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cure_core.encoders.embedding import take
from cure_core.files import digest
from cure_core.metrics.verification import ten_folds
from cure_core.runtime.progress import bar
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet, ImageView, Stack
from cure_study.data.looks import Looks, look
from cure_study.data.manifest_schema import AnyManifest, FolderManifest, StoredManifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = {  # x and y in pixels of the 112 x 112 image (ArcFace, arXiv:1801.07698)
    "left eye": (38.29, 51.70),
    "right eye": (73.53, 51.50),
    "nose": (56.03, 71.74),
    "left corner of the mouth": (41.55, 92.37),
    "right corner of the mouth": (70.73, 92.20),
}
REACH = 12  # pixels around the template in which an eye is looked for
OFF = 4.0  # pixels from the template from which a set is called misaligned
COPY = 0.995  # similarity of thumbnails: copies of a picture pass it, pictures of two people do not
FLAT = 3.0  # grey levels of deviation under which a picture shows nothing


@dataclass(frozen=True, eq=False, repr=False)
class Checkup:
    """What a look at a set found.

    `findings`: check, found, expected, verdict ("ok", "look" or ""), one row a check; `mean_face`
    (112, 112, 3) uint8; `copies`: test images (`other`) that are in training too, as `image`, and
    their similarity.
    """

    name: str
    findings: pd.DataFrame
    mean_face: np.ndarray
    copies: pd.DataFrame

    @property
    def sound(self) -> bool:
        """Whether nothing calls for a second look."""
        return not (self.findings.verdict == "look").any()

    def __repr__(self) -> str:
        padded = self.findings.apply(lambda column: column.str.ljust(column.str.len().max()))
        table = padded.to_string(index=False, justify="left")
        looks = int((self.findings.verdict == "look").sum())
        return f"{self.name}\n{table}\n" + (f"{looks} to look at" if looks else "nothing amiss")

    def _repr_html_(self) -> str:
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(self.mean_face).save(png, "PNG")
        shown = base64.b64encode(png.getvalue()).decode()
        table = self.findings.to_html(index=False, border=0)
        return f'{table}<img alt="mean face" width="168" src="data:image/png;base64,{shown}">'

    def picture(self) -> Figure:
        """The mean face with the template's five points, to judge the alignment by eye."""
        import matplotlib as mpl

        from cure_study.figures import COLUMN, STYLE, StudyFigure

        with mpl.rc_context(STYLE):
            figure = StudyFigure(figsize=(COLUMN, COLUMN), layout="constrained")
            axes = figure.add_subplot()
            axes.imshow(self.mean_face)
            points = np.array(list(TEMPLATE.values()))
            for colour, size, width in (("white", 10, 2.5), ("black", 9, 1)):
                axes.plot(*points.T, "+", color=colour, markersize=size, markeredgewidth=width)
            axes.set_title(f"mean face of {self.name} (+: template)")
            axes.set_xlabel("column (pixels)")
            axes.set_ylabel("row (pixels)")
            axes.grid(False)
        return figure


def examine(
    faces: str | Path | FaceSet,
    manifest: AnyManifest | None = None,
    *,
    root: str | Path | None = None,
    progress: bool | None = None,
) -> Checkup:
    """Look at a set, given by its manifest's name or loaded before.

    Says what there is beside what the manifest expects; raises what `manifests.load` raises where
    the set cannot be read at all. Identities are used here, as in any evaluation.
    """
    if not isinstance(faces, FaceSet):
        manifest = manifests.read(faces)
        faces = manifests.load(faces, root=root)
    stored = manifest if isinstance(manifest, StoredManifest) else None
    rows: list[dict[str, str]] = []

    def note(check: str, found: object, expected: object = "", fine: bool | None = None) -> None:
        verdict = "" if fine is None else "ok" if fine else "look"
        rows.append(
            {"check": check, "found": f"{found}", "expected": f"{expected}", "verdict": verdict}
        )

    _counts(faces, manifest, stored, note)
    if faces.left_out or isinstance(manifest, FolderManifest):
        note("files left out", faces.left_out or "0", "0", not faces.left_out)
    seen = look(faces.images)
    said = stored.colour if stored else None
    for part, images in _parts(faces).items():
        _colour(part, look(images), said, note)
    low, high = stored.range if stored else (0, 255)
    inside = low <= seen.low and seen.high <= high and seen.spread >= (high - low) / 4
    note(
        "values", f"{seen.low} to {seen.high}, spread {seen.spread:.0f}", f"{low} to {high}", inside
    )
    thumbnails, pictures, flat, mean = _read(faces, progress)
    note("pictures that show nothing", f"{flat:,}", "0", flat == 0)
    off = eye_offsets(mean)
    furthest = max(np.hypot(*offset) for offset in off.values())
    found = ", ".join(f"{name} ({x:+.0f}, {y:+.0f})" for name, (x, y) in off.items())
    note("eyes of the mean face off by", found, f"< {OFF:.0f} pixels", bool(furthest < OFF))
    twice = _under_two_people(pictures, faces.identities)
    note("pictures under two people", f"{twice:,}", "0", twice == 0)
    copies = pd.DataFrame(columns=["image", "other", "similarity"])
    train, test = _train_and_test(faces, manifest)
    if len(train) and len(test):
        copies = _copies(thumbnails, train, test, progress)
        note("test pictures also in training", f"{copies.other.nunique():,}", "0", copies.empty)
    for name, pairs in faces.protocols.items():
        folds = ten_folds(len(pairs))
        shares = [pairs.genuine[folds == fold].mean() for fold in np.unique(folds)]
        note(
            f"{name}: genuine of {len(pairs):,} pairs",
            f"{pairs.genuine.mean():.1%}, folds {min(shares):.1%} to {max(shares):.1%}",
            "50.0%",
            bool(np.allclose(shares, 0.5)),
        )
        same = int((pictures[pairs.left] == pictures[pairs.right]).sum())
        note(f"{name}: pairs of an image with itself", f"{same:,}", "0", same == 0)
        people = faces.identities[pairs.left] == faces.identities[pairs.right]
        wrong = int((people & ~pairs.genuine).sum())
        note(f"{name}: impostor pairs of one person", f"{wrong:,}", "0", wrong == 0)
    return Checkup(faces.name, pd.DataFrame(rows), mean.round().astype(np.uint8), copies)


def _parts(faces: FaceSet) -> dict[str, np.ndarray | Stack | ImageView]:
    """The images that can be trained on, and those of each protocol kept apart from them."""
    unseen = _unseen(faces)
    if not unseen.any():
        return {"": faces.images}
    parts: dict[str, np.ndarray | Stack | ImageView] = {}
    if not unseen.all():
        parts[""] = ImageView(faces.images, np.flatnonzero(~unseen))
    for name, pairs in faces.protocols.items():
        index = np.union1d(pairs.left, pairs.right)
        if unseen[index].all():
            parts[name] = ImageView(faces.images, index)
    return parts


def _colour(part: str, seen: Looks, said: str | None, note: Callable[..., None]) -> None:
    """The order of colours of one part: pack and pairs may be stored in two."""
    wanted = {"rgb": "rgb", "bgr": "rgb", "grey": "grey", None: seen.colour or "unclear"}[said]
    note(
        f"colour order, as read{f', {part}' if part else ''}",
        f"{seen.colour or 'unclear'} (red {seen.red:.0f}, blue {seen.blue:.0f})",
        f"{wanted} (stored as {said})" if said else "rgb or grey",
        seen.colour in (wanted, None) and seen.colour != "bgr",
    )


def _unseen(faces: FaceSet) -> np.ndarray:
    """(N,) bool: which images are for the protocols alone."""
    if faces.attributes is None or "unseen" not in faces.attributes:
        return np.zeros(len(faces), bool)
    return faces.attributes["unseen"].to_numpy(bool)


def _counts(
    faces: FaceSet,
    manifest: AnyManifest | None,
    stored: StoredManifest | None,
    note: Callable[..., None],
) -> None:
    """Images, people, and images a person, of those who can be trained on."""
    own = np.flatnonzero(~_unseen(faces))
    people, counts = np.unique(faces.identities[own], return_counts=True)
    for what, found, expected in (
        ("images", len(own), stored and stored.images),
        ("people", len(people), stored and stored.people),
    ):
        fine = None if expected is None else found == expected
        note(what, f"{found:,}", "" if expected is None else f"{expected:,}", fine)
    if len(own) < len(faces):
        note("images for verification alone", f"{len(faces) - len(own):,}")
    note("size", " x ".join(map(str, faces.images.shape[1:])), "112 x 112 x 3", None)
    spread = np.percentile(counts, (0, 50, 100)).astype(int)
    note("images a person", "{:,} to {:,}, median {:,}".format(*spread[[0, 2, 1]]))
    if manifest is not None:
        enough = int((counts >= manifest.splits.min_images).sum())
        note(
            f"people with {manifest.splits.min_images} images or more",
            f"{enough:,}",
            f"> {manifest.splits.outsiders + 1}",
            enough > manifest.splits.outsiders + 1,
        )


def _read(faces: FaceSet, progress: bool | None) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """In one pass: thumbnails (N, 256) float32 of length one, a digest of each picture, how many
    are flat, and the mean face (112, 112, 3)."""
    thumbnails = np.empty((len(faces), 256), np.float32)
    pictures, flat, total = [], 0, np.zeros((112, 112, 3))
    starts = range(0, len(faces), 512)
    for start in bar(starts, "looking", progress, "batch"):
        index = np.arange(start, min(start + 512, len(faces)))
        batch = take(faces.images, index).permute(0, 2, 3, 1).numpy()
        blocks = batch.reshape(len(batch), 16, 7, 16, 7, 3)
        small = blocks.mean((2, 4, 5)).reshape(len(batch), 256)
        small -= small.mean(1, keepdims=True)
        flat += int((small.std(1) < FLAT).sum())
        length = np.linalg.norm(small, axis=1, keepdims=True)
        thumbnails[index] = small / np.maximum(length, 1e-6)
        pictures += [digest(image) for image in batch]
        total += batch.sum(0, dtype=np.int64)
    return thumbnails, np.array(pictures), flat, total / len(faces)


def eye_offsets(mean: np.ndarray) -> dict[str, tuple[float, float]]:
    """By how many pixels, right and down, the eyes of a mean face (112, 112, 3) miss the template.

    An eye is the darkest spot near where the template has it; the spot lies some 1.5 pixels above
    the eye's centre, for the brow pulls it up. A set that is far out gives any large offset.
    """
    from scipy.ndimage import gaussian_filter

    grey = gaussian_filter(mean.mean(2), 2.5)
    offsets = {}
    for name in ("left eye", "right eye"):
        x, y = TEMPLATE[name]
        top, left = round(y) - REACH, round(x) - REACH
        window = grey[top : top + 2 * REACH + 1, left : left + 2 * REACH + 1]
        row, column = np.unravel_index(window.argmin(), window.shape)
        offsets[name] = (float(left + column - x), float(top + row - y))
    return offsets


def _under_two_people(pictures: np.ndarray, identities: np.ndarray) -> int:
    """How many distinct pictures, equal pixel by pixel, are filed under more than one person."""
    filed = pd.DataFrame({"picture": pictures, "person": identities}).drop_duplicates()
    return int((filed.picture.value_counts() > 1).sum())


def _train_and_test(faces: FaceSet, manifest: AnyManifest | None) -> tuple[np.ndarray, np.ndarray]:
    """Images of the people who can be in a split, and images of pairs that touch none of them."""
    if not faces.protocols:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    least = manifest.splits.min_images if manifest else 1
    unseen = _unseen(faces)
    people, counts = np.unique(faces.identities[~unseen], return_counts=True)
    trained = ~unseen & np.isin(faces.identities, people[counts >= least])
    ends = [side for pairs in faces.protocols.values() for side in (pairs.left, pairs.right)]
    judged = np.unique(np.concatenate(ends))
    return np.flatnonzero(trained), judged[~trained[judged]]


def _copies(
    thumbnails: np.ndarray, train: np.ndarray, test: np.ndarray, progress: bool | None
) -> pd.DataFrame:
    """Of each test image that is a training image, perhaps saved again, the one most like it."""
    best, twin = np.full(len(test), COPY, np.float32), np.full(len(test), -1)
    for start in bar(range(0, len(train), 1024), "comparing", progress, "batch"):
        index = train[start : start + 1024]
        alike = thumbnails[index] @ thumbnails[test].T
        nearest = alike.argmax(0)
        score = alike[nearest, np.arange(len(test))]
        better = score > best
        best[better], twin[better] = score[better], index[nearest[better]]
    found = twin >= 0
    columns = {"image": twin[found], "other": test[found], "similarity": best[found]}
    return pd.DataFrame(columns)
