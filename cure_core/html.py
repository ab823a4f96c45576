"""What objects look like in a notebook: small tables in plain HTML."""

import base64
import io
from collections.abc import Mapping
from html import escape

import numpy as np

LEFT = 'style="text-align: left"'


def table(title: str, rows: Mapping[str, object], bold: frozenset[str] = frozenset()) -> str:
    """A caption and two columns, names and values; the values of the names in `bold` are bold."""
    lines = []
    for name, value in rows.items():
        text = f"<strong>{escape(str(value))}</strong>" if name in bold else escape(str(value))
        lines.append(f"<tr><th {LEFT}>{escape(name)}</th><td {LEFT}>{text}</td></tr>")
    caption = f"<caption {LEFT}>{escape(title)}</caption>"
    return f"<table>{caption}<tbody>{''.join(lines)}</tbody></table>"


def strip(images: np.ndarray) -> str:
    """Images (N, H, W, 3) uint8 side by side, at half their size, embedded in the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), axis=1)).reduce(2).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{len(images)} images of the set" src="data:image/png;base64,{data}">'
