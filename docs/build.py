"""Build the website into build/site/html: the README, the notebooks as executed, and the course.

Usage: python docs/build.py [--profile quick] [--bare]. Notebooks that were run before by the same
code are not run again; with --bare none is run, and the pages have no outputs.
"""

import argparse
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from cure_core.files import atomic_path
from cure_study.course.release import released
from cure_study.runner import kernel, run_folder, runs

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "notebooks" / "course"
SITE = ROOT / "build" / "site"
TOCTREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="quick", help="the profile of the study's notebooks")
    parser.add_argument("--bare", action="store_true", help="run nothing: pages without outputs")
    parser.add_argument("--out", type=Path, default=SITE, help="where the site is built")
    options = parser.parse_args()
    source = options.out / "src"
    for old in (source, options.out / "html"):
        shutil.rmtree(old, ignore_errors=True)
    study = [
        stage(path, source / "notebooks", None if options.bare else options.profile)
        for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
    ]
    lessons = [
        stage_lesson(path, source / "notebooks" / "course", options.out / "executed", options.bare)
        for path in sorted((COURSE / "source").glob("*/*.ipynb"))
    ]
    shutil.copytree(ROOT / "figures", source / "figures")
    for name in ("CONTRIBUTING.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    shutil.copy(COURSE / "README.md", source / "notebooks" / "course")
    (source / "docs").mkdir()
    for path in (ROOT / "docs").glob("*.md"):
        shutil.copy(path, source / "docs")
    pages = {
        "The study": study,
        "The course": [*lessons, "notebooks/course/README"],
        "Findings": ["docs/comparison", "docs/findings"],
        "More": ["docs/batches", "docs/paper_scale", "CONTRIBUTING"],
    }
    trees = [TOCTREE.format(caption=c, pages="\n".join(p)) for c, p in pages.items()]
    (source / "index.md").write_text(
        (ROOT / "README.md").read_text(encoding="utf-8") + "".join(trees), encoding="utf-8"
    )
    from sphinx.cmd.build import main as sphinx

    command = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(ROOT / "docs")]
    command += ["-d", str(options.out / "doctrees")]
    return sphinx([*command, str(source), str(options.out / "html")])


def stage(notebook: Path, folder: Path, profile: str | None) -> str:
    """Put a notebook of the study, executed in the profile if there is one, into the source."""
    executed = notebook
    if profile is not None:
        run = runs.plan_run(notebook, profile, runs.profile_parameters(notebook, profile))
        print(f"{notebook.stem}, profile {profile}", flush=True)
        executed = run_folder.execute(run, runs.RUNS, again=False) / notebook.name
    write(nbformat.read(executed, as_version=4), folder / notebook.name)
    return f"notebooks/{notebook.stem}"


def stage_lesson(notebook: Path, folder: Path, kept: Path, bare: bool) -> str:
    """Put a lesson into the source: the student's cells, with the outputs of the solution."""
    solved = nbformat.read(notebook, as_version=4)
    page = released(solved)
    if not bare:
        print(notebook.stem, flush=True)
        version = f"{runs.notebook_version(notebook)}-{runs.code_version()}"
        outputs = execute(solved, kept / f"{notebook.stem}-{version}.ipynb")
        for cell, done in zip(page.cells, outputs.cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs = done.outputs
    write(page, folder / notebook.name)
    return f"notebooks/course/{notebook.stem}"


def execute(notebook: NotebookNode, kept: Path) -> NotebookNode:
    """The notebook with its outputs, from the file `kept` where it was executed before."""
    if not kept.is_file():
        from nbclient import NotebookClient

        kept.parent.mkdir(parents=True, exist_ok=True)
        place = {"metadata": {"path": str(kept.parent)}}
        with kernel.local_sockets() as config:
            kernel.start(NotebookClient(notebook, resources=place, config=config).execute)
        with atomic_path(kept) as temporary:
            nbformat.write(notebook, temporary)
    return nbformat.read(kept, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a page's notebook, without what only a kernel can show: a widget becomes a note."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [static for output in cell.outputs if (static := as_static(output))]
    notebook.metadata.pop("widgets", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def as_static(output: NotebookNode) -> NotebookNode | None:
    """An output as a page can show it; None for a progress bar or a warning."""
    if output.get("name") == "stderr":
        return None
    if "application/vnd.jupyter.widget-view+json" not in output.get("data", {}):
        return output
    plain = output.data.get("text/plain", "")
    if "%|" in plain:
        return None
    return new_output(
        "display_data", data={"text/plain": "(a widget: open the notebook to use it)"}
    )


if __name__ == "__main__":
    sys.exit(main())
