"""The table of the paper's claims, for the README and the page of claims."""

from collections.abc import Callable

import pandas as pd

from page_tables.rows import interval, random_people, read


def claims() -> pd.DataFrame:
    """Each claim of the paper with its number, ours, a verdict and where to read on."""

    def ues(dataset: str, method: str) -> str:
        rows = random_people(dataset)
        return interval(rows[rows.method == method].ues, "ues")

    recall = random_people("synthfaces").groupby("method").membership_recall.mean()
    drift = read("quality_accuracy")
    drift = drift[(drift.training == "planted") & (drift.protocol == "cross_age")]
    planted = 100 * drift.groupby(["method", "order"]).change.mean()
    detected = read("attacks").groupby(["dataset", "method"]).told_apart_auc.mean()["lfw"]
    clusters = random_people("synthfaces").query("method == 'cure'").clusters_forget
    lines = [
        (
            "Highest unlearning score (UES) without labels",
            "0.229",
            f"SynthFaces: CURE {ues('synthfaces', 'cure')}, random relabelling "
            f"{ues('synthfaces', 'random_relabel')}",
            "not reproduced at this scale; our CURE-scatter ranks first on SynthFaces, not on LFW",
            "[comparison](docs/comparison.md)",
        ),
        (
            "Lowest membership recall",
            "0.0132",
            f"CURE {recall['cure']:.2f}, dispersion {recall['dispersion']:.2f}, "
            f"oracle {recall['oracle']:.2f}",
            "not reproduced; and below the oracle's recall, lower is not better",
            "[comparison](docs/comparison.md)",
        ),
        (
            "Forgetting low-quality images raises accuracy",
            "not public to us",
            f"corrupted images, 30 years apart: CURE+ {planted['cure_plus', 'planted']:+.1f} "
            f"points, retraining {planted['oracle', 'planted']:+.1f}",
            "not reproduced at this scale, with CURE+ on synthetic faces; AgeDB-30 not tested",
            "[quality](docs/quality.md)",
        ),
        (
            "No identity labels needed",
            "none",
            f"{clusters.min():.0f} to {clusters.max():.0f} clusters found for 15 people",
            "reproduced, where people form clear clusters",
            "[clusters](docs/clusters.md)",
        ),
        (
            "Ours: forgotten people cannot be detected",
            "not reported",
            f"detection AUC on LFW: teacher {detected['teacher']:.2f}, oracle "
            f"{detected['oracle']:.2f}, CURE {detected['cure']:.2f}, CURE+ "
            f"{detected['cure_plus']:.2f}",
            "no: every erasing method tested marks them; retraining does not",
            "[attacks](docs/attacks.md)",
        ),
    ]
    columns = ["claim", "the paper's number", "ours", "verdict", "more"]
    return pd.DataFrame(lines, columns=columns)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"claims": claims}
