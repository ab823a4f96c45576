"""What objects look like in a notebook: small tables in plain HTML."""

import base64
import io
from collections.abc import Mapping
from html import escape

import numpy as np


def table(title: str, rows: Mapping[str, object], changed: frozenset[str] = frozenset()) -> str:
    """A caption and two columns; the names in `changed` stand out."""
    lines = []
    for name, value in rows.items():
        text = escape(str(value))
        shown = f"<strong>{text}</strong>" if name in changed else text
        left = ' style="text-align: left"'
        lines.append(f"<tr><th{left}>{escape(name)}</th><td{left}>{shown}</td></tr>")
    caption = f'<caption style="text-align: left">{escape(title)}</caption>'
    return f"<table>{caption}<tbody>{''.join(lines)}</tbody></table>"


def strip(images: np.ndarray) -> str:
    """Images (N, H, W, 3) uint8 side by side, at half their size, within the page itself."""
    from PIL import Image

    buffer = io.BytesIO()
    sheet = Image.fromarray(np.concatenate(list(images), axis=1))
    sheet.reduce(2).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{len(images)} images of the set" src="data:image/png;base64,{data}">'
