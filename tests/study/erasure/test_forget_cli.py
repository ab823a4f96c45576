"""The commands `cure forget` and `cure verify`."""

import os
import shutil
import sys

import pytest
import yaml

from cure_study.erasure.report import read_report
from cure_study.runner.cli import main

pytestmark = pytest.mark.xdist_group("erasure")
SMALL = "unlearning={epochs: 3, batch_size: [16, 16]}"


def run(capsys, *arguments):
    """Exit status, and what was printed to stdout and stderr."""
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "out"], "no images given"),
        (["{images}", "--out", "out"], "no forget given: --forget LIST"),
        (["{images}", "--forget", "{list}", "--out", "out"], "no weights are given"),
        (["--demo", "{images}"], "--demo brings its own images"),
        (["{images}", "--forget", "{list}", "--weights", "{weights}"], "no --out is given"),
        (
            ["{images}", "--forget", "{list}", "--weights", "{weights}", "--out", "{images}"],
            "name another folder",
        ),
        (
            ["{images}", "--forget", "absent.txt", "--weights", "{weights}", "--encoder", "small",
             "--out", "out"],
            "no list at absent.txt",
        ),
        (
            ["{images}", "--forget", "{list}", "--weights", "absent.pt", "--out", "out"],
            "no weights at absent.pt",
        ),
        (
            ["{images}", "--forget", "{list}", "--weights", "{weights}", "--encoder", "smal",
             "--out", "out"],
            "did you mean 'small'",
        ),
        (
            ["{images}", "--forget", "{list}", "--weights", "{weights}", "--out", "out", "--set",
             "unlearnin={{}}"],
            "did you mean 'unlearning'",
        ),
    ],
)  # fmt: skip
def test_errors_come_before_any_work_and_name_the_remedy(
    capsys, demo, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    named = {"images": demo["images"], "list": demo["forget"], "weights": demo["weights"]}
    status, out, err = run(capsys, "forget", *(a.format(**named) for a in arguments))
    assert (status, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_bad_lines_of_a_list_are_named(capsys, demo, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("person_000/\npersn_001/\n")
    status, _, err = run(
        capsys, "forget", demo["images"], "--forget", listed, "--weights", demo["weights"],
        "--encoder", "small", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 1
    assert "line 2" in err
    assert "person_001" in err


def test_verify_exits_with_0_or_names_what_differs(capsys, done, tmp_path):
    status, out, _ = run(capsys, "verify", done.folder)
    assert (status, out.count("as reported")) == (0, 3)
    shutil.copytree(done.folder, tmp_path / "changed")
    (tmp_path / "changed" / "MODEL_CARD.md").write_text("better numbers")
    status, out, _ = run(capsys, "verify", tmp_path / "changed")
    assert status == 1
    assert "differs: " in out
    assert "MODEL_CARD.md was changed" in out
    status, _, err = run(capsys, "verify", tmp_path)
    assert status == 1
    assert "holds no report.json" in err


@pytest.mark.slow
def test_a_request_from_the_command_line_and_again_from_its_config(capsys, demo, tmp_path):
    out, again = tmp_path / "a result", tmp_path / "again"
    given = ["--forget", demo["forget"], "--weights", demo["weights"], "--encoder", "small"]
    status, printed, _ = run(
        capsys, "forget", demo["images"], *given, "--out", out, "--set", SMALL, "--set",
        "n_bootstrap=0",
    )  # fmt: skip
    assert status == 0
    for part in ("images:", "embedding", "images were removed", "report.html", "cure verify"):
        assert part in printed
    assert (out / "07_your_own_request.ipynb").is_file()
    assert "07_your_own_request.ipynb" in (out / "SHA256SUMS").read_text()
    assert run(capsys, "verify", out)[0] == 0
    assert yaml.safe_load((out / "config.yaml").read_text())["images"] == demo["images"]
    assert run(capsys, "forget", "--config", out / "config.yaml", "--out", again)[0] == 0
    first, second = read_report(out), read_report(again)
    assert first.measures == second.measures


@pytest.mark.slow
def test_a_cell_that_fails_leaves_the_notebook_and_no_result(capsys, demo, tmp_path):
    out = tmp_path / "out"
    status, _, err = run(
        capsys, "forget", demo["images"], "--forget", demo["forget"], "--weights",
        demo["weights"], "--encoder", "small", "--out", out, "--set",
        "unlearning={clusters: 400, epochs: 1}",
    )  # fmt: skip
    assert status == 1
    assert "clusters" in err
    assert not out.exists()
    assert (tmp_path / "out-failed" / "07_your_own_request.ipynb").is_file()


OWN = """
from cure_core.encoders import Adapted, SmallEncoder


def make():
    return Adapted(SmallEncoder(), mean=0, std=1)
"""


@pytest.mark.slow
def test_an_encoder_of_a_module_in_the_current_folder_is_found(capsys, demo, tmp_path, monkeypatch):
    (tmp_path / "encoders_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    status, _, err = run(
        capsys, "forget", demo["images"], "--forget", demo["forget"], "--weights",
        demo["weights"], "--encoder", "encoders_of_mine:make", "--out", "out", "--set", SMALL,
        "--set", "n_bootstrap=0",
    )  # fmt: skip
    assert status == 0, err
    assert read_report(tmp_path / "out").encoder.name == "encoders_of_mine:make"
    assert run(capsys, "verify", "out")[0] == 0
