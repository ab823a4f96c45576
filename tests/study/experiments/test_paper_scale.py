"""The way from InsightFace's pack to the paper's table, on drawn faces, by the profile `paper`."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from packs import encoded, write_bin, write_pack

from cure_core import encoders
from cure_core.encoders import SmallEncoder
from cure_core.training import arcface
from cure_study import processes, training_cache
from cure_study.data import manifests
from cure_study.experiments import study
from cure_study.runner import cli, runs

PACK = "data/faces_webface_112x112"
DRAWN = {"people": 14, "images_per_person": 12, "unseen_people": 20, "unseen_images": 2}
DRAWN |= {"unseen_pairs": 40, "cross_age_pairs": 20, "min_gap": 0.0}
# What of the profile cannot be had here: its size, its GPU, and the days it takes.
SMALLER = {
    "encoder": "tiny",
    "forget_people": 3,
    "teacher": {"epochs": 8, "batch_size": 16, "learning_rate": 0.05},
    "unlearning": {"epochs": 2, "batch_size": [8, 8]},
    "n_pairs": 20,
    "n_bootstrap": 5,
    "device": "cpu",
    "seeds": [0],
}


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """A data root with the pack as it is handed out, and the field's manifest with its counts."""
    drawn = manifests.load("synthfaces", **DRAWN)
    people = np.flatnonzero(~drawn.attributes["unseen"])
    folder = tmp_path / "root" / PACK
    write_pack(folder, [encoded(drawn.images[i], "BMP") for i in people], drawn.identities[people])
    fields = yaml.safe_load((manifests.FOLDER / "casia_webface.yaml").read_text())
    fields |= {"images": len(people), "people": 14}
    fields["splits"] |= {"min_images": 5, "outsiders": 3}
    for name, of in (("agedb_30", "unseen"), ("lfw", "unseen"), ("cfp_fp", "cross_age")):
        pairs = drawn.protocols[of]
        both = np.stack([pairs.left, pairs.right], axis=1).ravel()
        images = [encoded(drawn.images[i], "BMP") for i in both]
        write_bin(folder / f"{name}.bin", images, pairs.genuine, "python2")
        fields["pairs"][name]["count"] = len(pairs.genuine)
    path = tmp_path / "casia_webface.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path / "root"))
    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=16, widths=(8, 8, 8)))
    return path


@pytest.mark.slow  # a study on a pack is in test_stored
def test_from_a_pack_on_disk_to_the_table(pack, tmp_path, monkeypatch, capsys):
    changes = {"dataset": str(pack), **SMALLER}
    profile = runs.read_profile("02_unlearning", "paper")
    assert set(SMALLER) - set(profile) == {"n_bootstrap"}  # all else is as the profile has it
    options = [
        word for name, value in changes.items() for word in ("--set", f"{name}={json.dumps(value)}")
    ]

    assert cli.main(["data", "doctor", str(pack)]) == 0
    assert "images 168 168 ok people 14 14 ok" in " ".join(capsys.readouterr().out.split())

    command = ["unlearn", "--profile", "paper", "--out", str(tmp_path / "out"), *options]
    assert cli.main(command) == 0
    tidy = pd.read_csv(tmp_path / "out" / "results.csv")
    assert set(tidy.seed) == {0}
    assert set(tidy.model) == {"before", "after", "oracle"}
    assert tidy.value.notna().all()
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert {"before", "after", "oracle"} <= set(table.columns)

    def never(*_, **__):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(training_cache, "train", never)
    assert cli.main(command) == 0
    again = pd.read_csv(tmp_path / "out" / "results.csv")
    kept = [name for name in tidy if not name.startswith("seconds")]
    pd.testing.assert_frame_equal(again[kept], tidy[kept])


def test_the_profiles_device_reaches_training_unlearning_and_judgement(pack, monkeypatch):
    """`meta` holds no numbers, so whatever computes on it is caught by name."""
    faces = manifests.load(pack)
    setting = study.setting_of(
        runs.declared(runs.find_notebook("02_unlearning"))
        | runs.read_profile("02_unlearning", "paper")
        | {"dataset": str(pack), **SMALLER, "device": "meta"}
    )
    setting = replace(setting, config=replace(setting.config, amp=True))
    seen = {}

    def record(start, images, people, recipe, **options):
        seen.update(options)
        return arcface.Trained(start, (), 0.0)

    monkeypatch.setattr(study, "train_cached", record)
    trained = study.train_teacher(study.prepare(faces, setting, 0))
    assert seen["device"] == "meta"
    assert seen["amp"] is True
    assert {p.device.type for p in trained.encoder.parameters()} == {"meta"}  # others follow it


BEFORE_CUDA = """
import torch

def touched(*_, **__):
    raise AssertionError("CUDA was touched")

torch.cuda._lazy_init = torch._C._cuda_init = touched

def launched(*arguments):
    print("launched")
    raise SystemExit

from cure_study.experiments import seeds as module
module.launch = launched
"""


def test_no_cell_before_the_launch_touches_cuda(tmp_path):
    """Forks of a process that has initialised CUDA cannot use it."""
    import jupytext

    notebook = jupytext.read(runs.NOTEBOOKS / "02_unlearning.py")
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    given = runs.read_profile("02_unlearning", "tiny") | {"device": "cuda", "processes": 2}
    parameters = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    script = "\n".join([BEFORE_CUDA, cells[0], parameters, *cells[1:]])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.stdout == "launched\n", done.stderr


def test_a_process_that_has_touched_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(processes.torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match=r"processes=2 .* restart the kernel"):
        processes.launch(print, (), 2)
