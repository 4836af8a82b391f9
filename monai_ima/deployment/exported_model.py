"""A bundle that was exported, and the cases in files as it takes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_ima.data import orientation_of
from monai_ima.data.image_formats import kind_of
from monai_ima.data.images import count_channels, reads_intensities, spatial_axes
from monai_ima.deployment.export import INFERENCE, MARGINS, METADATA
from monai_ima.errors import DataError, RejectedError, root_cause
from monai_ima.networks import load_classifier
from monai_ima.prediction import Predictor, ReferenceMargins
from monai_ima.prediction.files import JSON

CHANGES = "changes"
"""Folder of the drawings, beside what else a prediction writes."""
_EXPORT_AGAIN = "copy or export it again, as the images were that the model was trained on"


class ExportedModel:
    """An exported bundle, ready to answer.

    Args:
        bundle: its folder, whose configs are run.
        norms: of the margins; with none, no change is looked for.

    Attributes:
        device: where the network is.
        predictor: of the network.
        class_names: in the order of the probabilities.
        units: of the data, arguments of :class:`~monai_ima.report.Units`; ``None`` where they are not known.

    Raises:
        RejectedError: if it is none, or damaged.
    """

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
            cause = root_cause(error)
            raise RejectedError(
                f"expected {bundle} to be a bundle that monai-ima export has written, got "
                f"{type(cause).__name__}: {cause}"
            ) from error
        self._shape = (image["num_channels"], *image["spatial_shape"])
        self._is_volume = image["type"] == "image" and len(self._shape) == 4

    def cases(self, files: Sequence[Path], errors: dict[str, str]) -> list[dict[str, Any]]:
        """The cases in the files, unread; why others are none goes to ``errors``."""
        found: list[dict[str, Any]] = []
        for file in files:
            listed = _tried(self._list_cases, str(file))
            if isinstance(listed, Exception):
                errors[str(file)] = _reason(listed)
            else:
                of_a_folder = file.is_dir()
                found += (
                    case for case in listed if not (of_a_folder and _is_drawing(Path(case["id"])))
                )
        return found

    def readable(
        self, cases: Sequence[dict[str, Any]], errors: dict[str, str]
    ) -> Iterator[tuple[str, Tensor]]:
        """Those that can be read, with their names; why others cannot goes to ``errors``."""
        for case in cases:
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
