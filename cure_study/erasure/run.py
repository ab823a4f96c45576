"""A request from files to a new encoder and its report, in one call."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from cure_core import html
from cure_core.files import atomic_folder
from cure_study.erasure.files import read
from cure_study.erasure.forecast import forecast
from cure_study.erasure.judge import judge
from cure_study.erasure.record import build_report
from cure_study.erasure.report import REPORT, Report
from cure_study.erasure.request import clean_up, erase, prepare, train_oracle
from cure_study.erasure.result import save
from cure_study.erasure.setting import RequestSetting
from cure_study.erasure.words import summary


@dataclass(frozen=True, eq=False, repr=False)
class Erasure:
    """What `forget` made: the student, its report, and the images that look like the forgotten.

    `folder`: where the files lie; None if none were asked for.
    """

    student: nn.Module
    report: Report
    lookalikes: pd.DataFrame
    folder: Path | None

    def __repr__(self) -> str:
        return "\n".join(summary(self.report))

    def _repr_html_(self) -> str:
        rows = {str(i): text for i, text in enumerate(summary(self.report), 1)}
        place = {} if self.folder is None else {"report": str(self.folder / "report.html")}
        return html.table("Erasure", rows | place)


def forget(
    images: str | Path,
    forget: str | Path,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    *,
    progress: bool | None = None,
    **settings: Any,
) -> Erasure:
    """Make an encoder forget the listed images; `settings` are the fields of `RequestSetting`.

    `out`: a new folder for the student, the report and all that is needed to check them; it appears
    when it is complete. Nothing in the folders of images is changed.
    Raises FileExistsError if `out` exists, and what reading, checking and unlearning raise.
    """
    setting = RequestSetting(images, forget, weights, **settings)  # type: ignore[arg-type]
    folder = None if out is None else new_folder(out)
    files = read(setting, progress)
    if progress is not False:
        print(forecast(files))
    request = prepare(files, progress)
    if progress is not False and len(request.found.table):
        print(request.found)
    result = erase(request, progress)
    oracle = train_oracle(request, progress) if setting.oracle else None
    judged = judge(request, result.student, oracle, progress)
    if folder is None:
        report = build_report(request, result, judged)
    else:
        with atomic_folder(folder) as partial:
            report = save(request, result, judged, partial, oracle)
    clean_up(files)
    return Erasure(result.student, report, request.found.table, folder)


def new_folder(out: str | Path) -> Path:
    """The folder that a result is to appear as. Raises FileExistsError if there is one."""
    folder = Path(out).expanduser().absolute()
    if folder.exists():
        held = "holds a result" if (folder / REPORT).is_file() else "exists"
        raise FileExistsError(f"{folder} {held}; name another folder, or remove it first")
    return folder
