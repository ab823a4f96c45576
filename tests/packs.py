"""Writers of the field's packs, for tests: RecordIO as dmlc-core writes it, and `.bin` pairs."""

import io
import pickle
import struct
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

MAGIC = bytes.fromhex("0a23d7ce")


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def record(payload: bytes) -> bytes:
    """One record: split wherever the magic word stands at a multiple of four, the word dropped."""
    cuts = [i for i in range(0, len(payload) - 3, 4) if payload[i : i + 4] == MAGIC]
    begins, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    written = b""
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        flag = 0 if not cuts else 1 if i == 0 else 3 if i == len(cuts) else 2
        part = payload[begin:end]
        written += MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
    return written


def image_record(key: int, label: float | Sequence[float], image: bytes = b"", id2: int = 0):
    labels = [label] if isinstance(label, float | int) else list(label)
    vector = not isinstance(label, float | int)
    head = struct.pack("<IfQQ", len(labels) * vector, 0.0 if vector else label, key, id2)
    return record(head + np.float32(labels).tobytes() * vector + image)


def write_records(folder: Path, records: Sequence[tuple[int, bytes]]) -> Path:
    """`train.rec` and `train.idx` of records by key."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.cumsum([0, *(len(content) for _, content in records)])
    (folder / "train.rec").write_bytes(b"".join(content for _, content in records))
    lines = [f"{key}\t{start}\n" for (key, _), start in zip(records, starts, strict=False)]
    (folder / "train.idx").write_text("".join(lines))
    return folder


def write_pack(folder: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    """A training pack in InsightFace's manner: a header, the images, each person's range."""
    people, first = np.unique(labels, return_index=True)
    ends = [*first[1:], len(labels)]
    after = len(images) + 1
    records = [(0, image_record(0, [after, after + len(people)], id2=1))]
    records += [
        (key, image_record(key, float(label), image))
        for key, (label, image) in enumerate(zip(labels, images, strict=True), 1)
    ]
    records += [
        (after + i, image_record(after + i, [begin + 1, end + 1], id2=1))
        for i, (begin, end) in enumerate(zip(first, ends, strict=True))
    ]
    write_records(folder, records)
    (folder / "property").write_text(f"{len(people)},112,112")
    return folder


def pickled(images: Sequence[bytes], same: Sequence[bool], manner: str = "3") -> bytes:
    """(images, same) as Python 3 (by protocol), Python 2, or numpy arrays would be pickled."""
    if manner == "python2":  # protocol 2: str is BINSTRING, a list grows between MARK and APPENDS
        strings = b"".join(b"T" + struct.pack("<i", len(image)) + image for image in images)
        answers = b"".join(b"\x88" if value else b"\x89" for value in same)
        return b"\x80\x02](" + strings + b"e](" + answers + b"e\x86."
    if manner == "python2-text":  # protocol 0: str is its repr on a line
        strings = b"".join(b"S" + repr(image)[1:].encode() + b"\na" for image in images)
        answers = b"".join(b"I01\na" if value else b"I00\na" for value in same)
        return b"((l" + strings + b"(l" + answers + b"t."
    if manner.startswith("numpy"):
        arrays = [np.frombuffer(image, np.uint8) for image in images]
        written = pickle.dumps((arrays, [np.bool_(value) for value in same]), int(manner[-1]))
        return written.replace(b"numpy._core", b"numpy.core") if "old" in manner else written
    return pickle.dumps((list(images), list(same)), int(manner))


MANNERS = (
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "python2",
    "python2-text",
    "numpy2",
    "numpy4",
    "numpy-old2",
)


def write_bin(path: Path, images: Sequence[bytes], same: Sequence[bool], manner: str = "4") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickled(images, same, manner))
    return path


@contextmanager
def naming(path):
    """A ValueError in here names `path`; one that does not is no ValueError further out."""
    try:
        yield
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError(f"{error!r} does not say where") from error
        raise


def torn(draw, content: bytes) -> bytes:
    at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
    kind = draw(st.sampled_from(["cut", "drop", "put", "change", "repeat"]))
    new = draw(st.binary(min_size=1, max_size=8))
    return {
        "cut": content[:at],
        "drop": content[:at] + content[at + length :],
        "put": content[:at] + new + content[at:],
        "change": content[:at] + new + content[at + len(new) :],
        "repeat": content[: at + length] + content[at:],
    }[kind]
