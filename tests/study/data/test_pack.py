"""InsightFace's training packs, whole and damaged."""

import struct
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packs import MAGIC, encoded, image_record, naming, record, torn, write_pack, write_records
from processes import in_two_processes

from cure_core.files import file_sha256
from cure_study.data import pack as pack_module
from cure_study.data import read_recordio
from cure_study.data.recordio import read_index, read_records
from cure_study.paths import cache_root, data_root

SAMPLE = data_root() / "data" / "insightface_sample"
LABELS = [0, 0, 1, 1, 1, 2]
TORN = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def flat(value):
    return np.full((112, 112, 3), value, np.uint8)


IMAGES = [flat(40 * i) for i in range(len(LABELS))]


@pytest.fixture
def folder(tmp_path):
    return write_pack(tmp_path / "pack", [encoded(image) for image in IMAGES], LABELS)


@pytest.mark.parametrize("kind", ["npz", "sha256", "npy"])
@pytest.mark.parametrize("position", [0, 70, -1])
def test_a_damaged_file_of_the_cache_is_named_and_made_again(folder, kind, position):
    read_recordio(folder)
    (path,) = (cache_root() / "faces").glob(f"*.{kind}")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged .* making it again"):
        faces = read_recordio(folder)
    assert (faces.images == np.stack(IMAGES)).all()
    assert faces.identities.tolist() == LABELS
    assert faces.fingerprint == file_sha256(folder / "train.rec")[:16]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_list_and_decode_a_pack_once(folder, tmp_path, monkeypatch):
    log = tmp_path / "log"

    def logged(name, call, *given):
        with open(log, "a") as file:
            file.write(f"{name}\n")
        return call(*given)

    for name in ("_list_images", "file_sha256", "read_record"):
        original = getattr(pack_module, name)
        monkeypatch.setattr(pack_module, name, partial(logged, name, original))

    def load():
        faces = read_recordio(folder)
        return np.array(faces.images).tobytes(), faces.identities.tolist()

    assert in_two_processes(load) == [(np.stack(IMAGES).tobytes(), LABELS)] * 2
    calls = log.read_text().split()
    assert sorted(calls) == ["_list_images", "file_sha256", *["read_record"] * len(IMAGES)]


def payloads(path):
    """A record's header, labels and content put together again."""
    for found in read_records(path):
        vector = len(found.labels) if not found.content else 0
        head = struct.pack("<IfQQ", vector, 0 if vector else found.labels[0], found.id, vector // 2)
        yield head + (found.labels.tobytes() if vector else b"") + found.content


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no insightface_sample under CURE_DATA_ROOT")
def test_a_pack_that_mxnet_wrote():
    """30 faces of 5 people, as its description says; our writer gives MXNet's bytes."""
    faces = read_recordio(SAMPLE)
    assert repr(faces) == "FaceSet(insightface_sample: 30 images of 5 people)"
    assert faces.identities.tolist() == sorted([*range(5)] * 6)
    assert faces.fingerprint == file_sha256(SAMPLE / "train.rec")[:16]
    assert (np.ptp(faces.images, axis=3) == 0).all()  # of LFW-a, which is grey
    assert (
        b"".join(map(record, payloads(SAMPLE / "train.rec"))) == (SAMPLE / "train.rec").read_bytes()
    )


def test_images_and_people_come_back(folder):
    faces = read_recordio(folder)
    assert (faces.images == np.stack(IMAGES)).all()
    assert faces.identities.tolist() == LABELS
    assert faces.people == ("0", "1", "2")


def test_a_second_call_reads_no_record(folder, monkeypatch):
    first = read_recordio(folder)
    for name in ("read_records", "read_record", "read_index", "file_sha256"):
        monkeypatch.setattr(pack_module, name, None)
    again = read_recordio(folder)
    assert again.images.filename == first.images.filename
    assert again.identities.tolist() == LABELS
    assert again.fingerprint == first.fingerprint


def test_a_payload_with_the_magic_word_is_put_together_again(tmp_path):
    """By hand: split at a multiple of four, where the word is dropped, and there alone."""
    head = struct.pack("<IfQQ", 0, 5.0, 7, 0)
    content = b"one" + MAGIC + b"!" + MAGIC + MAGIC + b"end"
    parts = [(1, head + b"one" + MAGIC + b"!"), (2, b""), (3, b"end")]
    written = b"".join(
        MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
        for flag, part in parts
    )
    path = tmp_path / "split.rec"
    path.write_bytes(written)
    (found,) = read_records(path)
    assert found.content == content
    assert (found.id, found.labels.tolist()) == (7, [5.0])
    assert record(head + content) == written


def test_an_image_with_the_magic_word_is_read(tmp_path):
    image = encoded(flat(9))
    image += bytes(-len(image) % 4) + 3 * MAGIC  # behind the end, where a decoder looks no more
    folder = write_pack(tmp_path, [image, encoded(flat(8))], [0, 1])
    assert MAGIC + struct.pack("<I", 3 << 29) in (folder / "train.rec").read_bytes()
    assert (read_recordio(folder).images[0] == flat(9)).all()


@given(
    st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=8).map(b"".join),
    st.lists(st.floats(width=32, allow_nan=False), max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_any_content_comes_back_as_it_was_written(tmp_path_factory, content, labels):
    path = tmp_path_factory.getbasetemp() / "any.rec"
    path.write_bytes(image_record(7, labels, content) + image_record(8, 1.0, content))
    first, second = read_records(path)
    assert (first.id, second.id) == (7, 8)
    assert first.content == second.content == content
    assert first.labels.tolist() == (labels or [0.0])
    assert second.labels.tolist() == [1.0]
    assert second.start == path.stat().st_size - len(image_record(8, 1.0, content))


def test_without_an_index_the_images_come_in_the_files_order(folder):
    (folder / "train.idx").unlink()
    assert read_recordio(folder).identities.tolist() == LABELS


def test_a_pack_without_a_header_record_is_all_images(tmp_path):
    """As tools for other loaders write them: shuffled, with the ids of before."""
    records = [
        (key, image_record(90 - key, [float(label), 0.0], encoded(IMAGES[key])))
        for key, label in enumerate(LABELS)
    ]
    faces = read_recordio(write_records(tmp_path, records[::-1]))
    assert (faces.images == np.stack(IMAGES)).all()  # by key, wherever in the file
    assert faces.identities.tolist() == LABELS


def test_channels_can_be_turned_and_sizes_are_checked(tmp_path):
    red = flat(0)
    red[:, :, 0] = 200
    folder = write_pack(tmp_path / "red", [encoded(red)] * 2, [0, 1])
    assert read_recordio(folder, bgr=True).images[0, 0, 0].tolist() == [0, 0, 200]
    small = write_pack(tmp_path / "small", [encoded(red[:96])] * 2, [0, 1])
    with pytest.raises(ValueError, match=r"byte 40 \(id 1\) is 112 x 96 pixels, not 112 x 112"):
        read_recordio(small)
    assert read_recordio(small, resize=True).images.shape == (2, 112, 112, 3)


def test_no_pack_and_a_wrong_checksum_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no train.rec in {tmp_path}"):
        read_recordio(tmp_path)
    with pytest.raises(ValueError, match=r"train\.rec has the checksum .*expected 000"):
        read_recordio(folder, checksum="0" * 64)


def rewritten(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def starts(folder):
    return list(read_index(folder / "train.idx").values())


DAMAGES = {
    "cut in a record": ("train.rec", lambda b: b[:-6], r"rec, byte \d+: .* 32 bytes where 26 are"),
    "cut in a head": ("train.rec", lambda b: b[:-36], r"rec, byte \d+: the file ends where"),
    "cut index": ("train.idx", lambda b: b[: b.rindex(b"\n", 0, -1) + 1], "names 9 records.* 10"),
    "magic": (
        "train.rec",
        lambda b: b"\0" + b[1:],
        r"rec, byte 0: no record begins here: 0023d7ce",
    ),
    "length": (
        "train.rec",
        lambda b: b[:44] + b"\xff\xff\xff\x1f" + b[48:],
        r"rec, byte 40: the record claims 536,870,911 bytes where",
    ),
    "flag": ("train.rec", lambda b: b[:47] + b"\x60" + b[48:], "byte 40: part 1 .* flag 3"),
    "short record": ("train.rec", lambda b: record(b"abc") + b, "byte 0: a record of 3 bytes"),
    "labels": (
        "train.rec",
        lambda b: b[:48] + b"\xff\xff\xff\xff" + b[52:],
        r"byte 40: a record of .* claims to hold 4,294,967,295 labels",
    ),
    "label": (
        "train.rec",
        lambda b: b[:52] + struct.pack("<f", 0.5) + b[56:],
        "byte 40: the label 0.5 is not the number of a person",
    ),
    "nan": (
        "train.rec",
        lambda b: b[:52] + struct.pack("<f", float("nan")) + b[56:],
        "byte 40: the label nan is not the number of a person",
    ),
    "header": (
        "train.rec",
        lambda b: b[:32] + struct.pack("<f", 6) + b[36:],
        "byte 0: the header announces 5 images .* 6 records",
    ),
    "image": (
        "train.rec",
        lambda b: b.replace(b"IHDR", b"IDHR", 1),
        r"byte 40 \(id 1\): .*replace",
    ),
    "past the end": (
        "train.idx",
        lambda b: b.replace(b"\t40\n", b"\t99999999\n"),
        "idx:2: key 1 points to byte 99999999, where no record",
    ),
    "between records": (
        "train.idx",
        lambda b: b.replace(b"\t40\n", b"\t44\n"),
        "key 1 .* byte 44,",
    ),
    "twice": ("train.idx", lambda b: b.replace(b"1\t", b"0\t", 1), "idx:2: key 0 was there before"),
    "no index": ("train.idx", lambda b: b"\x80\x02 not an index", r"idx:1: expected a key, a tab"),
    "negative": ("train.idx", lambda b: b.replace(b"\t40\n", b"\t-40\n"), "idx:2: expected a key"),
    "empty": ("train.rec", lambda b: b"", r"train\.rec is empty"),
    "property": ("property", lambda b: b"4,112,112", "property states 4 people.* of 3"),
    "size": ("property", lambda b: b"3,96,112", "property states 112 x 96 pixels"),
    "no property": ("property", lambda b: b"../../etc", r"property: expected people,height,width"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_named_by_file_and_place(folder, damage):
    name, change, message = DAMAGES[damage]
    rewritten(folder, name, change)
    with pytest.raises(ValueError, match=message):
        read_recordio(folder)


def test_a_shuffled_index_is_reported(folder):
    first, second = (f"{key}\t{starts(folder)[key]}\n".encode() for key in (1, 2))
    swapped = [line.replace(b"1\t", b"x\t").replace(b"2\t", b"1\t") for line in (first, second)]
    swapped = [line.replace(b"x\t", b"2\t") for line in swapped]
    rewritten(folder, "train.idx", lambda b: b.replace(first + second, b"".join(swapped)))
    with pytest.raises(ValueError, match=r"idx: key 1 points to the record of id 2 .* shuffled"):
        read_recordio(folder)


def test_an_index_that_leads_to_no_image_first_names_both_files(folder):
    """The header comes first by its key, 0; under another key it looks like a broken image."""
    rewritten(folder, "train.idx", lambda b: b.replace(b"0\t0\n", b"77\t0\n"))
    with pytest.raises(ValueError, match=r"rec, byte \d+: the record holds no image, or .*idx is"):
        read_recordio(folder)


def test_lines_of_an_index_may_come_in_any_order(folder):
    rewritten(folder, "train.idx", lambda b: b"".join(b.splitlines(keepends=True)[::-1]))
    assert read_recordio(folder).identities.tolist() == LABELS


def listing(folder: Path):
    """Every file below, with its bytes."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@given(data=st.data())
@TORN
def test_torn_packs_give_images_or_a_value_error_and_write_in_the_cache_alone(
    tmp_path_factory, data
):
    """Bytes changed, cut, repeated, put in: in any of the three files."""
    root = tmp_path_factory.mktemp("torn")
    folder = write_pack(root / "pack", [encoded(image) for image in IMAGES[:3]], [0, 0, 1])
    for _ in range(data.draw(st.integers(1, 3))):
        path = folder / data.draw(
            st.sampled_from(["train.rec", "train.rec", "train.idx", "property"])
        )
        path.write_bytes(torn(data.draw, path.read_bytes()))
    before = listing(root)
    with suppress(ValueError), naming(folder):
        faces = read_recordio(folder)
        assert faces.images.shape == (len(faces.identities), 112, 112, 3)
    assert listing(root) == before
