"""Reading a real request's folder: whatever lies there is read, or left out with its reason."""

import hashlib
import os
import sys
import unicodedata
from types import ModuleType

import numpy as np
import pytest
from image_files import save
from packs import encoded, write_pack
from PIL import Image

from cure_study.data import image_cache, images
from cure_study.erasure import decoding
from cure_study.erasure.forget_list import read_list
from cure_study.erasure.images import forget_folder_cache, read_folder


def noise(seed, height=112, width=112):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def fresh_openers():
    """The formats are looked up again, before and after the test."""
    caches = (images._openers, images.reads_heif)
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def test_a_nested_folder_is_read_in_order_as_saved(root):
    names = ("b.png", "a/z.png", "a/y/x/w.png", "c/1.png")
    for seed, name in enumerate(names):
        save(root / name, noise(seed))
    folder = read_folder(root)
    assert folder.files == ("a/y/x/w.png", "a/z.png", "b.png", "c/1.png")
    assert isinstance(folder.images, np.memmap)
    assert not folder.images.flags.writeable
    for file, image, sha256 in zip(folder.files, folder.images, folder.sha256, strict=True):
        assert (image == noise(names.index(file))).all()
        assert sha256 == hashlib.sha256((root / file).read_bytes()).hexdigest()
    assert not folder.left_out


def test_everything_unusable_is_left_out_with_its_reason(root, tmp_path):
    good = save(root / "good.png", noise(0))
    save(root / "small.png", noise(1, 19, 40))
    save(root / "large_enough.png", noise(1, 20, 20))
    Image.fromarray(np.zeros((50, 50), np.uint16)).save(root / "deep.png")
    frames = [Image.fromarray(noise(seed)) for seed in (2, 3)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    (root / "cut.png").write_bytes(good.read_bytes()[:-5000])
    (root / "text.jpg").write_text("not found")
    (root / "empty.jpg").touch()
    (root / "notes.txt").write_text("of whom")
    (root / ".hidden.png").write_bytes(good.read_bytes())
    reasons = {
        "small.png": "too small (under 20 pixels a side)",
        "deep.png": "more than 8 bits a channel",
        "moving.gif": "several frames",
        "cut.png": "unreadable",
        "text.jpg": "unreadable",
        "empty.jpg": "empty",
        "notes.txt": ".txt",
        ".hidden.png": "hidden",
    }
    if hasattr(os, "mkfifo"):
        (root / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
        (root / "itself.jpg").symlink_to(root / "itself.jpg")
        os.mkfifo(root / "pipe.jpg")
        reasons |= {"gone.jpg": "broken link", "itself.jpg": "broken link"}
        reasons |= {"pipe.jpg": "not a regular file"}
    for _ in range(2):  # decoded, then from the cache
        folder = read_folder(root)
        assert folder.files == ("good.png", "large_enough.png")
        assert folder.left_out.files == reasons
        assert list(folder.left_out.files) == sorted(reasons)
        assert len(folder.sha256) == len(folder.images) == 2
        assert (folder.images[0] == noise(0)).all()


def test_a_black_image_is_an_image(root):
    save(root / "black.png", np.zeros((112, 112, 3), np.uint8))
    assert read_folder(root).files == ("black.png",)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_colours_of_every_kind_become_rgb(root, mode):
    """By Pillow's own conversion; transparency is dropped."""
    image = Image.fromarray(noise(0)).convert(mode)
    image.save(root / "a.tiff")
    assert (read_folder(root).images[0] == np.asarray(image.convert("RGB"))).all()


def test_what_a_transparent_pixel_hides_is_shown(root):
    pixels = np.dstack([noise(0), np.zeros((112, 112), np.uint8)])
    save(root / "a.png", pixels)
    assert (read_folder(root).images[0] == noise(0)).all()


def test_a_turned_camera_is_turned_back(root):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    save(root / "a.png", noise(0, 60, 80), exif=exif)
    assert (read_folder(root, (80, 60)).images[0] == np.rot90(noise(0, 60, 80), -1)).all()


def test_another_shape_is_cropped_around_its_centre(root):
    """Of 100 x 300 the middle third is left: its colour, without a trace of the others'."""
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = (10, 200, 30)
    save(root / "wide.png", pixels)
    save(root / "tall.png", pixels.transpose(1, 0, 2))
    folder = read_folder(root, (50, 50))
    assert folder.images.shape == (2, 50, 50, 3)
    assert (folder.images[:, 2:-2, 2:-2] == (10, 200, 30)).all()


def test_a_reduced_image_is_antialiased(root):
    """Stripes finer than the result's pixels become their mean, as no sampling of them would."""
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    save(root / "stripes.png", stripes)
    assert (np.abs(read_folder(root, (40, 40)).images.astype(int) - 127) < 12).all()


def test_sizes_are_cached_side_by_side(root):
    save(root / "a.png", noise(0, 90, 70))
    shapes = [read_folder(root, size).images.shape for size in ((112, 96), (96, 112), (112, 96))]
    assert shapes == [(1, 112, 96, 3), (1, 96, 112, 3), (1, 112, 96, 3)]
    assert (read_folder(root, (90, 70)).images[0] == noise(0, 90, 70)).all()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_to_folders_are_followed_once(root, tmp_path):
    save(root / "z" / "a.png", noise(0))
    save(tmp_path / "elsewhere" / "b.png", noise(1))
    for name, target in {
        "again": root / "z",
        "z/loop": root,
        "z/up": tmp_path,
        "outside": tmp_path / "elsewhere",
        "outside_again": tmp_path / "elsewhere",
    }.items():
        (root / name).symlink_to(target)
    (tmp_path / "elsewhere" / "loop").symlink_to(root)
    folder = read_folder(root)
    assert folder.files == ("outside/b.png", "z/a.png")
    assert set(folder.left_out.files) == {
        *("again", "z/loop", "z/up", "outside_again", "outside/loop")
    }
    assert set(folder.left_out.files.values()) == {"link to a folder"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always Unicode")
def test_names_of_every_kind(root):
    names = [" a b .png", "new\nline.png", "#1.png", "[x]*.png", "back\\slash.png"]
    names += [unicodedata.normalize(form, "José.png") for form in ("NFC", "NFD")]
    for name in names:
        save(root / name, noise(0))
    for name in (b"Jos\xe9.png", b"M\xe9/a.png"):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(encoded(noise(0)))
    folder = read_folder(root)
    assert folder.files == tuple(sorted(names))
    assert folder.left_out.files == {
        name: "name that is not UTF-8" for name in ("Jos\\xe9.png", "M\\xe9/a.png")
    }
    str(folder.left_out).encode()


def test_a_folder_that_cannot_be_listed_is_left_out(root, monkeypatch):
    save(root / "a.png", noise(0))
    save(root / "locked" / "b.png", noise(1))
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    folder = read_folder(root)
    assert folder.files == ("a.png",)
    assert folder.left_out.files == {"locked": "folder that cannot be listed"}


def test_a_file_that_cannot_be_opened_is_left_out(root, monkeypatch):
    save(root / "a.png", noise(0))
    save(root / "b.png", noise(1))
    real = open

    def denied(path, *args):
        if str(path).endswith("a.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args)

    monkeypatch.setattr(decoding, "open", denied, raising=False)
    folder = read_folder(root)
    assert folder.files == ("b.png",)
    assert folder.left_out.files == {"a.png": "unreadable"}


def test_nothing_is_written_below_a_read_only_folder(root):
    save(root / "a" / "a.png", noise(0))
    (root / "a" / "b.png").write_text("broken")
    for path in (root / "a", root):
        path.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}
    try:
        assert read_folder(root).files == ("a/a.png",)
    finally:
        for path in (root, root / "a"):
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))} == before


def test_without_a_usable_image_it_says_what_was_left_out(root):
    with pytest.raises(ValueError, match=r"no usable image in .*photos$"):
        read_folder(root)
    (root / "a.jpg").write_text("broken")
    (root / "notes.txt").write_text("broken")
    with pytest.raises(ValueError, match=r"photos: 2 files left out: 1 unreadable, 1 \.txt"):
        read_folder(root)


@pytest.mark.parametrize("name", ["missing", "a.png"])
def test_what_is_no_folder_is_named(root, name):
    save(root / "a.png", noise(0))
    with pytest.raises(ValueError, match=rf"{name} is not a folder; name the folder"):
        read_folder(root / name)


def test_a_pack_is_read_by_record_number(root):
    drawn = [noise(seed) for seed in range(12)]
    contents = [encoded(image) for image in drawn]
    contents[4] = b"broken"
    write_pack(root, contents, [0] * 6 + [1] * 6)
    folder = read_folder(root)
    assert folder.files == tuple(str(number) for number in range(1, 13) if number != 5)
    assert folder.left_out.files == {"5": "unreadable"}
    assert (folder.images == np.stack(drawn[:4] + drawn[5:])).all()
    assert folder.sha256[0] == hashlib.sha256(contents[0]).hexdigest()


def align(rgb):
    """The top left corner; a test's detector."""
    if rgb[0, 0, 0] == 0:
        raise ValueError("no face found")
    return rgb[:50, :40]


def test_an_aligner_makes_each_image_or_says_why_not(root):
    first, second = noise(0), noise(1)
    first[0, 0, 0], second[0, 0, 0] = 1, 0
    save(root / "a.png", first)
    save(root / "b.png", second)
    folder = read_folder(root, (50, 40), align=align)
    assert (folder.images == first[None, :50, :40]).all()
    assert folder.left_out.files == {"b.png": "no face found"}
    with pytest.raises(TypeError, match=r"align returned uint8 \(50, 40, 3\); .* \(60, 40, 3\)"):
        read_folder(root, (60, 40), align=align)


def test_another_version_of_an_aligner_decodes_again(root):
    save(root / "a.png", noise(0, 50, 50))

    def shade(value):
        def aligner(rgb):
            return np.full((112, 112, 3), value, np.uint8)

        aligner.key = f"shade-{value}"
        return aligner

    for value in (3, 4, 3):
        assert (read_folder(root, align=shade(value)).images == value).all()


def test_images_are_decoded_once_even_if_some_are_left_out(root, monkeypatch):
    for seed in range(4):
        save(root / f"{seed}.png", noise(seed))
    (root / "broken.png").write_text("broken")
    decode, decoded = decoding.decode_image, []
    monkeypatch.setattr(
        decoding,
        "decode_image",
        lambda file, name, check: decoded.append(name) or decode(file, name, check),
    )
    for _ in range(2):
        assert len(read_folder(root).files) == 4
    assert sorted(decoded) == sorted([*(f"{seed}.png" for seed in range(4)), "broken.png"])
    save(root / "2.png", noise(9, 40, 40))
    read_folder(root)
    assert len(decoded) == 10


@pytest.mark.parametrize("stop", range(0, 12, 2))
def test_an_interrupted_decoding_resumes(root, monkeypatch, stop):
    """With every third file unreadable, on either side of the interruption."""
    monkeypatch.setattr(image_cache, "CHUNK", 2)
    for seed in range(12):
        save(root / f"{seed:02d}.png", noise(seed))
        if seed % 3 == 0:
            (root / f"{seed:02d}.png").write_text("broken")
    expected = [seed for seed in range(12) if seed % 3]
    decode = decoding.decode_image

    def until(file, name, check):
        if name == f"{stop:02d}.png":
            raise KeyboardInterrupt
        return decode(file, name, check)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_image", until)
        with pytest.raises(KeyboardInterrupt):
            read_folder(root)
    decoded = []
    monkeypatch.setattr(
        decoding,
        "decode_image",
        lambda file, name, check: decoded.append(name) or decode(file, name, check),
    )
    folder = read_folder(root)
    assert folder.files == tuple(f"{seed:02d}.png" for seed in expected)
    assert set(folder.left_out.files.values()) == {"unreadable"}
    for file, image, sha256 in zip(folder.files, folder.images, folder.sha256, strict=True):
        assert (image == noise(int(file[:2]))).all()
        assert sha256 == hashlib.sha256((root / file).read_bytes()).hexdigest()
    usable = [name for name in decoded if int(name[:2]) % 3]
    assert len(usable) == len(set(usable)) == sum(seed >= stop for seed in expected)


def test_the_decoded_copies_can_be_deleted(root, tmp_path):
    for name in ("a.png", "b.png"):
        save(root / name, noise(0))
    (root / "c.png").write_text("broken")
    other = tmp_path / "other"
    save(other / "a.png", noise(1))
    read_folder(root)
    read_folder(root, (50, 50))
    read_folder(other)
    faces = tmp_path / "cache" / "faces"
    assert len(list(faces.rglob("*.npy"))) == 3
    forget_folder_cache(root)
    assert len(list(faces.rglob("*.npy"))) == 1
    forget_folder_cache(root)
    assert read_folder(root).files == ("a.png", "b.png")


def test_a_heic_file_without_its_decoder_names_the_extra(root, monkeypatch, fresh_openers):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    save(root / "a.png", noise(0))
    (root / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert read_folder(root).left_out.files == {
        "b.heic": ".heic (pip install 'cure-core[heic]' to read it)"
    }


def test_the_heic_decoder_is_registered_when_the_first_image_is_opened(
    root, monkeypatch, fresh_openers
):
    plugin, calls = ModuleType("pillow_heif"), []
    plugin.register_heif_opener = lambda: calls.append(1)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    for name in ("a.png", "b.png"):
        save(root / name, noise(0))
    (root / "b.heic").write_bytes(b"broken")
    assert read_folder(root).left_out.files == {"b.heic": "unreadable"}
    assert calls == [1]


def test_heic_is_read(root, fresh_openers):
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    heif.from_bytes("RGB", (112, 112), np.full((112, 112, 3), 90, np.uint8).tobytes()).save(
        root / "a.heic"
    )
    assert (np.abs(read_folder(root).images.astype(int) - 90) < 4).all()


@pytest.mark.slow
def test_a_hundred_thousand_files_in_one_folder(root, tmp_path):
    """Read, listed and refused in under a minute."""
    content = [encoded(noise(seed, 24, 24)) for seed in range(10)]
    for number in range(100_000):
        (root / f"{number:06d}.png").write_bytes(content[number % 10])
    (root / "000123.png").write_bytes(b"broken")
    folder = read_folder(root, (24, 24))
    assert len(folder.files) == len(folder.images) == 99_999
    assert folder.files[123] == "000124.png"
    assert (folder.images[123] == noise(4, 24, 24)).all()
    (tmp_path / "list.txt").write_text("0001*\n000777.png\n")
    assert read_list(tmp_path / "list.txt", folder).lines == (("0001*", 99), ("000777.png", 1))
    (tmp_path / "list.txt").write_text("".join(f"{n:06d}.jpg\n" for n in range(100_000)))
    with pytest.raises(ValueError, match="and 99,990 more"):
        read_list(tmp_path / "list.txt", folder)
