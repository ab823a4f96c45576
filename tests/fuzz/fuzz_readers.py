"""Throw bytes at the readers of packs and pairs until something other than a ValueError comes out.

    pip install "cure-core[fuzz]"
    PYTHONPATH=.:tests python tests/fuzz/fuzz_readers.py pickle|pairs|recordio|pack [options]

The options are libFuzzer's: `-max_total_time=120`, `-runs=100000`, a folder for the corpus. A
finding is written to `crash-...` in the working folder; give that file as an argument to repeat it.
Beside crashes it finds whatever is opened for writing, or started, outside the cache.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cure_study.data", "pickletools"]):
    from cure_study.data.pack import read_recordio
    from cure_study.data.pairs_pack import read_pairs
    from cure_study.data.pickled import read_pickle
    from cure_study.data.recordio import read_records

import os

import numpy as np
from packs import MANNERS, encoded, image_record, pickled, write_pack

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
IMAGES = [encoded(np.full((112, 112, 3), value, np.uint8)) for value in (0, 90, 180, 250)]


def fuzz_pickle(content: bytes) -> None:
    read_pickle(content, "fuzzed")


def fuzz_pairs(content: bytes) -> None:
    path = FOLDER / "own.bin"
    path.write_bytes(content)
    images, genuine = read_pairs(path, progress=False)
    assert images.shape == (2 * len(genuine), 112, 112, 3)


def fuzz_recordio(content: bytes) -> None:
    path = FOLDER / "own.rec"
    path.write_bytes(content)
    for _ in read_records(path):
        pass


def fuzz_pack(content: bytes) -> None:
    """The three files of a pack, cut out of one input."""
    cut = [int.from_bytes(content[i : i + 2], "little") for i in (0, 2)]
    index, rest = content[4 : 4 + cut[0]], content[4 + cut[0] :]
    (FOLDER / "pack").mkdir(exist_ok=True)
    for name, part in (("idx", index), ("rec", rest[cut[1] :])):
        (FOLDER / "pack" / f"train.{name}").write_bytes(part)
    (FOLDER / "pack" / "property").write_bytes(rest[: cut[1]])
    faces = read_recordio(FOLDER / "pack", progress=False)
    assert faces.images.shape == (len(faces.identities), 112, 112, 3)


def joined(folder: Path) -> bytes:
    """A pack's files as `fuzz_pack` takes them."""
    index, stated = ((folder / name).read_bytes() for name in ("train.idx", "property"))
    head = len(index).to_bytes(2, "little") + len(stated).to_bytes(2, "little")
    return head + index + stated + (folder / "train.rec").read_bytes()


def seeds(target: str) -> list[bytes]:
    """Sound inputs to begin from."""
    if target in ("pickle", "pairs"):
        return [pickled(IMAGES, [True, False], manner) for manner in MANNERS]
    if target == "recordio":
        return [image_record(1, [2.0, 3.0], IMAGES[0]) + image_record(2, 1.0, b"\n#\xd7\xce" * 5)]
    return [joined(write_pack(FOLDER / "seed", IMAGES, [0, 0, 1, 1]))]


def outside(event: str, arguments: tuple) -> None:
    """An audit hook: no process starts and no file outside `FOLDER` is opened for writing."""
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
        os._exit(77)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        path = str(arguments[0])
        if armed and not path.isdigit() and not path.startswith(str(FOLDER)):
            print(f"{path} was opened for writing", file=sys.stderr)
            os._exit(77)


armed = False


def main() -> None:
    global armed
    target = sys.argv.pop(1)
    os.environ["CURE_CACHE"] = str(FOLDER / "cache")
    function = {
        "pickle": fuzz_pickle,
        "pairs": fuzz_pairs,
        "recordio": fuzz_recordio,
        "pack": fuzz_pack,
    }[target]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for i, content in enumerate(seeds(target)):
        (corpus / f"{i}").write_bytes(content)

    def one(content: bytes) -> None:
        with suppress(ValueError):
            function(content)
        for path in (FOLDER / "cache").rglob("*.*"):
            path.unlink()

    atheris.Setup([*sys.argv, "-max_len=20000", str(corpus)], one)
    sys.addaudithook(outside)
    armed = True
    atheris.Fuzz()


if __name__ == "__main__":
    main()
