"""Predictions for files that a person names, each with its margin and a drawing of the change."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor
from tqdm import tqdm

from monai_ima.attacks import get_norm
from monai_ima.data import orientation_of
from monai_ima.data.image_formats import kind_of
from monai_ima.data.images import count_channels, reads_intensities, spatial_axes
from monai_ima.deployment.export import INFERENCE, MARGINS, METADATA, export_run, is_current
from monai_ima.errors import DataError, RejectedError
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.run_record import RECORD
from monai_ima.networks import load_classifier
from monai_ima.prediction import (
    ChangedAnswer,
    Prediction,
    Predictor,
    ReferenceMargins,
    write_predictions,
)
from monai_ima.prediction.files import JSON
from monai_ima.report import NORM_NAMES, Change, Units, as_png, change_figure
from monai_ima.report.units import value_name

CHANGES = "changes"
_DRAWN = "[0-9][0-9][0-9]*_*.png"  # as drawing_name has it
_LONGEST = 60  # characters, of up to four bytes: file systems take 255
_EXPORT_AGAIN = "copy or export it again, as the images were that the model was trained on"


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
    model = _Model(bundle, norms)
    predictions: list[Prediction] = []
    shown: list[Prediction] = []
    errors: dict[str, str] = {}
    cases = model.readable(files, errors)
    with tqdm(desc="predicting", unit="case", dynamic_ncols=True) as bar:
        for names, inputs in _batches(cases, batch_size):
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


class _Model:
    """An exported bundle, ready to answer."""

    def __init__(self, bundle: Path, norms: Sequence[str]) -> None:
        configs = bundle / "configs"
        try:
            parser = ConfigParser(
                {
                    **json.loads((configs / INFERENCE).read_text("utf-8")),
                    "bundle_root": str(bundle),
                }
            )
            parser.parse()
            described = json.loads((configs / METADATA).read_text("utf-8"))
            image = described["network_data_format"]["inputs"]["image"]
            self.device: torch.device = parser.get_parsed_content("device")
            network = load_classifier(
                parser.get_parsed_content("network_def"), checkpoint=bundle / "models" / "model.pt"
            )
            reference = ReferenceMargins.read(configs / MARGINS)
            self.predictor = Predictor(network.to(self.device), reference, norms)
            self.class_names: list[str] = list(parser.get_parsed_content("class_names"))
            self._preprocessing = parser.get_parsed_content("preprocessing")
            self._list_cases = parser.get_parsed_content("list_cases")
            self.units: dict[str, Any] | None = parser.get_parsed_content("units")
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            raise RejectedError(
                f"expected {bundle} to be a bundle that monai-ima export has written, got "
                f"{type(cause).__name__}: {cause}"
            ) from error
        self._shape = (image["num_channels"], *image["spatial_shape"])
        self._is_volume = image["type"] == "image" and len(self._shape) == 4

    def readable(
        self, files: Sequence[Path], errors: dict[str, str]
    ) -> Iterator[tuple[str, Tensor]]:
        """The cases in the files, with their names; why others are none goes to ``errors``."""
        for file in files:
            listed = _tried(self._list_cases, str(file))
            if isinstance(listed, Exception):
                errors[str(file)] = _reason(listed)
                continue
            for case in listed:
                if file.is_dir() and _is_drawing(Path(case["id"])):
                    continue
                values = _tried(self._input, case)
                if isinstance(values, Exception):
                    errors[case["id"]] = _reason(values)
                else:
                    yield _printable(case["id"]), values

    def orientation(self, name: str) -> str | None:
        """Which way round a case is, if it is a volume whose file says so."""
        return orientation_of(self._preprocessing, [{"image": name}]) if self._is_volume else None

    def _input(self, case: dict[str, Any]) -> Tensor:
        if reads_intensities(self._preprocessing):
            _check_axes(Path(case["image"]), len(self._shape) - 1)
        image = torch.as_tensor(self._preprocessing({"image": case["image"]})["image"])
        values = image.as_tensor() if hasattr(image, "as_tensor") else image
        if tuple(values.shape) != self._shape:
            raise ValueError(
                f"expected an input of the shape {self._shape}, as the model was trained on, got "
                f"{tuple(values.shape)}"
            )
        low, high = self.predictor.reference.bounds
        if not ((values >= low) & (values <= high)).all():  # NaN is neither
            raise ValueError(
                f"expected values from {low:g} to {high:g}, as the model was trained on, got "
                f"{values.min():g} to {values.max():g}"
            )
        return values.float()


def _is_drawing(path: Path) -> bool:
    """Whether a file is a drawing of earlier answers, which are among what was asked about."""
    return path.parent.name == CHANGES and (path.parent.with_name(JSON)).is_file()


def _check_axes(image: Path, expected: int) -> None:
    """What MONAI's transforms say of a slice in place of a volume leads nobody on."""
    axes = spatial_axes(image)
    if axes != expected:
        count_channels(image)  # of what is no image, that is to be said
        is_slice = expected == 3 and kind_of(image) == "dicom"
        series = "; of a DICOM series, name the folder and not a slice" if is_slice else ""
        raise ValueError(
            f"expected an image of {expected} axes, as the model was trained on, got one of {axes}"
            f"{series}"
        )


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


def _draw(model: _Model, prediction: Prediction, path: Path) -> None:
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


def _answer(model: _Model, probabilities: Tensor) -> str:
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
        f"{name}: margin {said(changed.margin)}; {changed.percentile:.0f} % of the {count} validation "
        f"samples have a smaller one"
    )


def _tried(make: Callable[[Any], Any], of: Any) -> Any:
    """What comes of it, or the error, whatever it is: the other files go on."""
    try:
        return make(of)
    except Exception as error:  # noqa: BLE001
        return error


def _printable(name: str) -> str:
    """A file's name, which in Linux need be no Unicode."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _reason(error: BaseException) -> str:
    """What went wrong, without what MONAI's transforms say around it."""
    while error.__cause__ is not None and not str(error).startswith(("expected", "cannot read")):
        error = error.__cause__
    if isinstance(error, DataError):  # whose advice is for a training
        return f"{' '.join(error.found.split())}; {_EXPORT_AGAIN}"
    return " ".join(str(error).split()) or type(error).__name__
