"""How the cost of a study grows with the data, as `benchmarks/cost.py --full` measures it."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cure_study.figures import style

LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


@style.in_style
def draw_cost(data: pd.DataFrame) -> Figure:
    """Seconds of each part over what makes it grow: what, N, K, share, seconds.

    The axes of a panel have one scale, so that proportional growth is a straight line.
    """
    figure, axes = style.panels(1, 3, (style.PAGE, 2.5))
    embedding, kmeans, unlearning = axes[0]
    parts = {name: data[data.what == name] for name in ("embedding", "kmeans", "unlearning")}
    rows = parts["embedding"]
    embedding.loglog(rows.N, rows.seconds, "o-", color="0.35", ms=4)
    embedding.set(title="embedding", xlabel="images N", ylabel="seconds")
    for (colour, marker), (k, rows) in zip(LOOKS, parts["kmeans"].groupby("K"), strict=False):
        look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4}
        kmeans.loglog(rows.N, rows.seconds, label=f"K = {k:,.0f}", **look)
    kmeans.set(title="K-means, 5 iterations", xlabel="images N")
    kmeans.legend(fontsize=6.5)
    rows = parts["unlearning"].sort_values("share")
    unlearning.plot(100 * rows.share, rows.seconds, "o-", color="0.35", ms=4)
    sizes = ", ".join(f"{n:,.0f}" for n in rows.N.dropna().unique())
    unlearning.set(title=f"unlearning, one epoch, N = {sizes}")
    unlearning.set(xlabel="images forgotten (% of N)", xlim=(0, None), ylim=(0, None))
    unlearning.xaxis.set_major_locator(MaxNLocator(5))
    for ax, rows in zip(axes[0], parts.values(), strict=True):
        if rows.seconds.isna().all():
            style.note(ax, "not measured")
    return figure
