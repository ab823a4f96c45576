"""Checks of a data set that a careful person would make before training on it.

from cure_study.data import doctor

doctor.examine("lfw")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from cure_core import html
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.verification import ten_folds
from cure_study.data import manifests
from cure_study.data.faceset import ConcatImages, FaceSet, ImageView
from cure_study.data.image_statistics import Summary, eye_offsets, image_statistics, summarise
from cure_study.data.manifest_schema import FolderManifest, Manifest, StoredManifest
from cure_study.synthfaces.face import TEMPLATE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISALIGNED = 4.0  # pixels from the template
COPY = 0.995  # cosine similarity of thumbnails: higher for copies, lower for different photographs


Check = tuple[str, str, str, bool | None]  # check, found, expected, ok (None: for information)
VERDICTS = {True: "ok", False: "look", None: ""}


@dataclass(frozen=True, eq=False, repr=False)
class Examination:
    """The result of `examine`.

    `findings`: check, found, expected, verdict, one row a check; `mean_face` (112, 112, 3) uint8;
    `copies`: test images (`other`) that are also in training, as `image`, and their similarity.
    """

    name: str
    findings: pd.DataFrame
    mean_face: np.ndarray
    copies: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not (self.findings.verdict == "look").any()

    def __repr__(self) -> str:
        padded = self.findings.apply(lambda column: column.str.ljust(column.str.len().max()))
        table = padded.to_string(index=False, justify="left")
        failed = int((self.findings.verdict == "look").sum())
        return f"{self.name}\n{table}\n" + (f"{failed} to look at" if failed else "no problems")

    def _repr_html_(self) -> str:
        return self.findings.to_html(index=False, border=0) + html.strip(self.mean_face[None])

    def figure(self) -> Figure:
        """The mean face with the template's five points, to judge the alignment by eye."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.5, 3.5), dpi=200, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(self.mean_face)
        for colour, size, width in (("white", 10, 2.5), ("black", 9, 1)):
            axes.plot(*TEMPLATE.T, "+", color=colour, markersize=size, markeredgewidth=width)
        axes.set_title(f"mean face of {self.name} (+: template)")
        axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
        return figure


def examine(
    faces: str | Path | FaceSet,
    manifest: Manifest | None = None,
    *,
    root: str | Path | None = None,
    progress: bool | None = None,
) -> Examination:
    """Check a data set, given by its manifest's name or already loaded.

    Compares what is found with what the manifest expects; raises what `manifests.load` raises if
    the set cannot be read at all. Uses identity labels, as any evaluation does.
    """
    if not isinstance(faces, FaceSet):
        manifest = manifests.read(faces)
        faces = manifests.load(faces, root=root)
    summary = summarise(faces.images, progress)
    train, test = _train_and_test(faces, manifest)
    copies = _find_copies(summary.thumbnails, train, test)
    checks = [
        *_check_counts(faces, manifest),
        *_check_values(faces, manifest if isinstance(manifest, StoredManifest) else None),
        *_check_images(faces, summary),
    ]
    if len(train) and len(test):
        checks.append(_none("test images also in training", len(copies)))
    for name, pairs in faces.protocols.items():
        checks += _check_pairs(name, pairs, summary.digests, faces.identities)
    findings = pd.DataFrame(
        [(*texts, VERDICTS[ok]) for *texts, ok in checks],
        columns=["check", "found", "expected", "verdict"],
    )
    return Examination(faces.name, findings, summary.mean.round().astype(np.uint8), copies)


def _none(check: str, count: int) -> Check:
    return check, f"{count:,}", "0", count == 0


def _check_counts(faces: FaceSet, manifest: Manifest | None) -> list[Check]:
    """Images, people, and images per person, among those who can be trained on."""
    images, people = None, None
    if isinstance(manifest, StoredManifest):
        images, people = manifest.images, manifest.people
    counts = np.unique(faces.identities[~faces.unseen], return_counts=True)[1]
    checks: list[Check] = []
    for what, found, expected in (
        ("images", counts.sum(), images),
        ("people", len(counts), people),
    ):
        ok = None if expected is None else bool(found == expected)
        checks.append((what, f"{found:,}", "" if expected is None else f"{expected:,}", ok))
    if faces.unseen.any():
        checks.append(("images for verification alone", f"{faces.unseen.sum():,}", "", None))
    least, median, most = np.percentile(counts, (0, 50, 100)).astype(int)
    checks.append(("images a person", f"{least:,} to {most:,}, median {median:,}", "", None))
    if manifest is not None:
        each, needed = manifest.splits.min_images, manifest.splits.outsiders + 1
        enough = int((counts >= each).sum())
        check = f"people with {each} images or more"
        checks.append((check, f"{enough:,}", f"> {needed}", enough > needed))
    if faces.left_out or isinstance(manifest, FolderManifest):
        checks.append(("files left out", str(faces.left_out) or "0", "0", not faces.left_out))
    return checks


def _check_values(faces: FaceSet, manifest: StoredManifest | None) -> list[Check]:
    """The channel order of each part of the set, and the range of values."""
    stored = manifest.colour if manifest else None
    expected = "grey" if stored == "grey" else "rgb" if stored else "rgb or grey"
    checks: list[Check] = []
    for part, images in _parts(faces).items():
        found = image_statistics(images)
        colour = found.colour or "unclear"
        checks.append(
            (
                f"colour order, as read{f', {part}' if part else ''}",
                f"{colour} (red {found.red:.0f}, blue {found.blue:.0f})",
                f"{expected} (stored as {stored})" if stored else expected,
                colour in (*expected.split(" or "), "unclear"),
            )
        )
    found = image_statistics(faces.images)
    low, high = manifest.range if manifest else (0, 255)
    ok = low <= found.low and found.high <= high and found.contrast >= (high - low) / 4
    values = f"{found.low} to {found.high}, contrast {found.contrast:.0f}"
    return [*checks, ("values", values, f"{low} to {high}", ok)]


def _parts(faces: FaceSet) -> dict[str, np.ndarray | ConcatImages | ImageView]:
    """The images to train on, and those of each separate protocol: their colours may differ."""
    if not faces.unseen.any():
        return {"": faces.images}
    parts: dict[str, np.ndarray | ConcatImages | ImageView] = {}
    if not faces.unseen.all():
        parts[""] = ImageView(faces.images, np.flatnonzero(~faces.unseen))
    for name, pairs in faces.protocols.items():
        index = np.union1d(pairs.left, pairs.right)
        if faces.unseen[index].all():
            parts[name] = ImageView(faces.images, index)
    return parts


def _check_images(faces: FaceSet, summary: Summary) -> list[Check]:
    """Empty images, the alignment, and equal images of different people."""
    offsets = eye_offsets(summary.mean)
    found = ", ".join(f"{name} ({x:+.0f}, {y:+.0f})" for name, (x, y) in offsets.items())
    aligned = all(np.hypot(*offset) < MISALIGNED for offset in offsets.values())
    labels = pd.DataFrame({"image": summary.digests, "person": faces.identities})
    people_of_image = labels.drop_duplicates().image.value_counts()
    return [
        _none("images that show nothing", summary.flat),
        ("eyes of the mean face off by", found, f"< {MISALIGNED:.0f} pixels", aligned),
        _none("images under two people", int((people_of_image > 1).sum())),
    ]


def _check_pairs(
    name: str, pairs: Pairs, digests: np.ndarray, identities: np.ndarray
) -> list[Check]:
    """Whether each fold is half genuine, and whether there are impossible pairs."""
    folds = ten_folds(len(pairs))
    shares = [pairs.genuine[folds == fold].mean() for fold in np.unique(folds)]
    found = f"{pairs.genuine.mean():.1%}, folds {min(shares):.1%} to {max(shares):.1%}"
    half = bool(np.allclose(shares, 0.5))
    same_image = digests[pairs.left] == digests[pairs.right]
    same_person = identities[pairs.left] == identities[pairs.right]
    return [
        (f"{name}: genuine of {len(pairs):,} pairs", found, "50.0%", half),
        _none(f"{name}: pairs of an image with itself", same_image.sum()),
        _none(f"{name}: impostor pairs of one person", (same_person & ~pairs.genuine).sum()),
    ]


def _train_and_test(faces: FaceSet, manifest: Manifest | None) -> tuple[np.ndarray, np.ndarray]:
    """Images of the people who can be in a split, and images of pairs that touch none of them."""
    test = np.zeros(len(faces), bool)
    for pairs in faces.protocols.values():
        test[pairs.left] = test[pairs.right] = True
    people, counts = np.unique(faces.identities[~faces.unseen], return_counts=True)
    enough = people[counts >= (manifest.splits.min_images if manifest else 1)]
    trained = ~faces.unseen & np.isin(faces.identities, enough)
    return np.flatnonzero(trained), np.flatnonzero(test & ~trained)


def _find_copies(thumbnails: np.ndarray, train: np.ndarray, test: np.ndarray) -> pd.DataFrame:
    """For each test image that is also a training image, perhaps saved again, the most similar."""
    shown = np.linalg.norm(thumbnails, axis=1) > 0
    train, test = train[shown[train]], test[shown[test]]
    if not len(train) or not len(test):
        return pd.DataFrame(columns=["image", "other", "similarity"])
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(thumbnails[train])
    distance, nearest = (column[:, 0] for column in neighbours.kneighbors(thumbnails[test]))
    similarity = 1 - distance**2 / 2  # of vectors of length one
    table = pd.DataFrame({"image": train[nearest], "other": test, "similarity": similarity})
    return table[table.similarity > COPY].reset_index(drop=True)
