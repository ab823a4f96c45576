"""The report of a request, `report.json`: what was asked, what was done, what was measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cure_core.files import DamagedFileError, atomic_path
from cure_core.metrics.intervals import Interval
from cure_study.evaluation.report import MODELS

REPORT = "report.json"
Goal = Literal["erase", "blend"]  # not recognised any more; treated like people never seen


class Part(BaseModel):
    """A part of the report: its fields cannot be changed, and unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Part):
    """A measure of one model; `low` and `high` bound 95 %, None where no interval exists."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, interval: Interval) -> "Estimate":
        low, high = (None if np.isnan(bound) else float(bound) for bound in interval[1:])
        return cls(value=float(interval.value), low=low, high=high)

    def text(self) -> str:
        """The value, with its interval where one exists."""
        low, high = (np.nan if bound is None else bound for bound in (self.low, self.high))
        return Interval(self.value, low, high).text()


class Measure(Part):
    """One measure of the models; None where a model has none."""

    name: str = Field(description="such as accuracy_forget; the same in every report")
    label: str = Field(description="the name in words")
    group: Literal["forgotten", "retained", "attacks", "summary"] = Field(
        description="what it is about"
    )
    meaning: str = Field(description="what a high or low value means, in a sentence")
    before: Estimate | None = Field(default=None, description="the encoder that was given")
    after: Estimate | None = Field(default=None, description="the student")
    oracle: Estimate | None = Field(
        default=None, description="retrained without the forgotten images"
    )

    def of(self, model: str) -> Estimate | None:
        """The estimate of one of `MODELS`."""
        estimates = {"before": self.before, "after": self.after, "oracle": self.oracle}
        return estimates[model]


class FileDigest(Part):
    """A file and the SHA-256 of its bytes."""

    path: str = Field(description="relative to the result's folder, or as given for an input")
    sha256: str = Field(description="in hex")
    bytes: int = Field(description="its size")


class ListLine(Part):
    """One line of the list, and how many images it took."""

    line: str = Field(description="as written")
    images: int = Field(description="how many it took")


class Counts(Part):
    """How many images took which part."""

    found: int = Field(description="usable images in the folder")
    forget: int = Field(description="images forgotten, lookalikes taken along included")
    retain: int = Field(description="images that the student was trained to keep")
    judged: int = Field(description="retained images held out of the training, for the measures")
    strangers: int = Field(description="images of people that the encoder never saw; 0 for none")
    earlier: int = Field(description="images of earlier requests, kept out of what is retained")
    lookalikes_included: int = Field(description="images forgotten although no line names them")


class Lookalikes(Part):
    """What the list may have forgotten, among the images that stay; see `lookalikes.csv`."""

    exact: int = Field(description="the same file or the same pixels as a forgotten image")
    near: int = Field(description="nearly the same pixels")
    similar: int = Field(description="similar to a forgotten image by the encoder given")
    threshold: float = Field(description="cosine from which an image counts as similar")
    explained: str = Field(description="how the threshold was chosen, in a sentence")


class Moved(Part):
    """A retained image that the student places elsewhere."""

    file: str = Field(description="relative to the folder of images")
    cosine: float = Field(description="between its embeddings before and after")


class EncoderRecord(Part):
    """The encoder that was given."""

    name: str = Field(description="of ours, or module:function")
    image_size: tuple[int, int] = Field(description="height and width that it takes")
    dimensions: int = Field(description="of an embedding")
    parameters: int = Field(description="how many it has")


class Earlier(Part):
    """The request before this one."""

    folder: str = Field(description="of its result, relative to this one")
    report_sha256: str = Field(description="of its report.json")
    requests: int = Field(description="how many came before this one, in the whole chain")
    still_forgotten: list[Measure] = Field(description="of the images forgotten earlier")
    missing: int = Field(description="images forgotten earlier that are no longer in the folder")


class Report(Part):
    """What one request asked, did and measured: the content of `report.json`."""

    version: Literal[1] = Field(default=1, description="of this schema")
    made: str = Field(description="when, in UTC")
    command: str = Field(description="what to run to have it again")
    goal: Goal = Field(default="erase", description="what forgetting was to achieve")
    method: str = Field(description="a name in cure_core.objectives.METHODS")
    seed: int = Field(description="of all randomness")
    config: dict[str, Any] = Field(description="the settings of unlearning (CureConfig)")
    chosen: dict[str, float] = Field(description="what the method chose, such as cluster numbers")
    judged_by: Literal["identities", "clusters"] = Field(
        description="whether pairs follow identities that were given, or clusters that stand in"
    )
    encoder: EncoderRecord
    counts: Counts
    lines: list[ListLine] = Field(description="of the list")
    left_out: dict[str, str] = Field(description="files that were not used, with the reason")
    lookalikes: Lookalikes
    measures: list[Measure] = Field(
        description="what was measured; one that could not be is absent"
    )
    moved: list[Moved] = Field(description="the retained images that moved most")
    limits: list[str] = Field(description="what the report does not show, a sentence each")
    seconds: dict[str, float] = Field(description="what took how long")
    earlier: Earlier | None = None
    inputs: list[FileDigest] = Field(description="weights, lists and tables that were read")
    outputs: list[FileDigest] = Field(description="the files of the result, but for the report")
    versions: dict[str, str] = Field(description="of Python, the libraries and the platform")

    def value(self, name: str, model: str = "after") -> float | None:
        """A measure of one model; None if it was not measured."""
        found = next((m for m in self.measures if m.name == name), None)
        estimate = None if found is None else found.of(model)
        return None if estimate is None else estimate.value


def models_of(measures: Sequence[Measure]) -> list[str]:
    """The models of which anything was measured, in order."""
    return [name for name in MODELS if any(m.of(name) is not None for m in measures)]


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` into the folder; the path."""
    with atomic_path(folder / REPORT) as temporary:
        temporary.write_text(report.model_dump_json(indent=1), encoding="utf-8")
    return folder / REPORT


def read_report(folder: Path) -> Report:
    """The report in a result's folder.

    Raises FileNotFoundError if there is none, DamagedFileError if it is not what was written.
    """
    path = folder / REPORT
    try:
        return Report.model_validate(json.loads(path.read_bytes()))
    except ValueError as error:
        raise DamagedFileError(path, f"it is not a report: {error}") from error
