"""Feedback pages that load nothing from the network: no scripts, formulas drawn into the page."""

import base64
import html
import io
import re
from typing import Any

from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode

# A browser loads nothing but what is within the page, whatever a student wrote into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
REMOVED = "script, link, base, iframe, object, embed, meta[http-equiv]"
REMOTE = re.compile(r"\s*([a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
FORMULA = re.compile(r"(\$\$?)(\S(?:[^$]*\S)?)\1", re.DOTALL)


class FeedbackPage(HTMLExporter):
    """nbgrader's feedback page, made self-contained."""

    def from_notebook_node(
        self, nb: NotebookNode, resources: Any = None, **options: Any
    ) -> tuple[Any, Any]:
        page, resources = super().from_notebook_node(nb, resources, **options)
        return self_contained(page), resources


def self_contained(page: str) -> str:
    """An HTML page without scripts, its formulas drawn, its remote images replaced by links."""
    soup = BeautifulSoup(page, "html.parser")
    for tag in soup.select(REMOVED):
        tag.decompose()
    policy = {"http-equiv": "Content-Security-Policy", "content": POLICY}
    (soup.head or soup).insert(0, soup.new_tag("meta", attrs=policy))
    for image in soup.find_all("img", src=REMOTE):
        url = str(image["src"])
        link = soup.new_tag("a", href=url)
        link.string = f"image at {url}"
        image.replace_with(link)
    for string in soup.find_all(string=FORMULA):
        if string.find_parent(class_="text_cell_render") and not string.find_parent(
            ["pre", "code"]
        ):
            drawn = FORMULA.sub(draw_formula, html.escape(string, quote=False))
            string.replace_with(BeautifulSoup(drawn, "html.parser"))
    return str(soup)


def draw_formula(found: re.Match[str]) -> str:
    """The formula as an SVG image within the page; as it was written where it cannot be drawn."""
    from matplotlib.mathtext import math_to_image

    image, formula = io.BytesIO(), html.unescape(found[2])
    try:
        depth = math_to_image(f"${' '.join(formula.split())}$", image, format="svg")
    except (ValueError, RuntimeError):
        return found[0]
    style = f"vertical-align: -{depth}px" if found[1] == "$" else "display: block; margin: 1em auto"
    source = f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}"
    return f'<img alt="{html.escape(formula)}" style="{style}" src="{source}"/>'
