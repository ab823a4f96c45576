import io
import os
import struct
import sys
import unicodedata
import zlib

import numpy as np
import pytest
from image_files import save
from PIL import Image, features

from cure_study.data import folder, scan
from cure_study.data.faceset import FaceSet, ImageView
from cure_study.data.folder import Tree, lfw_protocol, list_tree, read_tree, tree_checksum
from cure_study.data.images import _is_deep, open_image, read_image

AVIF = "avif" in features.get_supported_modules()  # from Pillow 11.3 on


def noise(seed, size=(112, 112), channels=3):
    shape = (size[1], size[0], channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    """Three people's images, 2, 1 and 1, saved without loss."""
    for seed, name in enumerate(("Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "Cy/Cy_0001")):
        save(tmp_path / "tree" / f"{name}.png", noise(seed))
    return tmp_path / "tree"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CURE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "faces"


def read(root, **options):
    return read_tree(list_tree(root), **{"resize": False, "checksum": None} | options)


def test_a_tree_is_listed_by_name(root):
    save(root / "Bob" / "Bob_0002.JPG", noise(9), format="JPEG")
    tree = list_tree(root)
    assert tree.files == (
        *("Ann/Ann_0001.png", "Ann/Ann_0002.png", "Bob/Bob_0001.png", "Bob/Bob_0002.JPG"),
        "Cy/Cy_0001.png",
    )
    assert tree.people == ["Ann", "Ann", "Bob", "Bob", "Cy"]
    assert not tree.left_out


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_what_is_left_out_is_counted_and_named(root, tmp_path, monkeypatch):
    """Text, formats that no decoder is there for, hidden files, links to nothing, pipes."""
    content = {
        "README": b"of whom",
        "Ann/notes.txt": b"seen on Monday",
        "Ann/._Ann_0001.png": b"resource fork",
        "Ann/.DS_Store": b"x",
        ".thumbnails/a/b/a.png": b"",
        "Bob/Bob_0002.HEIC": HEIC,
        "Di/Di_0001.heic": HEIC,
        "Di/Di_0002.heic": HEIC,
        "Di/deep/er/page.pdf": b"%PDF-1.4",
        "Eve/nothing": b"",
    }
    for name, stored in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(stored)
    (root / "Fay").mkdir()
    monkeypatch.setattr(scan, "reads_heif", lambda: False)
    heic = ".heic (pip install 'cure-core[heic]' to read it)"
    reasons = {
        "README": "without extension",
        "Ann/notes.txt": ".txt",
        "Ann/._Ann_0001.png": "hidden",
        "Ann/.DS_Store": "hidden",
        ".thumbnails/a/b/a.png": "hidden",
        "Bob/Bob_0002.HEIC": heic,
        "Di/Di_0001.heic": heic,
        "Di/Di_0002.heic": heic,
        "Di/deep/er/page.pdf": ".pdf",
        "Eve/nothing": "empty",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "Ann" / "pipe.png")
        (root / "Ann" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
        (root / "Ann" / "all").symlink_to(root)
        reasons |= {"Ann/pipe.png": "not a regular file", "Ann/gone.jpg": "broken link"}
        reasons |= {"Ann/all": "link to a folder"}
    tree = list_tree(root)
    assert len(tree.files) == 4
    assert tree.left_out.files == reasons
    assert list(tree.left_out.files) == sorted(reasons)
    assert tree.left_out.people == ("Di", "Eve", "Fay")
    assert str(tree.left_out).startswith(f"{len(reasons)} files left out: 3 hidden, 3 {heic}, 1 ")
    assert str(tree.left_out).endswith("; 3 people without an image: Di, Eve, Fay")


def test_images_are_recognised_by_their_content(root):
    """Whatever the extension: JFIF, AVIF, GIF of one frame, and no extension at all."""
    formats = {"a.jfif": "JPEG", "b.gif": "GIF", "c.pnm": "PPM", "d": "PNG", "e": "TIFF"}
    formats |= {"f.JPG_original": "JPEG", "g.jpe": "JPEG"} | ({"h.avif": "AVIF"} if AVIF else {})
    for name, kind in formats.items():
        save(root / "Di" / name, np.full((112, 112, 3), 80, np.uint8), format=kind)
    tree = list_tree(root)
    assert [file for file in tree.files if file.startswith("Di/")] == [f"Di/{n}" for n in formats]
    assert not tree.left_out
    images, _ = read_tree(tree)
    assert (np.abs(images[4:].astype(int) - 80) <= 2).all()


def test_a_cameras_raw_file_is_left_out_though_it_is_a_tiff(root):
    save(root / "Di" / "Di.dng", noise(0), format="TIFF")
    assert list_tree(root).left_out.files == {"Di/Di.dng": ".dng"}


def test_links_to_images_and_to_the_folder_of_a_person_are_followed(root, tmp_path):
    save(tmp_path / "elsewhere" / "Di" / "Di_0001.png", noise(5))
    (root / "Di").symlink_to(tmp_path / "elsewhere" / "Di")
    (root / "Cy" / "Cy_0002.png").symlink_to(root / "Ann" / "Ann_0001.png")
    tree = list_tree(root)
    assert tree.files[3:] == ("Cy/Cy_0001.png", "Cy/Cy_0002.png", "Di/Di_0001.png")
    assert not tree.left_out
    (root / "loop").symlink_to(root)
    (root / "Ann_again").symlink_to(root / "Ann")
    again = list_tree(root)
    assert again.files == tree.files
    assert again.left_out.files == {"Ann_again": "link to a folder", "loop": "link to a folder"}


def test_a_folder_that_cannot_be_listed_is_named(root, monkeypatch):
    scandir = os.scandir

    def denied(path):
        if str(path).startswith(str(root / "Bob")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(PermissionError, match="Bob"):
        list_tree(root)


def test_a_file_in_place_of_the_folder_is_named(root):
    with pytest.raises(ValueError, match=r"Ann_0001\.png is not a folder"):
        list_tree(root / "Ann" / "Ann_0001.png")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always Unicode")
@pytest.mark.parametrize("name", [b"Jos\xe9/1.png", b"Ann/Jos\xe9.txt"])
def test_a_name_that_is_not_utf_8_is_named(root, name):
    path = os.path.join(os.fsencode(root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"1")
    with pytest.raises(ValueError, match=r"holds '.*Jos\\udce9.* not UTF-8 here; rename it"):
        list_tree(root)


def test_two_folders_of_one_name_in_two_forms_of_unicode_are_refused(root):
    for form in ("NFC", "NFD"):
        save(root / unicodedata.normalize(form, "José") / "a.png", noise(1))
    with pytest.raises(ValueError, match=r"two folders for .*'Jose\\u0301' and 'Jos\\xe9'"):
        list_tree(root)


@pytest.mark.parametrize(
    "place", ["loose.png", "Ann/video/frame.png", "Ann/video/of/Monday/frame.png"]
)
def test_an_image_outside_its_persons_folder_is_named(root, place):
    save(root / place, noise(5))
    with pytest.raises(ValueError, match=rf"1 images .*<identity>/<image> \(first: {place}\)"):
        list_tree(root)


def test_a_tree_without_images_is_refused(tmp_path):
    (tmp_path / "Ann").mkdir()
    with pytest.raises(ValueError, match=r"no images in .*expected <identity>/<image>"):
        list_tree(tmp_path)


def test_pixels_come_back_as_saved(root):
    images, _ = read(root)
    assert images.shape == (4, 112, 112, 3)
    assert images.dtype == np.uint8
    for seed in range(4):
        assert (images[seed] == noise(seed)).all()


def test_grey_is_repeated_to_three_channels(tmp_path):
    grey = noise(0, channels=1)
    image = read_image(save(tmp_path / "grey.png", grey))
    assert all((image[:, :, channel] == grey).all() for channel in range(3))


def test_a_turned_camera_is_turned_back(tmp_path):
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    path = save(tmp_path / "turned.png", noise(0), exif=upside_down)
    assert (read_image(path) == noise(0)[::-1, ::-1]).all()


def test_another_size_is_an_error_unless_resizing_is_requested(root):
    save(root / "Cy" / "Cy_0001.png", np.full((96, 128, 3), 77, np.uint8))
    with pytest.raises(ValueError, match=r"Cy_0001\.png is 128 x 96 pixels, not 112 x 112.*resize"):
        read(root)
    images, _ = read(root, resize=True)
    assert (images[3] == 77).all()
    assert (images[0] == noise(0)).all()


def test_channels_stored_the_other_way_round_are_turned(root):
    images, _ = read(root, bgr=True)
    assert (images[0] == noise(0)[:, :, ::-1]).all()


def test_a_file_for_a_format_that_starts_a_program_is_not_opened(tmp_path):
    """Pillow hands PostScript to Ghostscript, whatever the file's name."""
    path = tmp_path / "face.png"
    path.write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match=r"cannot read the image .*face\.png: cannot identify"):
        read_image(path)


def png(bits, colour, channels):
    """A PNG as its specification has it: signature, header, pixels, end."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    row = b"\0" + np.full((112, channels), 77, f">u{bits // 8}").tobytes()
    header = struct.pack(">IIBBBBB", 112, 112, bits, colour, 0, 0, 0)
    pixels = zlib.compress(row * 112)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


def tiff(bits):
    """A TIFF of 112 x 112 RGB with little-endian samples, as its specification has it."""
    pixels = np.full((112, 112, 3), 77, f"<u{bits // 8}").tobytes()
    after = 8 + 2 + 12 * 9 + 4  # header, entries, end: the bits of the samples, then the pixels
    fields = {256: 112, 257: 112, 258: after, 259: 1, 262: 2, 273: after + 6, 277: 3, 278: 112}
    fields[279] = len(pixels)
    entries = b"".join(
        struct.pack("<HHII", tag, 3 if tag < 279 else 4, 3 if tag == 258 else 1, value)
        for tag, value in fields.items()
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(fields))
    return head + entries + bytes(4) + struct.pack("<3H", *[bits] * 3) + pixels


def ppm(bits):
    pixels = np.full((112, 112, 3), 77, f">u{bits // 8}").tobytes()
    return f"P6\n112 112\n{2**bits - 1}\n".encode() + pixels


@pytest.mark.parametrize(
    "written",
    [
        *(lambda bits, c=c, n=n: png(bits, c, n) for c, n in ((0, 1), (2, 3), (4, 2), (6, 4))),
        tiff,
        ppm,
    ],
)
def test_sixteen_bits_are_refused(tmp_path, written):
    """Pillow would cut colour to 8 bits without a word."""
    path = tmp_path / "deep"
    path.write_bytes(written(8))
    assert (read_image(path) == 77).all()
    path.write_bytes(written(16))
    with pytest.raises(ValueError, match=r"deep has more than 8 bits a channel; save it with 8"):
        read_image(path)


@pytest.mark.skipif(not AVIF, reason="needs Pillow with AVIF")
def test_the_depth_of_avif_is_read_from_its_configuration(tmp_path):
    """AV1's ISO media binding, av1C: the second bit of the third byte is `high_bitdepth`."""
    path = save(tmp_path / "a.avif", noise(0))
    with open_image(path) as image:
        assert not _is_deep(image)
    content = path.read_bytes()
    at = content.index(b"av1C") + 6
    with open_image(path) as image:
        image.fp = io.BytesIO(content[:at] + bytes([content[at] | 0x40]) + content[at + 1 :])
        assert _is_deep(image)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_more_frames_than_one_are_refused(tmp_path, kind):
    frames = [Image.fromarray(noise(seed)) for seed in range(3)]
    path = tmp_path / "moving.image"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"moving\.image holds 3 images; save the one"):
        read_image(path)


def test_a_cameras_jpeg_with_a_preview_is_its_first_image(tmp_path):
    path = tmp_path / "camera.jpg"
    grey = [Image.fromarray(np.full((112, 112, 3), value, np.uint8)) for value in (90, 200)]
    grey[0].save(path, "MPO", save_all=True, append_images=grey[1:])
    assert (np.abs(read_image(path).astype(int) - 90) <= 2).all()


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_truncated_image_is_named_and_nothing_is_cached(root, cache, extension):
    path = save(root / "Bob" / f"Bob_0002.{extension}", noise(7))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=rf"cannot read the image .*Bob_0002\.{extension}: "):
        read(root)
    assert {path.suffix for path in cache.iterdir()} <= {".lock"}


def test_a_file_that_is_no_image_is_named(root):
    (root / "Bob" / "Bob_0002.jpg").write_text("not found")
    with pytest.raises(ValueError, match=r"cannot read the image .*Bob_0002\.jpg: .*remove it"):
        read(root)


def test_a_decoded_tree_is_loaded_again_without_decoding_or_copies(root, monkeypatch):
    first, content = read(root)
    monkeypatch.setattr(folder, "read_image", None)
    again, same = read(root)
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    assert again.filename == first.filename
    assert same == content
    view = ImageView(again, np.array([2, 0]))
    assert np.shares_memory(view.images, again)


def test_a_changed_tree_is_decoded_again_and_the_old_map_stays_readable(root):
    before, old = read(root)
    save(root / "Ann" / "Ann_0001.png", 255 - noise(0))
    after, new = read(root)
    assert (after[0] == 255 - before[0]).all()
    assert old != new


def test_the_checksum_covers_names_and_bytes_and_not_place_or_time(root, tmp_path):
    checksum = tree_checksum(list_tree(root))
    os.utime(root / "Ann" / "Ann_0001.png", (0, 0))
    moved = root.rename(tmp_path / "moved")
    assert tree_checksum(list_tree(moved)) == checksum
    (moved / "Cy").rename(moved / "Di")
    assert tree_checksum(list_tree(moved)) != checksum


def test_a_wrong_checksum_is_named_with_both_values(root):
    actual = tree_checksum(list_tree(root))
    assert read(root, checksum=actual)[1] == actual[:16]
    for _ in range(2):  # decoding, then from the cache
        with pytest.raises(ValueError, match=rf"{root}.*{actual}, expected {'0' * 64}"):
            read(root, checksum="0" * 64)


PAIRS = "1\t1\nAnn\t1\t2\nBob\t1\tCy\t1\n"


def test_pairs_are_indices_into_the_tree(root, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(PAIRS)
    pairs = lfw_protocol(path, list_tree(root))
    assert pairs.left.tolist() == [0, 2]
    assert pairs.right.tolist() == [1, 3]
    assert pairs.genuine.tolist() == [True, False]


def test_a_pair_of_a_missing_image_is_named(root, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(PAIRS.replace("Cy\t1", "Cy\t12"))
    with pytest.raises(ValueError, match=r"pairs\.txt:3 names Cy/Cy_0012, which is not in"):
        lfw_protocol(path, list_tree(root))


def protocol(tmp_path, files, text):
    path = tmp_path / "pairs.txt"
    path.write_text(text, encoding="utf-8")
    return lfw_protocol(path, Tree(tmp_path / "tree", tuple(files)))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_names_match_in_either_form_of_unicode(tmp_path, forms):
    files = [unicodedata.normalize(forms[0], f"José/José_{i:04d}.jpg") for i in (1, 2)]
    text = unicodedata.normalize(forms[1], "1\t1\nJosé\t2\t1\nBob\t1\tJosé\t2\n")
    pairs = protocol(tmp_path, ["Bob/Bob_0001.jpg", *files], text)
    assert (pairs.left.tolist(), pairs.right.tolist()) == ([2, 0], [1, 2])


def test_two_files_for_one_name_are_refused(tmp_path):
    files = ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Ann/Ann_0002.png", "Bob/Bob_0001.jpg"]
    both = r"pairs\.txt:2 names Ann/Ann_0002, .* as Ann/Ann_0002\.jpg and Ann/Ann_0002\.png; remove"
    with pytest.raises(ValueError, match=both):
        protocol(tmp_path, files, "1\t1\nAnn\t1\t2\nBob\t1\tAnn\t1\n")


@pytest.mark.parametrize(
    ("files", "near"),
    [
        (["Ann_Lee/Ann_Lee_0001_0.jpg", "Ann_Lee/Ann_Lee_0002_0.jpg"], "Ann_Lee_0001_0"),
        (["Ann_Lee/1.jpg", "Bob/Ann_Lee_0001.jpg"], "Ann_Lee/1"),
        (["ann_lee/ann_lee_0001.jpg"], "ann_lee/ann_lee_0001"),
    ],
)
def test_the_name_nearest_to_a_missing_one_is_given(tmp_path, files, near):
    with pytest.raises(
        ValueError, match=rf"pairs\.txt:2 names Ann_Lee/Ann_Lee_0001, .*is .*{near}"
    ):
        protocol(tmp_path, files, "1\t1\nAnn_Lee\t1\t2\nBob\t1\tAnn_Lee\t2\n")


def test_dots_in_names_are_no_extensions(tmp_path):
    files = ["J.R./J.R._0001", "J.R./J.R._0002.jpg", "S.X/S.X_0001.png"]
    pairs = protocol(tmp_path, files, "1\t1\nJ.R.\t1\t2\nS.X\t1\tJ.R.\t1\n")
    assert (pairs.left.tolist(), pairs.right.tolist()) == ([0, 2], [1, 0])


class Untouchable:
    """Labels that nobody may look at, in any way."""

    def __getattribute__(self, name):
        raise AssertionError(f"an identity label was asked for its {name}")

    def __getitem__(self, key):
        raise AssertionError("an identity label was read")

    __len__ = __iter__ = __getitem__


def test_images_are_used_without_touching_a_label(root):
    images, fingerprint = read(root)
    faces = FaceSet("custom", images, Untouchable(), fingerprint)
    assert len(faces) == 4
    assert (faces[1] == noise(1)).all()
    view = ImageView(faces.images, np.array([3, 1]))
    assert view.shape == (2, 112, 112, 3)
    assert (view[np.array([1, 0])] == np.stack([noise(1), noise(3)])).all()
    assert not {"identities", "people", "attributes", "protocols"} & set(dir(view))
    with pytest.raises(AssertionError, match="identity label"):
        np.unique(faces.identities)
