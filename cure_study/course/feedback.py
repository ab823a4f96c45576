"""Feedback pages that load nothing from the network: no scripts, formulas drawn into the page."""

import base64
import html
import io
import re
from typing import Any

from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode

REMOTE = re.compile(r"\s*([a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
REMOTE_STYLE = re.compile(r"@import[^;]*;?|url\(\s*['\"]?([a-z]+:)?//[^)]*\)", re.IGNORECASE)
LOADS = ("src", "srcset", "href", "xlink:href", "poster", "background")
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
    for tag in soup.select("script, link, iframe, object, embed, base, meta[http-equiv]"):
        tag.decompose()
    for style in soup.find_all("style"):
        style.string = REMOTE_STYLE.sub("", style.get_text())
    for tag in soup.find_all(True):
        for name in [name for name in tag.attrs if name.startswith("on")]:
            del tag[name]
        if "style" in tag.attrs:
            tag["style"] = REMOTE_STYLE.sub("", str(tag["style"]))
        remote = [name for name in LOADS if REMOTE.match(str(tag.get(name, "")))]
        if remote and tag.name == "img":
            url = str(tag[remote[0]])
            link = soup.new_tag("a", href=url)
            link.string = f"image at {url}"
            tag.replace_with(link)
        elif remote and tag.name != "a":
            for name in remote:
                del tag[name]
    for part in soup.select(".text_cell_render"):
        for string in part.find_all(string=FORMULA):
            if string.find_parent(["pre", "code"]) is None:
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
