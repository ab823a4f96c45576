"""The report of an invented request, for tests of what is said about it."""

from cure_study.erasure.report import (
    Counts,
    Earlier,
    EncoderRecord,
    Estimate,
    FileDigest,
    ListLine,
    Lookalikes,
    Measure,
    Moved,
    Report,
)

SHA = "ab" * 32


def measure(name, before, after, label=None, group="forgotten"):
    return Measure(
        name=name,
        label=label or name.replace("_", " "),
        group=group,
        meaning="what it means",
        before=Estimate(value=before, low=before - 0.05, high=before + 0.05),
        after=Estimate(value=after),
    )


def report(earlier_measures=None, **changes):
    """An invented report; `earlier_measures` makes it the second of a chain."""
    earlier = None
    if earlier_measures is not None:
        earlier = Earlier(
            folder="../first",
            report_sha256=SHA,
            requests=1,
            still_forgotten=earlier_measures,
            missing=3,
        )
    values = {
        "made": "2026-01-02T03:04:05+00:00",
        "command": "cure forget --config config.yaml --out NEW_FOLDER",
        "method": "cure_plus",
        "seed": 0,
        "config": {"epochs": 100, "batch_size": [32, 32]},
        "chosen": {"clusters_forget": 6.0},
        "judged_by": "clusters",
        "encoder": EncoderRecord(
            name="small", image_size=(112, 112), dimensions=64, parameters=300_000
        ),
        "counts": Counts(
            found=400, forget=60, retain=272, judged=68, strangers=0, earlier=0,
            lookalikes_included=0,
        ),
        "lines": [ListLine(line="ann/", images=50), ListLine(line="bob/1*.png", images=10)],
        "left_out": {"notes.txt": ".txt"},
        "lookalikes": Lookalikes(exact=1, near=2, similar=9, threshold=0.7, explained="By a rule."),
        "measures": [
            measure("accuracy_forget", 0.95, 0.54),
            measure("accuracy_retain", 0.93, 0.92, group="retained"),
        ],
        "moved": [Moved(file="zoe/3.png", cosine=0.81)],
        "limits": ["Backups are outside of this report."],
        "seconds": {"unlearning": 20.0},
        "earlier": earlier,
        "inputs": [FileDigest(path="list.txt", sha256=SHA, bytes=20)],
        "outputs": [FileDigest(path="student.safetensors", sha256=SHA, bytes=1_000_000)],
        "versions": {"torch": "2.12.1"},
    }  # fmt: skip
    return Report(**values | changes)
