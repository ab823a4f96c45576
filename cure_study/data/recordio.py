"""RecordIO, the container of MXNet's packs, read without MXNet.

A record is one part or several. A part is the magic word, a word of three bits of flag and 29 of
length, the bytes, and zeros up to a multiple of four. A writer splits a payload where it contains
the magic word at a multiple of four, and drops the word; a reader puts it back between the parts.
Flags: 0 whole, 1 first, 2 middle, 3 last part.
Source: dmlc-core, include/dmlc/recordio.h; python/mxnet/recordio.py (IRHeader).
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2


class Record(NamedTuple):
    """A record at byte `start` of its file: its id, labels (L,) float32, and content."""

    start: int
    id: int
    labels: np.ndarray
    content: bytes


def read_records(path: Path) -> Iterator[Record]:
    """Every record of a file, in order. Raises ValueError naming the file and the byte."""
    with open(path, "rb", buffering=1 << 20) as file:
        size, start = os.fstat(file.fileno()).st_size, 0
        while start < size:
            yield read_record(file, start)
            start = file.tell()


def read_record(file: BinaryIO, start: int) -> Record:
    """The record that begins at byte `start`; leaves the file where the next one begins.

    Raises ValueError naming the file and the byte.
    """
    payload = _read_payload(file, start)
    if len(payload) < HEADER.size:
        raise _error(file, start, f"a record of {len(payload)} bytes has no image header")
    flag, label, number, _ = HEADER.unpack_from(payload)
    labels_end = HEADER.size + 4 * flag  # a flag above 0 counts the labels after the header
    if labels_end > len(payload):
        message = f"a record of {len(payload):,} bytes claims to hold {flag:,} labels"
        raise _error(file, start, message)
    labels = np.array([label], np.float32)
    if flag:
        labels = np.frombuffer(payload, "<f4", flag, HEADER.size)
    return Record(start, number, labels, payload[labels_end:])


def _read_payload(file: BinaryIO, start: int) -> bytes:
    """The parts of the record at byte `start`, joined."""
    size, at = os.fstat(file.fileno()).st_size, start
    parts: list[bytes] = []
    file.seek(start)
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise _error(file, at, "the file ends where a record should begin: it is cut short")
        if head[:4] != MAGIC:
            message = f"no record begins here: {head[:4].hex()} is not the magic {MAGIC.hex()}"
            raise _error(file, at, message)
        word = int.from_bytes(head[4:], "little")
        flag, length = word >> 29, word & (1 << 29) - 1
        if flag not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            raise _error(file, at, f"part {len(parts) + 1} of a record has the flag {flag}")
        padded, remaining = -(-length // 4) * 4, size - at - 8
        if padded > remaining:
            message = f"the record claims {length:,} bytes where {remaining:,} are left: "
            raise _error(file, at, message + "the file is cut short, or the length is damaged")
        parts.append(file.read(padded)[:length])
        if flag in (WHOLE, LAST):
            return MAGIC.join(parts)
        at += 8 + padded


def _error(file: BinaryIO, at: int, message: str) -> ValueError:
    return ValueError(f"{file.name}, byte {at}: {message}; fetch the file again")


def read_index(path: Path) -> dict[int, int]:
    """Each key's first byte, from an `.idx` file (a key, a tab and a byte a line).

    Raises ValueError naming the file and the line.
    """
    index: dict[int, int] = {}
    for line, text in enumerate(path.read_bytes().splitlines(), start=1):
        found = re.fullmatch(rb"(\d{1,18})\s(\d{1,18})", text.strip())
        if found is None:
            raise ValueError(f"{path}:{line}: expected a key, a tab and a byte, got {text[:40]!r}")
        key, start = map(int, found.groups())
        if key in index:
            raise ValueError(f"{path}:{line}: key {key} was there before, at byte {index[key]}")
        index[key] = start
    return index
