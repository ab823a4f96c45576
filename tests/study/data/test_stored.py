"""Sets on disk as manifests describe them, from SynthFaces packed as the field packs faces."""

import shutil

import numpy as np
import pytest
import yaml
from packs import encoded, write_bin, write_pack

from cure_core.config import CureConfig
from cure_core.files import file_sha256
from cure_core.training.arcface import Recipe
from cure_study.data import manifests
from cure_study.data.faceset import ConcatImages
from cure_study.data.image_statistics import image_statistics
from cure_study.data.stored import people_of_pairs
from cure_study.experiments import study

DRAWN = {"people": 8, "images_per_person": 10, "unseen_people": 20, "unseen_images": 2}
DRAWN |= {"unseen_pairs": 40, "cross_age_pairs": 20, "min_gap": 0.0}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURE_CACHE", str(tmp_path_factory.mktemp("drawn")))
        return manifests.load("synthfaces", **DRAWN)


@pytest.fixture(scope="module")
def packed(tmp_path_factory, drawn):
    """`pack/` with the drawn people as a pack, and their two protocols as `.bin` files."""
    trained = np.flatnonzero(~drawn.attributes["unseen"])
    folder = tmp_path_factory.mktemp("packed") / "pack"
    images = [encoded(drawn.images[i], "BMP") for i in trained]
    write_pack(folder, images, drawn.identities[trained])
    for name, manner in (("unseen", "python2"), ("cross_age", "4")):
        pairs = drawn.protocols[name]
        both = np.stack([pairs.left, pairs.right], axis=1).ravel()
        images = [encoded(drawn.images[i], "BMP") for i in both]
        write_bin(folder / f"{name}.bin", images, pairs.genuine, manner)
    return folder.parent


@pytest.fixture
def root(tmp_path, packed):
    """A copy of it, to change."""
    return shutil.copytree(packed, tmp_path / "root")


def manifest(tmp_path, name="casia_webface", **changes):
    """The field's manifest with the counts and paths of the drawn pack."""
    fields = yaml.safe_load((manifests.FOLDER / f"{name}.yaml").read_text())
    fields |= {"path": "pack", "images": 80, "people": 8}
    fields["pairs"] = {
        "unseen": {"path": "pack/unseen.bin", "count": 40},
        "cross_age": {"path": "pack/cross_age.bin", "count": 20},
    }
    fields["splits"] = {"min_images": 5, "max_images": None, "outsiders": 2, "heldout": 0.3}
    path = tmp_path / "custom.yaml"
    path.write_text(yaml.safe_dump(fields | changes, sort_keys=False))
    return path


def test_a_pack_with_its_pairs_is_the_set_it_was_made_from(root, tmp_path, drawn, monkeypatch):
    monkeypatch.setenv("CURE_DATA_ROOT", str(root))
    faces = manifests.load(manifest(tmp_path))
    assert repr(faces).startswith("FaceSet(custom: 200 images of ")
    assert repr(faces).endswith(" people, unseen: 40 pairs, cross_age: 20 pairs)")
    assert (faces.images[np.arange(80)] == drawn.images[:80]).all()
    assert faces.identities[:80].tolist() == drawn.identities[:80].tolist()
    assert faces.attributes["unseen"].tolist() == [False] * 80 + [True] * 120
    assert len(faces.people) == faces.identities.max() + 1
    for name, pairs in drawn.protocols.items():
        found = faces.protocols[name]
        assert (found.genuine == pairs.genuine).all()
        assert (faces.images[found.left] == drawn.images[pairs.left]).all()
        assert (faces.images[found.right] == drawn.images[pairs.right]).all()
        assert min(found.left.min(), found.right.min()) >= 80
        same = faces.identities[found.left] == faces.identities[found.right]
        assert same[found.genuine].all()


def test_the_study_runs_on_a_pack_as_on_any_set(root, tmp_path):
    """From train.rec and .bin to a report; the students are judged by the first .bin's pairs."""
    faces = manifests.load(manifest(tmp_path), root=root)
    setting = study.StudySetting(
        forget_people=2,
        split=manifests.read(tmp_path / "custom.yaml").splits.model_dump(),
        recipe=Recipe(epochs=1, batch_size=32),
        config=CureConfig(epochs=1, batch_size=(8, 8), clusters=2),
        n_pairs=20,
    )
    outcome = study.run(faces, setting, 0, n_bootstrap=5, progress=False)
    test = outcome.case.protocol.pairs["test"]
    assert set(test.left) <= set(faces.protocols["unseen"].left)
    assert np.concatenate([outcome.case.split.train, outcome.case.split.heldout]).max() < 80
    assert outcome.report.rows.value.notna().all()  # a teacher at chance has no UES


def test_pairs_alone_are_a_set_to_verify_on(root, tmp_path, drawn):
    path = tmp_path / "custom.yaml"
    fields = yaml.safe_load((manifests.FOLDER / "agedb_30.yaml").read_text())
    path.write_text(yaml.safe_dump(fields | {"path": "pack/unseen.bin", "images": 80}))
    faces = manifests.load(path, root=root)
    assert len(faces) == 80
    pairs = faces.protocols["custom"]
    assert pairs.left.tolist() == list(range(0, 80, 2))
    assert pairs.right.tolist() == list(range(1, 80, 2))
    assert faces.fingerprint == file_sha256(root / "pack" / "unseen.bin")[:16]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 490623}, r"pack holds 80 images, expected 490,623; fetch it again.*Download"),
        ({"people": 10572}, r"pack holds 8 people, expected 10,572"),
        ({"checksum": "0" * 64}, r"train\.rec has the checksum [0-9a-f]{64}, expected 0{64}"),
        (
            {"pairs": {"unseen": {"path": "pack/unseen.bin", "count": 6000}}},
            r"unseen\.bin holds 40 pairs, expected 6,000",
        ),
        (
            {"pairs": {"unseen": {"path": "pack/unseen.bin", "sha256": "0" * 64}}},
            r"unseen\.bin has the checksum [0-9a-f]{64}, expected 0{64}",
        ),
        ({"colour": "bgr"}, r"pack is said to be bgr, but read so, the faces are bluer .* to rgb"),
        ({"colour": "grey"}, "is said to be grey, but its channels differ"),
        ({"range": [16, 235]}, r"values from \d+ to 255, outside .* `range` \[16, 235\]"),
    ],
)
def test_a_pack_other_than_described_is_reported(root, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        manifests.load(manifest(tmp_path, **changes), root=root)


def swap_channels(path, drawn):
    """The pairs of `unseen` as OpenCV would save them."""
    pairs = drawn.protocols["unseen"]
    both = np.stack([pairs.left, pairs.right], axis=1).ravel()
    images = [encoded(np.ascontiguousarray(drawn.images[i][..., ::-1]), "BMP") for i in both]
    write_bin(path, images, pairs.genuine)


def test_channels_swapped_in_the_pairs_alone_are_named(root, tmp_path, drawn):
    swap_channels(root / "pack" / "unseen.bin", drawn)
    with pytest.raises(ValueError, match=r"unseen\.bin is said to be rgb, but .*`colour` to bgr"):
        manifests.load(manifest(tmp_path), root=root)


def test_pairs_may_have_another_order_of_channels_than_their_pack(root, tmp_path, drawn):
    swap_channels(root / "pack" / "unseen.bin", drawn)
    pairs = {"unseen": {"path": "pack/unseen.bin", "colour": "bgr"}}
    faces = manifests.load(manifest(tmp_path, pairs=pairs), root=root)
    found, expected = faces.protocols["unseen"], drawn.protocols["unseen"]
    assert (faces.images[found.left] == drawn.images[expected.left]).all()
    assert (faces.images[np.arange(80)] == drawn.images[:80]).all()


def test_missing_pairs_are_named_before_anything_is_decoded(root, tmp_path):
    (root / "pack" / "cross_age.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"nothing at .*cross_age\.bin; .*set `pairs` to"):
        manifests.load(manifest(tmp_path), root=root)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", ["pairs", "path"])
def test_a_path_out_of_the_root_is_refused(tmp_path, place):
    out = {"pairs": {"pairs": {"custom": {"path": "../pairs.bin"}}}, "path": {"path": "a/../../b"}}
    with pytest.raises(ValueError, match=r"give a path below the root, without '\.\.'"):
        manifests.load(manifest(tmp_path, **out[place]), root=tmp_path)


def test_the_counts_of_the_field():
    """494,414 / 10,575 as published, 490,623 / 10,572 cleaned; 6,000, 6,000 and 7,000 pairs."""
    pack, raw = manifests.read("casia_webface"), manifests.read("casia_webface_folder")
    assert (pack.images, pack.people) == (490_623, 10_572)
    assert (raw.images, raw.people) == (494_414, 10_575)
    counts = {name: pairs.count for name, pairs in pack.pairs.items()}
    assert counts == {"agedb_30": 6000, "lfw": 6000, "cfp_fp": 7000}
    for name, count in counts.items():
        alone = manifests.read({"lfw": "lfw_bin"}.get(name, name))
        assert (alone.path, alone.images) == (pack.pairs[name].path, 2 * count)


def test_people_are_tied_by_images_and_genuine_pairs():
    """A image that comes twice is one person, and so are the two of a genuine pair."""
    a, b, c, d = (np.full((112, 112, 3), value, np.uint8) for value in (1, 2, 3, 4))
    images = np.stack([d, a, a, b, b, c])
    assert people_of_pairs(images, np.array([False, True, True])).tolist() == [0, 1, 1, 1, 1, 1]
    assert people_of_pairs(images, np.array([False, True, False])).tolist() == [0, 1, 1, 1, 1, 2]
    assert people_of_pairs(images, np.array([False] * 3)).tolist() == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    "key",
    [0, 3, -1, slice(2, 6), slice(None, None, -2), np.array([6, 0, 3, 3]), np.array([], int)],
)
def test_a_stack_is_indexed_like_its_concatenation(key):
    images = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), dtype=np.uint8)
    stack = ConcatImages((images[:3], images[3:4], images[4:]))
    assert stack.shape == images.shape
    assert np.array_equal(stack[key], images[key])


def test_channel_orders_are_recognised(drawn):
    found = image_statistics(drawn.images)
    middle = drawn.images[:, 32:80, 32:80].reshape(-1, 3).mean(0)
    assert len(drawn) <= 512
    assert (found.red, found.blue) == pytest.approx(tuple(middle[[0, 2]]), rel=1e-6)
    assert found.colour == "rgb"
    assert image_statistics(drawn.images[..., ::-1]).colour == "bgr"
    assert image_statistics(drawn.images[..., :1].repeat(3, 3)).colour == "grey"
    dull = drawn.images.copy()
    dull[..., 2] = dull[..., 0]
    assert image_statistics(dull).colour is None


def test_images_scaled_to_one_before_saving_are_reported(root, tmp_path, drawn):
    dark = [encoded((image // 255).astype(np.uint8)) for image in drawn.images[:4]]
    write_pack(root / "pack", dark, [0, 0, 1, 1])
    path = manifest(tmp_path, images=4, people=2, pairs={}, colour=None)
    with pytest.raises(ValueError, match=r"hardly any of the manifest's `range`.*scaled to 0\.\.1"):
        manifests.load(path, root=root)
