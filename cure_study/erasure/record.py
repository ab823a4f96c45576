"""The report of a request, from what was read, made and measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cure_core import __version__
from cure_core.config import CureConfig
from cure_core.encoders.images import image_size
from cure_core.unlearning import UnlearningResult
from cure_study.erasure.judge import Judged
from cure_study.erasure.report import (
    Counts,
    Earlier,
    EncoderRecord,
    ListLine,
    Lookalikes,
    Moved,
    Report,
)
from cure_study.erasure.request import Request
from cure_study.erasure.sums import digests, file_digest

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
    "blend": "This goal makes nobody unrecognisable: an encoder also recognises people whom it "
    "never saw, and the forgotten are to be like them.",
    "people": "Other images of the same people, which the list does not name, may still be "
    "recognised.",
}  # fmt: skip


def build_report(
    request: Request, result: UnlearningResult, judged: Judged, folder: Path | None = None
) -> Report:
    """The report of a request, whose result's files lie in `folder`, if they were written."""
    files, setting = request.files, request.files.setting
    kinds = request.found.table.kind.value_counts()
    strangers = files.strangers
    most_moved = judged.moved.head(MOST_MOVED)
    return Report(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        command=AGAIN,
        goal=setting.goal,
        method=setting.method,
        seed=setting.seed,
        config=plain_config(result.config),
        chosen={name: float(value) for name, value in result.summary.items()},
        judged_by=request.judged_by,
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
        moved=[
            Moved(file=file, cosine=float(cosine))
            for file, cosine in zip(most_moved["file"], most_moved.cosine, strict=True)
        ],
        limits=_limits(request, judged),
        seconds={"unlearning": round(result.seconds, 1)},
        earlier=_earlier(request, judged, folder),
        inputs=[file_digest(path, str(path)) for path in files.inputs],
        outputs=[] if folder is None else digests(folder),
        versions=versions(),
    )


def plain_config(config: CureConfig) -> dict[str, Any]:
    """A config's values as JSON has them, without the seed, which is the request's."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(config).items()}
    del plain["seed"]
    return plain


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


def _limits(request: Request, judged: Judged) -> list[str]:
    compared = any(measure.oracle is not None for measure in judged.measures)
    missing = {
        "oracle": not compared,
        "clusters": request.files.identities is None,
        "strangers": request.files.strangers is None,
        "beyond": request.files.setting.goal == "erase",
        "blend": request.files.setting.goal == "blend",
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
