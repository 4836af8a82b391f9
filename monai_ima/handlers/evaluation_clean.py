"""One pass over the clean samples of an evaluation: robustness is built on these answers."""

from __future__ import annotations

import torch
from monai.engines import SupervisedEvaluator
from monai.networks import eval_mode
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor
from tqdm import tqdm

from monai_ima.distributed import is_first
from monai_ima.handlers.evaluation_samples import SampleList, fingerprints, plain
from monai_ima.robustness.clean import Finding, clean_findings


def clean_pass(engine: SupervisedEvaluator, listed: SampleList) -> tuple[list[Finding], Tensor]:
    """Look at the answers to all clean samples, before any is attacked.

    Args:
        engine: that has the data loader, the network and the inferer.
        listed: the samples that it should give.

    Returns:
        What speaks against the answers, and a fingerprint ``(N,)`` of each sample.

    Raises:
        ValueError: if model or data do not fit the list.
    """
    seen, predictions, labels, ends, looked_at = 0, [], [], [], []
    batches = tqdm(
        engine.state.dataloader, desc="clean samples", dynamic_ncols=True, disable=not is_first()
    )
    for data in batches:
        inputs, given, *more = engine.prepare_batch(
            data, engine.state.device, engine.non_blocking, **engine.to_kwargs
        )
        args, kwargs = more or ((), {})
        with eval_mode(engine.network):
            answers = engine.inferer(inputs, engine.network, *args, **kwargs)
        output = {Keys.IMAGE: inputs, Keys.LABEL: given, Keys.PRED: answers}
        samples, logits = listed.batch(data, output, seen)
        seen += len(samples.labels)
        predictions.append(plain(logits).argmax(dim=1).cpu())
        labels.append(samples.labels.cpu())
        ends += [end.item() for end in samples.inputs.aminmax()]
        looked_at.append(fingerprints(samples.inputs))
    if seen != len(listed):
        raise ValueError(
            f"expected the data loader to give all {len(listed)} listed samples, got "
            f"{seen}; does it drop the last batch?"
        )
    findings = clean_findings(
        torch.cat(predictions), torch.cat(labels), listed.class_names, (min(ends), max(ends))
    )
    return findings, torch.cat(looked_at)
