"""Does a model give a sample the same logits each time, and in any company?

:func:`check_answers` asks before an attack, about a few samples; what is too rare for these shows in
the errors that the attack collects, and :func:`check_errors` asks about all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_ima.attacks.base import Model, attacking, finite_logits
from monai_ima.counts import checked_count
from monai_ima.losses import hard_margin
from monai_ima.robustness.passes import CountingModel

# Two passes with a dropout of 1 % over 16 active units agree in 64 samples once in 1e9 times.
_SAMPLES = 64
_COMPANY = 8  # samples of the batches in which the company is exchanged
_EXCHANGED = 3  # of them, whose company is
# An error on the boundary is none in another batch by up to 162 units in the last place, in the
# networks that were measured; an accident is none by a share of the logits' size that one can see.
_ON_THE_BOUNDARY = 16  # tolerances


def check_answers(model: Model, inputs: Tensor, *, batch_size: int = 256) -> None:
    """Reject a model that is random, or whose answers depend on the batch.

    An attack keeps every point at which a model errs. Of a random model it collects accidents; of
    one whose answers depend on the other samples of the batch, errors that are gone in the next
    batch. The curve misleads then, and nothing in it says so. Therefore logits are compared, since
    classes hide what is smaller than the distance to the boundary:

    1. of a batch, passed through the model again and again;
    2. of a sample, in a batch with others and in one of its copies alone. A statistic over such a
       batch is that of the sample by itself, but as many samples go through the same kernels, so
       that an honest model's logits are equal and not only to rounding, whatever it computes in.

    Differences are relative to the size of a class's logits. In float64 and float32, 1000 units in
    the last place are tolerated, ten times what sums in another order make: up to 83 in the
    networks that were measured, with batches of other sizes; noise of 0.02 in the inputs makes
    6,000 and more. TF32 is as float32: it rounds factors, in the same way each time, and sums in
    float32. Half precision sums in float32 as well and then rounds: one unit is tolerated.

    Args:
        model: callable, inputs ``(N, *)`` to logits ``(N, C)``, left as found; asked in eval mode.
        inputs: ``(N, *)`` samples, of which up to 64 are asked for, spread over all.
        batch_size: samples of a pass, at most. With 1, nothing depends on a batch.

    Raises:
        ValueError: saying which of the two it is, by how much, and what may be the cause.
    """
    checked_count("batch_size", batch_size, at_least=1)
    if len(inputs) == 0:
        return
    model = _uncounted(model)
    # Spread, since samples often come class by class.
    rows = torch.linspace(0, len(inputs) - 1, min(len(inputs), _SAMPLES)).long()
    parts = [part for part in rows.split(batch_size) if len(part) == min(batch_size, len(rows))]
    batches = [inputs[part.to(inputs.device)] for part in parts]
    with attacking(model, inputs) as classify, torch.no_grad():
        # In the first pass, compilers and libraries may still be choosing their kernels.
        _, logits, again = (torch.cat([classify(batch) for batch in batches]) for _ in range(3))
        tolerance = _tolerance(model, finite_logits(logits))
        if not (difference := _difference(logits, again)) <= tolerance:
            raise ValueError(
                f"expected the model to give a sample the same logits each time, got logits that "
                f"differ by up to {difference:.2g} times their size between two passes of the same "
                f"{sum(map(len, parts))} samples: the model is random. Take out what is: dropout "
                "that eval mode does not reach (F.dropout without training=self.training), noise "
                "that is added inside; export or trace a model after model.eval(). If a kernel is "
                "the cause, call torch.use_deterministic_algorithms(True)"
            )
        company = batches[0][:_COMPANY]
        logits = classify(company)
        for place in range(min(_EXCHANGED, len(company))):
            copies = classify(company[[place] * len(company)])
            if not (difference := _difference(logits, copies, place)) <= tolerance:
                raise ValueError(
                    "expected the logits of a sample not to depend on the rest of the batch, got "
                    f"logits that differ by up to {difference:.2g} times their size between a "
                    f"batch of {len(company)} samples and one of copies of one of them. Give batch "
                    "norm running statistics (no track_running_stats=False) and use them (no "
                    ".train() or training=True in forward); export or trace a model after "
                    "model.eval(). With batch_size 1 the model is evaluated as it answers single "
                    "samples"
                )


def check_errors(model: Model, errors: Tensor, labels: Tensor, *, batch_size: int = 256) -> None:
    """Reject a model that does not make again the errors that were found for it.

    What is random in a model may be too rare for :func:`check_answers`, as a dropout of 1e-4 in a
    small network is; an attack asks so often that it meets it all the same. Each error is therefore
    passed through the model once more, in the company of others than before, and may not be
    classified correctly but by rounding.

    Args:
        model: as for :func:`check_answers`.
        errors: ``(N, *)`` points that were misclassified when they were found.
        labels: ``(N,)`` class indices that they were not given.
        batch_size: samples of a pass, at most.

    Raises:
        ValueError: saying of how many it is so, by how much, and what may be the cause.
    """
    checked_count("batch_size", batch_size, at_least=1)
    if len(errors) == 0:
        return
    model = _uncounted(model)
    with attacking(model, errors) as classify, torch.no_grad():
        # From the last one on: each gets another place, and mostly another company.
        logits = torch.cat([classify(batch) for batch in errors.flip(0).split(batch_size)])
    ahead = -hard_margin(finite_logits(logits).double(), labels.flip(0))
    relative = torch.where(ahead == 0, 0, ahead / _size(logits).median())
    gone = relative > _ON_THE_BOUNDARY * _tolerance(model, logits)
    if gone.any():
        raise ValueError(
            f"expected the model to misclassify again the {len(errors)} points that were found "
            f"misclassified, got {int(gone.sum())} that it gives their label now, whose logit is "
            f"ahead by up to {float(relative.max()):.2g} times the logits' size: its answers are "
            "random now and then, change from call to call, or depend on the batch. Take out what "
            "is random (dropout that eval mode does not reach, noise that is added inside), what a "
            "forward pass counts or updates, and what treats the samples of a batch differently"
        )


def _uncounted(model: Model) -> Model:
    """The model itself, since what is looked at here is no cost of an attack."""
    return model.model if isinstance(model, CountingModel) else model


def _size(logits: Tensor) -> Tensor:
    """How large the logits ``(N, C)`` of each class are."""
    return logits.double().square().mean(dim=0).sqrt()


def _difference(logits: Tensor, others: Tensor, row: int | None = None) -> float:
    """The largest difference of logits ``(N, C)``, or of one row, to others, relative to their size."""
    size = _size(logits)
    # Class by class, so that one masked by a logit of -1e9 does not hide the others; but those of
    # a class may all be about zero, as of a single sample.
    size = size.maximum(size.median())
    mine = logits if row is None else logits[row]
    difference = (others.double() - mine.double()).abs()
    return float(torch.where(difference == 0, 0, difference / size).max())


def _tolerance(model: Model, logits: Tensor) -> float:
    """Relative difference that may be due to rounding, in the precision that the model computes in."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    dtypes = {each.dtype for each in (logits, *parameters) if each.is_floating_point()}
    eps = max(torch.finfo(dtype).eps for dtype in dtypes)
    return 1000 * eps if eps < 1e-6 else eps
