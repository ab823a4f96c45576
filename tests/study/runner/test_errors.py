"""Wrong input and what the system refuses are reported in one line with the remedy."""

import argparse
import errno
import os
import subprocess
import sys

import pytest

from cure_study.data import manifests
from cure_study.runner import cli, errors, runs

UNLEARN = ["unlearn", "--profile", "tiny"]
STUDY = ["study", "--profile", "tiny"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder with a file, and no data sets."""
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "list.yaml").write_text("- 1", encoding="utf-8")
    (tmp_path / "study.yaml").write_text(
        'notebooks: [02_unlearning]\nprofile: tiny\nparameters: {least_ues: "1e-3"}\nseeds: [0]\n',
        encoding="utf-8",
    )
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "run.json").write_text("[1]", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path / "none"))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["study", "--profile", "quik"], "no quik.yaml in profiles/; did you mean 'quick'?"),
        (["study", "--notebook", "02_unlearn"], "in notebooks/; did you mean '02_unlearning'?"),
        (["study", "--notebook", ""], "no .ipynb in notebooks/; there are 01_clustering"),
        (["study", "--notebook", "none.ipynb"], "no notebook "),
        (
            [*STUDY, "--set", "least_ues=much"],
            "`least_ues` is 'much': Input should be a valid number",
        ),
        (
            [*STUDY, "--set", "least_ues='1e-3'"],
            "`least_ues` is '1e-3': Input should be a valid number",
        ),
        ([*STUDY, "--set", "seeds=3"], "`seeds` is 3: Input should be a valid list"),
        ([*STUDY, "--set", "dataset=lfw"], "lfw has no option cross_age_pairs"),
        ([*STUDY, "--set", "weights=none.pt"], "no weights at "),
        ([*STUDY, "--set", "method=cure", "--set", "method=laf"], "--set gives method twice"),
        ([*STUDY, "--runs", "file"], "file/.locks: Not a directory; a file is where a folder"),
        ([*UNLEARN, "--set", "method=foo"], "method is 'foo'; there are cure, cure_plus"),
        ([*UNLEARN, "--set", "encoder=smal"], "encoder is 'smal'; did you mean 'small'?"),
        ([*UNLEARN, "--set", "encoder=none:none"], "cannot make the encoder none:none"),
        ([*UNLEARN, "--set", "dataset=foo"], "no manifest "),
        ([*UNLEARN, "--set", "device=cuda"], "torch finds no CUDA device on this machine"),
        ([*UNLEARN, "--out", "file"], "file: File exists; a file is where a folder should be"),
        (["quality", "--profile", "tiny", "--rows", "."], ".: Is a directory; name a file"),
        (["figures", "--from", "none"], "none/run.json: No such file or directory"),
        (["figures", "--from", "record"], "record/run.json is damaged (it is not a run's record)"),
        (["compare", "synthfacs"], "the data set is 'synthfacs'; did you mean 'synthfaces'?"),
        (
            ["compare", "synthfaces", "--methods", "curee"],
            "method is 'curee'; did you mean 'cure'?",
        ),
        (["compare", "all", "--seeds", "99"], "seed is 99; there are 0, 1, 2"),
        (["compare", "lfw", "--plan", "list.yaml"], "list.yaml holds list; expected a mapping"),
        (["batch", "plan", "none.yaml"], "no study none.yaml"),
        (
            ["batch", "run", "study.yaml"],
            "study.yaml: 02_unlearning: `least_ues` is '1e-3': Input should",
        ),
        (["batch", "report", "list.yaml"], "list.yaml holds list"),
        (["data", "doctor", "foo"], "no manifest "),
        (["data", "doctor", "synthfaces", "--picture", "."], ".: Is a directory; name a file"),
    ],
)
def test_wrong_input_is_reported_before_the_work(place, capsys, monkeypatch, command, message):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("cure: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("seeds", ["a", "1,,2", "1.5"])
def test_a_list_that_is_not_of_its_kind_is_refused_by_the_parser(capsys, seeds):
    with pytest.raises(SystemExit) as error:
        cli.main(["compare", "synthfaces", "--seeds", seeds])
    assert error.value.code == 2
    assert "is not a list of whole numbers; write 0,1,2" in capsys.readouterr().err


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def os_error(number, *names):
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (os_error(errno.ENOSPC), "MB free): No space left on device; free some space"),
        (os_error(errno.ENOSPC, "/x/y"), "/x/y: No space left on device; free some space"),
        (os_error(errno.EACCES, "/x/y"), "/x/y: Permission denied; allow access to it"),
        (os_error(errno.EROFS, "/x/y"), "/x/y: Read-only file system; allow access"),
        (os_error(errno.EMFILE, "/x"), "/x: Too many open files; raise the limit"),
        (os_error(errno.EIO, "/x/y"), "/x/y: Input/output error"),
        (os_error(errno.ENOTEMPTY, "/x", None, "/y"), "/x -> /y: Directory not empty"),
        (MemoryError(), "MemoryError"),
        (ImportError("No module named 'onnx'"), "No module named 'onnx'"),
    ],
)
def test_what_the_system_refuses_is_reported_with_place_and_remedy(
    place, capsys, monkeypatch, error, message
):
    monkeypatch.setattr(manifests, "load", failing(error))
    assert cli.main([*UNLEARN, "--out", "out"]) == 1
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert message in output


def test_a_full_disk_without_a_name_tells_where_the_command_writes(place, capsys, monkeypatch):
    monkeypatch.setenv("CURE_CACHE", str(place / "cache" / "not" / "made"))
    monkeypatch.setattr(manifests, "load", failing(os_error(errno.ENOSPC)))
    assert cli.main([*UNLEARN, "--out", "out"]) == 1
    output = capsys.readouterr().err
    assert str(place / "cache" / "not" / "made") in output
    assert "out (" in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
def test_a_cache_that_cannot_be_written_is_named(place, capsys, monkeypatch):
    cache = place / "cache"
    cache.mkdir(mode=0o500)
    monkeypatch.setenv("CURE_CACHE", str(cache))
    assert cli.main([*UNLEARN, "--out", "out"]) == 1
    assert f"{cache}/faces: Permission denied" in capsys.readouterr().err


def test_ctrl_c_ends_with_a_line_and_130(place, capsys, monkeypatch):
    monkeypatch.setattr(manifests, "load", failing(KeyboardInterrupt()))
    assert cli.main([*UNLEARN, "--out", "out"]) == 130
    assert capsys.readouterr().err == "\ncure: stopped; the same command goes on from here\n"


def test_a_dead_kernel_is_reported(place, capsys, monkeypatch):
    from nbclient.exceptions import DeadKernelError

    monkeypatch.setattr(
        "cure_study.runner.run_folder.execute", failing(DeadKernelError("Kernel died"))
    )
    assert cli.main(["study", "--profile", "tiny"]) == 1
    assert "the notebook's kernel died, most often for lack of memory" in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(place, monkeypatch):
    monkeypatch.setattr(manifests, "load", failing(ZeroDivisionError("a fault")))
    with pytest.raises(ZeroDivisionError, match="a fault"):
        cli.main([*UNLEARN, "--out", "out"])


PRINTS_MUCH = """
import sys
from cure_study.runner import cli

cli.examine_data = lambda *_: print("x" * 1_000_000, flush=True)
sys.exit(cli.main(["data", "doctor", "any"]))
"""


def test_a_closed_pipe_ends_quietly():
    """As by `cure ... | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", PRINTS_MUCH]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(("library", "extra"), [("distributed", "batch"), ("accelerate", "gpu")])
def test_a_missing_library_is_named_with_the_extra_that_installs_it(library, extra):
    error = ModuleNotFoundError(f"No module named {library!r}", name=library)
    message = errors.message(error, argparse.Namespace())
    assert message == f"No module named '{library}'; pip install 'cure-core[{extra}]'"
