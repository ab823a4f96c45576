"""The website: the README, the notebooks as executed, and the course. Built by docs/build.py."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "CURE: forgetting faces without labels"
author = "the authors of the study"
extensions = ["myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "CURE"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks come executed
nb_merge_streams = True
nb_number_source_lines = False
suppress_warnings = ["misc.highlighting_failure"]


def inline(self, node):
    """MathML, so that a page needs nothing from the network to show a formula."""
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
