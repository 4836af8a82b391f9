"""Small runs of four kinds, and the bundles that they are exported as."""

import csv
import json
import shutil

import nibabel
import numpy as np
from bundle_run import ROOT, run_bundle, run_command
from PIL import Image

from monai_ima.data import write_synthetic_ecg, write_synthetic_oct

BUNDLES = ROOT / "bundles"
CE = BUNDLES / "objectives" / "ce.json"
KINDS = ("two_classes", "rgb", "volumes", "beats")
SHAPES = {
    "two_classes": (1, 32, 32),
    "rgb": (3, 16, 16),
    "volumes": (1, 16, 16, 16),
    "beats": (1, 187),
}
CLASSES = {
    "two_classes": ["CNV", "NORMAL"],
    "rgb": ["$red", "%green", "@blue #2"],  # in names MONAI's parser would look for a meaning
    "volumes": ["bright", "dark"],
    "beats": ["N", "S", "V", "F", "Q"],
}
SMALL = {"max_epochs": 2, "robust_interval": 2, "eval_steps": 2, "device": "cpu"}
IMAGES = SMALL | {"patient_pattern": "(?P<patient>.+)"}

# as a team would write it, without a transform of ours
RGB = {
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "LoadImaged",
                "keys": "image",
                "reader": "PILReader",
                "reverse_indexing": False,
                "ensure_channel_first": True,
            },
            {"_target_": "Resized", "keys": "image", "spatial_size": "@image_size"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": 0,
                "a_max": "$@white_level",
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "ToTensord", "keys": "image", "track_meta": False},
        ],
    },
    "white_level": 255,
    "network_def": {
        "_target_": "monai_ima.networks.small_cnn",
        "in_channels": 3,
        "num_classes": "@num_classes",
    },
}
VOLUMES = {
    "network_def": {
        "_target_": "monai_ima.networks.small_cnn",
        "num_classes": "@num_classes",
        "spatial_dims": 3,
    }
}


def trained(kind, folder):
    """Train a small network in ``folder/run`` on data in ``folder/data``."""
    data, run = folder / "data", folder / "run"
    ended = globals()[f"_train_{kind}"](data, run, folder)
    assert ended.returncode == 0, ended.stderr
    return run


def exported(kind, folder):
    """The bundle of such a run, in ``folder/KIND``."""
    run = trained(kind, folder)
    ended = run_command("export", run, "--output", folder / kind, "--margin-samples", "12", "--zip")
    assert ended.returncode == 0, ended.stderr
    return folder / kind


def a_case(kind, folder):
    """A file that the bundle reads, as a person would hand it over."""
    data = folder / "data"
    if kind == "beats":
        np.savetxt(folder / "new.csv", np.load(data / "beats.npy")[:3], delimiter=",")
        return folder / "new.csv"
    return min(path for path in data.rglob("*.*") if path.suffix in (".png", ".gz"))


def _train_two_classes(data, run, folder):
    write_synthetic_oct(data, patients_per_class=10, images_per_patient=1, seed=0)
    for name in ("DME", "DRUSEN"):
        shutil.rmtree(data / name)
    train = BUNDLES / "oct_ima" / "train.json"
    settings = SMALL | {"image_size": [32, 32], "num_classes": 2}
    return run_bundle(train, CE, **settings, dataset_dir=data, output_dir=run)


def _train_rgb(data, run, folder):
    chance = np.random.default_rng(0)
    for channel, name in enumerate(("$red", "%green", "@blue #2")):
        (data / name).mkdir(parents=True)
        for number in range(10):
            pixels = chance.integers(0, 100, (20, 24, 3), dtype=np.uint8)
            pixels[..., channel] += 80
            Image.fromarray(pixels).save(data / name / f"{number}.png")
    (folder / "rgb.json").write_text(json.dumps(RGB))
    train = BUNDLES / "oct_ima" / "train.json"
    settings = IMAGES | {"image_size": [16, 16], "num_classes": 3}
    return run_bundle(train, CE, folder / "rgb.json", **settings, dataset_dir=data, output_dir=run)


def _train_volumes(data, run, folder):
    chance = np.random.default_rng(0)
    for name, height in (("bright", 3.0), ("dark", 0.5)):
        (data / name).mkdir(parents=True)
        for number in range(10):
            values = chance.random((18, 16, 20)).astype(np.float32)
            values[4:8, 4:8, 4:8] += height
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), data / name / f"{number}.nii.gz")
    (folder / "volumes.json").write_text(json.dumps(VOLUMES))
    train = BUNDLES / "oct_ima" / "train.json"
    settings = IMAGES | {"image_size": [16, 16, 16], "num_classes": 2, "crop": "false"}
    return run_bundle(
        train, CE, folder / "volumes.json", **settings, dataset_dir=data, output_dir=run
    )


def _train_beats(data, run, folder):
    write_synthetic_ecg(data, patients=12, beats_per_patient=60, seed=0)
    train = BUNDLES / "ecg_ima" / "train.json"
    settings = SMALL | {"epoch_size": 256, "evaluation_per_class": 8}
    return run_bundle(train, CE, **settings, dataset_dir=data, output_dir=run)


def rows(folder):
    """The rows of ``predictions.csv``."""
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
