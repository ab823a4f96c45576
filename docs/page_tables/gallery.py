"""The gallery: every committed figure with its caption, from figures/index.yaml."""

from collections.abc import Callable

import pandas as pd

from cure_study.data.yaml_files import read_yaml
from cure_study.figures.index import INDEX


def gallery() -> pd.DataFrame:
    """Each figure with its caption, the notebook that draws it and its table."""
    lines = []
    for name, entry in read_yaml(INDEX).items():
        notebook = entry["notebook"].removeprefix("notebooks/").removesuffix(".ipynb")
        origin = f"[notebook {notebook[:2]}](../{entry['notebook']})"
        data = f", [data](../{entry['data']})" if entry["data"] else ""
        image = f"[![{name}](../figures/{name}.png)](../figures/{name}.svg)"
        lines.append({"figure": image, "what it shows": f"{entry['caption']} *{origin}{data}*"})
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"gallery": gallery}
