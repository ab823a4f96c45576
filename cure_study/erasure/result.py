"""The folder of a result: the student, the report, and what is needed to check both."""

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from torch import nn

from cure_core import __version__
from cure_core.encoders.images import image_size, take
from cure_core.encoders.model_files import write_model
from cure_core.files import atomic_path, file_sha256
from cure_core.unlearning import UnlearningResult
from cure_study.erasure.earlier import REQUEST, STUDENT
from cure_study.erasure.export import markdown, write_onnx
from cure_study.erasure.judge import Judged
from cure_study.erasure.page import write_page
from cure_study.erasure.report import (
    Counts,
    Earlier,
    EncoderRecord,
    FileDigest,
    ListLine,
    Lookalikes,
    Moved,
    Report,
    write_report,
)
from cure_study.erasure.request import Request
from cure_study.evaluation.report import save_table

SUMS, CONFIG, IMAGES, LOOKALIKES, CARD = (
    *("SHA256SUMS", "config.yaml", "images.csv", "lookalikes.csv", "MODEL_CARD.md"),
)
ORACLE, ONNX = "oracle.safetensors", "student.onnx"
MOST_MOVED = 20  # retained images that the report names
AGAIN = "cure forget --config config.yaml --out NEW_FOLDER"
LIMITS = {
    "oracle": "An encoder retrained without the forgotten images is missing here, so the report "
    "cannot say whether the student behaves as if it had never seen them (--oracle trains one "
    "where identities are known).",
    "clusters": "No identities were given: clusters of the encoder's own embeddings stand in for "
    "people, so the accuracies before are too high, and a person in two clusters counts as two.",
    "strangers": "No strangers were given (--strangers), so nothing here says whether membership "
    "can be inferred or the erasure detected.",
    "outside": "Templates already enrolled, backups, copies of the encoder and of the images are "
    "outside of this report: delete them separately.",
    "beyond": "An erased person can usually be detected as erased by someone who holds their image "
    "and compares it with strangers'.",
    "people": "Other images of the same people, which the list does not name, may still be "
    "recognised.",
}  # fmt: skip
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


def build_report(
    request: Request, result: UnlearningResult, judged: Judged, folder: Path | None = None
) -> Report:
    """The report of a request, whose result's files lie in `folder`, if they were written."""
    files, setting = request.files, request.files.setting
    kinds = request.found.table.kind.value_counts()
    strangers = files.strangers
    return Report(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        command=AGAIN,
        goal="erase",
        method=setting.method,
        seed=setting.seed,
        config=_plain(vars(result.config)),
        chosen={name: float(value) for name, value in result.summary.items()},
        judged_by="clusters" if files.identities is None else "identities",
        encoder=EncoderRecord(
            name=setting.encoder,
            image_size=image_size(files.encoder),
            dimensions=request.raw.shape[1],
            parameters=sum(p.numel() for p in files.encoder.parameters()),
        ),
        counts=Counts(
            found=len(files.folder.files),
            forget=len(request.forget),
            retain=len(request.retain),
            judged=len(request.judged),
            strangers=0 if strangers is None else len(strangers.files),
            earlier=len(files.earlier_index),
            lookalikes_included=int(request.found.table.included.sum()),
        ),
        lines=[ListLine(line=line, images=images) for line, images in files.listed.lines],
        left_out=dict(files.folder.left_out.files),
        lookalikes=Lookalikes(
            **{kind: int(kinds.get(kind, 0)) for kind in ("exact", "near", "similar")},
            threshold=request.found.threshold,
            explained=request.found.explained,
        ),
        measures=judged.measures,
        moved=[Moved(file=file, cosine=cosine) for file, cosine in _most_moved(judged)],
        limits=_limits(request, judged),
        seconds={"unlearning": round(result.seconds, 1)},
        earlier=_earlier(request, judged, folder),
        inputs=_inputs(request),
        outputs=[] if folder is None else digests(folder),
        versions=versions(),
    )


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


def digests(folder: Path) -> list[FileDigest]:
    """Every file of a result but the report, which names them, and the notebook, still running."""
    return [
        FileDigest(path=path.name, sha256=file_sha256(path), bytes=path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name[0] != "."
        and path.suffix != ".ipynb"
        and path.stem not in ("report", SUMS)
    ]


def write_sums(folder: Path) -> None:
    """`SHA256SUMS` over every file of the folder, as `sha256sum --check` reads it."""
    names = [p.name for p in sorted(folder.iterdir()) if p.is_file() and p.name != SUMS]
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in names if name[0] != "."]
    with atomic_path(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def versions() -> dict[str, str]:
    """Of Python, this package and the libraries that the numbers depend on."""
    from importlib.metadata import version

    libraries = ("torch", "numpy", "scikit-learn", "pillow")
    return {
        "python": platform.python_version(),
        "cure-core": __version__,
        **{name: version(name) for name in libraries},
        "platform": platform.platform(),
    }


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


def _most_moved(judged: Judged) -> Iterator[tuple[str, float]]:
    most = judged.moved.head(MOST_MOVED)
    return zip(most["file"], most.cosine.astype(float), strict=True)


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


def _inputs(request: Request) -> list[FileDigest]:
    files, setting = request.files, request.files.setting
    paths = [files.weights, setting.forget, setting.retain]
    if setting.identities not in ("none", "folders"):
        paths.append(Path(setting.identities))
    return [
        FileDigest(path=str(path), sha256=file_sha256(path), bytes=path.stat().st_size)
        for path in paths
        if path is not None and path.is_file()
    ]


def _limits(request: Request, judged: Judged) -> list[str]:
    compared = any(measure.oracle is not None for measure in judged.measures)
    missing = {
        "oracle": not compared,
        "clusters": request.files.identities is None,
        "strangers": request.files.strangers is None,
    }
    return [text for name, text in LIMITS.items() if missing.get(name, True)]


def _earlier(request: Request, judged: Judged, folder: Path | None) -> Earlier | None:
    chain = request.files.chain
    if not chain:
        return None
    last = chain[0]
    place = str(last.folder) if folder is None else os.path.relpath(last.folder, folder)
    return Earlier(
        folder=Path(place).as_posix(),
        report_sha256=last.sha256,
        requests=len(chain),
        still_forgotten=judged.earlier,
        missing=request.files.missing_earlier,
    )


def _model_card(request: Request, result: UnlearningResult, judged: Judged) -> str:
    files, setting = request.files, request.files.setting
    height, width = image_size(files.encoder)
    settings: dict[str, Any] = {"config": _plain(vars(result.config)), "seed": setting.seed}
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


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """A config's values as JSON has them, without the seed, which is the request's."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    del plain["seed"]
    return plain
