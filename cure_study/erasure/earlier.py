"""The requests before this one: their results, and the images that must stay forgotten."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cure_core.files import DamagedFileError, file_sha256
from cure_study.erasure.images import ImageFolder
from cure_study.erasure.report import REPORT, Report, read_report

STUDENT, REQUEST = "student.safetensors", "request.csv"


@dataclass(frozen=True, eq=False)
class EarlierResult:
    """One earlier request: where its result lies, its report, and its `request.csv`."""

    folder: Path
    report: Report
    forgotten: pd.DataFrame

    @property
    def student(self) -> Path:
        return self.folder / STUDENT

    @property
    def sha256(self) -> str:
        """Of the report, by which the next report names this one."""
        return file_sha256(self.folder / REPORT)


def read_chain(folder: Path | None) -> tuple[EarlierResult, ...]:
    """The earlier results, the latest first; empty for None.

    Raises FileNotFoundError if a folder holds no result, and DamagedFileError if a report is not
    the one that the next report names.
    """
    chain: list[EarlierResult] = []
    expected = None
    while folder is not None:
        if not (folder / REPORT).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {REPORT}; give the folder of an earlier result"
                + (f", which {chain[-1].folder} names" if chain else "")
            )
        result = EarlierResult(
            folder, read_report(folder), pd.read_csv(folder / REQUEST, dtype={"group": str})
        )
        if expected not in (None, result.sha256):
            raise DamagedFileError(
                folder / REPORT, f"it is not the report that {chain[-1].folder} continues"
            )
        chain.append(result)
        before = result.report.earlier
        folder = None if before is None else Path(os.path.normpath(folder / before.folder))
        expected = None if before is None else before.report_sha256
    return tuple(chain)


def forgotten_earlier(
    chain: tuple[EarlierResult, ...], folder: ImageFolder
) -> tuple[list[pd.DataFrame], int]:
    """Of each earlier request the images still in the folder, found by content, and those missing.

    A table a request: index (into the folder) and group (the person, or the cluster that stood in).
    """
    by_content = pd.DataFrame({"sha256": folder.sha256, "index": np.arange(len(folder.files))})
    tables, missing = [], 0
    for result in chain:
        found = by_content.merge(result.forgotten[["sha256", "group"]].drop_duplicates("sha256"))
        missing += int((~result.forgotten.sha256.isin(by_content.sha256)).sum())
        tables.append(found[["index", "group"]])
    return tables, missing
