"""Classifiers of any origin, from a file of their weights or a TorchScript export."""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.networks.checkpoint_file import (
    check_file,
    check_intact,
    first_line,
    is_torchscript,
    nature,
    read_checkpoint,
)
from monai_ima.networks.load_weights import load_weights
from monai_ima.networks.state_dicts import find_weights

_logger = logging.getLogger(__name__)


def load_classifier(
    network: nn.Module | None = None,
    *,
    checkpoint: str | Path | None = None,
    torchscript: str | Path | None = None,
    key: str | None = None,
    prefix: str | None = None,
) -> nn.Module:
    """A trained classifier, in eval mode on the CPU.

    Args:
        network: the untrained network, into which the weights of ``checkpoint`` are loaded.
        checkpoint: file of ``torch.save`` with a ``state_dict``, by itself or in a dictionary, or
            of safetensors; no code in it is run. The names may have a prefix that stems from
            wrapping the network (``module.``, ``_orig_mod.``, ``network.``, ``model.``, ``net.``),
            or lack the network's own. Values in other types, such as half, bfloat16 or float64,
            are converted to the network's, as ``load_state_dict`` does. A damaged file is noticed,
            except for changed values in safetensors, or from torch before 1.6: no checksums.
        torchscript: file of ``torch.jit.save`` instead, which needs no network. It is a program,
            which can read and write files: from people you trust only.
        key: where in the checkpoint's dictionary the weights are, with dots between the levels;
            to be given only where there are several candidates.
        prefix: what the names of the network's weights start with in the file, as
            ``encoder.classifier.``, if it is none of the above; what has other names is left out.

    Returns:
        ``network``, or the TorchScript module.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if the network is no module, or the prefix no text.
        ValueError: if there are no weights in the file, they do not fit the network, or the
            arguments do not go together.
    """
    arguments = {
        "network": network,
        "checkpoint": checkpoint,
        "torchscript": torchscript,
        "key": key,
        "prefix": prefix,
    }
    given = [name for name, value in arguments.items() if value is not None]
    if torchscript is not None and given == ["torchscript"]:
        return _load_torchscript(Path(torchscript))
    if network is None or checkpoint is None or torchscript is not None:
        raise ValueError(
            f"expected network and checkpoint, or torchscript alone, got "
            f"{' and '.join(given) or 'nothing'}; an evaluation needs trained weights"
        )
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"expected network (setting network_def) to be a torch.nn.Module, got {network!r}"
        )
    if not isinstance(prefix, str | None):
        raise TypeError(
            f"expected prefix (setting checkpoint_prefix) to be text, got {prefix!r}; put it in "
            f"quotes within quotes: --checkpoint_prefix \"'0.'\""
        )
    file = Path(checkpoint)
    whole = f"{prefix.removesuffix('.')}." if prefix else ""
    weights = find_weights(read_checkpoint(file), network, key=key, prefix=whole, file=file)
    load_weights(network, weights, prefix=whole, file=file)
    return network.eval()


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model's weights: names, types, shapes and values, whatever the device.

    A network and its TorchScript export have the same one, unless the export was frozen: that has
    constants instead of weights, and then it is the export itself that is identified.
    """
    digest = hashlib.sha256()
    state = model.state_dict()
    for name, value in sorted(state.items()):
        digest.update(f"{name}\n".encode())
        _add(digest, value)
    if not state:
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                digest.update(module.save_to_buffer())
    return digest.hexdigest()


def _add(digest: Any, value: object) -> None:
    match value:
        case Tensor():
            tensor = value.detach().cpu()
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            plain = tensor.dequantize() if tensor.is_quantized else tensor
            # as bytes, because numpy knows no bfloat16
            digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        case tuple():  # the packed weights of quantised layers
            for part in value:
                _add(digest, part)
        case _:
            digest.update(f"{value!r}\n".encode())


def _load_torchscript(file: Path) -> nn.Module:
    check_file(file, "torchscript")
    check_intact(file, "torchscript")
    if not is_torchscript(file):
        raise ValueError(
            f"expected torchscript to be a file of torch.jit.save, got {file}, {nature(file)}; "
            f"weights alone are given as checkpoint, together with their network; if it was one, "
            f"copy or export it again"
        )
    _logger.warning(
        "%s is TorchScript, a program that can read and write any file that you can; load it only "
        "if you trust where it is from (SECURITY.md)",
        file,
    )
    with warnings.catch_warnings():
        # All of torch.jit is deprecated; whoever has such a file can do nothing about it here.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        try:
            model: nn.Module = torch.jit.load(file, map_location="cpu")
        except RuntimeError as error:
            raise ValueError(
                f"expected {file} to be TorchScript that this version of torch, "
                f"{torch.__version__}, can load, got: {first_line(error)}; export it again"
            ) from error
    return model.eval()
