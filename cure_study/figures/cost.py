"""How the cost of a study grows with the data, as `benchmarks/cost.py --full` measures it."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from cure_study.figures.style import PAGE, STYLE, Picture, note

PARTS = ("embedding", "kmeans", "unlearning")
LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


def draw_cost(data: pd.DataFrame) -> Figure:
    """Seconds of each part over what makes it grow: what, N, K, share, seconds."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.5), layout="constrained")
        embedding, kmeans, unlearning = figure.subplots(1, 3)
        own = data[data.what == "embedding"]
        embedding.loglog(own.N, own.seconds, "o-", color="0.35", ms=4)
        embedding.set(title="embedding", xlabel="images N", ylabel="seconds")
        own = data[data.what == "kmeans"]
        for (colour, marker), (k, line) in zip(LOOKS, own.groupby("K"), strict=False):
            look = {"color": colour, "marker": marker, "ms": 4}
            kmeans.loglog(line.N, line.seconds, label=f"K = {k:,.0f}", **look)
        kmeans.set(title="K-means, 5 iterations", xlabel="images N")
        kmeans.legend(frameon=False, fontsize=6.5)
        own = data[data.what == "unlearning"]
        unlearning.semilogx(100 * own.share, own.seconds, "o-", color="0.35", ms=4)
        sizes = ", ".join(f"{n:,.0f}" for n in own.N.dropna().unique())
        unlearning.set(title=f"unlearning, an epoch, N = {sizes}")
        unlearning.set(xlabel="forgotten (% of N)", ylim=(0, None))
        for ax, what in zip((embedding, kmeans, unlearning), PARTS, strict=True):
            if data[data.what == what].seconds.isna().all():
                note(ax, "not measured")
    return figure
