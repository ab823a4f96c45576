"""The website: pages, executed notebooks, the course and the API. Built by docs/build.py."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "CURE: forgetting faces without labels"
author = "the authors of the study"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "docs/api.rst"]
autodoc_typehints = "signature"
add_module_names = False
html_theme = "furo"
html_title = "CURE"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks come executed
nb_merge_streams = True
nb_number_source_lines = False
suppress_warnings = ["misc.highlighting_failure"]
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ENTRY = re.compile(r"^(\w+(?:, \w+)*): (?=\S)")


def inline(self, node):
    """MathML, so that a page needs nothing from the network to show a formula."""
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: code in backticks, `name: meaning` lists, indented examples."""
    out = []
    for line in lines:
        line = CODE.sub(r"``\1``", line.replace("*", "\\*").replace("|", "\\|"))
        listed = ENTRY.match(line) and name.endswith(("Config", "Recipe", "Study"))
        out += [f"- ``{line.partition(':')[0]}``{line.partition(':')[1]}{line.partition(':')[2]}"
                if listed else line]  # fmt: skip
    lines[:] = [re.sub(r"^ {4}(?=\S)", "  ", line) for line in out]


def setup(app):
    app.connect("autodoc-process-docstring", as_rst)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
