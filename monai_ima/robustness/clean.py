"""Clean accuracy comes first: what is wrong with a classifier before anybody attacks it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_ima.robustness.curve import wilson_interval
from monai_ima.robustness.statistics import confusion

_ENOUGH = 5  # samples of a class, or of all, that tell anything
_BETTER = 0.3  # accuracy gained by another order of the classes that is no accident


def clean_findings(predictions: Tensor, labels: Tensor, class_names: Sequence[str]) -> list[str]:
    """Say what makes the robustness of a classifier meaningless, and what the cause may be.

    Args:
        predictions: ``(N,)`` class given to each clean sample.
        labels: ``(N,)`` true class indices.
        class_names: names of the classes, in the order of the logits.

    Returns:
        Sentences; none if there is nothing to say. Accuracy is at chance where the lower end of its
        95 % interval (Wilson) is not above one in the number of classes: few samples, which tell
        little, say so only if most of them are wrong.
    """
    n, classes = len(labels), len(class_names)
    if n < _ENOUGH:
        return []
    findings = []
    right = predictions == labels
    accuracy = right.double().mean()
    low = float(wilson_interval(accuracy[None], n)[0, 0])
    if low <= 1 / classes and accuracy <= 1.5 / classes:
        findings.append(
            f"clean accuracy is {float(accuracy):.3f} of {n} samples, not above chance, which is "
            f"{1 / classes:.3f} for {classes} classes. Is the preprocessing that of the training "
            "(intensity range, size, transposed images), are these the trained weights, and is the "
            f"order of the classes that of the logits? It is {', '.join(class_names)}"
        )
    given = predictions.unique()
    if len(given) == 1 and len(labels.unique()) > 1:
        findings.append(
            f"every one of {n} samples is given the class {class_names[int(given)]}. Does the network see "
            "what it was trained on (intensity range, preprocessing)?"
        )
    else:
        for label, name in enumerate(class_names):
            own = labels == label
            if int(own.sum()) >= _ENOUGH and not right[own].any():
                findings.append(
                    f"sensitivity of the class {name} is 0: none of its {int(own.sum())} samples is "
                    "given it. Is the order of the classes that of the logits, and was the class "
                    "in the training?"
                )
    return findings + _other_order(predictions, labels, class_names)


def _other_order(predictions: Tensor, labels: Tensor, class_names: Sequence[str]) -> list[str]:
    """Whether the classes in another order would fit far better."""
    counts = confusion(predictions[:, None], labels, len(class_names))[0]
    order = counts.argmax(dim=1)  # the class that most samples of each true class are given
    if len(order.unique()) < len(order):
        return []
    gain = counts.gather(1, order[:, None]).sum() - counts.diagonal().sum()
    if gain < _BETTER * len(labels):
        return []
    # The logit that a class is given stands at the place of another: name the places anew.
    renamed = [class_names[label] for label in order.argsort().tolist()]
    better = (
        f"with the classes in the order {', '.join(renamed)} for the logits, {int(gain)} more of "
        f"{len(labels)} samples would be right: the model was most likely trained with that order "
        "(folders sorted as text put 10 before 2)"
    )
    return [better]
