import os

import numpy as np
import pytest
from PIL import Image

from cure_core.faces import folder
from cure_core.faces.decoding import read_image
from cure_core.faces.faceset import FaceSet, ImageView
from cure_core.faces.folder import decode, lfw_protocol, list_tree, tree_checksum


def picture(seed, size=(112, 112), channels=3):
    shape = (size[1], size[0], channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Three people's images, 2, 1 and 1, saved without loss."""
    for seed, name in enumerate(("Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "Cy/Cy_0001")):
        save(tmp_path / "tree" / f"{name}.png", picture(seed))
    return tmp_path / "tree"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CURE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "faces"


def read(root, **options):
    return decode(list_tree(root), **{"resize": False, "checksum": None} | options)


def test_a_tree_is_listed_by_name_without_hidden_and_other_files(root):
    (root / "Ann" / "notes.txt").write_text("seen on Monday")
    (root / "Ann" / "._Ann_0001.png").write_bytes(b"resource fork")
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "a.png").write_bytes(b"")
    (root / "Empty").mkdir()
    save(root / "Bob" / "Bob_0002.JPG", picture(9), format="JPEG")
    tree = list_tree(root)
    assert tree.files == (
        *("Ann/Ann_0001.png", "Ann/Ann_0002.png", "Bob/Bob_0001.png", "Bob/Bob_0002.JPG"),
        "Cy/Cy_0001.png",
    )
    assert tree.people == ["Ann", "Ann", "Bob", "Bob", "Cy"]


@pytest.mark.parametrize("place", ["loose.png", "Ann/video/frame.png"])
def test_an_image_outside_its_persons_folder_is_named(root, place):
    save(root / place, picture(5))
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
        assert (images[seed] == picture(seed)).all()


def test_grey_is_repeated_to_three_channels(tmp_path):
    grey = picture(0, channels=1)
    image = read_image(save(tmp_path / "grey.png", grey))
    assert all((image[:, :, channel] == grey).all() for channel in range(3))


def test_a_turned_camera_is_turned_back(tmp_path):
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    path = save(tmp_path / "turned.png", picture(0), exif=upside_down)
    assert (read_image(path) == picture(0)[::-1, ::-1]).all()


def test_another_size_is_an_error_unless_resizing_is_asked_for(root):
    save(root / "Cy" / "Cy_0001.png", np.full((96, 128, 3), 77, np.uint8))
    with pytest.raises(ValueError, match=r"Cy_0001\.png is 128 x 96 pixels, not 112 x 112.*resize"):
        read(root)
    images, _ = read(root, resize=True)
    assert (images[3] == 77).all()
    assert (images[0] == picture(0)).all()


def test_channels_stored_the_other_way_round_are_turned(root):
    images, _ = read(root, bgr=True)
    assert (images[0] == picture(0)[:, :, ::-1]).all()


def test_a_file_for_a_format_that_starts_a_program_is_not_opened(tmp_path):
    """Pillow hands PostScript to Ghostscript, whatever the file's name."""
    path = tmp_path / "face.png"
    path.write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match=r"cannot read the image .*face\.png: cannot identify"):
        read_image(path)


def test_sixteen_bits_are_refused(tmp_path):
    path = save(tmp_path / "deep.png", np.full((112, 112), 4000, np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits a channel \(I;16\)"):
        read_image(path)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_truncated_image_is_named_and_nothing_is_cached(root, cache, extension):
    path = save(root / "Bob" / f"Bob_0002.{extension}", picture(7))
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


def test_a_changed_tree_is_decoded_anew_and_the_old_map_stays_readable(root):
    before, old = read(root)
    save(root / "Ann" / "Ann_0001.png", 255 - picture(0))
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


class Untouchable:
    """Labels that nobody may look at, in any way."""

    def __getattribute__(self, name):
        raise AssertionError(f"an identity label was asked for its {name}")

    def __getitem__(self, key):
        raise AssertionError("an identity label was read")

    __len__ = __iter__ = __getitem__


def test_images_are_used_without_touching_a_label(root):
    images, fingerprint = read(root)
    faces = FaceSet("own", images, Untouchable(), fingerprint)
    assert len(faces) == 4
    assert (faces[1] == picture(1)).all()
    view = ImageView(faces.images, np.array([3, 1]))
    assert view.shape == (2, 112, 112, 3)
    assert (view[np.array([1, 0])] == np.stack([picture(1), picture(3)])).all()
    assert not {"identities", "people", "attributes", "protocols"} & set(dir(view))
    with pytest.raises(AssertionError, match="identity label"):
        np.unique(faces.identities)
