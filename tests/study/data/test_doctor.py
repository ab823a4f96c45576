"""A look at a data set finds what is wrong with it, and nothing where nothing is."""

import io

import numpy as np
import pandas as pd
import pytest
import yaml
from packs import encoded, write_bin, write_pack
from PIL import Image

from cure_core.metrics.pairs import Pairs
from cure_study.data import manifests, scan
from cure_study.data.doctor import examine
from cure_study.data.faceset import FaceSet
from cure_study.data.image_statistics import eye_offsets
from cure_study.runner import cli
from cure_study.synthfaces.face import TEMPLATE

DRAWN = {"people": 30, "images_per_person": 10, "unseen_people": 20, "unseen_images": 2}
DRAWN |= {"unseen_pairs": 40, "cross_age_pairs": 0}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURE_CACHE", str(tmp_path_factory.mktemp("drawn")))
        return manifests.load("synthfaces", **DRAWN)


def changed(faces, images=None, **fields):
    known = {"identities": faces.identities, "attributes": faces.attributes}
    known |= {"protocols": faces.protocols} | fields
    return FaceSet("custom", faces.images if images is None else images, fingerprint="", **known)


def verdicts(faces):
    findings = examine(faces, manifests.read("synthfaces"), progress=False).findings
    return set(findings.check[findings.verdict == "look"])


def test_a_sound_set_has_nothing_amiss(drawn):
    examination = examine(drawn, manifests.read("synthfaces"), progress=False)
    assert examination.ok, examination
    found = dict(zip(examination.findings.check, examination.findings.found, strict=True))
    assert found["images"] == "300"
    assert found["people"] == "30"
    assert found["images for verification alone"] == "40"
    assert found["images a person"] == "10 to 10, median 10"
    assert found["unseen: genuine of 40 pairs"] == "50.0%, folds 50.0% to 50.0%"
    expected = drawn.images.mean(0)
    assert np.abs(examination.mean_face - expected).max() <= 0.51


def test_it_prints_and_shows_the_mean_face(drawn):
    examination = examine(drawn, progress=False)
    assert repr(examination).endswith("no problems")
    assert "data:image/png;base64," in examination._repr_html_()
    file = io.BytesIO()
    examination.figure().savefig(file)
    with Image.open(file) as figure:
        assert min(figure.size) > 100


def test_swapped_channels_are_seen(drawn):
    both = {"colour order, as read", "colour order, as read, unseen"}
    assert verdicts(changed(drawn, drawn.images[..., ::-1])) == both


def test_channels_swapped_in_the_pairs_alone_are_seen_there(drawn):
    """The mean of training images and pairs would hide the pairs."""
    images = drawn.images.copy()
    images[300:] = images[300:, ..., ::-1]
    assert verdicts(changed(drawn, images)) == {"colour order, as read, unseen"}


def test_impossible_pairs_are_seen(drawn):
    """An image beside itself, and an impostor pair of one person."""
    pairs = drawn.protocols["unseen"]
    genuine, impostor = (np.flatnonzero(pairs.genuine == kind)[0] for kind in (True, False))
    left, right = pairs.left.copy(), pairs.right.copy()
    right[genuine] = left[genuine]
    faces = changed(drawn, protocols={"unseen": Pairs(left, right, pairs.genuine)})
    assert verdicts(faces) == {"unseen: pairs of an image with itself"}
    left, right = pairs.left.copy(), pairs.right.copy()
    left[impostor], right[impostor] = left[genuine], right[genuine]
    faces = changed(drawn, protocols={"unseen": Pairs(left, right, pairs.genuine)})
    assert verdicts(faces) == {"unseen: impostor pairs of one person"}


def test_files_left_out_are_seen(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "reads_heif", lambda: False)
    for i, image in enumerate(drawn.images[:4]):
        path = tmp_path / "crops" / f"person_{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    examination = examine("folder", root=tmp_path / "crops", progress=False)
    found = examination.findings.set_index("check")
    assert found.loc["files left out"].tolist() == ["0", "0", "ok"]
    (tmp_path / "crops" / "Zoe").mkdir()
    (tmp_path / "crops" / "Zoe" / "1.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.warns(
        UserWarning, match=r"crops: 1 file left out: 1 \.heic.*; .*Zoe \(first: Zoe/1"
    ):
        examination = examine("folder", root=tmp_path / "crops", progress=False)
    found = examination.findings.set_index("check").loc["files left out"]
    assert found.tolist() == [
        "1 file left out: 1 .heic (pip install 'cure-core[heic]' to read it); "
        "1 person without an image: Zoe",
        *("0", "look"),
    ]


def test_dark_and_empty_images_are_seen(drawn):
    assert "values" in verdicts(changed(drawn, drawn.images // 8))
    empty = drawn.images.copy()
    empty[[7, 9]] = 128
    assert "images that show nothing" in verdicts(changed(drawn, empty))


@pytest.mark.parametrize(("right", "down"), [(0, 8), (-7, 0), (5, -5)])
def test_a_shifted_set_is_seen(drawn, right, down):
    shifted = np.roll(drawn.images, (down, right), axis=(1, 2))
    assert verdicts(changed(drawn, shifted)) == {"eyes of the mean face off by"}


def test_eyes_are_found_where_they_were_drawn():
    face = np.full((112, 112, 3), 200.0)
    for (x, y), (right, down) in zip(TEMPLATE[:2], [(3, -2), (0, 5)], strict=True):
        row, column = round(y) + down, round(x) + right
        face[row - 2 : row + 3, column - 2 : column + 3] = 20
    offsets = eye_offsets(face)
    assert offsets["left eye"] == pytest.approx((3, -2), abs=0.5)
    assert offsets["right eye"] == pytest.approx((0, 5), abs=0.5)


def test_an_image_under_two_people_is_seen(drawn):
    images = drawn.images.copy()
    images[15] = images[3]  # of another person
    images[4] = images[5]  # of the same
    assert verdicts(changed(drawn, images)) == {"images under two people"}


def test_a_test_image_in_training_is_seen_though_saved_again(drawn):
    images = drawn.images.copy()
    file = io.BytesIO()
    Image.fromarray(images[310]).save(file, "JPEG", quality=70)
    images[20] = np.asarray(Image.open(file))
    examination = examine(changed(drawn, images), manifests.read("synthfaces"), progress=False)
    assert examination.copies[["image", "other"]].to_numpy().tolist() == [[20, 310]]
    assert verdicts(changed(drawn, images)) == {"test images also in training"}


def test_unbalanced_folds_are_seen(drawn):
    pairs = drawn.protocols["unseen"]
    order = np.argsort(~pairs.genuine, kind="stable")  # all genuine first: each fold is of a kind
    sorted_pairs = Pairs(pairs.left[order], pairs.right[order], pairs.genuine[order])
    faces = changed(drawn, protocols={"unseen": sorted_pairs})
    assert verdicts(faces) == {"unseen: genuine of 40 pairs"}


def test_too_few_people_for_the_splits_are_seen(drawn):
    few = drawn.attributes.assign(unseen=drawn.identities >= 12)
    assert "people with 10 images or more" in verdicts(changed(drawn, attributes=pd.DataFrame(few)))


def test_the_command_states_counts_against_the_manifest(drawn, tmp_path, capsys):
    folder = tmp_path / "root" / "pack"
    write_pack(
        folder, [encoded(image, "BMP") for image in drawn.images[:60]], drawn.identities[:60]
    )
    write_bin(folder / "pairs.bin", [encoded(i, "BMP") for i in drawn.images[300:320]], [True] * 10)
    fields = yaml.safe_load((manifests.FOLDER / "casia_webface.yaml").read_text())
    fields |= {"path": "pack", "images": 60, "people": 6}
    fields["pairs"] = {"custom": {"path": "pack/pairs.bin", "count": 10}}
    path = tmp_path / "custom.yaml"
    path.write_text(yaml.safe_dump(fields))
    command = ["data", "doctor", str(path), "--root", str(tmp_path / "root")]
    assert cli.main([*command, "--picture", str(tmp_path / "mean.png")]) == 0
    output = capsys.readouterr().out
    assert output.startswith("custom\n")
    lines = {line[:30].strip(): line.split() for line in output.splitlines()}
    assert lines["images"][1:] == ["60", "60", "ok"]
    assert lines["people"][1:] == ["6", "6", "ok"]
    assert (tmp_path / "mean.png").is_file()
    assert cli.main(["data", "doctor", "no_such_set"]) == 1
    assert "name one of" in capsys.readouterr().err
