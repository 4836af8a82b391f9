"""A run, as its folder alone has it: network and weights, preprocessing, data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from torch import Tensor, nn

from monai_ima.data import TensorSamples
from monai_ima.effective_config import EffectiveConfig
from monai_ima.errors import RejectedError, root_cause
from monai_ima.handlers.run_record import CONFIG, RECORD, RunRecord, read_record
from monai_ima.handlers.trained_on import check_own
from monai_ima.networks import load_classifier
from monai_ima.report import BEAT_UNITS, image_units


class TrainedRun:
    """A finished training, and what its config defines.

    Args:
        folder: output folder of the training.
        checkpoint: name of the weights in it.
        **settings: of the config, by name, that are others now, such as ``dataset_dir``.

    Raises:
        RejectedError: if it is no folder of a run, or the weights are not there, or another run's.
    """

    def __init__(self, folder: Path, checkpoint: str = "model.pt", **settings: Any) -> None:
        self.folder = folder.resolve()
        self.weights = self.folder / checkpoint
        for path in (self.folder / CONFIG, self.folder / RECORD, self.weights):
            if not path.is_file():
                raise RejectedError(
                    f"expected the output folder of a finished training by a bundle of monai_ima, got "
                    f"{folder}, where there is no {path.name}"
                )
        try:
            record = read_record(self.folder)
            assert record is not None  # it is there
            check_own(record, self.weights, self.folder)
            self.config: dict[str, Any] = json.loads((self.folder / CONFIG).read_text("utf-8"))
        except ValueError as error:
            raise RejectedError(str(error)) from error
        self.record: RunRecord = record
        self._parser = ConfigParser({**self.config, **settings})
        self._parser.parse()

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of valid inputs."""
        low, high = self.record.parts["bounds"]
        return low, high

    @cached_property
    def network(self) -> nn.Module:
        """With its weights, in eval mode, on the CPU."""
        network: nn.Module = load_classifier(self._built("network_def"), checkpoint=self.weights)
        return network

    @cached_property
    def datalist(self) -> Any:
        """The samples of training, validation and test.

        Raises:
            RejectedError: if there are others than those that the run was trained with.
        """
        datalist = self._built("datalist")
        for name, section in self.record.sections.items():
            found = _names(getattr(datalist, name))
            if found != section.ids:
                raise RejectedError(
                    f"expected the {len(section.ids)} {name} samples of the training, got "
                    f"{len(found)}, or others: the data have changed since; give what they were by "
                    f"--dataset_dir FOLDER"
                )
        return datalist

    @cached_property
    def preprocessing(self) -> Any:
        """From ``{"image": ...}`` to the input; ``None`` where samples are inputs already."""
        return self._built("preprocessing") if self.record.parts.get("preprocessing") else None

    @property
    def reads_images(self) -> bool:
        """Whether a sample is the path of an image."""
        samples = self.datalist.validation
        return not isinstance(samples, TensorSamples) and isinstance(
            samples[0].get("image"), str | Path
        )

    @property
    def reads_beats(self) -> bool:
        """Whether a sample is a heartbeat, as ``monai-ima prepare-ecg`` cuts it."""
        loader: str = self.config.get("datalist", {}).get("_target_", "")
        return loader.rpartition(".")[2] == "load_ecg"

    @property
    def units(self) -> dict[str, Any] | None:
        """Of images and heartbeats, what a change of their values is said in; ``None`` of anything else."""
        if self.reads_beats:
            return BEAT_UNITS
        if not self.reads_images:
            return None
        has_range = "intensity_range" in self.config
        intensity_range = self._built("intensity_range") if has_range else None
        return image_units(self.bounds, intensity_range, self.datalist.validation)

    def validation_inputs(self, places: Sequence[int]) -> Tensor:
        """Some of the validation samples ``(N, C, *)``, as they go into the network.

        Raises:
            RejectedError: if the preprocessing makes no input of an image alone.
        """
        samples = self.datalist.validation
        if isinstance(samples, TensorSamples):
            return samples.inputs[list(places)].cpu()
        try:
            return torch.stack([self._input(samples[place]) for place in places])
        except Exception as error:
            raise RejectedError(
                f"expected preprocessing to make an input of an image alone, as it is without a label, "
                f"got {type(error).__name__}: {error}; let its transforms take the key image only"
            ) from error

    def _input(self, sample: Mapping[str, Any]) -> Tensor:
        item = {"image": sample["image"]}
        image = item["image"] if self.preprocessing is None else self.preprocessing(item)["image"]
        tensor = torch.as_tensor(image)
        return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor

    def self_contained(self, *names: str) -> dict[str, Any]:
        """Parts of the config with plain values in place of references, and all they still refer to.

        Steps of a preprocessing that are turned off are left out.
        """
        config = EffectiveConfig(self._parser.ref_resolver)
        parts: dict[str, Any] = {}
        left = list(names)
        while left:
            name = left.pop()
            if name in parts:
                continue
            own = self.record.parts.get(name)
            parts[name] = _enabled(config.values(name) if own is None else own)
            left += sorted({top for text in _texts(parts[name]) for top in _referred(text)})
        return parts

    def _built(self, name: str) -> Any:
        try:
            return self._parser.get_parsed_content(name)
        except Exception as error:
            cause = root_cause(error)
            raise RejectedError(
                f"expected {name} of {self.folder / CONFIG} to be built as it was for the training, got "
                f"{type(cause).__name__}: {cause}"
            ) from error


def _names(samples: TensorSamples | Sequence[Mapping[str, Any]]) -> list[str]:
    items = samples.samples if isinstance(samples, TensorSamples) else samples
    return [str(item.get("id", item.get("image"))) for item in items]


def _enabled(part: Any) -> Any:
    """A part without what is turned off, and without saying of the rest that it is not."""
    if isinstance(part, Mapping):
        return {key: _enabled(value) for key, value in part.items() if key != "_disabled_"}
    if isinstance(part, list):
        return [
            _enabled(item)
            for item in part
            if not (isinstance(item, Mapping) and item.get("_disabled_") in (True, "true"))
        ]
    return part


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)


def _referred(text: str) -> set[str]:
    """The top-level keys that an expression or a reference refers to."""
    if text[:1] not in ("$", "@"):
        return set()
    ids = ReferenceResolver.match_refs_pattern(ReferenceResolver.normalize_id(text))
    return {id_.split(ReferenceResolver.sep)[0] for id_ in ids}
