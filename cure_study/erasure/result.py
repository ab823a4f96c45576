"""The folder of a result: the student, the report, and what is needed to check both."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from torch import nn

from cure_core.encoders.images import image_size, take
from cure_core.encoders.model_files import write_model
from cure_core.files import atomic_path, file_sha256
from cure_core.unlearning import UnlearningResult
from cure_study.erasure.earlier import REQUEST, STUDENT
from cure_study.erasure.export import markdown, write_onnx
from cure_study.erasure.judge import Judged
from cure_study.erasure.page import write_page
from cure_study.erasure.record import MOST_MOVED, build_report, plain_config
from cure_study.erasure.report import Report, write_report
from cure_study.erasure.request import Request
from cure_study.erasure.sums import write_sums
from cure_study.evaluation.report import save_table

CONFIG, IMAGES, LOOKALIKES, CARD = (
    *("config.yaml", "images.csv", "lookalikes.csv", "MODEL_CARD.md"),
)
ORACLE, ONNX = "oracle.safetensors", "student.onnx"
MODEL_CARD = """# A face encoder that was made to forget

A `{encoder}` encoder from which {forget:,} images were removed by `{method}` (CURE,
arXiv:2509.19562, or a variant of it). Its weights before: SHA-256 `{weights}`.
{retain:,} images were retained; {judged:,} more were held out to measure it.

Input: uint8 RGB faces of {height} x {width}. Output: raw embeddings ({dimensions} numbers), to be
L2-normalised and compared by their cosine.

## Measures
{table}

`report.json` has all of them with their meaning and what they do not show.

## Settings
```yaml
{settings}
```

## Use
The licence of the training data also covers the use of this encoder. This file does not say who
was forgotten; `request.csv` does, and should be kept as carefully as the images.
"""


def save(
    request: Request,
    result: UnlearningResult,
    judged: Judged,
    folder: Path,
    oracle: nn.Module | None = None,
) -> Report:
    """Write the whole result into `folder`, and `SHA256SUMS` over it; returns the report."""
    folder.mkdir(parents=True, exist_ok=True)
    files, setting = request.files, request.files.setting
    made = {"encoder": setting.encoder, "method": setting.method, "forgotten": len(request.forget)}
    write_model(folder / STUDENT, result.student.state_dict(), made)
    if oracle is not None:
        write_model(folder / ORACLE, oracle.state_dict(), {"encoder": setting.encoder})
    if setting.onnx:
        few = np.arange(min(8, len(files.folder.files)))
        write_onnx(result.student, folder / ONNX, take(files.folder.images, few))
    save_table(_forgotten(request), folder / REQUEST)
    save_table(_others(request), folder / IMAGES)
    save_table(request.found.table, folder / LOOKALIKES)
    with atomic_path(folder / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(setting.plain(), sort_keys=False), encoding="utf-8")
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(_model_card(request, result, judged), encoding="utf-8")
    report = build_report(request, result, judged, folder)
    write_report(report, folder)
    images, moved = files.folder.images, judged.moved["index"].head(MOST_MOVED).to_numpy(int)
    write_page(
        report,
        folder,
        scores=judged.scores,
        lookalikes=request.found.table,
        lookalike_images=images[request.found.index],
        moved_images=images[moved],
    )
    write_sums(folder)
    return report


def _forgotten(request: Request) -> pd.DataFrame:
    files = request.files
    index = request.forget
    listed = np.isin(index, files.forget)
    return pd.DataFrame(
        {
            "file": [files.folder.files[i] for i in index],
            "sha256": [files.folder.sha256[i] for i in index],
            "group": _groups(request)[index],
            "why": np.where(listed, "listed", "lookalike"),
        }
    )


def _groups(request: Request) -> np.ndarray:
    """Of each image the person, or the number of the cluster that stands in, as text."""
    known = request.files.identities
    return request.people.astype(str) if known is None else known


def _others(request: Request) -> pd.DataFrame:
    """Every other image that took part: retained, held out, of an earlier request, a stranger."""
    files = request.files
    parts = [
        (role, files.folder, index)
        for role, index in (
            ("retained", request.retain),
            ("held out", request.judged),
            ("forgotten earlier", np.setdiff1d(files.earlier_index, request.forget)),
        )
    ]
    if files.strangers is not None:
        parts.append(("stranger", files.strangers, np.arange(len(files.strangers.files))))
    rows = [
        (folder.files[i], role, folder.sha256[i]) for role, folder, index in parts for i in index
    ]
    return pd.DataFrame(rows, columns=["file", "role", "sha256"])


def _model_card(request: Request, result: UnlearningResult, judged: Judged) -> str:
    files, setting = request.files, request.files.setting
    height, width = image_size(files.encoder)
    settings: dict[str, Any] = {"config": plain_config(result.config), "seed": setting.seed}
    return MODEL_CARD.format(
        encoder=setting.encoder,
        forget=len(request.forget),
        method=setting.method,
        weights=file_sha256(files.weights),
        retain=len(request.retain),
        judged=len(request.judged),
        height=height,
        width=width,
        dimensions=request.raw.shape[1],
        table=markdown(judged.table()),
        settings=yaml.safe_dump(settings).strip(),
    )
