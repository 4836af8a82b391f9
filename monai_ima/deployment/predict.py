"""Predictions for files that a person names, each with its margin and a drawing of the change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from monai_ima.attacks import get_norm
from monai_ima.deployment.export import INFERENCE, export_run, is_current
from monai_ima.deployment.exported_model import CHANGES, ExportedModel
from monai_ima.errors import RejectedError
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.run_record import RECORD
from monai_ima.prediction import ChangedAnswer, Prediction, write_predictions
from monai_ima.prediction.files import JSON
from monai_ima.report import NORM_NAMES, Change, Units, as_png, change_figure
from monai_ima.report.units import value_name

_DRAWN = "[0-9][0-9][0-9]*_*.png"  # as drawing_name has it
_LONGEST = 60  # characters, of up to four bytes: file systems take 255


@dataclass(frozen=True)
class PredictedFiles:
    """What :func:`predict_files` has done.

    Attributes:
        predictions: of the cases, in the order of the files; without their inputs.
        class_names: in the order of the probabilities.
        errors: by name, why a file or a case has no prediction.
        written: the files that hold all this.
        drawn: number of the cases whose change was drawn.
        reference: the samples among whose margins the percentiles are, in words.
    """

    predictions: list[Prediction]
    class_names: list[str]
    errors: dict[str, str]
    written: list[Path]
    drawn: int
    reference: str


def predict_files(
    source: Path,
    files: Sequence[Path],
    output: Path,
    *,
    norms: Sequence[str] = ("linf", "l2"),
    drawings: int = 50,
    batch_size: int = 16,
) -> PredictedFiles:
    """Ask a model about files, and write what it says.

    For each case: class, probabilities, and in each norm the margin, the smallest change that was
    found to change the answer, with its percentile among the margins of validation samples. What is
    measured is the answer's distance to the next one, and not whether it is right; no label is
    needed. A file that cannot be read keeps none of the others from being answered. The drawings of
    earlier answers are none of the cases below a folder.

    Args:
        source: folder of an exported bundle, or output folder of a training, which is exported
            first if it is not, or has gone on since. The bundle's configs are run: trust them.
        files: of the form that the bundle reads, or folders of them.
        output: folder for ``predictions.xlsx``, ``.csv`` and ``.json`` and the drawings.
        norms: of the margins; with none, no change is looked for.
        drawings: of how many cases the changes are drawn, those of the smallest margins first.
        batch_size: cases that are answered together.

    Raises:
        RejectedError: if the source is neither, or damaged.
    """
    bundle = _bundle(source)
    model = ExportedModel(bundle, norms)
    predictions: list[Prediction] = []
    shown: list[Prediction] = []
    errors: dict[str, str] = {}
    cases = model.cases(files, errors)
    with tqdm(desc="predicting", unit="case", total=len(cases), dynamic_ncols=True) as bar:
        for names, inputs in _batches(model.readable(cases, errors), batch_size):
            found = model.predictor(names, inputs.to(model.device))
            predictions += [prediction.without_inputs() for prediction in found]
            shown = _most_fragile([*shown, *found], drawings) if norms else []
            bar.update(len(names))
    of_earlier = list((output / CHANGES).glob(_DRAWN)) if (output / JSON).is_file() else []
    written = write_predictions(
        output,
        predictions,
        class_names=model.class_names,
        reference=model.predictor.reference,
        norms=norms,
        units=model.units,
        errors=errors,
    )
    for old in of_earlier:
        old.unlink()
    for number, prediction in enumerate(shown, start=1):
        (output / CHANGES).mkdir(exist_ok=True)
        _draw(model, prediction, output / CHANGES / drawing_name(number, prediction.id))
    source_of_margins = model.predictor.reference.source
    return PredictedFiles(
        predictions, model.class_names, errors, written, len(shown), source_of_margins
    )


def drawing_name(number: int, name: str) -> str:
    """What the file of a drawing is called: no other of the same prediction has its number.

    Example:
        >>> drawing_name(1, "data/CNV/a.png"), drawing_name(2, "data/CNV/a.jpg")
        ('001_CNV_a.png', '002_CNV_a_jpg.png')
    """
    plain = re.sub(r"[^\w-]+", "_", re.sub(r"\.png$", "", _short(name), flags=re.IGNORECASE))
    return f"{number:03d}_{plain[-_LONGEST:]}.png"


def _bundle(source: Path) -> Path:
    """The exported bundle that a path means."""
    if (source / "configs" / INFERENCE).is_file():
        return source.resolve()
    if not (source / RECORD).is_file():
        raise RejectedError(
            f"expected a bundle of monai-ima export (configs/{INFERENCE}), or the output folder of a "
            f"training ({RECORD}), got {source}"
        )
    bundle = source / "bundle"
    return bundle if is_current(bundle, source / "model.pt") else export_run(source)


def _batches(cases: Iterator[tuple[str, Tensor]], size: int) -> Iterator[tuple[list[str], Tensor]]:
    names: list[str] = []
    inputs: list[Tensor] = []
    for name, values in cases:
        names.append(name)
        inputs.append(values)
        if len(names) == size:
            yield names, torch.stack(inputs)
            names, inputs = [], []
    if names:
        yield names, torch.stack(inputs)


def _most_fragile(predictions: Sequence[Prediction], count: int) -> list[Prediction]:
    """Those with the smallest percentiles in any norm."""

    def percentile(prediction: Prediction) -> float:
        return min(changed.percentile for changed in prediction.changed.values())

    return sorted(predictions, key=percentile)[:count]


def _draw(model: ExportedModel, prediction: Prediction, path: Path) -> None:
    bounds = model.predictor.reference.bounds
    units = None if model.units is None else Units(**model.units, values=prediction.inputs.numel())
    changes = [
        Change(
            caption=_caption(
                norm,
                changed,
                count=len(model.predictor.reference.margins[norm]),
                units=units,
                bounds=bounds,
            ),
            inputs=changed.inputs,
            answer=_answer(model, changed.probabilities),
        )
        for norm, changed in prediction.changed.items()
    ]
    answer = _answer(model, prediction.probabilities)
    figure = change_figure(
        prediction.inputs,
        answer,
        changes,
        bounds=bounds,
        title=f"{_short(prediction.id)}: {answer}",
        units=units,
        orientation=model.orientation(prediction.id),
    )
    write_whole(path, lambda file: file.write_bytes(as_png(figure)))


def _short(name: str) -> str:
    """A case's name with the folder it is in: series of two patients are both called T1."""
    return str(Path(*Path(name).parts[-2:]))


def _answer(model: ExportedModel, probabilities: Tensor) -> str:
    label = int(probabilities.argmax())
    return f"{model.class_names[label]} {float(probabilities[label]):.2f}"


def _caption(
    norm: str,
    changed: ChangedAnswer,
    *,
    count: int,
    units: Units | None,
    bounds: tuple[float, float],
) -> str:
    name, element = NORM_NAMES[norm], value_name(changed.inputs.shape)

    def said(size: float) -> str:
        if units is None:
            return f"{size:.3g}"
        spread = "" if norm == "linf" else ", if spread evenly"
        in_units = units.words(size, norm, brief=True)
        return f"{size:.3g} ({in_units} in every {element}{spread})"

    if math.isinf(changed.margin):
        low, high = bounds
        whole = get_norm(norm).length(torch.full_like(changed.inputs, high - low)[None])
        return (
            f"{name}: no change of the answer found up to {said(float(whole))}, the most that values "
            f"from {low:g} to {high:g} allow"
        )
    return (
        f"{name}: margin {said(changed.margin)}; {percent_words(changed.percentile)} of the {count} validation "
        f"samples have a smaller one"
    )


def percent_words(share: float) -> str:
    """In whole percent, of which 0 and 100 are none and all."""
    if 0 < share < 1:
        return "under 1 %"
    return "over 99 %" if 99 < share < 100 else f"{share:.0f} %"
