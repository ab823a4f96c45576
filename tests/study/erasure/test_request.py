"""Requests from files to a result, and what goes wrong with them."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from small_request import UNLEARNING

from cure_core import encoders
from cure_study.erasure import forget
from cure_study.erasure.files import read
from cure_study.erasure.forecast import duration, forecast
from cure_study.erasure.report import read_report
from cure_study.erasure.request import prepare
from cure_study.erasure.setting import RequestSetting, setting_of

pytestmark = pytest.mark.xdist_group("erasure")


def listing(tmp_path, *lines):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def asked(demo, tmp_path, *lines, **options):
    """A small request on the demonstration's images, without strangers."""
    given = {"images": demo["images"], "weights": demo["weights"], "encoder": "small"}
    options = {"unlearning": UNLEARNING, "n_bootstrap": 0, "progress": False} | options
    return forget(forget=listing(tmp_path, *lines), **given | options)


def test_the_result_holds_all_that_is_promised(done):
    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        *("student.safetensors", "MODEL_CARD.md", "report.html", "report.json", "request.csv"),
        *("images.csv", "lookalikes.csv", "config.yaml", "SHA256SUMS"),
    }


def test_the_student_is_the_one_that_was_returned(done):
    student = encoders.build("small", done.folder / "student.safetensors")
    for name, tensor in done.erasure.student.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name]), name


def test_forgotten_files_are_named_with_the_digest_of_their_bytes(done):
    table = pd.read_csv(done.folder / "request.csv")
    images = Path(done.demo["images"])
    assert len(table) == done.erasure.report.counts.forget
    for row in table.itertuples():
        assert row.sha256 == hashlib.sha256((images / row.file).read_bytes()).hexdigest()
        assert row.group == row.file.split("/")[0]  # identities were given: the folders


def test_every_image_takes_one_part(done):
    forgotten = pd.read_csv(done.folder / "request.csv")["file"]
    others = pd.read_csv(done.folder / "images.csv")
    own = pd.concat([forgotten, others[others.role != "stranger"]["file"]])
    images = Path(done.demo["images"])
    assert sorted(own) == sorted(p.relative_to(images).as_posix() for p in images.rglob("*.png"))
    counts = done.erasure.report.counts
    roles = others.role.value_counts()
    assert (roles["retained"], roles["held out"]) == (counts.retain, counts.judged)
    assert roles["stranger"] == counts.strangers == 36


def test_report_on_disk_is_the_one_that_was_returned(done):
    report = read_report(done.folder)
    assert report == done.erasure.report
    assert report.judged_by == "identities"
    assert {"ues", "accuracy_forget", "rank1_old", "membership_recall"} <= {
        measure.name for measure in report.measures
    }


def test_lines_of_the_list_add_up(done):
    lines = done.erasure.report.lines
    assert [line.images for line in lines][:2] == [6, 6]  # two whole people of six images
    assert sum(line.images for line in lines) == done.erasure.report.counts.forget


def test_sums_are_those_that_sha256sum_reads(done):
    for line in (done.folder / "SHA256SUMS").read_text().splitlines():
        sha256, name = line.split("  ")
        assert hashlib.sha256((done.folder / name).read_bytes()).hexdigest() == sha256


def test_config_makes_the_same_result_again(done, tmp_path):
    setting = setting_of(yaml.safe_load((done.folder / "config.yaml").read_text()))
    again = forget(**vars(setting), progress=False)
    for name, tensor in done.erasure.student.state_dict().items():
        assert torch.equal(tensor, again.student.state_dict()[name]), name
    assert again.report.measures == done.erasure.report.measures


def test_nothing_in_the_users_folders_changes_and_no_copy_stays_in_the_cache(
    demo, tmp_path, monkeypatch
):
    images = tmp_path / "faces"
    shutil.copytree(demo["images"], images)
    cache = tmp_path / "own-cache"
    monkeypatch.setenv("CURE_CACHE", str(cache))
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in images.rglob("*")}
    for folder in (images, *images.iterdir()):
        folder.chmod(0o555)
    try:
        asked({**demo, "images": str(images)}, tmp_path, "person_000/")
    finally:
        for folder in (images, *images.iterdir()):
            folder.chmod(0o755)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in images.rglob("*")} == before
    kept = [p for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    assert kept == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_request_of_a_few_images_is_fulfilled(demo, tmp_path, count):
    """Far from where they were, although there are no pairs enough for an accuracy."""
    lines = [f"person_000/image_{i:02d}.png" for i in range(count)]
    erasure = asked(demo, tmp_path, *lines, unlearning={"batch_size": [16, 16]})
    report = erasure.report
    assert report.counts.forget == count
    assert "accuracy_forget" not in {measure.name for measure in report.measures}
    assert report.value("cosine_forget") < 0.75
    assert report.value("cosine_retain") > 0.85


def test_lookalikes_are_taken_along_only_when_asked(demo, tmp_path):
    images = tmp_path / "faces"
    shutil.copytree(demo["images"], images)
    shutil.copy(images / "person_000" / "image_00.png", images / "person_005" / "copy.png")
    demo = {**demo, "images": str(images)}
    listed = asked(demo, tmp_path, "person_000/")
    copy = listed.lookalikes.set_index("file").loc["person_005/copy.png"]
    assert (copy.kind, copy.like, copy.included) == ("exact", "person_000/image_00.png", False)
    taken = asked(demo, tmp_path, "person_000/", include_lookalikes=True, out=tmp_path / "out")
    assert taken.report.counts.forget > listed.report.counts.forget
    assert taken.report.counts.lookalikes_included == taken.report.counts.forget - 6
    table = pd.read_csv(tmp_path / "out" / "request.csv").set_index("file")
    assert table.loc["person_005/copy.png"].why == "lookalike"


def test_without_identities_clusters_stand_in_and_the_report_says_so(demo, tmp_path):
    report = asked(demo, tmp_path, "person_000/", "person_001/").report
    assert report.judged_by == "clusters"
    assert any("clusters" in text for text in report.limits)
    assert any("strangers" in text for text in report.limits)


def test_an_oracle_is_trained_and_saved_where_identities_are_known(demo, tmp_path):
    out = tmp_path / "out"
    report = asked(
        demo, tmp_path, "person_000/", "person_001/", out=out,
        identities="folders", oracle=True, teacher={"epochs": 2, "batch_size": 16},
    ).report  # fmt: skip
    assert report.value("accuracy_retain", "oracle") is not None
    assert (out / "oracle.safetensors").is_file()
    assert not any("retrained" in text for text in report.limits)


def test_onnx_is_written_when_asked(demo, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    erasure = asked(demo, tmp_path, "person_000/", out=out, onnx=True)
    session = onnxruntime.InferenceSession(out / "student.onnx")
    images = torch.randint(0, 256, (3, 3, 112, 112), dtype=torch.uint8)
    (embeddings,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = erasure.student(images).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)


def test_held_out_images_are_neither_forgotten_nor_trained_on(demo, tmp_path):
    setting = RequestSetting(
        demo["images"], listing(tmp_path, "person_000/"), demo["weights"], "small"
    )
    request = prepare(read(setting, False), False)
    parts = request.forget, request.retain, request.judged
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts)) == 72
    assert 0.1 < len(request.judged) / 66 <= 0.2


def test_forecast_says_time_and_memory(demo, tmp_path):
    setting = RequestSetting(
        demo["images"], listing(tmp_path, "person_000/"), demo["weights"], "small"
    )
    text = repr(forecast(read(setting, False)))
    assert "embedding 288 images, then 200 epochs of 1 steps: about" in text  # 2 x 72 + 2 x 72
    assert "GB of memory" in text
    assert [duration(s) for s in (0.2, 40, 540, 9000)] == [
        "1 seconds", "40 seconds", "9 minutes", "2.5 hours",
    ]  # fmt: skip


# What goes wrong


def test_an_existing_folder_is_never_replaced(demo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="name another folder"):
        asked(demo, tmp_path, "person_000/", out=out)
    assert (out / "mine.txt").read_text() == "mine"


def test_a_list_that_leaves_too_little_is_an_error(demo, tmp_path):
    lines = [f"person_{i:03d}/" for i in range(11)]
    with pytest.raises(ValueError, match="would be retained; at least 8"):
        asked(demo, tmp_path, *lines)


def test_an_image_in_both_lists_is_an_error(demo, tmp_path):
    keep = tmp_path / "keep.txt"
    keep.write_text("person_00[0-4]/*\n")
    with pytest.raises(ValueError, match=r"person_000/image_00\.png"):
        asked(demo, tmp_path, "person_000/image_00.png", retain=keep)


def test_weights_of_another_network_are_named_with_their_shapes(demo, tmp_path):
    with pytest.raises(ValueError, match=r"does not fit MobileFaceNet"):
        asked({**demo}, tmp_path, "person_000/", encoder="mobilefacenet")


BROKEN = """
import torch
from torch import nn


class Broken(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.weight = kind, nn.Parameter(torch.ones(()))

    def forward(self, images):
        x = self.weight * images.float().mean((2, 3))
        if self.kind == "bright":  # not a number for one image alone
            return x / (images.amin((1, 2, 3)) < 255)[:, None] - x / (x.amin(1) < 255)[:, None] + x
        return x * (float("nan") if self.kind == "nan" else 0) + 1


def nan():
    return Broken("nan")


def constant():
    return Broken("constant")


def bright():
    return Broken("bright")
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", r"embeddings of 8 images are not finite .*it is .*person_000.image_00\.png"),
        ("constant", "embeds 8 different images alike"),
        ("bright", r"embeddings of 1 images are not finite .*person_003.white\.png"),
    ],
)
def test_an_encoder_that_does_not_work_is_named_before_any_training(
    demo, tmp_path, monkeypatch, name, message
):
    (tmp_path / "broken_encoders.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    images = tmp_path / "faces"
    shutil.copytree(demo["images"], images)
    white = np.full((112, 112, 3), 255, np.uint8)
    Image.fromarray(white).save(images / "person_003" / "white.png")
    weights = tmp_path / "weights.pt"
    torch.save({"weight": torch.ones(())}, weights)
    given = {"images": str(images), "weights": weights}
    with pytest.raises(ValueError, match=message):
        asked({**demo, **given}, tmp_path, "person_000/", encoder=f"broken_encoders:{name}")


def test_the_result_is_whole_or_absent(demo, tmp_path, monkeypatch):
    """A disk that is full when the report is written."""
    out = tmp_path / "out"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cure_study.erasure.result.write_page", full)
    with pytest.raises(OSError, match="No space left"):
        asked(demo, tmp_path, "person_000/", out=out)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_interrupted_request_goes_on(demo, tmp_path, monkeypatch):
    """What was embedded and trained is not done again, and the student is the same."""
    whole = asked(demo, tmp_path, "person_000/")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cure_study.erasure.run.judge", stop)
        with pytest.raises(KeyboardInterrupt):
            asked(demo, tmp_path, "person_000/")
    calls = []
    with monkeypatch.context() as patch:
        from cure_study.erasure import request

        embed = request.embed_by
        patch.setattr(request, "embed_by", lambda *a, **k: calls.append(a) or embed(*a, **k))
        again = asked(demo, tmp_path, "person_000/")
    assert calls == []
    for name, tensor in whole.student.state_dict().items():
        assert torch.equal(tensor, again.student.state_dict()[name]), name


def test_names_with_spaces_accents_and_newlines_go_through(demo, tmp_path):
    images = tmp_path / "faces of people"
    shutil.copytree(demo["images"], images)
    names = ["Zo\u00eb 1.png", "Zoe\u0308 2.png", "two\nlines.png", 'comma,quote".png']
    for i, name in enumerate(names):
        shutil.move(images / "person_000" / f"image_{i:02d}.png", images / "person_000" / name)
    out = tmp_path / "a result"
    asked({**demo, "images": str(images)}, tmp_path, "person_000/", out=out)
    table = pd.read_csv(out / "request.csv")
    assert set(names) <= {file.split("/", 1)[1] for file in table["file"]}
    assert json.loads((out / "report.json").read_text())["counts"]["forget"] == 6


def test_images_of_any_size_and_kind_are_taken(demo, tmp_path):
    images = tmp_path / "faces"
    shutil.copytree(demo["images"], images)
    face = Image.open(images / "person_001" / "image_00.png")
    face.resize((300, 260)).save(images / "person_001" / "large.jpg")
    face.convert("L").save(images / "person_001" / "grey.png")
    (images / "notes.txt").write_text("no image")
    erasure = asked({**demo, "images": str(images)}, tmp_path, "person_001/")
    assert erasure.report.counts.forget == 8
    assert "notes.txt" in erasure.report.left_out


def test_erasure_prints_well(done):
    assert str(done.erasure.report.counts.forget) in repr(done.erasure)
    assert "report.html" in done.erasure._repr_html_()
    assert os.fspath(done.folder) in done.erasure._repr_html_()


def test_request_of_everyone_before_is_an_error(done, tmp_path):
    lines = pd.read_csv(done.folder / "request.csv")["file"]
    with pytest.raises(ValueError, match="was forgotten by an earlier request"):
        forget(
            done.demo["images"], listing(tmp_path, *lines), encoder="small", after=done.folder,
            progress=False,
        )  # fmt: skip
