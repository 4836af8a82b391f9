"""How much the samples of each class are to count for, so that all classes do alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_ima.data.tensors import TensorSamples


def balanced_weights(
    samples: TensorSamples | Sequence[Mapping[str, Any]], *, num_classes: int
) -> list[float]:
    r"""Weights inverse to how frequent each class is, :math:`w_c = N / (C\, n_c)`.

    Their mean over the samples is 1, so that a loss is as large as without, and each class has the
    same share of it.

    Args:
        samples: of the training, tensors or the items of a datalist, with ``label``.
        num_classes: how many classes there are.

    Returns:
        A weight for each class.

    Raises:
        ValueError: if a class has no sample.
    """
    if isinstance(samples, TensorSamples):
        labels = samples.labels.cpu()
    else:
        labels = torch.tensor([sample["label"] for sample in samples])
    counts = labels.bincount(minlength=num_classes)
    if len(counts) != num_classes or (counts == 0).any():
        raise ValueError(
            f"expected training samples of each of num_classes={num_classes} classes for balanced "
            f"class_weights, got {', '.join(map(str, counts.tolist()))} by class; leave class_weights "
            "out, or give a list of weights"
        )
    return [len(labels) / (num_classes * count) for count in counts.tolist()]
