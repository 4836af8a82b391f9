"""What every attack shares at its border: arguments are checked, the model is left as it was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from monai_ima.faults import require
from monai_ima.logits import logits_of

Model: TypeAlias = Callable[[Tensor], object]  # what logits_of takes
Classify: TypeAlias = Callable[[Tensor], Tensor]  # logits (N, C)
Bounds: TypeAlias = tuple[float, float]


def classifying(model: Callable[..., object]) -> Callable[..., Tensor]:
    """A model as it comes, made one that takes inputs ``(N, *)`` to logits ``(N, C)``.

    The model gets a copy, which it may change, in the precision of its parameters, the first one's
    where they differ; gradients come back in the precision of the inputs. What it returns is read
    by :func:`~monai_ima.logits.logits_of`, and is the caller's own, though a model may write all
    that it returns into the same memory. Further arguments are handed on.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    dtype = next((each.dtype for each in parameters if each.is_floating_point()), None)

    def classify(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        precision = dtype or inputs.dtype
        own = inputs.clone() if inputs.dtype == precision else inputs.to(precision)
        return logits_of(model(own, *args, **kwargs), len(inputs)).clone()

    return classify


@contextmanager
def attacking(model: Model, inputs: Tensor) -> Iterator[Classify]:
    """Prepare for gradients of ``inputs``, leave ``model`` as found, and call it as yielded.

    What is yielded takes inputs to logits, see :func:`classifying`. Inside, a module is in eval
    mode, so that samples are independent of one another and no statistic moves, and its parameters
    are frozen, which saves a third of a backward pass. The mode of each module and each parameter's
    ``requires_grad`` come back at the end, whatever happens. Gradients are enabled even under
    ``torch.no_grad``, autocast is off.
    """
    training: list[nn.Module] = []
    trainable: list[nn.Parameter] = []
    if isinstance(model, nn.Module):
        # Frozen TorchScript has no mode.
        training = [module for module in model.modules() if getattr(module, "training", False)]
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(inputs.device.type, enabled=False),
        ):
            yield classifying(model)
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def checked_labels(labels: Tensor) -> Tensor:
    """Hand back class indices ``(N,)`` in 64 bits, from labels ``(N,)`` or ``(N, 1)`` of any width.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if they have another shape.
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"expected labels to be class indices (integers), got {labels.dtype}")
    if labels.ndim != 1 and (labels.ndim != 2 or labels.shape[1] != 1):
        raise ValueError(
            "expected labels (N,) or (N, 1), for each sample the index of its class, "
            f"got labels of shape {tuple(labels.shape)}"
        )
    if hasattr(labels, "as_tensor"):  # a MetaTensor makes every small operation slower
        labels = labels.as_tensor()
    return labels.long().reshape(-1)


def checked_inputs(inputs: Tensor, labels: Tensor, bounds: Bounds | None) -> tuple[Tensor, Tensor]:
    """Hand back samples as attacks need them, after a look at all that a caller can get wrong.

    Returns:
        ``(N, *)`` inputs, a plain detached tensor, and ``(N,)`` labels, see :func:`checked_labels`.

    Raises:
        TypeError: if the inputs are not floating point or the labels not integers.
        ValueError: if the shapes disagree, or inputs are not finite or outside ``bounds``.
    """
    inputs, labels = fitting_inputs(inputs, labels, bounds)
    check_values(inputs, bounds)
    return inputs, labels


def fitting_inputs(inputs: Tensor, labels: Tensor, bounds: Bounds | None) -> tuple[Tensor, Tensor]:
    """As :func:`checked_inputs`, without a look at the values, for which the host waits for the device."""
    if not inputs.is_floating_point():
        raise TypeError(f"expected floating point inputs, got {inputs.dtype}")
    labels = checked_labels(labels)
    if inputs.ndim < 2 or labels.shape != inputs.shape[:1]:
        raise ValueError(
            "expected inputs (N, *) and labels (N,), "
            f"got {tuple(inputs.shape)} and {tuple(labels.shape)}"
        )
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"expected bounds (low, high) with low < high, got {bounds}")
    if hasattr(inputs, "as_tensor"):  # a MetaTensor makes every small operation slower
        inputs = inputs.as_tensor()
    return inputs.detach(), labels


def check_values(inputs: Tensor, bounds: Bounds | None) -> None:
    """Require inputs ``(N, *)`` that are finite and within ``bounds``, or raise ``ValueError``."""
    if len(inputs) == 0:
        return
    low, high = inputs.aminmax()
    largest = torch.finfo(inputs.dtype).max
    least, most = (-largest, largest) if bounds is None else bounds

    def error() -> ValueError:
        if not math.isfinite(low.item()) or not math.isfinite(high.item()):
            return ValueError("expected finite inputs, got NaN or infinity")
        return ValueError(
            f"expected inputs within bounds {bounds}, got values from {low:.6g} to {high:.6g}; "
            "scale the data, or pass the bounds that hold for it"
        )

    require((low >= max(least, -largest)) & (high <= min(most, largest)), error)


def checked_radius(name: str, radius: float | Tensor, inputs: Tensor) -> Tensor:
    """A radius for each sample, ``(N,)`` like ``inputs``, from a number or a tensor ``(N,)``.

    Raises:
        ValueError: if it has another shape, or is negative, NaN or infinite.
    """
    values = fitting_radius(name, radius, inputs)
    check_radius(name, values)
    return values


def fitting_radius(name: str, radius: float | Tensor, inputs: Tensor) -> Tensor:
    """As :func:`checked_radius`, but of a tensor the values are left to :func:`check_radius`."""
    if isinstance(radius, int | float):
        return inputs.new_full((len(inputs),), checked_number(name, radius))
    values = torch.as_tensor(radius, dtype=inputs.dtype, device=inputs.device).detach()
    if values.ndim > 0 and values.shape != inputs.shape[:1]:
        raise ValueError(
            f"expected {name} to be a number or a tensor of shape ({len(inputs)},), "
            f"got shape {tuple(values.shape)}"
        )
    return values.expand(len(inputs))


def check_radius(name: str, values: Tensor) -> None:
    """Require radii ``(N,)`` that are finite and not negative, or raise ``ValueError``."""
    fit = (values >= 0) & (values <= torch.finfo(values.dtype).max)

    def error() -> ValueError:
        wrong = values[~fit][0].item()
        return ValueError(f"expected {name} to be finite and not negative, got {wrong:.6g}")

    require(fit.all(), error)


def checked_index(index: Tensor | None, inputs: Tensor) -> Tensor:
    """Numbers of the samples ``(N,)``, by default their places.

    Raises:
        ValueError: if they have another shape.
    """
    if index is None:
        return torch.arange(len(inputs), device=inputs.device)
    if index.shape != inputs.shape[:1]:
        raise ValueError(
            f"expected index, a number of each sample, of shape ({len(inputs)},), "
            f"got shape {tuple(index.shape)}"
        )
    return index.to(inputs.device)


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
        ValueError: if a label is not below ``C``, or the logits are not finite.
    """
    fitting_labels(labels, logits)
    return finite_logits(logits)


def fitting_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Hand back labels ``(N,)`` that name classes of ``(N, C)`` logits, or raise ``ValueError``."""
    if len(labels):
        low, high = labels.aminmax()
        require(
            (low >= 0) & (high < logits.shape[1]),
            lambda: ValueError(
                f"expected labels from 0 to {logits.shape[1] - 1}, got {low.item()} to {high.item()}"
            ),
        )
    return labels


def finite_logits(logits: Tensor) -> Tensor:
    """Hand back logits that are all finite, or raise ``ValueError``."""

    def error() -> ValueError:
        masked = (logits == -torch.inf).all(dim=0).nonzero()[:, 0].tolist()
        if masked and not logits.isnan().any():
            return ValueError(
                "expected the model to return finite logits, got -inf for class "
                f"{', '.join(map(str, masked))} in every sample, as a mask puts it; leave the class "
                "out of the network's outputs, or mask it by a finite logit, about the lowest of the "
                "others: by a far lower one attacks find too little"
            )
        return ValueError(
            "expected the model to return finite logits, got NaN or infinity, as after a training "
            "that diverged: lower the learning rate, or look for extreme values in the weights"
        )

    require(logits.isfinite().all(), error)
    return logits


def misclassified(model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
    """Samples ``(N,)`` bool that the model, in eval mode, does not give their label.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found.
        inputs: ``(N, *)`` samples.
        labels: ``(N,)`` true class indices.
    """
    inputs, labels = checked_inputs(inputs, labels, bounds=None)
    with attacking(model, inputs) as classify, torch.no_grad():
        return checked_logits(classify(inputs), labels).argmax(dim=1) != labels
