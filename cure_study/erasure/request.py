"""A request with the encoder's embeddings: who counts as one person, and what is held out."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from cure_core import encoders
from cure_core.cluster_count import FEWEST_DISTINCT, choose_clusters
from cure_core.clustering import kmeans
from cure_core.encoders.embedding import raw_embeddings, weight_arrays
from cure_core.encoders.images import Images
from cure_core.files import digest, read_sealed, write_sealed
from cure_core.unlearning import CureConfig, UnlearningResult, unlearn
from cure_study.cache import cached
from cure_study.code_version import code_version
from cure_study.erasure.files import RequestFiles, naming_files
from cure_study.erasure.images import ImageFolder, forget_folder_cache
from cure_study.erasure.lookalikes import Found, lookalikes
from cure_study.paths import cache_root
from cure_study.training_cache import train_cached

HELD_OUT = 0.2  # of the retained images, at most `MOST_JUDGED`: for the measures
MOST_JUDGED = 2000
FEWEST_HALVED = 4  # images of a person, of which half can be held out


@dataclass(frozen=True, eq=False, repr=False)
class Request:
    """A request, ready for unlearning.

    `forget`, `retain` and `judged` (held out of the training) are indices into the folder;
    `raw` (N, D) the encoder's embeddings of all its images; `people` (N,) numbers the person on
    each image, or the cluster that stands in, -1 for images that take no part;
    `stranger_raw` and `stranger_people` the same of the strangers.
    """

    files: RequestFiles
    found: Found
    forget: np.ndarray
    retain: np.ndarray
    judged: np.ndarray
    raw: np.ndarray
    people: np.ndarray
    clusters: tuple[int, int] | None
    stranger_raw: np.ndarray | None
    stranger_people: np.ndarray | None

    @property
    def config(self) -> CureConfig:
        """The settings of unlearning; numbers of clusters that are known are not chosen again."""
        config = self.files.setting.config(len(self.forget), len(self.retain))
        if self.clusters is None or min(self.clusters) < 2 or config.clusters != "auto":
            return config
        return replace(config, clusters=self.clusters)

    @property
    def kept(self) -> np.ndarray:
        """Every image that was not forgotten: retained, or held out."""
        return np.union1d(self.retain, self.judged)

    @property
    def judged_by(self) -> Literal["clusters", "identities"]:
        return "clusters" if self.files.identities is None else "identities"

    def __repr__(self) -> str:
        return (
            f"Request(forget {len(self.forget):,} images, retain {len(self.retain):,}, hold out "
            f"{len(self.judged):,} for the measures; {self.found!r})"
        )


def prepare(files: RequestFiles, progress: bool | None = None) -> Request:
    """Embed all images, look for what the list forgot, and hold out images for the measures.

    Interrupted, it goes on where it was: the embeddings are kept until the request is finished.
    Raises ValueError naming an image whose embedding is not finite.
    """
    setting = files.setting
    raw = _embedded(files, "images", files.folder, progress)
    unit = normalised(raw)
    rest = files.retain
    found = lookalikes(files.folder, unit, files.forget, rest)
    forget = files.forget
    if setting.include_lookalikes:
        forget = np.union1d(forget, found.sure)
        rest = np.setdiff1d(rest, forget)
        found = replace(found, table=found.table.assign(included=np.isin(found.index, forget)))
    people = np.full(len(raw), -1)
    clusters = None
    if files.identities is not None:
        people = np.unique(files.identities, return_inverse=True)[1]
    else:
        # Each side on its own: nothing says which clusters belong together.
        people[forget] = _clusters(unit[forget], setting.seed)
        people[rest] = _clusters(unit[rest], setting.seed) + people[forget].max() + 1
        clusters = len(np.unique(people[forget])), len(np.unique(people[rest]))
    judged = _held_out(rest, people[rest], setting.seed)
    stranger_raw = stranger_people = None
    if files.strangers is not None:
        stranger_raw = _embedded(files, "strangers", files.strangers, progress)
        known = files.stranger_identities
        stranger_people = (
            _clusters(normalised(stranger_raw), setting.seed)
            if known is None
            else np.unique(known, return_inverse=True)[1]
        )
    return Request(
        files,
        found,
        forget,
        np.setdiff1d(rest, judged),
        judged,
        raw,
        people,
        clusters,
        stranger_raw,
        stranger_people,
    )


def erase(request: Request, progress: bool | None = None) -> UnlearningResult:
    """The student: the encoder after it has forgotten. Interrupted, it goes on where it was."""
    files = request.files
    folder = work_folder(files)
    folder.mkdir(parents=True, exist_ok=True)
    config = request.config
    key = digest(config, files.setting.method, request.forget, request.retain)
    return unlearn(
        files.encoder,
        files.view(request.forget),
        files.view(request.retain),
        config,
        objective=files.setting.method,
        checkpoint=folder / f"student-{key}.pt",
        device=files.setting.device,
        progress=progress,
    )


def train_oracle(request: Request, progress: bool | None = None) -> nn.Module:
    """An encoder trained from scratch on the retained images, by their identities."""
    files, setting = request.files, request.files.setting
    start = encoders.build(setting.encoder, seed=setting.seed)
    trained = train_cached(
        start,
        files.view(request.retain),
        request.people[request.retain],
        setting.recipe(),
        device=setting.device,
        progress=progress,
    )
    return trained.encoder


def embed_by(
    model: nn.Module, images: Images, device: str | None, progress: bool | None = None
) -> np.ndarray:
    """Raw embeddings (N, D) float32 of images by a model."""
    return raw_embeddings(model, images, device=device, progress=progress).numpy()


def normalised(raw: np.ndarray) -> np.ndarray:
    """The rows (N, D), each of length 1; a zero row stays."""
    return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)


def work_folder(files: RequestFiles) -> Path:
    """Where the work of an unfinished request lies, in the cache."""
    parts: list[object] = [code_version("cure_study.erasure.request"), files.folder.sha256]
    if files.strangers is not None:
        parts.append(files.strangers.sha256)
    key = digest(*parts, files.setting.align, *weight_arrays(files.encoder))
    return cache_root() / "requests" / key


def clean_up(files: RequestFiles) -> None:
    """Remove from the cache all that a finished request left: images, embeddings, checkpoint."""
    shutil.rmtree(work_folder(files), ignore_errors=True)
    for folder in filter(None, (files.folder, files.strangers)):
        forget_folder_cache(folder.root)


def _embedded(
    files: RequestFiles, name: str, folder: ImageFolder, progress: bool | None
) -> np.ndarray:
    def make() -> None:
        with naming_files(folder, np.arange(len(folder.files))):
            raw = embed_by(files.encoder, folder.images, files.setting.device, progress)
        write_sealed(path, raw.astype(np.float32).tobytes())

    path = work_folder(files) / f"{name}.embeddings"
    content = cached(path, make, read_sealed, group=False)
    return np.frombuffer(content, np.float32).reshape(len(folder.files), -1)


def _clusters(unit: np.ndarray, seed: int) -> np.ndarray:
    """The cluster (N,) of each row; their number is chosen as the study does."""
    x = torch.from_numpy(np.ascontiguousarray(unit))
    if len(torch.unique(x, dim=0)) < FEWEST_DISTINCT:
        return np.zeros(len(unit), np.int64)
    return kmeans(x, choose_clusters(x, seed=seed).k, seed=seed).labels.numpy()


def _held_out(rest: np.ndarray, people: np.ndarray, seed: int) -> np.ndarray:
    """Half the images of some people, `HELD_OUT` of all: pairs of one person can be judged."""
    rng = np.random.default_rng([seed, 4])
    wanted = min(MOST_JUDGED, round(HELD_OUT * len(rest)))
    chosen: list[int] = []
    names, counts = np.unique(people, return_counts=True)
    order: Iterable[int] = rng.permutation(names[counts >= FEWEST_HALVED])
    for person in order:
        if len(chosen) >= wanted:
            break
        images = rng.permutation(rest[people == person])
        chosen += images[: len(images) // 2].tolist()
    return np.sort(np.array(chosen[:wanted], np.int64))
