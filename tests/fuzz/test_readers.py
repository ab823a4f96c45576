"""Every reader of data, given damaged files: a documented error that names the file, or a value."""

import hashlib
import io
import shutil

import numpy as np
import pytest
from harness import Target, assert_no_faults
from packs import MANNERS, encoded, image_record, write_bin, write_pack
from PIL import Image, features

from cure_study.data import image_cache, manifests
from cure_study.data.folder import lfw_protocol, list_tree, read_tree
from cure_study.data.image_cache import cached_images
from cure_study.data.images import read_image
from cure_study.data.lfw_pairs import read_lfw_pairs
from cure_study.data.pack import read_recordio
from cure_study.data.pairs_pack import read_pairs
from cure_study.data.recordio import read_index, read_records
from cure_study.paths import cache_root

IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    for seed in range(6)
]
PNGS = [encoded(image) for image in IMAGES]
AVIF = ("AVIF",) if features.check("avif") else ()  # from Pillow 11.3 on
KINDS = (*AVIF, "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
DRAWN = {"people": 1, "images_per_person": 2, "unseen_people": 0}
DRAWN |= {"unseen_images": 1, "unseen_pairs": 0, "cross_age_pairs": 0}


def same(*values):
    """What equals itself where all of `values`, arrays among them, do."""
    sha = hashlib.sha256()
    for value in values:
        sha.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return sha.hexdigest()


def forget():
    """As a new process with an empty cache."""
    shutil.rmtree(cache_root(), ignore_errors=True)
    image_cache._verified.clear()


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def manifest(folder, layout):
    splits = "splits: {min_images: 3, max_images: null, outsiders: 2, heldout: 0.2}\n"
    text = f"title: A set\nsource: ''\nlicence: MIT\nhow_to_get: ask\nprotocol: none\n{splits}"
    if layout == "synthfaces":
        text += "options: {people: 3, images_per_person: 2, unseen_people: 0, unseen_images: 1,\n"
        text += "  unseen_pairs: 20, cross_age_pairs: 0, min_gap: 30.0, seed: 1}\n"
    else:
        text += "path: data/custom\ncolour: rgb\nrange: [0, 255]\nresize: false\nimages: 10\n"
        more = f", sha256: {'a' * 64}" if layout == "folder" else ", count: 20"
        text += "" if layout == "pairs" else f"pairs:\n  custom: {{path: a/b.bin{more}}}\n"
    path = written(folder / f"{layout}.yaml", f"{text}layout: {layout}\n".encode())
    return Target(f"manifest, {layout}", path, lambda: manifests.read(path))


def lfw_pairs(folder, protocol):
    for name in ("José_Né/José_Né_0001", "José_Né/José_Né_0002", "Bob/Bob_0001"):
        written(folder / "tree" / f"{name}.png", PNGS[0])
    tree = list_tree(folder / "tree")
    lines = "2\t1\nJosé_Né\t1\t2\nBob\t1\tJosé_Né\t2\nJosé_Né\t2\t1\nJosé_Né\t1\tBob\t1\n"
    path = written(folder / "pairs.txt", lines.encode())

    def read():
        if not protocol:
            return read_lfw_pairs(path).to_numpy().tolist()
        pairs = lfw_protocol(path, tree)
        return same(pairs.left, pairs.right, pairs.genuine)

    return Target("LFW pairs in a tree" if protocol else "LFW pairs", path, read)


def bin_pairs(folder, manner):
    path = write_bin(folder / "pairs.bin", PNGS[:4], [True, False], manner)
    read = lambda: same(*read_pairs(path, progress=False))  # noqa: E731
    return Target(f".bin pairs, {manner}", path, read, reset=forget)


def pack(folder, name):
    path = write_pack(folder / "pack", PNGS[:3], [0, 0, 1]) / name

    def read():
        faces = read_recordio(folder / "pack", progress=False)
        return same(np.asarray(faces.images), faces.identities, faces.people)

    return Target(f"pack, {name}", path, read, reset=forget)


def records(folder):
    content = image_record(1, [2.0, 3.0], b"an image") + image_record(2, 1.0, b"\n#\xd7\xce" * 5)
    path = written(folder / "records.rec", content)
    read = lambda: [(r.start, r.id, r.labels.tolist(), r.content) for r in read_records(path)]  # noqa: E731
    return Target("records", path, lambda: repr(read()))


def index(folder):
    path = written(folder / "index.idx", b"0\t0\n1\t40\n2\t2000\n3\t123456789\n")
    return Target("index", path, lambda: read_index(path))


def image(folder, kind):
    file = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(file, kind)
    path = written(folder / f"image.{kind.lower()}", file.getvalue())
    return Target(f"image, {kind}", path, lambda: same(read_image(path)))


def tree(folder):
    """An image among others, under a name that says nothing: left out, or read, or refused."""
    for name in ("Ann/1.png", "Ann/2.face", "Bob/1.png"):
        path = written(folder / "tree" / name, PNGS[0])
    path = folder / "tree" / "Ann" / "2.face"

    def read():
        listed = list_tree(folder / "tree")
        images, _ = read_tree(listed, progress=False)
        return same(np.asarray(images), listed.files, listed.left_out)

    return Target("image folder", path, read, reset=forget)


def map_in_cache(folder):
    def read():
        image_cache._verified.clear()
        return same(
            np.asarray(cached_images("custom", 5, lambda n: range(n, 5), IMAGES.__getitem__))
        )

    read()
    path = cache_root() / "faces" / "custom.npy"
    return Target("decoded images in the cache", path, read, detects_damage=True)


def interrupted(folder, name, monkeypatch):
    """A decoding killed after two chunks, and what it left."""
    monkeypatch.setattr(image_cache, "CHUNK", 2)
    left = {}

    def killed(number):
        if number == 4:
            raise KeyboardInterrupt
        return IMAGES[number]

    with pytest.raises(KeyboardInterrupt):
        cached_images("custom", 5, lambda n: range(n, 5), killed)
    for path in (cache_root() / "faces").glob("custom.*"):
        left[path] = path.read_bytes()

    def reset():
        forget()
        for path, content in left.items():
            written(path, content)

    def read():
        return same(
            np.asarray(cached_images("custom", 5, lambda n: range(n, 5), IMAGES.__getitem__))
        )

    path = cache_root() / "faces" / name
    assert path in left
    return Target(f"interrupted decoding, {name}", path, read, detects_damage=True, reset=reset)


def listing(folder, pattern):
    write_pack(folder / "pack", PNGS[:3], [0, 0, 1])

    def read():
        faces = read_recordio(folder / "pack", progress=False)
        return same(np.asarray(faces.images), faces.identities, faces.fingerprint)

    read()
    (path,) = (cache_root() / "faces").glob(pattern)
    return Target(f"pack's cache, {pattern}", path, read, detects_damage=True)


def drawn(folder, pattern):
    def read():
        image_cache._verified.clear()
        faces = manifests.load("synthfaces", **DRAWN)
        return same(np.asarray(faces.images), faces.attributes.to_csv())

    read()
    (path,) = (cache_root() / "faces").glob(pattern)
    return Target(f"drawn faces in the cache, {pattern}", path, read, detects_damage=True)


TARGETS = {
    **{f"manifest-{x}": (manifest, x, 700) for x in manifests.LAYOUTS},
    "lfw-pairs": (lfw_pairs, False, 8000),
    "lfw-protocol": (lfw_pairs, True, 8000),
    **{f"bin-{x}": (bin_pairs, x, 400) for x in MANNERS},
    **{f"pack-{x}": (pack, x, 1000) for x in ("train.rec", "train.idx", "property")},
    "records": (records, None, 8000),
    "index": (index, None, 8000),
    **{f"image-{x}": (image, x, 1500) for x in KINDS},
    "tree": (tree, None, 1000),
    "map": (map_in_cache, None, 500),
    **{f"resume-{x}": (interrupted, x, 500) for x in ("custom.part", "custom.digests")},
    **{f"listing-{x}": (listing, x, 500) for x in ("*.npz", "*.sha256")},
    **{f"drawn-{x}": (drawn, x, 300) for x in ("*.npy",)},
}


def faults(name, folder, count, monkeypatch):
    build, argument, _ = TARGETS[name]
    arguments = [folder, *([] if argument is None else [argument])]
    target = build(*arguments, *([monkeypatch] if build is interrupted else []))
    assert_no_faults(target, count, monkeypatch)


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_damaged_files(name, tmp_path, monkeypatch):
    faults(name, tmp_path, 3, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_files(name, tmp_path, monkeypatch):
    faults(name, tmp_path, TARGETS[name][2], monkeypatch)
