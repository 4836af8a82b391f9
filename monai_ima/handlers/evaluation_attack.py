"""The attack on some of an evaluation's samples, shared by all processes, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from monai_ima.distributed import by_sample, processes
from monai_ima.handlers.evaluation_progress import Examples
from monai_ima.handlers.evaluation_samples import Samples, fingerprints
from monai_ima.robustness.measure import Measure


def attacked(
    network: nn.Module, chunk: Samples, probabilities: Tensor, measures: Mapping[str, Measure]
) -> tuple[dict[str, Tensor], dict[str, Examples]]:
    """Measure some samples in every norm.

    Args:
        network: attacked.
        chunk: the samples, the same in every process, each of which attacks its share.
        probabilities: ``(N, C)`` of the clean samples.
        measures: by norm.

    Returns:
        Answers by name, ``<norm>/`` before those of a norm, a row for each sample; and by norm the
        correctly classified samples with the closest errors found. All are on the CPU, and the same
        in every process.
    """
    answers = {
        "labels": chunk.labels.cpu(),
        "fingerprints": fingerprints(chunk.inputs),
        "probabilities": probabilities.cpu(),
    }
    examples = {}
    share = chunk.of_this_process()
    for norm, measure in measures.items():
        own, errors = measure(network, *share)
        _, *found = by_sample(share.places.cpu(), *own.values())
        answers |= {f"{norm}/{name}": v for name, v in zip(own, found, strict=True)}
        kept = (share.places, errors.margins, share.inputs, errors.inputs)
        examples[norm] = Examples(*(values[errors.margins > 0].cpu() for values in kept))
        if processes() > 1:
            examples[norm] = Examples(*by_sample(*examples[norm].joined_with(None)))
    return answers, examples
