"""An exported student: the same weights and embeddings, and a card that names nobody."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from cure_core.config import CureConfig
from cure_core.encoders import build
from cure_core.training.arcface import Trained
from cure_core.unlearning import UnlearningResult
from cure_study.data.faceset import FaceSet
from cure_study.erasure.export import export, export_students, model_card, summary, write_onnx
from cure_study.evaluation.report import Report
from cure_study.experiments import study


@pytest.fixture
def outcome(draw_faces):
    """A made-up outcome: the export does not depend on how it came about."""
    images, identities = draw_faces(12, 6)
    names = tuple(f"Name Surname_{i}" for i in range(12))
    faces = FaceSet("crops", images, identities, "abc", people=names)
    split = {"min_images": 5, "max_images": None, "outsiders": 3, "heldout": 0.4}
    setting = study.StudySetting(forget_people=2, split=split, n_pairs=5, method="cure")
    case = study.prepare(faces, setting, seed=4)
    student = build("small", seed=9)
    result = UnlearningResult(student, pd.DataFrame(), {"clusters_forget": 2.0}, CureConfig(), 1.0)
    rows = [
        {"model": model, "set": kind, "metric": metric, "value": 0.875, "low": 0.5, "high": 1.0}
        for model in ("before", "after", "oracle")
        for kind, metric in [("forget", "accuracy"), ("retain", "accuracy"), ("test", "accuracy")]
    ]
    report = Report(pd.DataFrame(rows), pd.DataFrame())
    trained = Trained(build("small"), (), 1.0)
    return study.Outcome(case, trained, result, trained, report)


def test_the_student_and_its_card_are_written(outcome, tmp_path):
    folder = export(outcome, tmp_path / "student", onnx=False)
    assert sorted(p.name for p in folder.iterdir()) == ["MODEL_CARD.md", "student.safetensors"]
    again = build("small", folder / "student.safetensors")
    images = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    assert torch.equal(again(images), outcome.result.student(images))
    with safe_open(folder / "student.safetensors", framework="pt") as file:
        made = json.loads(file.metadata()["made"])
    people = outcome.case.faces.identities[outcome.case.request.forget_index]
    assert made["forgotten_people"] == len(set(people)) == 2
    assert made["forgotten_images"] == len(people)
    assert made["config"]["epochs"] == CureConfig().epochs


def test_the_card_counts_and_names_nobody(outcome):
    card = model_card(outcome)
    count = len(outcome.case.request.forget)
    assert f"{count} images of 2 people were removed by\n`cure`" in card
    assert "| accuracy, forget pairs | 0.875 [0.500, 1.000] |" in card
    assert "clusters_forget: 2.0" in card
    assert "learning_rate:" in card
    assert "Surname" not in card + json.dumps(summary(outcome))
    assert not re.search(r"\d+(, \d+){3}", card)  # no list of indices either


def test_onnx_embeds_as_the_student_does(outcome, tmp_path):
    """In onnxruntime, for any number of images, to 1e-4."""
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = export(outcome, tmp_path / "student")
    session = onnxruntime.InferenceSession(str(folder / "student.onnx"))
    for count in (1, 5):
        images = np.random.default_rng(count).integers(0, 256, (count, 3, 112, 112), np.uint8)
        (theirs,) = session.run(None, {"images": images})
        ours = outcome.result.student(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(theirs, ours, atol=1e-4, rtol=0)


class DiffersWhenExported(torch.nn.Module):
    """Gives other embeddings while it is exported."""

    def forward(self, images):
        shift = 1.0 if torch.compiler.is_exporting() else 0.0
        return images.float().mean((2, 3)) + shift


def test_onnx_that_differs_is_not_kept(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"differ by 1 from the encoder's, more than 0\.0001"):
        write_onnx(
            DiffersWhenExported(),
            tmp_path / "out.onnx",
            torch.zeros(1, 3, 112, 112, dtype=torch.uint8),
        )
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_nothing_is_written(outcome, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'cure-core\[onnx\]'"):
        export(outcome, tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_result_of_unlearn_alone_is_exported(outcome, tmp_path):
    folder = export(outcome.result, tmp_path / "student", onnx=False)
    again = build("small", folder / "student.safetensors")
    for one, two in zip(again.parameters(), outcome.result.student.parameters(), strict=True):
        assert torch.equal(one, two)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "A SmallEncoder encoder" in card
    assert "Not evaluated" in card
    assert "clusters_forget: 2.0" in card


def test_each_seeds_student_has_a_folder(outcome, tmp_path):
    (folder,) = export_students([outcome], tmp_path / "students")
    assert folder == tmp_path / "students" / "seed-4"
    assert (folder / "student.safetensors").is_file()
    assert (folder / "MODEL_CARD.md").is_file()


def test_other_types_are_refused(outcome, tmp_path):
    with pytest.raises(ValueError, match="cannot export a SmallEncoder; pass an Outcome"):
        export(outcome.result.student, tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_student_in_another_memory_layout_is_written(outcome, tmp_path):
    student = outcome.result.student
    student.to(memory_format=torch.channels_last)
    folder = export(outcome, tmp_path / "student", onnx=False)
    again = build("small", folder / "student.safetensors")
    assert torch.equal(again.stem.conv.weight, student.stem.conv.weight)
