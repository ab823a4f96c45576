"""The environment: one lock, in step with pyproject.toml, for every platform."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEPENDENCIES = [
    *PROJECT["project"]["dependencies"],
    *(item for name in sorted(Requirement(EXTRAS["dev"][0]).extras) for item in EXTRAS[name]),
    *EXTRAS["dev"][1:],
]
REQUIRED = [*DEPENDENCIES, *PROJECT["tool"]["uv"]["constraint-dependencies"]]
OTHER_ENVIRONMENTS = [("3.11", "lowest"), ("3.12", "locked"), ("3.13", "locked")]
UNREACHABLE = re.compile(r"error sending request|timed out|network was disabled")
# Tests that start other programs from this environment, ask the registry, or take minutes.
NOT_REPEATED = [
    *(f"test_{name}.py" for name in ("notebooks", "site", "docs", "jupyterlab", "environment")),
    *("study/runner/batch/test_execute.py", "study/course", "study/experiments/comparison"),
    "study/experiments/test_paper_scale.py",
]


def uv(*arguments: str, cwd: Path = ROOT, timeout: int = 180, **environment: str) -> None:
    """Run uv; skip where the registry is out of reach, fail on any other error."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr


def interpreter(version: str) -> Path:
    """A Python of this version, from pyenv or from where uv looks; skip where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    if found:
        return found[-1]
    done = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", version],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"there is no Python {version}")
    return Path(done.stdout.strip())


@pytest.mark.parametrize("requirement", REQUIRED)
def test_locked_versions_are_in_the_required_ranges(requirement):
    wanted = Requirement(requirement)
    locked = [Requirement(line) for line in LOCK.read_text(encoding="utf-8").splitlines()]
    versions = [
        next(iter(pin.specifier)).version
        for pin in locked
        if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
    ]
    assert versions, f"{wanted.name} is not in the lock: run make lock"
    assert all(wanted.specifier.contains(version) for version in versions)


def test_lock_is_what_make_lock_would_write(tmp_path):
    again = tmp_path / LOCK.name
    again.write_text(LOCK.read_text(encoding="utf-8"), encoding="utf-8")
    uv(
        *("pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"),
        *("--python-version", "3.11", "--no-header", "--no-annotate", "-o", str(again)),
    )
    assert again.read_text(encoding="utf-8") == LOCK.read_text(encoding="utf-8"), "run make lock"


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", ["linux", "macos", "windows"])
def test_lock_installs_from_wheels(platform, python, tmp_path):
    uv(
        *("pip", "install", "--dry-run", "--only-binary", ":all:", "-r", str(LOCK)),
        *("--python-platform", platform, "--python-version", python, "--target", str(tmp_path)),
        MACOSX_DEPLOYMENT_TARGET="14.0",  # the oldest macOS that torch has wheels for
    )


def test_conda_environment_takes_its_versions_from_the_lock():
    *packages, through_pip = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    python = Requirement(packages[0].replace("=", "=="))
    assert python.name == "python"
    assert PROJECT["project"]["requires-python"] == f">={next(iter(python.specifier)).version}"
    assert packages[1:] == ["pip"]
    assert through_pip == {"pip": ["-r requirements.lock", "-e ."]}


@pytest.mark.slow
@pytest.mark.xdist_group("environments")  # one after another: each has its own torch
@pytest.mark.parametrize(("python", "versions"), OTHER_ENVIRONMENTS)
def test_the_unit_tests_pass_in_another_environment(python, versions, tmp_path):
    """The lowest versions are free of the constraint that holds the lock to one torch."""
    requirements = LOCK
    if versions == "lowest":
        direct, requirements = tmp_path / "direct.in", tmp_path / "lowest.txt"
        direct.write_text("\n".join(DEPENDENCIES), encoding="utf-8")
        uv(
            *("pip", "compile", str(direct), "--resolution", "lowest-direct"),
            *("--python-version", python, "-o", str(requirements)),
            cwd=tmp_path,
        )
    uv("venv", "--python", str(interpreter(python)), str(tmp_path / "venv"), cwd=tmp_path)
    binary = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    uv(
        *("pip", "install", "--python", str(binary), "-r", str(requirements)),
        cwd=tmp_path,
        timeout=1800,
    )
    uv("pip", "install", "--python", str(binary), "--no-deps", "-e", str(ROOT), cwd=tmp_path)
    done = subprocess.run(
        [binary, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests")]
        + [f"--ignore=tests/{path}" for path in NOT_REPEATED],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{binary.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=5400,
    )
    shutil.rmtree(tmp_path / "venv")  # 5 GB, which pytest would keep
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
