"""Classifiers of any origin, from a file of their weights or a TorchScript export."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

_NAMES = ("model", "state_dict", "network", "net", "model_state_dict")
# DistributedDataParallel, torch.compile, then what Lightning modules and our own Normalized use
_WRAPPERS = ("module", "_orig_mod", "network", "model", "net")
_SHOWN = 3


def load_classifier(
    network: nn.Module | None = None,
    *,
    checkpoint: str | Path | None = None,
    torchscript: str | Path | None = None,
    key: str | None = None,
) -> nn.Module:
    """A trained classifier, in eval mode on the CPU.

    Args:
        network: the untrained network, into which the weights of ``checkpoint`` are loaded.
        checkpoint: file of ``torch.save`` with a ``state_dict``, by itself or in a dictionary. The
            names may have a prefix that stems from wrapping the network (``module.``,
            ``_orig_mod.``, ``network.``, ``model.``, ``net.``), or lack the network's own.
        torchscript: file of ``torch.jit.save`` instead, which needs no network.
        key: where in the checkpoint's dictionary the weights are, with dots between the levels;
            to be given only where there are several candidates.

    Returns:
        ``network``, or the TorchScript module.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are no weights in the file, they do not fit the network, or the
            arguments do not go together.
    """
    arguments = {
        "network": network,
        "checkpoint": checkpoint,
        "torchscript": torchscript,
        "key": key,
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
        raise TypeError(f"expected network to be a torch.nn.Module, got {network!r}")
    file = Path(checkpoint)
    _load_weights(network, _weights(_read(file), key, file), file)
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
    _check_file(file, "torchscript")
    if not _is_torchscript(file):
        raise ValueError(
            f"expected torchscript to be a file of torch.jit.save, got {file}, {_nature(file)}; "
            f"weights alone are given as checkpoint, together with their network"
        )
    with warnings.catch_warnings():
        # All of torch.jit is deprecated; whoever has such a file can do nothing about it here.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        try:
            model: nn.Module = torch.jit.load(file, map_location="cpu")
        except RuntimeError as error:
            raise ValueError(
                f"expected {file} to be TorchScript that this version of torch, "
                f"{torch.__version__}, can load, got: {_first_line(error)}; export it again"
            ) from error
    return model.eval()


def _read(file: Path) -> object:
    _check_file(file, "checkpoint")
    if _is_torchscript(file):
        raise ValueError(
            f"expected checkpoint to be a file of weights, got {file}, a TorchScript export; give "
            f"it as torchscript, without network and checkpoint"
        )
    try:
        content: object = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # from the unpickler of any file: KeyError, EOFError and many more
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(file):
            objects = get_unsafe_globals_in_checkpoint(file)
            raise ValueError(
                f"expected checkpoint to hold weights and plain values alone, got {file} with "
                f"{_some(objects) or 'other objects'}, whose loading could run any code; where it "
                f"was made, save the weights alone: torch.save(model.state_dict(), 'model.pt')"
            ) from error
        cut_short = isinstance(error, EOFError)
        raise ValueError(
            f"expected checkpoint to be a file of torch.save, got {file}, "
            f"{_nature(file, cut_short=cut_short)}; copy it again, or correct the path"
        ) from error
    return content


def _check_file(file: Path, name: str) -> None:
    if not file.is_file():
        raise FileNotFoundError(
            f"expected {name} to be a file, got {file}: "
            f"{'a folder' if file.is_dir() else 'no such file'}; correct the path"
        )


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _nature(file: Path, *, cut_short: bool = False) -> str:
    """What a file is that could not be loaded, in words."""
    with file.open("rb") as stream:
        start = stream.read(32)
    if not start:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, whose file is fetched by `git lfs pull`"
    if cut_short or (start.startswith(b"PK") and not zipfile.is_zipfile(file)):
        return "a file that was cut short"
    return "a file of another kind"


def _weights(content: object, key: str | None, file: Path) -> Mapping[str, Tensor]:
    found = dict(_state_dicts(content))
    if not found:
        holds = (
            f"a dictionary with {_some(content) or 'nothing'}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise ValueError(
            f"expected {file} to hold a state_dict, got {holds}; save the weights with "
            f"torch.save(model.state_dict(), 'model.pt')"
        )
    likely = [path for path in found if path.split(".")[-1] in _NAMES] or list(found)
    if key is None and len(likely) == 1:
        return found[likely[0]]
    if key is not None and key in found:
        return found[key]
    there = ", ".join(path or "the file itself, which needs no key" for path in found)
    raise ValueError(
        f"expected key to say which state_dict of {file} is the network's, got {key!r}; there is "
        f"{there}"
    )


def _state_dicts(content: object, path: str = "") -> Iterable[tuple[str, Mapping[str, Tensor]]]:
    """Every state_dict in nested dictionaries, by its dotted path."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return  # an optimizer's states are numbered
    if content and all(isinstance(value, Tensor) for value in content.values()):
        yield path, content
    for name, value in content.items():
        yield from _state_dicts(value, f"{path}.{name}" if path else name)


def _load_weights(network: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    own = network.state_dict()
    wanted, offered = _unwrapped(own), _unwrapped(weights)
    missing = [mine for name, mine in wanted.items() if name not in offered]
    unexpected = [theirs for name, theirs in offered.items() if name not in wanted]
    pairs = [(wanted[name], offered[name]) for name in wanted if name in offered]
    reshaped = [
        f"{mine} {tuple(own[mine].shape)} is {tuple(weights[theirs].shape)} in the file"
        for mine, theirs in pairs
        if own[mine].shape != weights[theirs].shape
    ]
    if missing or unexpected or reshaped:
        flaws = {
            f"not in the file ({len(missing)} of the network's {len(own)})": missing,
            f"not in the network ({len(unexpected)} of the file's {len(weights)})": unexpected,
            f"of another shape ({len(reshaped)})": reshaped,
        }
        listed = "; ".join(f"{what}: {_some(names)}" for what, names in flaws.items() if names)
        raise ValueError(
            f"expected the weights in {file} to fit the network, got {listed}. Define the network "
            f"as it was trained: "
            + (
                "its kind and size"
                if missing or unexpected
                else "its number of classes, of input channels, of dimensions or its size"
            )
        )
    network.load_state_dict({mine: weights[theirs] for mine, theirs in pairs})


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """The names by what is left of them without the wrappers that all share."""
    unwrapped = {name: name for name in names}
    while True:
        heads = {name.partition(".")[0] for name in unwrapped}
        if len(heads) != 1 or not heads.issubset(_WRAPPERS):
            return unwrapped
        unwrapped = {short.partition(".")[2]: name for short, name in unwrapped.items()}


def _some(names: Iterable[object]) -> str:
    """The first few, as text."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
