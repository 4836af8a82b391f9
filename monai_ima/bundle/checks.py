"""What is checked before anything is read or written: the process, settings, parts, the network."""

from __future__ import annotations

import os
from typing import Any

import torch
from monai.networks.utils import eval_mode
from torch import nn
from torch.utils.data import Dataset

from monai_ima.bundle.last_words import is_ours
from monai_ima.config_checks import complaints, needed, waiting_for, wrong_parts
from monai_ima.config_checks.command_line import cut_short, typed_words
from monai_ima.data import TensorSamples
from monai_ima.effective_config import current_resolver
from monai_ima.errors import root_cause
from monai_ima.handlers import RobustnessCurveHandler
from monai_ima.logits import logits_of
from monai_ima.robustness.closest import check_range
from monai_ima.settings import Schema


def check_single_process() -> None:
    """Reject a config that is made for one process on each of several, as ``torchrun`` starts them.

    Each would make the whole run, and all would write to one folder. To be called by an expression
    in the config's ``initialize``, before anything is read or written.

    Raises:
        RuntimeError: on every one of them, if there are several.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise RuntimeError(
            f"expected one process, got WORLD_SIZE={processes} (this is rank "
            f"{os.environ.get('RANK', 'unknown')}), as torchrun sets it: this config would make the "
            f"whole run in each of them, in one folder; let them make it together by adding "
            f"bundles/scale/multi_gpu_train.json (of an evaluation multi_gpu_evaluate.json) to the end "
            f"of --config_file, or start it by python -m monai.bundle run, without torchrun or with "
            f"--nproc_per_node=1, or unset WORLD_SIZE"
        )


def check_settings(*schemas: type[Schema], likeness: float = 0.0) -> None:
    """Reject a config whose settings, or the arguments of whose parts, are wrong.

    To be called by an expression in the config's ``initialize``, before anything is built, read or
    written: it names all that is wrong at once.

    Args:
        schemas: what the settings of the config may be, of ``monai_ima.settings``.
        likeness: reject only those unknown names that are as like one that means something, from
            0, not at all, to 1, equal; for a config that may lie over another bundle's, whose keys
            are its own affair.

    Raises:
        ValueError: naming each wrong setting, what was expected and what was got.
    """
    if found := [*cut_short(typed_words()), *complaints(current_resolver(), schemas, likeness)]:
        raise ValueError("; and ".join(found))


def build(id_: str, *, before: str) -> None:
    """Build all that a part of the config needs, but for what needs a certain other part.

    To be called by an expression in the config's ``initialize``: what cannot be built is rejected
    before that other part, which opens the folder of the run, is.

    Args:
        id_: of the part, which is itself built only if it does not need ``before``.
        before: id of the other part.

    Raises:
        ValueError: if what is built is of another kind than what it is for takes.
    """
    resolver = current_resolver()
    late = waiting_for(resolver, before)
    for each in sorted(needed(resolver, id_) - late):
        resolver.get_resolved_content(each)
    if found := list(wrong_parts(resolver, late)):
        raise ValueError("; and ".join(found))


def check_network(
    network: nn.Module,
    samples: Dataset[Any],
    curve: RobustnessCurveHandler,
    *,
    num_classes: int,
    device: torch.device | str,
) -> None:
    """Give the network one sample, before an earlier run is moved out of the way for it.

    Args:
        network: left as found.
        samples: of which the first is taken.
        curve: of noise levels which must not reach every valid input.
        num_classes: how many logits are expected.
        device: where the network is.

    Raises:
        ValueError: naming the settings, if they do not fit the sample.
    """
    try:
        first = samples[torch.tensor([0])] if isinstance(samples, TensorSamples) else samples[0]
    except Exception as error:
        cause = root_cause(error)
        if is_ours(cause):
            raise
        raise ValueError(
            f"expected preprocessing to make an input of the first validation sample, got "
            f"{type(cause).__name__}: {cause}; correct its transforms"
        ) from error
    inputs = first["image"] if isinstance(samples, TensorSamples) else first["image"][None]
    inputs = torch.as_tensor(inputs).to(device)
    try:
        with eval_mode(network):
            outputs = network(inputs)
    except Exception as error:
        raise ValueError(
            f"expected network_def to take inputs of the shape {tuple(inputs.shape)}, got from it "
            f"{type(error).__name__}: {error}; correct its arguments, or image_size where the "
            f"bundle has it"
        ) from error
    logits = logits_of(outputs, samples=1)
    if logits.shape[1] != num_classes:
        raise ValueError(
            f"expected network_def to return a logit for each of num_classes={num_classes} classes, "
            f"got {logits.shape[1]}; correct its arguments"
        )
    check_range(curve.eps, curve.norm, inputs, curve.bounds)
