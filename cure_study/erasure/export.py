"""A student to take away: safetensors, ONNX, and a card that says what it is.

from cure_study.erasure.export import export

export(outcome, "my_student")  # of a study, with its measures
export(result, "my_student")   # of `unlearn`
"""

import copy
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from cure_core.encoders.images import take
from cure_core.encoders.model_files import write_model
from cure_core.files import atomic_path
from cure_core.unlearning import UnlearningResult
from cure_study.experiments.study import Outcome

TOLERANCE = 1e-4  # the most by which an embedding's coordinate may differ in onnxruntime


def export(outcome: Outcome | UnlearningResult, folder: str | Path, onnx: bool = True) -> Path:
    """Write `student.safetensors`, `student.onnx` (unless not `onnx`) and `MODEL_CARD.md`.

    `outcome` is a study's, or the result of `unlearn`, whose card has no measures. The ONNX model
    takes uint8 images (N, 3, 112, 112), RGB, and gives raw embeddings (N, D). Returns the folder.
    Raises ValueError where onnxruntime's embeddings of some of the study's images (random ones for
    a result alone) differ by more than 1e-4, and for what is no outcome or result; ImportError,
    before anything is written, where ONNX is wanted and onnxruntime absent.
    """
    if not isinstance(outcome, Outcome | UnlearningResult):
        raise ValueError(
            f"cannot export a {type(outcome).__name__}; pass an Outcome of the study, or the "
            "UnlearningResult of unlearn"
        )
    folder, student = Path(folder), _result(outcome).student
    if onnx:
        _needed()
        write_onnx(student, folder / "student.onnx", _shown(outcome))
    write_safetensors(student, folder / "student.safetensors", facts(outcome))
    with atomic_path(folder / "MODEL_CARD.md") as temporary:
        temporary.write_text(model_card(outcome), encoding="utf-8")
    return folder


def export_students(outcomes: Iterable[Outcome], folder: str | Path) -> list[Path]:
    """Write each outcome's student and card (no ONNX) to `folder/seed-<seed>`; the folders."""
    folder = Path(folder)
    return [export(outcome, folder / f"seed-{outcome.case.seed}", False) for outcome in outcomes]


def facts(outcome: Outcome | UnlearningResult) -> dict[str, object]:
    """What was done, as plain values: counts of what was forgotten, never who or which."""
    result = _result(outcome)
    chosen = {name: float(value) for name, value in result.summary.items()}
    if not isinstance(outcome, Outcome):
        encoder = type(result.student).__name__
        return {"encoder": encoder, "chosen": chosen, "config": asdict(result.config)}
    case = outcome.case
    people = case.faces.identities
    return {
        "encoder": case.setting.encoder,
        "dataset": case.faces.name,
        "method": case.setting.method,
        "forgotten_images": len(case.request.forget),
        "forgotten_people": len(np.unique(people[case.request.forget_index])),
        "retained_images": len(case.request.retain),
        "seed": case.seed,
        "chosen": chosen,
        "config": asdict(result.config),
        "training": asdict(case.recipe),
    }


def model_card(outcome: Outcome | UnlearningResult) -> str:
    """What the student is, what it forgot by count, how, and how it was judged (Markdown)."""
    known = facts(outcome)
    settings = {k: known[k] for k in ("config", "chosen", "training") if k in known}
    return f"""# A face encoder that was made to forget

{_origin(outcome, known)}

Input: uint8 RGB faces of 112 x 112, aligned to the ArcFace template. Output: raw embeddings, to be
L2-normalised and compared by their cosine.

{_measures(outcome)}

## Settings
```yaml
{yaml.safe_dump(settings).strip()}
```

## Use
For research. The licence of the data it was trained on binds its use too. Who asked to be forgotten
is written nowhere in these files.
"""


def _origin(outcome: Outcome | UnlearningResult, known: dict[str, object]) -> str:
    if not isinstance(outcome, Outcome):
        return (
            f"A {known['encoder']} encoder from which images were removed by unlearning (CURE,\n"
            "arXiv:2509.19562, or a variant of it), without identity labels."
        )
    return f"""A {known["encoder"]} encoder, trained on {known["dataset"]}, from which
{known["forgotten_images"]:,} images of {known["forgotten_people"]:,} people were removed by
`{known["method"]}` (CURE, arXiv:2509.19562, or a variant of it), without identity labels.
{known["retained_images"]:,} images were retained. Seed {known["seed"]}."""


def _measures(outcome: Outcome | UnlearningResult) -> str:
    if not isinstance(outcome, Outcome):
        return (
            "## Measures\nNot evaluated: whether it has forgotten is not known from this file. "
            "`cure_study.evaluation.evaluate.evaluate`\njudges it beside its teacher."
        )
    table = outcome.report.summary()
    cells = [["measure", *table.columns], ["---"] * (1 + len(table.columns))]
    cells += [[str(cell) for cell in row] for row in table.fillna("").itertuples()]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return f"""## Measures
Before is the teacher, after this student, oracle a training without the forgotten images. In
brackets: 95 % intervals over people. One run, so nothing here speaks of other draws.

{chr(10).join(lines)}

A student that forgets more than the oracle can be told from one that never knew: membership recall
far below the oracle's is no gain. Templates enrolled before the unlearning are a risk of their own
(rank-1, old gallery)."""


def _result(outcome: Outcome | UnlearningResult) -> UnlearningResult:
    return outcome.result if isinstance(outcome, Outcome) else outcome


def _shown(outcome: Outcome | UnlearningResult) -> Tensor:
    """Images (B, 3, 112, 112) uint8 by which the ONNX model is compared."""
    if isinstance(outcome, Outcome):
        shown = outcome.case.request.retain
        return take(shown, np.arange(min(8, len(shown))))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (8, 3, 112, 112), generator=generator, dtype=torch.uint8)


def write_safetensors(encoder: nn.Module, path: Path, known: dict[str, object]) -> None:
    """The encoder's tensors, with `known` as JSON beside them."""
    write_model(path, encoder.state_dict(), known)


def write_onnx(encoder: nn.Module, path: Path, images: Tensor) -> float:
    """The encoder as ONNX; returns the largest difference of a coordinate in onnxruntime.

    `images` (B, 3, 112, 112) uint8 to compare by. Raises ImportError where onnxruntime is absent,
    and ValueError, with nothing written, where the difference passes 1e-4.
    """
    _needed()
    encoder = copy.deepcopy(encoder).cpu().eval()
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of torch's deprecations
        torch.onnx.export(
            encoder,
            (torch.zeros(2, 3, 112, 112, dtype=torch.uint8),),
            temporary,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim("count")},),
            external_data=False,
            verbose=False,
        )
        difference = _difference(encoder, temporary, images)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"onnxruntime's embeddings differ by {difference:.2g} from the encoder's, more "
                f"than {TOLERANCE:g}; nothing was written to {path}"
            )
    return difference


def _difference(encoder: nn.Module, path: Path, images: Tensor) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        return float(np.abs(theirs - encoder(images).numpy()).max())


def _needed() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error}; pip install 'cure-core[onnx]', or ask for no ONNX") from error
