"""What every attack shares at its border: arguments are checked, the model is left as it was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from monai_ima.attacks.norms import Norm
from monai_ima.attacks.result import AttackResult

Model: TypeAlias = Callable[[Tensor], Tensor]
Bounds: TypeAlias = tuple[float, float]
Search: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@contextmanager
def attacking(model: Model, inputs: Tensor) -> Iterator[None]:
    """Prepare for input gradients in the precision of ``inputs``, and leave ``model`` as found.

    Inside, a module is in eval mode, so that samples are independent of one another and no
    statistic moves, and its parameters are frozen, which saves a third of a backward pass. The
    mode of each module and each parameter's ``requires_grad`` come back at the end, whatever
    happens. Gradients are enabled even under ``torch.no_grad``, autocast is off.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    # Frozen TorchScript has no mode.
    modules = [module for module in modules if hasattr(module, "training")]
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    trainable = [parameter.requires_grad for parameter in parameters]
    try:
        for module in modules:
            module.training = False
        for parameter in parameters:
            parameter.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(inputs.device.type, enabled=False),
        ):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for parameter, requires_grad in zip(parameters, trainable, strict=True):
            parameter.requires_grad_(requires_grad)


def checked_inputs(inputs: Tensor, labels: Tensor, bounds: Bounds | None) -> Tensor:
    """Hand back ``inputs`` as a plain detached tensor, after a look at all that a caller can get wrong.

    Raises:
        TypeError: if the inputs are not floating point or the labels not integers.
        ValueError: if the shapes disagree, or inputs are not finite or outside ``bounds``.
    """
    if not inputs.is_floating_point():
        raise TypeError(f"expected floating point inputs, got {inputs.dtype}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"expected labels to be class indices (integers), got {labels.dtype}")
    if inputs.ndim < 2 or labels.shape != inputs.shape[:1]:
        raise ValueError(
            "expected inputs (N, *) and labels (N,), "
            f"got {tuple(inputs.shape)} and {tuple(labels.shape)}"
        )
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"expected bounds (low, high) with low < high, got {bounds}")
    if hasattr(inputs, "as_tensor"):  # a MetaTensor makes every small operation slower
        inputs = inputs.as_tensor()
    inputs = inputs.detach()
    if len(inputs) == 0:
        return inputs
    low, high = (bound.item() for bound in inputs.aminmax())
    if not (torch.isfinite(torch.tensor([low, high])).all()):
        raise ValueError("expected finite inputs, got NaN or infinity")
    if bounds is not None and not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(
            f"expected inputs within bounds {bounds}, got values from {low:.6g} to {high:.6g}; "
            "scale the data, or pass the bounds that hold for it"
        )
    return inputs


def checked_radius(name: str, radius: float | Tensor, inputs: Tensor) -> Tensor:
    """A radius for each sample, ``(N,)`` like ``inputs``, from a number or a tensor ``(N,)``.

    Raises:
        ValueError: if it has another shape, or is negative, NaN or infinite.
    """
    values = torch.as_tensor(radius, dtype=inputs.dtype, device=inputs.device).detach()
    if values.ndim > 0 and values.shape != inputs.shape[:1]:
        raise ValueError(
            f"expected {name} to be a number or a tensor of shape ({len(inputs)},), "
            f"got shape {tuple(values.shape)}"
        )
    if not (torch.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"expected {name} to be finite and not negative, got {radius}")
    return values.expand(len(inputs))


def checked_count(name: str, value: int, at_least: int) -> int:
    """Hand back a whole number of at least ``at_least``, or raise ``ValueError``."""
    if type(value) is not int or value < at_least:
        raise ValueError(f"expected {name} to be a whole number >= {at_least}, got {value!r}")
    return value


def checked_number(name: str, value: object, at_most: float = math.inf) -> float:
    """Hand back a finite number from 0 to ``at_most``, or raise ``ValueError``."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if 0 <= number <= at_most and number < math.inf:
        return number
    wanted = "to be finite and not negative" if at_most == math.inf else f"from 0 to {at_most:g}"
    raise ValueError(f"expected {name} {wanted}, got {value!r}")


def checked_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Hand back ``(N, C)`` logits that fit the labels.

    Raises:
        ValueError: if their shape is not ``(N, C)``, a label is not below ``C``, or they are not
            finite.
    """
    if logits.ndim != 2 or len(logits) != len(labels) or logits.shape[1] < 2:
        raise ValueError(
            f"expected the model to return logits of shape ({len(labels)}, classes) "
            f"with two or more classes, got {tuple(logits.shape)}"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(
            f"expected labels from 0 to {logits.shape[1] - 1}, "
            f"got {labels.min().item()} to {labels.max().item()}"
        )
    return finite_logits(logits)


def finite_logits(logits: Tensor) -> Tensor:
    """Hand back logits that are all finite, or raise ``ValueError``."""
    if not logits.isfinite().all():
        raise ValueError(
            "expected the model to return finite logits, got NaN or infinity, as after a training "
            "that diverged: lower the learning rate, or look for extreme values in the weights"
        )
    return logits


def search_correct(
    model: Model, inputs: Tensor, labels: Tensor, norm: Norm, search: Search
) -> AttackResult:
    """Attack the correctly classified samples; a misclassified one is an adversarial sample itself.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` checked samples.
        labels: ``(N,)`` class indices.
        norm: what the distance is measured in.
        search: from which samples are correct, ``(N,)`` bool, and the logits of all ``(N, C)`` to
            the points found for the correct ones, and where these are misclassified.
    """
    with attacking(model, inputs):
        found, success = inputs.clone(), torch.zeros_like(labels, dtype=torch.bool)
        if len(inputs) > 0:  # some layers refuse an empty batch
            with torch.no_grad():
                logits = checked_logits(model(inputs), labels)
            success = logits.argmax(dim=1) != labels
            correct = ~success
            if correct.any():
                found[correct], success[correct] = search(correct, logits)
    return AttackResult(found, success, norm.length(found - inputs))


def misclassified(model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
    """Samples ``(N,)`` bool that the model, in eval mode, does not give their label.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` samples.
        labels: ``(N,)`` true class indices.
    """
    inputs = checked_inputs(inputs, labels, bounds=None)
    with attacking(model, inputs), torch.no_grad():
        return checked_logits(model(inputs), labels).argmax(dim=1) != labels
