"""What the exported bundle says of its model: inputs, classes, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from monai_ima import __version__
from monai_ima.bundle.config_text import plain_text
from monai_ima.deployment.figures import Figures
from monai_ima.deployment.trained_run import TrainedRun

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_VERSION = "0.1.0"  # of a bundle that was not published yet


def metadata(
    run: TrainedRun, *, shape: Sequence[int], outputs: int, figures: Figures | None
) -> dict[str, Any]:
    """The content of ``configs/metadata.json``.

    What the metadata of the training's bundle says of task, data and origin is taken over where its
    classes are those of this model; of another one it would be untrue.

    Args:
        run: of the model.
        shape: ``(C, *)`` of an input.
        outputs: of the network, one logit for each class, or one in all for two.
        figures: of an evaluation, if there is one.
    """
    classes = run.record.classes
    base: Mapping[str, Any] = run.config.get("_meta_", {})
    if _classes(base) != classes:
        base = {name: base[name] for name in ("authors", "copyright") if name in base}
    described = base.get("network_data_format", {}).get("inputs", {}).get("image", {})
    modality = {"modality": described["modality"]} if "modality" in described else {}
    kind = ("image", "magnitude") if run.reads_images else ("series", "sequence")
    channels = ["red", "green", "blue"] if shape[0] == 3 else None
    own = {
        "schema": _SCHEMA,
        "version": _VERSION,
        "changelog": {
            _VERSION: f"exported by monai_ima {__version__} from run {run.record.run[:12]}"
        },
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {
            "monai-ima": __version__,
            **_versions(["pytorch-ignite", *base.get("required_packages_version", {})]),
        },
        "name": run.folder.name,
        "task": f"Classification into {', '.join(classes)}",
        "description": f"A classifier into {', '.join(classes)}, trained by the method "
        f"{run.record.settings.get('method', 'unknown')} of monai_ima",
        "authors": "unknown: name them here",
        "copyright": "unknown: say here",
        "data_source": "the owner's own data: say here which",
        "data_type": "images" if run.reads_images else "arrays",
    }
    always = {
        "image_classes": f"{shape[0]} channel{'s' * (shape[0] > 1)} with values from "
        f"{run.bounds[0]:g} to {run.bounds[1]:g}",
        "label_classes": "index of the class: " + ", ".join(classes),
        "pred_classes": "logits of the classes " + ", ".join(classes)
        if outputs == len(classes)
        else f"logit of {classes[1]} against {classes[0]}",
        "eval_metrics": {} if figures is None else figures.metrics(),
        "intended_use": "Research; not for clinical use",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": kind[0],
                    "format": kind[1],
                    **modality,
                    "num_channels": shape[0],
                    "spatial_shape": list(shape[1:]),
                    "dtype": "float32",
                    "value_range": list(run.bounds),
                    "is_patch_data": False,
                    "channel_def": {
                        str(at): channels[at] if channels else f"channel {at}"
                        for at in range(shape[0])
                    },
                }
            },
            "outputs": {
                "pred": {
                    "type": "logits",
                    "format": "classes",
                    "num_channels": outputs,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {
                        str(at): plain_text(name)
                        for at, name in enumerate(classes[len(classes) - outputs :])
                    },
                }
            },
        },
    }
    kept = ("task", "description", "authors", "copyright", "data_source", "data_type", "references")
    return {**own, **{name: base[name] for name in kept if name in base}, **always}


def _classes(base: Mapping[str, Any]) -> list[str]:
    """The names of the classes that metadata has."""
    outputs = base.get("network_data_format", {}).get("outputs", {})
    return list(outputs.get("pred", {}).get("channel_def", {}).values())


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Of those that are installed: the bundle may name others, which nothing here needs."""
    found = {name: _version(name) for name in packages}
    return {name: installed for name, installed in found.items() if installed is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
