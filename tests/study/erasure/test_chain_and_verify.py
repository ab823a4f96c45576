"""One request after another, and the check of a result."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from small_request import UNLEARNING

from cure_core.files import DamagedFileError
from cure_study.erasure import forget
from cure_study.erasure.earlier import read_chain
from cure_study.erasure.sums import write_sums
from cure_study.erasure.verify import verify

pytestmark = pytest.mark.xdist_group("erasure")


@pytest.fixture(scope="module")
def second(done, tmp_path_factory):
    """A second request after the one of `done`, for a person who was not in it."""
    folder = tmp_path_factory.mktemp("second")
    gone = {file.split("/")[0] for file in pd.read_csv(done.folder / "request.csv")["file"]}
    person = next(f"person_{i:03d}" for i in range(12) if f"person_{i:03d}" not in gone)
    listed = folder / "list.txt"
    listed.write_text(f"{person}/\n")
    shutil.copytree(done.folder, folder / "first")
    return forget(
        done.demo["images"], listed, encoder="small", after=folder / "first",
        out=folder / "second", identities="folders", unlearning=UNLEARNING, n_bootstrap=0,
        progress=False,
    )  # fmt: skip


@pytest.fixture
def copied(done, tmp_path):
    """A copy of the result and of its images, to damage."""
    shutil.copytree(done.folder, tmp_path / "result")
    shutil.copytree(done.demo["images"], tmp_path / "images")
    return tmp_path / "result"


def test_images_of_earlier_requests_stay_out_of_what_is_retained(done, second):
    before = set(pd.read_csv(done.folder / "request.csv")["file"])
    others = pd.read_csv(second.folder / "images.csv").set_index("file")
    assert set(others[others.role == "forgotten earlier"].index) == before
    assert second.report.counts.earlier == len(before)


def test_the_report_names_the_one_before_and_says_if_it_holds(done, second):
    earlier = second.report.earlier
    assert (earlier.folder, earlier.requests, earlier.missing) == ("../first", 1, 0)
    (measure,) = earlier.still_forgotten
    assert measure.name == "accuracy_request_1"
    first = done.erasure.report.value("accuracy_forget")
    assert measure.before.value == pytest.approx(first, abs=0.2)  # the same student, other pairs


def test_the_second_request_starts_from_the_first_ones_student(second):
    student = second.folder.parent / "first" / "student.safetensors"
    assert str(student) in {item.path for item in second.report.inputs}


def test_a_chain_is_followed_and_a_result_as_it_was_passes(second):
    assert [result.folder.name for result in read_chain(second.folder)] == ["second", "first"]
    verdict = verify(second.folder, progress=False)
    assert verdict, verdict
    assert len(verdict.checked) == 4  # two results, the inputs, the measures


def test_results_that_were_moved_together_are_still_checked(second, tmp_path):
    shutil.copytree(second.folder.parent, tmp_path / "elsewhere")
    verdict = verify(tmp_path / "elsewhere" / "second", progress=False)
    assert verdict, verdict
    assert str(tmp_path / "elsewhere" / "first") in repr(verdict)


def test_an_earlier_result_that_was_changed_is_named(second, tmp_path):
    shutil.copytree(second.folder.parent, tmp_path / "chain")
    report = tmp_path / "chain" / "first" / "report.json"
    report.write_text(report.read_text().replace('"seed": 0', '"seed": 1'))
    write_sums(report.parent)
    verdict = verify(tmp_path / "chain" / "second", recompute=False)
    assert "it is not the report that" in repr(verdict)
    with pytest.raises(DamagedFileError, match=r"first.report\.json"):
        read_chain(tmp_path / "chain" / "second")


@pytest.mark.parametrize("name", ["student.safetensors", "report.json", "report.html"])
def test_a_changed_file_is_named(copied, name):
    with open(copied / name, "ab") as file:
        file.write(b" ")
    verdict = verify(copied, recompute=False)
    assert not verdict
    assert f"{name} was changed" in repr(verdict)


def test_a_missing_file_is_named(copied):
    (copied / "request.csv").unlink()
    assert "request.csv is missing" in repr(verify(copied, recompute=False))


def test_another_student_with_new_sums_is_found_by_the_report(copied, done):
    shutil.copy(done.demo["weights"], copied / "student.safetensors")
    write_sums(copied)
    assert "report.json has another SHA-256" in repr(verify(copied, recompute=False))


def test_a_swapped_image_is_named(copied):
    retained = pd.read_csv(copied / "images.csv").query("role == 'retained'")["file"].iloc[0]
    path = copied.parent / "images" / retained
    Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    verdict = verify(copied, images=copied.parent / "images", progress=False)
    assert not verdict
    assert f"{retained} was swapped or changed" in repr(verdict)


@pytest.mark.parametrize("changed", ["lists", "people"])
def test_a_changed_list_or_table_is_named_even_if_both_have_one_name(demo, tmp_path, changed):
    images = Path(demo["images"])
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    for name in ("lists", "people"):
        (tmp_path / name).mkdir()
    listed, people = (tmp_path / name / "request.csv" for name in ("lists", "people"))
    listed.write_text("file\n" + "".join(f"{file}\n" for file in files[:12]))
    rows = [f"{file},{file.split('/')[0]}\n" for file in files]
    people.write_text("file,person\n" + "".join(rows))
    result = forget(
        images, listed, demo["weights"], tmp_path / "result", encoder="small",
        identities=str(people), unlearning=UNLEARNING, n_bootstrap=0, progress=False,
    )  # fmt: skip
    path = tmp_path / changed / "request.csv"
    path.write_text(path.read_text() + "\n")
    verdict = verify(result.folder, progress=False)
    assert f"{path} is not the file that the request was made with" in repr(verdict)
    assert len(verdict.differences) == 1


def test_an_edited_number_is_found_by_computing_it_again(copied, done):
    """Even if every digest was made to fit."""
    report = copied / "report.json"
    value = done.erasure.report.value("accuracy_retain")
    text = report.read_text()
    assert f'"value": {value}' in text
    report.write_text(text.replace(f'"value": {value}', f'"value": {value - 0.05}'))
    write_sums(copied)
    verdict = verify(copied, progress=False)
    assert not verdict
    assert f"accuracy_retain (after) is {value:.4f}" in repr(verdict)


def test_a_folder_without_a_result_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no report\.json"):
        verify(tmp_path)
