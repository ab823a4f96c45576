"""Checking a result: are its files, its inputs and its numbers what the report says?"""

import os
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import yaml

from cure_core import encoders
from cure_core.files import DamagedFileError, file_sha256
from cure_study.erasure.earlier import REQUEST, STUDENT, EarlierResult, read_chain
from cure_study.erasure.files import RequestFiles, read
from cure_study.erasure.images import ImageFolder, forget_folder_cache
from cure_study.erasure.judge import judge
from cure_study.erasure.report import REPORT, Measure, Report, read_report
from cure_study.erasure.request import clean_up, prepare
from cure_study.erasure.result import CONFIG, IMAGES, ORACLE
from cure_study.erasure.setting import RequestSetting, setting_of
from cure_study.erasure.sums import SUMS
from cure_study.evaluation.report import MODELS

TOLERANCE = 0.01  # of a measure computed again: processors round differently


@dataclass(frozen=True)
class Verdict:
    """What was checked, and what differs: nothing, if the result is what the report says."""

    checked: tuple[str, ...]
    differences: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.differences

    def __repr__(self) -> str:
        lines = [f"as reported: {text}" for text in self.checked]
        lines += [f"differs: {text}" for text in self.differences]
        return "\n".join(lines)


def verify(
    folder: str | Path,
    *,
    images: str | Path | None = None,
    weights: str | Path | None = None,
    recompute: bool = True,
    progress: bool | None = None,
) -> Verdict:
    """Check a result's digests, those of the results it continues, its inputs and its measures.

    `images` and `weights`: where they lie now, if elsewhere. Without `recompute` only digests are
    checked: the way once the forgotten images have been deleted, as they should be.
    Raises FileNotFoundError if the folder holds no result, DamagedFileError for a file that cannot
    be read as what it is.
    """
    folder = Path(folder)
    if not (folder / REPORT).is_file():
        raise FileNotFoundError(f"{folder} holds no {REPORT}; give the folder of a result")
    checked, differences = [], []
    for place, found in _digests(folder):
        differences += [f"{place}: {text}" for text in found]
        if not found:
            checked.append(f"every file in {place}")
    if differences or not recompute:
        if not recompute:
            checked.append("nothing was computed again")
        return Verdict(tuple(checked), tuple(differences))
    setting = _setting(folder, images, weights)
    report = read_report(folder)
    # Images are decoded again: a swapped file may have the size and time of the old one.
    for images_folder in filter(None, (setting.images, setting.strangers)):
        forget_folder_cache(images_folder)
    files = read(setting, progress)
    try:
        differences = _input_differences(folder, files, report)
        if not differences:
            checked.append(f"weights, lists and {len(files.folder.files):,} images")
            differences = _measure_differences(folder, files, report, progress)
            if not differences:
                checked.append(f"{len(report.measures)} measures, computed again")
    finally:
        clean_up(files)
    return Verdict(tuple(checked), tuple(differences))


def _digests(folder: Path) -> list[tuple[str, list[str]]]:
    """For the result and each one it continues: where it lies, and what differs there."""
    found = [(str(folder), _sum_differences(folder))]
    try:
        chain = read_chain(folder)
    except (FileNotFoundError, DamagedFileError) as error:
        return [*found, ("the chain of requests", [str(error)])]
    for later, result in pairwise(chain):
        differences = _sum_differences(result.folder) + _start_differences(later, result)
        found.append((str(result.folder), differences))
    return found


def _sum_differences(folder: Path) -> list[str]:
    """Files of a result that are not what `SHA256SUMS` says."""
    path = folder / SUMS
    if not path.is_file():
        return [f"{SUMS} is missing"]
    differences = []
    lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if len(line) != 2:
            return [f"{SUMS} is damaged"]
        sha256, name = line
        if not (folder / name).is_file():
            differences.append(f"{name} is missing")
        elif file_sha256(folder / name) != sha256:
            differences.append(f"{name} was changed: its SHA-256 is not the one in {SUMS}")
    named = {name for _, name in lines}
    unnamed = [name for name in (STUDENT, REPORT, REQUEST, CONFIG) if name not in named]
    differences += [f"{SUMS} does not name {name}" for name in unnamed]
    if not differences:
        for output in read_report(folder).outputs:
            if file_sha256(folder / output.path) != output.sha256:
                differences.append(f"{output.path} was changed: {REPORT} has another SHA-256")
    return differences


def _start_differences(later: EarlierResult, result: EarlierResult) -> list[str]:
    """Whether the later request started from this result's student."""
    started = {digest.sha256 for digest in later.report.inputs}
    if file_sha256(result.student) in started:
        return []
    return [f"{STUDENT} is not the encoder that {later.folder} started from"]


def _setting(folder: Path, images: str | Path | None, weights: str | Path | None) -> RequestSetting:
    setting = setting_of(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    if before := read_report(folder).earlier:  # both results may have been moved together
        setting = replace(setting, after=Path(os.path.normpath(folder / before.folder)))
    if images is not None:
        setting = replace(setting, images=Path(images))
    if weights is not None and setting.after is None:  # else the earlier student is the encoder
        setting = replace(setting, weights=Path(weights))
    return setting


def _input_differences(folder: Path, files: RequestFiles, report: Report) -> list[str]:
    """Inputs that are no longer what they were: weights, lists, tables, and each image by name."""
    if len(files.inputs) != len(report.inputs):
        names = ", ".join(item.path for item in report.inputs)
        return [f"{REPORT} names other inputs than {CONFIG}: {names}"]
    differences = [
        f"{path} is not the file that the request was made with"
        for path, item in zip(files.inputs, report.inputs, strict=True)
        if file_sha256(path) != item.sha256
    ]
    others = pd.read_csv(folder / IMAGES, keep_default_na=False)
    strangers = others.role == "stranger"
    own = pd.concat([pd.read_csv(folder / REQUEST, keep_default_na=False), others[~strangers]])
    differences += _image_differences(files.folder, own)
    if files.strangers is not None:
        differences += _image_differences(files.strangers, others[strangers])
    return differences


def _image_differences(folder: ImageFolder, recorded: pd.DataFrame) -> list[str]:
    now = dict(zip(folder.files, folder.sha256, strict=True))
    then = dict(zip(recorded["file"], recorded.sha256, strict=True))
    differences = [f"{folder.root / file} is missing" for file in then if file not in now]
    differences += [
        f"{folder.root / file} was swapped or changed"
        for file, sha256 in then.items()
        if file in now and now[file] != sha256
    ]
    return differences


def _measure_differences(
    folder: Path, files: RequestFiles, report: Report, progress: bool | None
) -> list[str]:
    request = prepare(files, progress)
    counts = {
        "forget": len(request.forget),
        "retain": len(request.retain),
        "judged": len(request.judged),
    }
    differences = [
        f"{REPORT} says that {getattr(report.counts, name)} images are of the kind {name!r}; "
        f"there are {count}"
        for name, count in counts.items()
        if getattr(report.counts, name) != count
    ]
    if differences:
        return differences
    student = encoders.build(files.setting.encoder, folder / STUDENT)
    oracle = None
    if (folder / ORACLE).is_file():
        oracle = encoders.build(files.setting.encoder, folder / ORACLE)
    again = judge(request, student, oracle, progress)
    now, then = (
        {measure.name: measure for measure in measures}
        for measures in (again.measures, report.measures)
    )
    return [
        *(
            f"the measure {name} is in only one of {REPORT} and the computation"
            for name in now.keys() ^ then.keys()
        ),
        *(text for name in now.keys() & then.keys() for text in _differing(now[name], then[name])),
    ]


def _differing(again: Measure, reported: Measure) -> list[str]:
    texts = []
    for model in MODELS:
        now, then = again.of(model), reported.of(model)
        if now is None or then is None:
            if now is not then:
                texts.append(
                    f"{again.name} ({model}) is in only one of {REPORT} and the computation"
                )
        elif abs(now.value - then.value) > TOLERANCE:
            texts.append(
                f"{again.name} ({model}) is {now.value:.4f}, where {REPORT} says {then.value:.4f}"
            )
    return texts
