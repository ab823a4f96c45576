import re
import shutil
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from processes import in_two_processes

from cure_core.files import file_sha256
from cure_study import synthfaces
from cure_study.data import manifests
from cure_study.data.splits import split_people
from cure_study.paths import data_root

SMALL = {
    "people": 3,
    "images_per_person": 2,
    "unseen_people": 20,
    "unseen_images": 2,
    "unseen_pairs": 20,
    "cross_age_pairs": 20,
    "min_gap": 0.0,
    "seed": 7,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CURE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "faces"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # LFW takes half a gigabyte


@pytest.fixture
def root(tmp_path):
    """A data root with `data/crops`, two people's flat images, and a file of pairs."""
    crops = tmp_path / "root" / "data" / "crops"
    for value, name in enumerate(("Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001")):
        path = crops / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((112, 112), 50 * value, np.uint8)).save(path)
    (crops.parent / "pairs.txt").write_text("1\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n")
    return tmp_path / "root"


def manifest(tmp_path, **changes):
    """A manifest of the user: `folder.yaml` with `changes`; a change to ... drops the field."""
    fields = yaml.safe_load((manifests.FOLDER / "folder.yaml").read_text()) | changes
    path = tmp_path / "crops.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in fields.items() if v is not ...}))
    return path


@pytest.mark.parametrize("name", manifests.names())
def test_every_manifest_is_valid_and_splits_as_the_study_does(name):
    splits = manifests.read(name).splits.model_dump()
    split = split_people(np.repeat(np.arange(splits["outsiders"] + 10), 12), **splits)
    assert len(split.outsiders) == splits["outsiders"] * 12
    assert len(split.heldout) == 10 * 2  # a fifth of 12, rounded
    assert {"folder", "lfw", "synthfaces"} <= set(manifests.names())


def test_a_folder_of_the_user_needs_no_code(root):
    faces = manifests.load("folder", root=root / "data" / "crops")
    assert repr(faces) == "FaceSet(folder: 3 images of 2 people)"
    assert faces.people == ("Ann", "Bob")
    assert faces.identities.tolist() == [0, 0, 1]
    assert faces.images[:, 0, 0].tolist() == [[0] * 3, [50] * 3, [100] * 3]


def test_what_a_folder_holds_besides_images_is_reported(root):
    crops = root / "data" / "crops"
    (crops / "Ann" / "notes.txt").write_text("seen on Monday")
    (crops / "Zoe").mkdir()
    text = "1 file left out: 1 .txt; 1 person without an image: Zoe"
    with pytest.warns(UserWarning, match=rf"crops: {text} \(first: Ann/notes\.txt\)"):
        faces = manifests.load("folder", root=crops)
    assert repr(faces) == f"FaceSet(folder: 3 images of 2 people; {text})"
    assert text in faces._repr_html_()
    assert faces.left_out.files == {"Ann/notes.txt": ".txt"}


def test_a_folder_needs_a_root():
    with pytest.raises(ValueError, match=r'load\("folder", root='):
        manifests.load("folder")


def test_a_manifest_of_the_user_starts_from_the_data_root(root, tmp_path, monkeypatch):
    monkeypatch.setenv("CURE_DATA_ROOT", str(root))
    pairs = {"path": "data/pairs.txt", "sha256": file_sha256(root / "data" / "pairs.txt")}
    path = manifest(tmp_path, path="data/crops", images=3, people=2, pairs={"custom": pairs})
    faces = manifests.load(path)
    assert repr(faces) == "FaceSet(crops: 3 images of 2 people, custom: 2 pairs)"
    assert faces.protocols["custom"].left.tolist() == [0, 1]
    assert faces.protocols["custom"].right.tolist() == [1, 2]


def test_a_missing_data_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        manifests.load("lfw", root=tmp_path)
    for part in (str(tmp_path / "data" / "lfwa_112"), "CURE_DATA_ROOT", "University of Massach"):
        assert part in str(missing.value)


def test_a_file_in_place_of_a_folder_and_the_other_way_round_are_named(root, tmp_path):
    path = manifest(tmp_path, path="data/pairs.txt")
    with pytest.raises(FileNotFoundError, match=r"a file instead of a folder at .*pairs\.txt; set"):
        manifests.load(path, root=root)
    pairs = {"custom": {"path": "data/crops", "sha256": "0" * 64}}
    path = manifest(tmp_path, path="data/crops", pairs=pairs)
    with pytest.raises(
        FileNotFoundError, match=r"a folder instead of a file at .*crops; set CURE_DATA_ROOT"
    ):
        manifests.load(path, root=root)


def test_missing_pairs_say_the_same(root, tmp_path):
    path = manifest(tmp_path, pairs={"custom": {"path": "no.txt", "sha256": "0" * 64}})
    with pytest.raises(FileNotFoundError, match=rf"{root}.*no\.txt; set CURE_DATA_ROOT.*Align"):
        manifests.load(path, root=root / "data" / "crops")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 4}, r"crops holds 3 images, expected 4; fetch it again"),
        ({"people": 5749}, r"crops holds 2 people, expected 5,749"),
        ({"checksum": "0" * 64}, r"crops holds other images .*expected 0{64}"),
        (
            {"pairs": {"custom": {"path": "data/pairs.txt", "sha256": "0" * 64}}},
            r"pairs\.txt has the checksum [0-9a-f]{64}, expected 0{64}",
        ),
    ],
)
def test_data_other_than_described_are_named(root, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        manifests.load(manifest(tmp_path, path="data/crops", **changes), root=root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color": "grey"}, "`color` is unknown; did you mean 'colour'"),
        ({"licence": ...}, "`licence` is missing"),
        ({"splits": {"heldout": 1.5}}, "`splits.min_images` is missing.*`splits.heldout` is 1.5: "),
        ({"checksum": "abc"}, "`checksum` is 'abc': .*pattern"),
        ({"layout": ["folder"]}, r"`layout` is \['folder'\]; use one of folder"),
        (
            {"layout": "tarball"},
            "`layout` is 'tarball'; use one of folder, recordio, pairs, synthfaces",
        ),
        ({"path": "/etc"}, "`path` is '/etc': give a path below the root"),
        ({"path": "C:\\faces"}, "`path` is .*: give a path below the root"),
        ({"path": "data/../.."}, r"`path` is 'data/\.\./\.\.': give a path below the root"),
        ({"colour": "cmyk"}, "`colour` is 'cmyk': .*rgb"),
        ({"images": 0}, "`images` is 0: "),
        ({"images": "5"}, "`images` is '5': .*valid integer"),
        ({"images": True}, "`images` is True: .*valid integer"),
        ({"resize": "no"}, "`resize` is 'no': .*boolean"),
        ({"title": 5}, "`title` is 5: .*string"),
        ({"range": ["0", 255]}, r"`range\.0` is '0': .*valid integer"),
        ({"range": [255, 0]}, r"`range` is \[255, 0\]: give the least and the greatest value"),
        (
            {"splits": {"min_images": 3, "max_images": None, "outsiders": 2, "heldout": "0.2"}},
            r"`splits\.heldout` is '0\.2': .*valid number",
        ),
        ({"path": ""}, "`path` is '': give a path below the root"),
        ({"resize": "perhaps"}, "`resize` is 'perhaps': .*boolean"),
        (
            {"pairs": {"custom": {"path": "../p.txt", "sha256": "0" * 64}}},
            r"`pairs\.custom\.path` is '\.\./p\.txt': give a path below the root",
        ),
    ],
)
def test_an_invalid_manifest_is_named_by_file_field_and_value(tmp_path, changes, message):
    path = manifest(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        manifests.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"custom\.yaml is not valid YAML: .*line 1"),
        ("", r"custom\.yaml: `layout` is None; use one of folder"),
        ("- a", r"custom\.yaml holds list; expected a mapping"),
        ("layout: folder\nlayout: pairs", r"custom\.yaml is not valid YAML: .*duplicate key"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path, text, message):
    path = tmp_path / "custom.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        manifests.read(path)


@pytest.mark.parametrize("name", ["lwf", "/no/such/file.yaml"])
def test_an_unknown_manifest_names_those_there_are(name):
    with pytest.raises(FileNotFoundError, match=rf"{name}.*folder, lfw, lfw_bin, synthfaces"):
        manifests.load(name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("synthfaces", {"peoples": 3}, "no option peoples; it has people, images_per_person"),
        ("lfw", {"people": 3}, "lfw has no option people; it has none"),
        ("synthfaces", {"people": 0}, "`people` is 0: .*greater"),
        ("synthfaces", {"people": "3"}, "`people` is '3': .*integer"),
        ("synthfaces", {"min_gap": float("inf")}, "`min_gap` is inf: .*finite"),
        ("synthfaces", {"unseen_pairs": 30}, "`unseen_pairs` is 30: .*multiple of 20"),
    ],
)
def test_a_wrong_option_is_reported(name, options, message):
    with pytest.raises(ValueError, match=message):
        manifests.load(name, **options)


def test_numbers_of_numpy_are_options_like_any_other():
    few = SMALL | {"people": np.int64(3), "unseen_people": 0, "min_gap": np.float64(0)}
    assert len(manifests.load("synthfaces", **few)) == 6


def test_no_is_text_in_yaml_and_a_number_may_have_an_exponent(tmp_path):
    """The rules of YAML 1.2, where 1.1 has `no` for False and `2e-1` for text."""
    path = manifest(tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace("heldout: 0.2", "heldout: 2e-1").replace("title: F", "title: no #")
    )
    read = manifests.read(path)
    assert read.splits.heldout == 0.2
    assert read.title == "no"


def test_synthfaces_are_the_drawn_people_and_then_the_unseen():
    faces = manifests.load("synthfaces", **SMALL)
    assert repr(faces) == (
        "FaceSet(synthfaces: 46 images of 23 people, unseen: 20 pairs, cross_age: 20 pairs)"
    )
    assert (faces.images[:6] == synthfaces.generate(3, 2, seed=7).images).all()
    unseen = synthfaces.generate(20, 2, seed=7, first_person=3)
    assert (faces.images[6:] == unseen.images).all()
    assert faces.identities.tolist() == [0, 0, 1, 1, 2, 2, *unseen.identities]
    assert len(faces.people) == 23
    assert faces.attributes["unseen"].tolist() == [False] * 6 + [True] * 40
    shown = faces.attributes.drop(columns="unseen")[6:].reset_index(drop=True)
    pd.testing.assert_frame_equal(shown, unseen.attributes)
    for pairs in faces.protocols.values():
        left, right = faces.identities[pairs.left], faces.identities[pairs.right]
        assert ((left == right) == pairs.genuine).all()
        assert min(left.min(), right.min()) == 3


def test_synthfaces_are_drawn_once_for_the_same_options(cache, monkeypatch):
    first = manifests.load("synthfaces", **SMALL)
    monkeypatch.setattr(synthfaces, "generate", None)
    again = manifests.load("synthfaces", **SMALL | {"unseen_pairs": 0})
    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    assert again.images.filename == first.images.filename
    assert again.fingerprint == first.fingerprint
    assert again.attributes.equals(first.attributes)
    assert list(again.protocols) == ["cross_age"]
    assert {path.suffix for path in cache.iterdir()} == {".npy", ".lock"}
    with pytest.raises(TypeError):  # no generator to draw others with
        manifests.load("synthfaces", **SMALL | {"seed": 8})


def test_damaged_drawings_are_named_and_drawn_again(cache):
    first = manifests.load("synthfaces", **SMALL)
    images, attributes = np.array(first.images), first.attributes
    (path,) = cache.glob("synthfaces-*.npy")
    content = path.read_bytes()
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged .* making it again"):
        again = manifests.load("synthfaces", **SMALL)
    assert (again.images == images).all()
    assert again.attributes.equals(attributes)
    assert path.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_draw_once(tmp_path, monkeypatch):
    log, generate = tmp_path / "log", synthfaces.generate

    def logged(*given, **options):
        with open(log, "a") as file:
            file.write("drawn\n")
        time.sleep(0.1)
        return generate(*given, **options)

    monkeypatch.setattr(synthfaces, "generate", logged)
    few = SMALL | {"unseen_people": 0}

    def load():
        faces = manifests.load("synthfaces", **few)
        return np.array(faces.images).tobytes(), faces.attributes.to_csv()

    first, second = in_two_processes(load)
    assert first == second
    assert log.read_text() == "drawn\n"
    assert first[0] == generate(3, 2, seed=7).images.tobytes()


def test_a_fingerprint_is_of_the_options_and_not_of_the_pixels(cache, monkeypatch):
    """Or a table begun on one processor could not be gone on with on another."""
    first = manifests.load("synthfaces", **SMALL)
    assert manifests.load("synthfaces", **SMALL | {"seed": 8}).fingerprint != first.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(synthfaces, "VERSION", 0)
        assert manifests.load("synthfaces", **SMALL).fingerprint != first.fingerprint
    degrade = synthfaces.degrade
    monkeypatch.setattr(synthfaces, "degrade", lambda *given: degrade(*given) ^ 1)
    monkeypatch.setenv("CURE_CACHE", str(cache / "another"))
    other = manifests.load("synthfaces", **SMALL)
    assert (other.images != first.images).all()
    assert other.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"people": 10**12},
            MemoryError,
            r"2,000,000,000,040 drawn .* take 75,264,000.*ask for fewer",
        ),
        ({"unseen_pairs": 2000}, ValueError, "ask for fewer than 2000 pairs"),
        ({"cross_age_pairs": 20, "min_gap": 90.0}, ValueError, "at least 90"),
        ({"seed": 2**63}, ValueError, "`seed` is 9223372036854775808: .*less than"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is(monkeypatch, options, error, message):
    monkeypatch.setattr(synthfaces, "generate", None)
    with pytest.raises(error, match=message):
        manifests.load("synthfaces", **SMALL | options)


def test_a_plan_has_the_attributes_of_what_is_drawn():
    drawn = synthfaces.generate(3, 2, seed=7, first_person=4)
    planned = synthfaces.plan(3, 2, seed=7, first_person=4)
    pd.testing.assert_frame_equal(planned, drawn.attributes)


def test_no_unseen_people_leave_no_protocol():
    faces = manifests.load("synthfaces", **SMALL | {"unseen_people": 0})
    assert repr(faces) == "FaceSet(synthfaces: 6 images of 3 people)"
    assert not faces.attributes["unseen"].any()


@pytest.mark.xdist_group("lfw")
@pytest.mark.skipif(
    not (data_root() / "data" / "lfwa_112").is_dir(),
    reason="no data/lfwa_112 under CURE_DATA_ROOT",
)
@pytest.mark.slow
def test_lfw_is_whole():
    faces = manifests.load("lfw")
    assert repr(faces) == "FaceSet(lfw: 13,233 images of 5,749 people, lfw: 6,000 pairs)"
    pairs = faces.protocols["lfw"]
    assert repr(pairs) == "6,000 pairs, 3,000 genuine"
    same = faces.identities[pairs.left] == faces.identities[pairs.right]
    assert (same == pairs.genuine).all()
    assert [int(fold.sum()) for fold in np.array_split(pairs.genuine, 10)] == [300] * 10
    assert (np.ptp(faces.images[::500], axis=3) == 0).all()  # grey in three channels
