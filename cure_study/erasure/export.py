"""Export a student: safetensors, ONNX, and a model card.

from cure_study.erasure.export import export

export(outcome, "my_student")  # of a study, with its measures
export(result, "my_student")   # of `unlearn`
"""

import copy
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor, nn

from cure_core.encoders.images import image_size, take
from cure_core.encoders.model_files import write_model
from cure_core.files import atomic_path
from cure_core.unlearning import UnlearningResult
from cure_study.experiments.study import Outcome

TOLERANCE = 1e-4  # the most by which an embedding's coordinate may differ in onnxruntime
ORIGIN = """A {encoder} encoder, trained on {dataset}, from which
{forgotten_images:,} images of {forgotten_people:,} people were removed by
`{method}` (CURE, arXiv:2509.19562, or a variant of it), without identity labels.
{retained_images:,} images were retained. Seed {seed}."""
ORIGIN_OF_RESULT = """A {encoder} encoder from which images were removed by unlearning (CURE,
arXiv:2509.19562, or a variant of it), without identity labels."""
MEASURES = """Before is the teacher, after this student, oracle a training without the forgotten
images. In brackets: 95 % intervals over people. From one run: another draw may differ.

{table}

A student that forgets more than the oracle differs from one that never knew the people: membership
recall far below the oracle's is no gain. Templates enrolled before the unlearning are a separate
risk (rank-1, old gallery)."""
NOT_EVALUATED = """Not evaluated: this file does not tell whether the student has forgotten.
`cure_study.evaluation.evaluate.evaluate` compares it with its teacher."""
CARD = """# A face encoder that was made to forget

{origin}

Input: uint8 RGB faces of {height} x {width}, aligned as in training. Output: raw embeddings, to be
L2-normalised and compared by their cosine.

## Measures
{measures}

## Settings
```yaml
{settings}
```

## Use
For research. The licence of the training data also covers the use of this encoder. These files do
not say who was forgotten.
"""


def export(outcome: Outcome | UnlearningResult, folder: str | Path, onnx: bool = True) -> Path:
    """Write `student.safetensors`, `student.onnx` (unless not `onnx`) and `MODEL_CARD.md`.

    `outcome` is a study's, or the result of `unlearn`, whose card has no measures. The ONNX model
    takes uint8 images (N, 3, H, W), RGB, and gives raw embeddings (N, D). Returns the folder.
    Raises ValueError if onnxruntime's embeddings of some of the study's images (random ones for a
    result alone) differ by more than 1e-4, and for an `outcome` of another type; ImportError,
    before anything is written, if `onnx` but onnxruntime is missing.
    """
    if not isinstance(outcome, Outcome | UnlearningResult):
        raise ValueError(
            f"cannot export a {type(outcome).__name__}; pass an Outcome of the study, or the "
            "UnlearningResult of unlearn"
        )
    folder, student = Path(folder), _result(outcome).student
    if onnx:
        write_onnx(student, folder / "student.onnx", _check_images(outcome))
    write_model(folder / "student.safetensors", student.state_dict(), summary(outcome))
    with atomic_path(folder / "MODEL_CARD.md") as temporary:
        temporary.write_text(model_card(outcome), encoding="utf-8")
    return folder


def export_students(outcomes: Iterable[Outcome], folder: str | Path) -> list[Path]:
    """Write each outcome's student and card (no ONNX) to `folder/seed-<seed>`; the folders."""
    folder = Path(folder)
    return [export(outcome, folder / f"seed-{outcome.case.seed}", False) for outcome in outcomes]


def summary(outcome: Outcome | UnlearningResult) -> dict[str, Any]:
    """What was done, as plain values: how much was forgotten, never who or which images."""
    result = _result(outcome)
    settings = {
        "chosen": {name: float(value) for name, value in result.summary.items()},
        "config": asdict(result.config),
    }
    if not isinstance(outcome, Outcome):
        return {"encoder": type(result.student).__name__, **settings}
    case = outcome.case
    return {
        "encoder": case.setting.encoder,
        "dataset": case.faces.name,
        "method": case.setting.method,
        "forgotten_images": len(case.request.forget),
        "forgotten_people": len(np.unique(case.faces.identities[case.request.forget_index])),
        "retained_images": len(case.request.retain),
        "seed": case.seed,
        **settings,
        "training": asdict(case.recipe),
    }


def model_card(outcome: Outcome | UnlearningResult) -> str:
    """What the student is, how many images it forgot, how, and its measures (Markdown)."""
    values = summary(outcome)
    height, width = image_size(_result(outcome).student)
    settings = {k: values[k] for k in ("config", "chosen", "training") if k in values}
    origin, measures = ORIGIN_OF_RESULT, NOT_EVALUATED
    if isinstance(outcome, Outcome):
        origin, measures = ORIGIN, MEASURES.format(table=markdown(outcome.report.summary()))
    return CARD.format(
        origin=origin.format(**values),
        height=height,
        width=width,
        measures=measures,
        settings=yaml.safe_dump(settings).strip(),
    )


def markdown(table: pd.DataFrame) -> str:
    """A table with its index as Markdown."""
    lines = [["measure", *table.columns], ["---"] * (1 + len(table.columns))]
    lines += [list(map(str, row)) for row in table.itertuples()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _result(outcome: Outcome | UnlearningResult) -> UnlearningResult:
    return outcome.result if isinstance(outcome, Outcome) else outcome


def _check_images(outcome: Outcome | UnlearningResult) -> Tensor:
    """Images (B, 3, H, W) uint8 on which the ONNX model is compared."""
    if isinstance(outcome, Outcome):
        images = outcome.case.request.retain
        return take(images, np.arange(min(8, len(images))))
    generator = torch.Generator().manual_seed(0)
    size = image_size(outcome.student)
    return torch.randint(0, 256, (8, 3, *size), generator=generator, dtype=torch.uint8)


def write_onnx(encoder: nn.Module, path: Path, images: Tensor) -> float:
    """The encoder as ONNX; returns the largest difference of a coordinate in onnxruntime.

    `images` (B, 3, H, W) uint8 to compare on. Raises ImportError if onnxruntime is missing,
    and ValueError, with nothing written, if the difference is above 1e-4.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error}; pip install 'cure-core[onnx]', or pass onnx=False") from error
    encoder = copy.deepcopy(encoder).cpu().eval()
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about torch's deprecations
        torch.onnx.export(
            encoder,
            (torch.zeros(2, *images.shape[1:], dtype=torch.uint8),),
            temporary,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim("count")},),
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        (embeddings,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            difference = float(np.abs(embeddings - encoder(images).numpy()).max())
        if not difference <= TOLERANCE:
            raise ValueError(
                f"onnxruntime's embeddings differ by {difference:.2g} from the encoder's, more "
                f"than {TOLERANCE:g}; nothing was written to {path}"
            )
    return difference
