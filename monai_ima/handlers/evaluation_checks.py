"""The checks of an evaluation, one after another, so that each can be kept when it is made."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from monai_ima.handlers.evaluation_samples import Samples
from monai_ima.robustness.checks import (
    ON_SUBSET,
    Check,
    Subset,
    checked,
    without_gradients,
    zero_gradient,
)
from monai_ima.robustness.measure import Measure


def subset_of(network: nn.Module, samples: Samples, margins: Tensor, measure: Measure) -> Subset:
    """The samples that the checks of a norm are made on, and how they were attacked.

    Args:
        network: attacked.
        samples: of the subset.
        margins: ``(N,)`` of all samples.
        measure: of the norm.
    """
    device = samples.places.device
    return Subset(
        model=network,
        inputs=samples.inputs,
        labels=samples.labels,
        index=samples.places,
        margins=margins.to(device)[samples.places],
        eps=measure.eps.to(device),
        norm=measure.norm,
        bounds=measure.bounds,
        protocol=measure.protocol,
        seed=measure.seed,
        batch_size=measure.batch_size,
    )


def checks_left(
    subset: Subset,
    done: Container[str],
    *,
    zero_gradients: Tensor | None,
    correct: Tensor,
    outputs: str,
) -> Iterator[dict[str, Any]]:
    """Make the checks of a norm that are not made yet.

    Args:
        subset: the samples that the checks are made on.
        done: names of the checks that are made already.
        zero_gradients: ``(N,)`` whether the gradient vanishes, of all samples; ``None`` where the
            protocol takes no gradients.
        correct: ``(N,)`` whether the clean sample is classified correctly.
        outputs: what the model returns.

    Yields:
        ``Check.to_dict()`` by name.
    """
    for name in tqdm(ON_SUBSET, desc=f"checking {subset.norm.name}", dynamic_ncols=True):
        if name not in done:
            found = without_gradients(name) if zero_gradients is None else checked(subset, name)
            yield {name: found.to_dict()}
    if "zero_gradient" not in done:
        found = (
            without_gradients("zero_gradient")
            if zero_gradients is None
            else zero_gradient(zero_gradients, correct)
        )
        is_logits = Check("logits", outputs == "logits", f"the model returns {outputs}")
        yield {"zero_gradient": found.to_dict(), "logits": is_logits.to_dict()}
