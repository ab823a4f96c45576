"""The report of a request, `report.json`: what was asked, what was done, what was measured."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cure_core.files import DamagedFileError, atomic_path

REPORT = "report.json"


class Part(BaseModel):
    """A part of the report: its fields cannot be changed, and unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Part):
    """A measure of one model; `low` and `high` bound 95 %, None where no interval exists."""

    value: float
    low: float | None = None
    high: float | None = None


class Measure(Part):
    """One measure of the models; None where a model has none."""

    name: str = Field(description="such as accuracy_forget; the same in every report")
    label: str = Field(description="the name in words")
    group: Literal["forgotten", "retained", "attacks", "summary"]
    meaning: str = Field(description="what a high or low value means, in a sentence")
    before: Estimate | None = Field(None, description="the encoder that was given")
    after: Estimate | None = Field(None, description="the student")
    oracle: Estimate | None = Field(None, description="retrained without the forgotten images")


class FileDigest(Part):
    """A file and the SHA-256 of its bytes."""

    path: str = Field(description="relative to the result's folder, or as given for an input")
    sha256: str
    bytes: int


class ListLine(Part):
    """One line of the list, and how many images it took."""

    line: str
    images: int


class Counts(Part):
    """How many images took which part."""

    found: int = Field(description="usable images in the folder")
    forget: int
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

    file: str
    cosine: float = Field(description="between its embeddings before and after")


class EncoderRecord(Part):
    """The encoder that was given."""

    name: str
    image_size: tuple[int, int]
    dimensions: int
    parameters: int


class Earlier(Part):
    """The request before this one."""

    folder: str
    report_sha256: str
    requests: int = Field(description="how many came before this one, in the whole chain")
    still_forgotten: list[Measure] = Field(description="of the images forgotten earlier")
    missing: int = Field(description="images forgotten earlier that are no longer in the folder")


class Report(Part):
    """What one request asked, did and measured: the content of `report.json`."""

    version: Literal[1] = 1
    made: str = Field(description="when, in UTC")
    command: str = Field(description="what to run to have it again")
    goal: Literal["erase"] = "erase"
    method: str
    seed: int
    config: dict[str, Any]
    chosen: dict[str, float] = Field(description="what the method chose, such as cluster numbers")
    judged_by: Literal["identities", "clusters"] = Field(
        description="whether pairs follow identities that were given, or clusters that stand in"
    )
    encoder: EncoderRecord
    counts: Counts
    lines: list[ListLine]
    left_out: dict[str, str] = Field(description="files that were not used, with the reason")
    lookalikes: Lookalikes
    measures: list[Measure]
    moved: list[Moved]
    limits: list[str] = Field(description="what the report does not show, a sentence each")
    seconds: dict[str, float]
    earlier: Earlier | None = None
    inputs: list[FileDigest]
    outputs: list[FileDigest]
    versions: dict[str, str]

    def measure(self, name: str) -> Measure:
        """One measure. Raises KeyError if the report has none of that name."""
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(f"no measure {name!r}; there are {', '.join(m.name for m in self.measures)}")


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
