"""The config of the exported bundle: what MONAI needs to run the model, and nothing of the training."""

from __future__ import annotations

from typing import Any

from monai_ima.bundle.config_text import plain_text
from monai_ima.deployment.trained_run import TrainedRun


def inference_config(run: TrainedRun) -> dict[str, Any]:
    """The content of ``configs/inference.json``, on the weights in ``models/model.pt``.

    Args:
        run: of the model.
    """
    parts = run.self_contained("network_def", *(["preprocessing"] if run.preprocessing else []))
    parts.setdefault(
        "preprocessing",
        {
            "_target_": "Compose",
            "transforms": [{"_target_": "EnsureTyped", "keys": "image", "track_meta": False}],
        },
    )
    reserved = {"network_def", "preprocessing"}
    return {
        "imports": sorted({*run.config.get("imports", []), "$import monai_ima", "$import torch"}),
        **{name: part for name, part in parts.items() if name not in reserved},
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/predictions'",
        "norms": [],
        "batch_size": 16,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "class_names": [plain_text(name) for name in run.record.classes],
        "units": run.units,
        "list_cases": {"_target_": _case_lister(run), "_mode_": "callable"},
        "network_def": parts["network_def"],
        "network": "$@network_def.to(@device)",
        "preprocessing": parts["preprocessing"],
        "dataset": {
            "_target_": "Dataset",
            "data": "$@list_cases(@dataset_dir)",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": "@batch_size",
            "num_workers": 0,
        },
        "inferer": {"_target_": "monai_ima.engines.LogitsInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            },
            {
                "_target_": "monai_ima.prediction.PredictionSaver",
                "output_dir": "@output_dir",
                "class_names": "@class_names",
                "reference_margins": "$@bundle_root + '/configs/margins.json'",
                "norms": "@norms",
                "units": "@units",
            },
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _case_lister(run: TrainedRun) -> str:
    """What finds the cases in a file or folder that a person names."""
    if run.reads_images:
        _, _, *sides = run.validation_inputs([0]).shape
        return f"monai_ima.data.{'volume_cases' if len(sides) == 3 else 'image_cases'}"
    return f"monai_ima.data.{'beat_cases' if run.reads_beats else 'array_cases'}"
