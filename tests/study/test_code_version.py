"""The code version changes with the code that a result depends on, and with nothing else."""

import pytest

from cure_study import code_version as module
from cure_study.code_version import code_version

FILES = {
    "cure_core/__init__.py": "",
    "cure_core/loop.py": '"""The loop."""\nfrom cure_core import losses\n',
    "cure_core/losses.py": "def loss(x):\n    return x\n",
    "cure_core/html.py": "TABLE = 1\n",
    "cure_study/__init__.py": "",
    "cure_study/study.py": "def run():\n    from cure_core.loop import losses\n    import pandas\n",
}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def version(name="cure_study.study", **changes):
        """The version after changes to files, each given as module name and text."""
        for file, text in changes.items():
            (tmp_path / f"{file}.py").write_text(text)
        return code_version(name)

    return version


def test_it_follows_imports_also_those_inside_functions(packages):
    before = packages()
    assert packages(**{"cure_core/losses": "def loss(x):\n    return 2 * x\n"}) != before
    assert packages("cure_core.html") == packages("cure_core.html")


@pytest.mark.parametrize(
    "change",
    [
        {"cure_core/html": "TABLE = 2\n"},  # not imported
        {"cure_core/losses": '"""Losses."""\n\n\ndef loss(x):\n    # a comment\n    return (x)\n'},
        {"cure_core/losses": 'def loss(x):\n    """A docstring."""\n    return x\n'},
    ],
)
def test_code_that_is_not_used_and_comments_do_not_count(packages, change):
    assert packages() == packages(**change)


def test_an_unknown_module_is_named(packages):
    with pytest.raises(ModuleNotFoundError, match=r"no module cure_core\.nothing"):
        packages("cure_core.nothing")


def test_figures_do_not_change_the_version_of_a_student():
    tree = module.ast.parse((module.ROOT / "cure_core" / "unlearning.py").read_text())
    assert not any("figures" in name for name in module.resolve(module._imported_names(tree)))
