"""Build the website into build/site/html from the pages and the executed notebooks; nothing is run.

Usage: python docs/build.py [--out FOLDER].
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
# The pages in the order of the sidebar.
PAGES = {
    "Findings": [
        "claims",
        "comparison",
        "blending",
        "attacks",
        "quality",
        "clusters",
        "comparison_appendix",
    ],
    "Use it": ["requests", "settings", "batches", "paper_scale", "adding", "faq"],
    "Reference": ["methods", "measures", "api", "gallery"],
}
TOCTREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""
MODULES = (
    "cure_core.unlearning",
    "cure_core.config",
    "cure_core.losses",
    "cure_core.clustering",
    "cure_core.cluster_count",
    "cure_core.objectives.registry",
    "cure_core.encoders.registry",
    "cure_core.encoders.adapter",
    "cure_core.encoders.embedding",
    "cure_core.training.arcface",
    "cure_core.metrics.ues",
    "cure_core.metrics.verification",
    "cure_core.metrics.membership",
    "cure_core.metrics.gallery",
    "cure_core.metrics.intervals",
    "cure_study.data.manifests",
    "cure_study.data.faceset",
    "cure_study.data.requests",
    "cure_study.evaluation.evaluate",
    "cure_study.experiments.study",
    "cure_study.experiments.seeds",
    "cure_study.erasure.run",
    "cure_study.erasure.setting",
    "cure_study.erasure.verify",
    "cure_study.erasure.export",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SITE, help="where the site is built")
    options = parser.parse_args()
    source = options.out / "src"
    for old in (source, options.out / "html"):
        shutil.rmtree(old, ignore_errors=True)
    write_source(source)
    from sphinx.cmd.build import main as sphinx

    command = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(ROOT / "docs")]
    command += ["-d", str(options.out / "doctrees")]
    return sphinx([*command, str(source), str(options.out / "html")])


def write_source(source: Path) -> None:
    """The pages as Sphinx takes them, in the folders that they have in the repository."""
    for folder in ("figures", "notebooks/executed", "docs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("*.py"))
    (source / "notebooks" / "course").mkdir()
    shutil.copy(ROOT / "notebooks" / "course" / "README.md", source / "notebooks" / "course")
    for name in ("CONTRIBUTING.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    shutil.copy(ROOT / "README.md", source / "docs" / "readme.md")
    for page in (source / "docs").glob("*.md"):
        from_root = page.name == "readme.md"
        page.write_text(links(page.read_text(encoding="utf-8"), from_root), encoding="utf-8")
    (source / "docs" / "api.rst").write_text(api(), encoding="utf-8")
    (source / "index.md").write_text(index(source), encoding="utf-8")
    (source / "docs" / "index.md").unlink()


def links(text: str, from_root: bool = False) -> str:
    """The text of a page with links that lead to pages of the site.

    The README's start from the root; links to sources become plain text, which the site has none
    of.
    """
    if from_root:
        text = re.sub(r"\]\(docs/", "](", text)
        text = re.sub(r"\]\((figures|notebooks|CONTRIBUTING|CITATION)", r"](../\1", text)
    text = text.replace("](../README.md", "](readme.md")
    text = re.sub(r"\[([^\]]*)\]\(\.\./cure_(?:core|study)/[^)]*\)", r"\1", text)
    text = re.sub(r"\]\(\.\./notebooks/(\d\w+\.ipynb)\)", r"](../notebooks/executed/\1)", text)
    return re.sub(r"\[([^\]]*)\]\((?:\.\./)?notebooks/executed/?\)", r"\1", text)


def api() -> str:
    """The reference of each module, from its docstrings."""
    parts = []
    for module in MODULES:
        title = f"``{module}``"
        options = "   :members:\n   :member-order: bysource\n"
        parts.append(f"{title}\n{'-' * len(title)}\n\n.. automodule:: {module}\n{options}")
    return "\n".join(parts)


def index(source: Path) -> str:
    """The landing page with the sidebar."""
    text = (source / "docs" / "index.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((\w+\.md)", r"](docs/\1", text).replace("](../", "](")
    executed = source / "notebooks" / "executed"
    notebooks = [f"notebooks/executed/{p.stem}" for p in sorted(executed.glob("*.ipynb"))]
    lessons = [f"notebooks/executed/course/{p.stem}" for p in sorted(executed.glob("*/*.ipynb"))]
    trees = {
        "Start": ["README: install and run <docs/readme>"],
        **{caption: [f"docs/{page}" for page in pages] for caption, pages in PAGES.items()},
        "Notebooks, executed": notebooks,
        "Course": ["notebooks/course/README", *lessons],
        "Contributing": ["CONTRIBUTING"],
    }
    parts = (TOCTREE.format(caption=c, pages="\n".join(p)) for c, p in trees.items() if p)
    return text + "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
