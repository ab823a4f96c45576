"""InsightFace's training packs: `train.rec`, `train.idx` and `property` in one folder."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_core.files import digest, file_sha256
from cure_core.runtime.progress import bar
from cure_study.data.cache import cached_bytes
from cure_study.data.decoding import decoded, read_image
from cure_study.data.faceset import SHAPE, FaceSet
from cure_study.data.recordio import Record, read_index, read_record, read_records


@dataclass(frozen=True, eq=False)
class Listing:
    """A pack's images in the order of their keys: key, first byte and label of each, (N,) int64."""

    key: np.ndarray
    start: np.ndarray
    label: np.ndarray


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
    Raises FileNotFoundError where there is no pack, and ValueError naming file and byte (of the
    index: the line) of what is damaged, contradictory or no image.
    """
    folder = Path(folder).expanduser()
    paths = {suffix: folder / f"train.{suffix}" for suffix in ("rec", "idx")}
    paths["property"] = folder / "property"
    if not paths["rec"].is_file():
        raise FileNotFoundError(f"no train.rec in {folder}; name the folder that holds it")
    stats = {kind: path.stat() for kind, path in paths.items() if path.is_file()}
    facts = [(kind, s.st_size, s.st_mtime_ns) for kind, s in stats.items()]
    key = digest(str(folder.resolve()), facts)
    listing = _listing(paths, key, progress)
    sha256 = cached_bytes(f"{key}.sha256", lambda: file_sha256(paths["rec"]).encode()).decode()
    if checksum not in (None, sha256):
        raise ValueError(
            f"{paths['rec']} has the checksum {sha256}, expected {checksum}; fetch it again"
        )

    def records(first: int) -> Iterator[Record]:
        with open(paths["rec"], "rb", buffering=1 << 20) as file:
            for start in listing.start[first:]:
                yield read_record(file, int(start))

    def image(record: Record) -> np.ndarray:
        where = f"in {paths['rec']}, byte {record.start} (id {record.id})"
        return read_image(record.content, resize, name=where, bgr=bgr)

    images = decoded(digest(key, resize, bgr), len(listing.start), records, image, progress)
    labels, identities = np.unique(listing.label, return_inverse=True)
    return FaceSet(
        name=name or folder.name,
        images=images,
        identities=identities.astype(np.int64),
        fingerprint=sha256[:16],
        people=tuple(map(str, labels.tolist())),
    )


def _listing(paths: dict[str, Path], key: str, progress: bool | None) -> Listing:
    """The pack's listing, from the cache where the same files were listed before."""

    def packed() -> bytes:
        file, listing = io.BytesIO(), _list(paths, progress)
        np.savez(file, key=listing.key, start=listing.start, label=listing.label)
        return file.getvalue()

    with np.load(io.BytesIO(cached_bytes(f"{key}.npz", packed))) as saved:
        return Listing(saved["key"], saved["start"], saved["label"])


def _list(paths: dict[str, Path], progress: bool | None) -> Listing:
    rec, found = paths["rec"], []
    for record in bar(read_records(rec), "reading", progress, "record"):
        found.append((record.start, record.id, record.labels[:2].tolist(), bool(record.content)))
    if not found:
        raise ValueError(f"{rec} is empty; fetch it again")
    order, keys = np.arange(len(found)), np.arange(len(found))
    if paths["idx"].is_file():
        index = read_index(paths["idx"])
        order, keys = _in_step(paths, index, [start for start, *_ in found])
    start, ids, labels, has_image = zip(*(found[i] for i in order), strict=True)
    chosen = np.flatnonzero(has_image)
    if not has_image[0]:  # InsightFace's header: key of the first person's range, and of their end
        _check_header(paths, keys, np.array(ids), np.array(has_image), labels[0])
    elif len(chosen) < len(keys):
        missing = int(np.flatnonzero(~np.array(has_image))[0])
        shuffled = f", or {paths['idx']} is shuffled" if paths["idx"].is_file() else ""
        raise ValueError(
            f"{rec}, byte {start[missing]}: the record holds no image{shuffled}; fetch it again"
        )
    if not len(chosen):
        raise ValueError(f"{rec} holds no image; fetch it again")
    label = np.array([labels[i][0] for i in chosen])
    wrong = np.flatnonzero(~((label >= 0) & (label < 2**24) & (label == np.floor(label))))
    if len(wrong):
        raise ValueError(
            f"{rec}, byte {start[chosen[wrong[0]]]}: the label {label[wrong[0]]} is no person's "
            "number; fetch it again"
        )
    listing = Listing(keys[chosen], np.array(start)[chosen], label.astype(np.int64))
    _check_property(paths["property"], rec, len(np.unique(listing.label)))
    return listing


def _in_step(
    paths: dict[str, Path], index: dict[int, int], starts: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The records' order by key, and the keys, where the index names every record once."""
    number = {start: i for i, start in enumerate(starts)}
    for line, (key, start) in enumerate(index.items(), start=1):
        if start not in number:
            size = paths["rec"].stat().st_size
            raise ValueError(
                f"{paths['idx']}:{line}: key {key} points to byte {start}, where no record of "
                f"{paths['rec']} ({size:,} bytes) begins; the two belong to different packs, or "
                "the index is damaged: without it the images are taken in the file's order"
            )
    if len(index) != len(starts) or len(set(index.values())) != len(starts):
        raise ValueError(
            f"{paths['idx']} names {len(set(index.values())):,} records, {paths['rec']} holds "
            f"{len(starts):,}; one of the two is cut short: fetch them again"
        )
    keys = np.array(sorted(index), dtype=np.int64)
    return np.array([number[index[key]] for key in keys.tolist()]), keys


def _check_header(
    paths: dict[str, Path],
    keys: np.ndarray,
    ids: np.ndarray,
    has_image: np.ndarray,
    header: list[float],
) -> None:
    """The header record says how many images there are, and each record's id is its key."""
    wrong = np.flatnonzero((ids != keys) & (ids != 0))
    if len(wrong):
        raise ValueError(
            f"{paths['idx']}: key {keys[wrong[0]]} points to the record of id {ids[wrong[0]]} in "
            f"{paths['rec']}; the index is shuffled: fetch it again"
        )
    claimed = np.flatnonzero((keys > 0) & (keys < header[0]))
    images = np.flatnonzero(has_image)
    if not np.array_equal(claimed, images):
        raise ValueError(
            f"{paths['rec']}, byte 0: the header announces {max(0, header[0] - 1):,.0f} images "
            f"with the keys 1 to {header[0] - 1:,.0f}, {len(images):,} records hold one; the pack "
            "is cut short or put together of several"
        )


def _check_property(path: Path, rec: Path, people: int) -> None:
    """`property` holds people, height and width, where there is such a file."""
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
