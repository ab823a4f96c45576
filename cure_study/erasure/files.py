"""Reading a request: every file and setting is checked before anything is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from cure_core import encoders, html
from cure_core.encoders.embedding import NotFiniteError, embed
from cure_core.encoders.images import image_size, take
from cure_core.preflight import check_device, check_output
from cure_study.data.faceset import ImageView
from cure_study.erasure.decoding import Align
from cure_study.erasure.earlier import EarlierResult, forgotten_earlier, read_chain
from cure_study.erasure.forget_list import ListedImages, check_disjoint, read_list
from cure_study.erasure.identities import read_identities
from cure_study.erasure.images import ImageFolder, read_folder
from cure_study.erasure.setting import FOLDERS, NO_IDENTITIES, RequestSetting

PROBED = 8  # images that show whether the encoder works
FEWEST_RETAINED = 8  # images: fewer cannot be clustered and held out


@dataclass(frozen=True, eq=False, repr=False)
class RequestFiles:
    """A request that was read and fits: the images, who must go and stay, and the encoder.

    `forget` and `retain` are indices into `folder.files`; `identities` (N,) names who is on each
    image, or is None; `earlier` is a table (index, group) for each request of `chain`.
    """

    setting: RequestSetting
    encoder: nn.Module
    weights: Path
    folder: ImageFolder
    listed: ListedImages
    retain: np.ndarray
    identities: np.ndarray | None
    strangers: ImageFolder | None
    stranger_identities: np.ndarray | None
    chain: tuple[EarlierResult, ...]
    earlier: list[pd.DataFrame]
    missing_earlier: int

    @property
    def forget(self) -> np.ndarray:
        return self.listed.index

    @property
    def earlier_index(self) -> np.ndarray:
        """Images of earlier requests, which are neither forgotten again nor retained."""
        return _indices(self.earlier)

    @property
    def inputs(self) -> list[Path]:
        """The weights, lists and tables that were read, as far as they are files."""
        setting = self.setting
        people = setting.identities
        table = None if people in (NO_IDENTITIES, FOLDERS) else Path(people)
        given = (self.weights, setting.forget, setting.retain, table)
        return [path for path in given if path is not None and path.is_file()]

    def view(self, index: np.ndarray) -> ImageView:
        return ImageView(self.folder.images, index)

    def rows(self) -> dict[str, str]:
        """What was read, by name: the counts that a user checks first."""
        rows = {
            "images": f"{len(self.folder.files):,} in {self.folder.root}",
            "forget": f"{len(self.forget):,}, listed by {len(self.listed.lines):,} lines of "
            f"{self.setting.forget}",
            "retain": f"{len(self.retain):,}",
        }
        if self.chain:
            rows["forgotten earlier"] = (
                f"{len(self.earlier_index):,} in {len(self.chain)} requests, neither forgotten "
                f"again nor retained; {self.missing_earlier:,} more are no longer in the folder"
            )
        if self.strangers is not None:
            rows["strangers"] = f"{len(self.strangers.files):,} in {self.strangers.root}"
        known = self.identities
        rows["identities"] = (
            "none: the measures take clusters for people"
            if known is None
            else f"{len(np.unique(known)):,} people, for the measures alone"
        )
        if self.folder.left_out:
            rows["not used"] = str(self.folder.left_out)
        rows["encoder"] = f"{self.setting.encoder}, {self.weights}"
        return rows

    def __repr__(self) -> str:
        return "\n".join(f"{name + ':':<18} {value}" for name, value in self.rows().items())

    def _repr_html_(self) -> str:
        return html.table("The request", self.rows())

    def lines(self) -> pd.DataFrame:
        """The lines of the list, and how many images each took."""
        return pd.DataFrame(self.listed.lines, columns=["line", "images"])


def read(setting: RequestSetting, progress: bool | None = None) -> RequestFiles:
    """Read and check everything that a request names; nothing is written but the faces cache.

    Raises ValueError or FileNotFoundError naming the file, line or value that does not fit: weights
    of another network, a list that matches nothing or everything, images in both lists.
    """
    chain = read_chain(setting.after)
    weights = chain[0].student if chain else setting.weights
    assert weights is not None  # a setting has weights or an earlier result
    check_device(setting.device, nn.Identity())
    encoder = encoders.build(setting.encoder, weights)
    size = image_size(encoder)
    align = _aligner(setting, size)
    folder = read_folder(setting.images, size, align=align, progress=progress)
    _check_encoder(encoder, folder)
    listed = read_list(setting.forget, folder, align=align)
    earlier, missing = forgotten_earlier(chain, folder)
    old = _indices(earlier)
    listed = _without_earlier(listed, old, setting)
    rest = np.setdiff1d(np.arange(len(folder.files)), np.union1d(listed.index, old))
    if setting.retain is not None:
        chosen = read_list(setting.retain, folder, align=align)
        check_disjoint(listed.index, chosen.index, folder)
        rest = np.setdiff1d(chosen.index, old)
    if len(rest) < FEWEST_RETAINED:
        raise ValueError(
            f"{len(rest)} images of {folder.root} would be retained; at least {FEWEST_RETAINED} "
            "must stay, to tell the encoder what it must still recognise"
        )
    strangers = None
    if setting.strangers is not None:
        strangers = read_folder(setting.strangers, size, align=align, progress=progress)
    by_folder = setting.identities == FOLDERS and strangers is not None
    return RequestFiles(
        setting,
        encoder,
        weights,
        folder,
        listed,
        rest,
        read_identities(setting.identities, folder),
        strangers,
        read_identities(FOLDERS if by_folder else NO_IDENTITIES, strangers or folder),
        chain,
        earlier,
        missing,
    )


def _indices(tables: list[pd.DataFrame]) -> np.ndarray:
    """The images that the tables of earlier requests name, each once."""
    parts = [table["index"].to_numpy(np.int64) for table in tables]
    return np.unique(np.concatenate([*parts, np.empty(0, np.int64)]))


def _aligner(setting: RequestSetting, size: tuple[int, int]) -> Align | None:
    if not setting.align:
        return None
    from cure_study.data.align import Aligner

    return Aligner(size)


def _check_encoder(encoder: nn.Module, folder: ImageFolder) -> None:
    """Raise ValueError for an encoder that fails on a few images, or embeds them all alike."""
    few = np.unique(np.linspace(0, len(folder.files) - 1, PROBED).astype(int))
    probe = take(folder.images, few)
    check_output(encoder, probe[:1])
    with naming_files(folder, few):
        unit = embed(encoder, folder.images[few])
    if len(few) > 1 and bool((unit == unit[0]).all()):
        raise ValueError(
            f"the encoder embeds {len(few)} different images alike, so nobody can be recognised, "
            "nor forgotten; check its weights and its preprocessing"
        )


@contextmanager
def naming_files(folder: ImageFolder, index: np.ndarray) -> Iterator[None]:
    """An embedding that is not finite is an error that names the image's file."""
    try:
        yield
    except NotFiniteError as error:
        first = folder.root / folder.files[index[int(error.index[0])]]
        raise ValueError(f"{error}; it is {first}") from error


def _without_earlier(
    listed: ListedImages, old: np.ndarray, setting: RequestSetting
) -> ListedImages:
    """The listed images that no earlier request has taken. Raises ValueError if none is left."""
    left = np.setdiff1d(listed.index, old)
    if not len(left):
        raise ValueError(
            f"every image of {setting.forget} was forgotten by an earlier request of "
            f"{setting.after}"
        )
    return ListedImages(left, listed.lines)
