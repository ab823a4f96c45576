"""InsightFace's training packs: `train.rec`, `train.idx` and `property` in one folder."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cure_core.files import digest, file_sha256
from cure_core.runtime.progress import bar
from cure_study.data.faceset import SHAPE, FaceSet
from cure_study.data.image_cache import cached_bytes, cached_images
from cure_study.data.images import read_image
from cure_study.data.recordio import Record, read_index, read_record, read_records


@dataclass(frozen=True, eq=False)
class Pack:
    """The images of a pack: `key`, `start` (the first byte in `rec`) and `label`, (N,) int64 each.

    `cache_key` changes with the pack's files.
    """

    rec: Path
    cache_key: str
    key: np.ndarray
    start: np.ndarray
    label: np.ndarray


def list_pack(folder: Path, progress: bool | None = None) -> Pack:
    """The images of an InsightFace pack, listed on the first call only.

    Raises as `read_recordio` does.
    """
    paths = {kind: folder / kind for kind in ("train.rec", "train.idx", "property")}
    rec = paths["train.rec"]
    if not rec.is_file():
        raise FileNotFoundError(f"no train.rec in {folder}; name the folder that holds it")
    stats = [(kind, path.stat()) for kind, path in paths.items() if path.is_file()]
    versions = [(kind, stat.st_size, stat.st_mtime_ns) for kind, stat in stats]
    cache_key = digest(str(folder.resolve()), versions)

    def packed_listing() -> bytes:
        file = io.BytesIO()
        images = _list_images(paths, progress)
        key, start, label = (images[name].to_numpy(np.int64) for name in ("key", "start", "label"))
        np.savez(file, key=key, start=start, label=label)
        return file.getvalue()

    content = cached_bytes(f"{cache_key}-images.npz", packed_listing)
    with np.load(io.BytesIO(content)) as listing:
        return Pack(rec, cache_key, listing["key"], listing["start"], listing["label"])


def read_recordio(
    folder: str | Path,
    *,
    name: str | None = None,
    resize: bool = False,
    bgr: bool = False,
    checksum: str | None = None,
    progress: bool | None = None,
) -> FaceSet:
    """The faces of an InsightFace pack, decoded on the first call only.

    Identities are numbered in the order of their labels; `people` holds the labels as text.
    Without `train.idx` the images come in the file's order. `checksum` is that of `train.rec`.
    Raises FileNotFoundError if there is no pack, and ValueError naming file and byte (of the
    index: the line) of what is damaged, contradictory or not an image.
    """
    folder = Path(folder).expanduser()
    pack = list_pack(folder, progress)
    rec = pack.rec
    sha256 = cached_bytes(f"{pack.cache_key}.sha256", lambda: file_sha256(rec).encode()).decode()
    if checksum not in (None, sha256):
        raise ValueError(f"{rec} has the checksum {sha256}, expected {checksum}; fetch it again")

    def records(first: int) -> Iterator[Record]:
        with open(rec, "rb", buffering=1 << 20) as file:
            for start in pack.start[first:]:
                yield read_record(file, int(start))

    def decode(record: Record) -> np.ndarray:
        place = f"in {rec}, byte {record.start} (id {record.id})"
        return read_image(record.content, resize, name=place, bgr=bgr)

    key = digest(pack.cache_key, resize, bgr)
    images = cached_images(key, len(pack.start), records, decode, progress)
    people, identities = np.unique(pack.label, return_inverse=True)
    return FaceSet(
        name=name or folder.name,
        images=images,
        identities=identities.astype(np.int64),
        fingerprint=sha256[:16],
        people=tuple(map(str, people.tolist())),
    )


def _list_images(paths: dict[str, Path], progress: bool | None) -> pd.DataFrame:
    """The key, the first byte and the label of each image, in the order of the keys."""
    rec = paths["train.rec"]
    rows = [
        (record.start, record.id, bool(record.content), float(record.labels[0]))
        for record in bar(read_records(rec), "reading", progress, "record")
    ]
    if not rows:
        raise ValueError(f"{rec} is empty; fetch it again")
    records = pd.DataFrame(rows, columns=["start", "id", "has_image", "label"])
    records["key"] = _keys(paths, records.start.tolist())
    records = records.sort_values("key", ignore_index=True)
    images = records[records.has_image]
    if not records.has_image[0]:
        _check_header(paths, records)
    elif len(images) < len(records):
        first = records.start[records.has_image.argmin()]
        shuffled = f", or {paths['train.idx']} is shuffled" if paths["train.idx"].is_file() else ""
        raise ValueError(
            f"{rec}, byte {first}: the record holds no image{shuffled}; fetch it again"
        )
    if images.empty:
        raise ValueError(f"{rec} holds no image; fetch it again")
    wrong = images[~(images.label.between(0, 2**24 - 1) & (images.label % 1 == 0))]
    if len(wrong):
        raise ValueError(
            f"{rec}, byte {wrong.start.iloc[0]}: the label {wrong.label.iloc[0]} is not the number "
            "of a person; fetch it again"
        )
    _check_property(paths["property"], rec, images.label.nunique())
    return images[["key", "start", "label"]]


def _keys(paths: dict[str, Path], starts: list[int]) -> list[int]:
    """Each record's key, by the index if there is one, which must name every record once."""
    rec, idx = paths["train.rec"], paths["train.idx"]
    if not idx.is_file():
        return list(range(len(starts)))
    index, known = read_index(idx), set(starts)
    for line, (key, start) in enumerate(index.items(), start=1):
        if start not in known:
            raise ValueError(
                f"{idx}:{line}: key {key} points to byte {start}, where no record of {rec} "
                f"({rec.stat().st_size:,} bytes) begins; the two belong to different packs, or "
                "the index is damaged: without it the images are taken in the file's order"
            )
    key_of = {start: key for key, start in index.items()}
    if not len(key_of) == len(index) == len(starts):
        raise ValueError(
            f"{idx} names {len(key_of):,} records, {rec} holds {len(starts):,}; one of the two is "
            "cut short: fetch them again"
        )
    return [key_of[start] for start in starts]


def _check_header(paths: dict[str, Path], records: pd.DataFrame) -> None:
    """InsightFace's header, the first record: its label is the key after those of the images.

    The id of each other record is its key, or 0.
    """
    wrong = records[(records.id != records.key) & (records.id != 0)]
    if len(wrong):
        raise ValueError(
            f"{paths['train.idx']}: key {wrong.key.iloc[0]} points to the record of id "
            f"{wrong.id.iloc[0]} in {paths['train.rec']}; the index is shuffled: fetch it again"
        )
    end = records.label[0]
    if not ((records.key > 0) & (records.key < end)).equals(records.has_image):
        raise ValueError(
            f"{paths['train.rec']}, byte 0: the header announces {max(0, end - 1):,.0f} images "
            f"with the keys 1 to {end - 1:,.0f}, {records.has_image.sum():,} records hold one; the "
            "pack is cut short or combined from several"
        )


def _check_property(path: Path, rec: Path, people: int) -> None:
    """`property` holds the number of people, height and width, if there is such a file."""
    if not path.is_file():
        return
    text = path.read_bytes()[:200].decode("ascii", "replace").strip()
    if not re.fullmatch(r"\d{1,9}(,\d{1,9}){2}", text):
        raise ValueError(f"{path}: expected people,height,width, got {text[:40]!r}")
    stated, *size = map(int, text.split(","))
    if stated != people:
        raise ValueError(
            f"{path} states {stated:,} people, the labels in {rec} are of {people:,}; the files "
            "belong to different packs, or train.rec is cut short"
        )
    if size != list(SHAPE[:2]):
        raise ValueError(
            f"{path} states {size[1]} x {size[0]} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
            "take the pack of faces aligned at that size"
        )
