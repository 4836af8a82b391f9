"""A bundle as MONAI's model zoo has them, of a classifier that this project did not define."""

import json
import warnings
from pathlib import Path

import torch
from monai.networks.nets import DenseNet121
from monai.networks.utils import convert_to_torchscript
from monai.transforms import Compose, LoadImaged, Resized, ScaleIntensityd

from monai_ima.data import list_samples

FROM_ENGINE = "$monai.handlers.from_engine(['pred', 'label'])"


def write_zoo_bundle(root, images, *, image_size=(32, 32), steps=12):
    """Write ``configs``, ``models`` and ``docs`` of a DenseNet121, trained for a few steps.

    Its paths are relative to the current folder (``bundle_root`` is "."), as they are in the zoo.

    Args:
        root: folder of the bundle.
        images: class folders of grey images.
        image_size: of the network's input.
        steps: of training, with 32 images each; 12 take four seconds on one core.
    """
    root = Path(root)
    samples = list_samples(images)
    for folder in ("configs", "docs", "models"):
        (root / folder).mkdir(parents=True)
    (root / "LICENSE").write_text("Apache-2.0\n")
    (root / "docs" / "README.md").write_text("# OCT classification\n")
    for name, config in {
        "metadata": metadata(samples.classes, image_size),
        "inference": inference(images, len(samples.classes), image_size),
        "train": train(images, len(samples.classes), image_size),
        "evaluate": evaluate(len(samples.classes)),
        "datalist": datalist(samples),
    }.items():
        (root / "configs" / f"{name}.json").write_text(json.dumps(config, indent=2))
    network = trained(samples, image_size, steps)
    torch.save(network.state_dict(), root / "models" / "model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of all of torch.jit
        convert_to_torchscript(network, filename_or_obj=root / "models" / "model.ts")
    return root


def trained(samples, image_size, steps):
    """Trained on all images, of which it knows each: few steps suffice for no others."""
    load = Compose(
        [
            LoadImaged("image", ensure_channel_first=True),
            Resized("image", image_size),
            ScaleIntensityd("image"),
        ]
    )
    inputs = torch.stack([load(item)["image"].as_tensor() for item in samples.items])
    labels = torch.tensor([item["label"] for item in samples.items])
    torch.manual_seed(0)
    network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=len(samples.classes))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        batch = torch.randperm(len(inputs))[:32]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    # The running statistics are far behind after so few steps; take the mean of one pass instead.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for batch in torch.randperm(len(inputs)).split(32):
            network(inputs[batch])
    return network.eval()


# --- the configs, in the zoo's manner -------------------------------------------------------------


def network_def(num_classes):
    return {
        "_target_": "DenseNet121",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": num_classes,
    }


def transforms(image_size):
    return [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
        {"_target_": "Resized", "keys": "image", "spatial_size": list(image_size)},
        {"_target_": "ScaleIntensityd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]


def checkpoint_loader(path):
    return {
        "_target_": "CheckpointLoader",
        "load_path": path,
        "load_dict": {"model": "@network"},
    }


def dataloader(dataset, *, shuffle=False):
    return {
        "_target_": "DataLoader",
        "dataset": dataset,
        "batch_size": 8,
        "shuffle": shuffle,
        "num_workers": 0,
    }


def common(images, num_classes):
    return {
        "imports": ["$import glob", "$import os", "$import torch", "$import ignite"],
        "bundle_root": ".",
        "ckpt_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": str(images),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network_def(num_classes),
        "network": "$@network_def.to(@device)",
    }


def inference(images, num_classes, image_size):
    return common(images, num_classes) | {
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*/*.png'))",
        "preprocessing": {"_target_": "Compose", "transforms": transforms(image_size)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": dataloader("@dataset"),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            ],
        },
        "handlers": [
            checkpoint_loader("$@ckpt_dir + '/model.pt'"),
            {"_target_": "StatsHandler", "iteration_log": False},
            {
                "_target_": "ClassificationSaver",
                "output_dir": "@output_dir",
                "batch_transform": "$lambda batch: [sample['image'].meta for sample in batch]",
                "output_transform": "$monai.handlers.from_engine(['pred'])",
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
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@evaluator.run()"],
    }


def train(images, num_classes, image_size):
    datalist = (
        "$monai.data.load_decathlon_datalist(@bundle_root + '/configs/datalist.json', False, "
        "'{}', @dataset_dir)"
    )
    postprocessing = {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "AsDiscreted",
                "keys": ["pred", "label"],
                "argmax": [True, False],
                "to_onehot": num_classes,
            }
        ],
    }
    accuracy = {"_target_": "ignite.metrics.Accuracy", "output_transform": FROM_ENGINE}
    return common(images, num_classes) | {
        "val_interval": 1,
        "train_datalist": datalist.format("training"),
        "val_datalist": datalist.format("validation"),
        "loss": {"_target_": "torch.nn.CrossEntropyLoss"},
        "optimizer": {
            "_target_": "torch.optim.Adam",
            "params": "$@network.parameters()",
            "lr": 0.001,
        },
        "train": {
            "deterministic_transforms": transforms(image_size),
            "random_transforms": [{"_target_": "RandFlipd", "keys": "image", "spatial_axis": 1}],
            "preprocessing": {
                "_target_": "Compose",
                "transforms": "$@train#deterministic_transforms + @train#random_transforms",
            },
            "dataset": {
                "_target_": "Dataset",
                "data": "@train_datalist",
                "transform": "@train#preprocessing",
            },
            "dataloader": dataloader("@train#dataset", shuffle=True),
            "inferer": {"_target_": "SimpleInferer"},
            "postprocessing": postprocessing,
            "key_metric": {"train_accu": accuracy},
            "handlers": [
                {
                    "_target_": "ValidationHandler",
                    "validator": "@validate#evaluator",
                    "epoch_level": True,
                    "interval": "@val_interval",
                },
                {
                    "_target_": "StatsHandler",
                    "tag_name": "train_loss",
                    "output_transform": "$monai.handlers.from_engine(['loss'], first=True)",
                },
            ],
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": 1,
                "device": "@device",
                "train_data_loader": "@train#dataloader",
                "network": "@network",
                "loss_function": "@loss",
                "optimizer": "@optimizer",
                "inferer": "@train#inferer",
                "postprocessing": "@train#postprocessing",
                "key_train_metric": "@train#key_metric",
                "train_handlers": "@train#handlers",
            },
        },
        "validate": {
            "preprocessing": {
                "_target_": "Compose",
                "transforms": "%train#deterministic_transforms",
            },
            "dataset": {
                "_target_": "Dataset",
                "data": "@val_datalist",
                "transform": "@validate#preprocessing",
            },
            "dataloader": dataloader("@validate#dataset"),
            "inferer": {"_target_": "SimpleInferer"},
            "postprocessing": "%train#postprocessing",
            "key_metric": {"val_accu": accuracy},
            "handlers": [
                {"_target_": "StatsHandler", "iteration_log": False},
                {
                    "_target_": "CheckpointSaver",
                    "save_dir": "@ckpt_dir",
                    "save_dict": {"model": "@network"},
                    "save_key_metric": True,
                    "key_metric_filename": "model.pt",
                },
            ],
            "evaluator": {
                "_target_": "SupervisedEvaluator",
                "device": "@device",
                "val_data_loader": "@validate#dataloader",
                "network": "@network",
                "inferer": "@validate#inferer",
                "postprocessing": "@validate#postprocessing",
                "key_val_metric": "@validate#key_metric",
                "val_handlers": "@validate#handlers",
            },
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@train#trainer.run()"],
    }


def evaluate(num_classes):
    """What is layered over ``train.json``."""
    return {
        "validate#postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "AsDiscreted",
                    "keys": ["pred", "label"],
                    "argmax": [True, False],
                    "to_onehot": num_classes,
                }
            ],
        },
        "validate#handlers": [
            checkpoint_loader("$@ckpt_dir + '/model.pt'"),
            {"_target_": "StatsHandler", "iteration_log": False},
            {
                "_target_": "MetricsSaver",
                "save_dir": "@output_dir",
                "metrics": ["val_accu"],
                "metric_details": None,
                "summary_ops": "*",
            },
        ],
        "run": ["$@validate#evaluator.run()"],
    }


def metadata(classes, image_size):
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "monai_version": "1.6.0",
        "pytorch_version": "2.8.0",
        "numpy_version": "1.26.0",
        "required_packages_version": {"pytorch-ignite": "0.5.0"},
        "task": "OCT classification",
        "description": "A DenseNet121 for retinal OCT",
        "authors": "none",
        "copyright": "none",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "OCT",
                    "num_channels": 1,
                    "spatial_shape": list(image_size),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": len(classes),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(label): name for label, name in enumerate(classes)},
                }
            },
        },
    }


def datalist(samples):
    """In the decathlon form; every other image is for validation."""
    entries = [{"image": item["id"], "label": item["label"]} for item in samples.items]
    return {"training": entries[::2], "validation": entries[1::2]}
