"""The environment: one lock, in step with pyproject.toml, for every platform and a light import."""

import os
import re
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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ASKED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
    *PROJECT["tool"]["uv"]["constraint-dependencies"],
]
LIGHT = ["losses", "clustering", "encoders", "unlearning"]
HEAVY = {"sklearn", "matplotlib", "seaborn", "papermill", "pydantic", "jupytext", "torchvision"}
UNREACHABLE = re.compile(r"error sending request|timed out|network was disabled")


def uv(*arguments: str, **environment: str) -> None:
    """Run uv; skip where the registry is out of reach, fail on any other error."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("asked", ASKED)
def test_locked_versions_are_in_the_ranges_asked_for(asked):
    wanted = Requirement(asked)
    locked = [Requirement(line) for line in LOCK.read_text().splitlines()]
    versions = [
        next(iter(pin.specifier)).version
        for pin in locked
        if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
    ]
    assert versions, f"{wanted.name} is not in the lock: run make lock"
    assert all(wanted.specifier.contains(version) for version in versions)


def test_lock_is_what_make_lock_would_write(tmp_path):
    again = tmp_path / LOCK.name
    again.write_text(LOCK.read_text())
    uv(
        *("pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"),
        *("--python-version", "3.11", "--no-header", "--no-annotate", "-o", str(again)),
    )
    assert again.read_text() == LOCK.read_text(), "run make lock"


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", ["linux", "macos", "windows"])
def test_lock_installs_from_wheels(platform, python, tmp_path):
    uv(
        *("pip", "install", "--dry-run", "--only-binary", ":all:", "-r", str(LOCK)),
        *("--python-platform", platform, "--python-version", python, "--target", str(tmp_path)),
        MACOSX_DEPLOYMENT_TARGET="14.0",  # the oldest macOS that torch has wheels for
    )


def test_conda_environment_takes_its_versions_from_the_lock():
    *packages, through_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    python = Requirement(packages[0].replace("=", "=="))
    assert python.name == "python"
    assert PROJECT["project"]["requires-python"] == f">={next(iter(python.specifier)).version}"
    assert packages[1:] == ["pip"]
    assert through_pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_import_is_light():
    light = ", ".join(f"cure_core.{name}" for name in LIGHT)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {light}; print(sorted({HEAVY} & set(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
