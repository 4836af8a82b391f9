"""The samples of an evaluation: batches that fit the list of them, and their names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_ima.attacks.base import checked_labels, checked_logits
from monai_ima.distributed import processes, rank
from monai_ima.logits import is_single_output, logits_of
from monai_ima.robustness.uncertainty import numbered


class Samples(NamedTuple):
    """Some samples: ``(N, *)`` inputs, ``(N,)`` labels and places in the data set."""

    inputs: Tensor
    labels: Tensor
    places: Tensor

    @classmethod
    def cat(cls, parts: Sequence[Samples]) -> Samples:
        return cls(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def of_this_process(self) -> Samples:
        """Those that this process attacks; if there are too few, another one's, too."""
        start = min(rank(), len(self.labels) - 1)
        return Samples(*(values[start :: processes()] for values in self))


class SampleList:
    """The samples in the order of the data loader, and what the report calls them.

    Args:
        samples: each with its ``label``; ``id`` (or else ``image``, where it is a path) and
            ``patient``, where there are any, name them.
        class_names: names of the classes, in the order of the logits.
    """

    def __init__(self, samples: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> None:
        self.samples = samples
        self.class_names = tuple(map(str, class_names))

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def digest(self) -> str:
        """The same for the same samples, with the same labels, in the same order."""
        digest = hashlib.sha256(b"[")  # of the list of all, which is not made: it would be large
        for index, sample in enumerate(self.samples):
            listed = repr((self.name(index), sample.get("label")))
            digest.update(f"{', ' if index else ''}{listed}".encode())
        digest.update(b"]")
        return digest.hexdigest()

    def name(self, index: int) -> str:
        """What the report calls a sample."""
        sample = self.samples[index]
        if "id" in sample:
            return str(sample["id"])
        image = sample.get(Keys.IMAGE)
        return str(image) if isinstance(image, str | Path) else str(index)

    def patient(self, index: int) -> str:
        """The patient of a sample, empty where it is not known."""
        patient = self.samples[index].get("patient")
        return "" if patient is None else str(patient)

    def patients(self) -> Tensor | None:
        """A number for the patient of each sample, where all are known."""
        return numbered([self.patient(index) for index in range(len(self.samples))])

    def batch(self, data: object, output: Mapping[Keys, Any], seen: int) -> tuple[Samples, Tensor]:
        """The samples that are listed after those seen, and logits that fit the classes."""
        inputs, labels, outputs = (output[key] for key in (Keys.IMAGE, Keys.LABEL, Keys.PRED))
        if labels is None:
            raise ValueError(
                "expected every sample with its label, the index of its class, got none; "
                "robustness is measured against the truth: add the labels to the list of samples"
            )
        labels, logits = checked_labels(labels), logits_of(outputs, len(labels))
        if logits.shape[1] != len(self.class_names):
            got = "one logit for two" if is_single_output(logits) else tuple(logits.shape)
            raise ValueError(
                f"expected the model to return logits of shape ({len(labels)}, "
                f"{len(self.class_names)}), for the classes {', '.join(self.class_names)}, got "
                f"{got}; correct network_def or the classes"
            )
        checked_logits(logits, labels)
        listed = self.samples[seen : seen + len(labels)]
        given = {"label": labels.tolist()}
        if isinstance(data, Mapping) and "id" in data:
            given["id"] = list(data["id"])
        for key, values in given.items():
            if values != [_only(s.get(key, value)) for s, value in zip(listed, values)]:  # noqa: B905
                raise ValueError(
                    f"expected the data loader to give the listed samples in their order, got "
                    f"others from sample {seen} on; turn shuffling off"
                )
        places = torch.arange(seen, seen + len(labels), device=labels.device)
        return Samples(*(plain(values) for values in (inputs, labels, places))), logits

    def check_same(self, batch: Samples, known: Tensor, source: str) -> None:
        """Raise ``ValueError`` unless a batch is of the samples whose fingerprints are known.

        Args:
            batch: samples of the list.
            known: ``(M,)`` fingerprints, by place.
            source: what these were taken of, for the message.
        """
        places = batch.places.cpu()
        changed = places[known[places] != fingerprints(batch.inputs)]
        if len(changed):
            raise ValueError(
                f"expected the samples of the evaluation that {source}, got another image "
                f"{self.name(int(changed[0]))}; leave randomness out of the transforms, turn "
                "shuffling off, or, if the data have changed, choose another folder"
            )


def plain(values: Tensor) -> Tensor:
    """A plain tensor: a MetaTensor makes every small operation slower."""
    return values.as_tensor() if hasattr(values, "as_tensor") else values


def fingerprints(inputs: Tensor) -> Tensor:
    """A number for each of ``(N, *)`` samples that no other sample is likely to have."""
    rows = inputs.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
    digests = (hashlib.sha256(row).digest() for row in rows)
    return torch.tensor([int.from_bytes(digest[:8], "big", signed=True) for digest in digests])


def _only(label: object) -> object:
    """The label in a list of one."""
    match label:
        case [only]:
            return only
    return label


def checked_bounds(bounds: object) -> tuple[float, float] | None:
    """Two numbers or ``None``, whatever a command line made of them."""
    match bounds:
        case None:
            return None
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
    raise ValueError(
        f"expected bounds to be two numbers, low and high, got {bounds!r}; inputs without bounds "
        "are told by null in a file, and by '$None' on the command line"
    )


def checked_orientation(orientation: object) -> str | None:
    """A direction for each of three axes, or ``None``."""
    match orientation:
        case None:
            return None
        case str() if len(orientation) == 3 and all(
            len(set(ends) & set(orientation)) == 1 for ends in ("RL", "AP", "SI")
        ):
            return orientation
    raise ValueError(
        "expected orientation to be three letters, one of R and L, one of A and P, one of S and I, like "
        f"'RAS', got {orientation!r}; leave it out where it is not known"
    )


def checked_units(units: object) -> dict[str, Any] | None:
    """Name and number of the units of the data, or ``None``."""
    match units:
        case None:
            return None
        case {"name": str(name), "per_unit": int() | float() as number, **others} if (
            name and 0 < number < math.inf and not others
        ):
            return {"name": name, "per_unit": float(number)}
    raise ValueError(
        "expected units to be a name and how many of them one unit of the inputs is, like {'name': "
        f"'grey levels of 255', 'per_unit': 255}}, got {units!r}; leave them out ('$None' on the command "
        "line) where they are not known"
    )
