"""Heartbeats as tensors, split into training, validation and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from monai_ima.counts import checked_count
from monai_ima.data.ecg.dataset import SETTINGS_FILE, EcgBeats, load_ecg_beats
from monai_ima.data.ecg.kaggle import KAGGLE_TEST, KAGGLE_TRAIN, load_kaggle_csv
from monai_ima.data.ecg.split import Ints, split_beats
from monai_ima.data.list_checks import check_class_count
from monai_ima.data.tensors import TensorDatalist, TensorSamples


def load_ecg(
    dataset_dir: str | Path,
    *,
    num_classes: int | None = None,
    protocol: str = "random",
    training_per_class: int | None = None,
    evaluation_per_class: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TensorDatalist:
    """Read beats, split them, and put them on a device as one tensor each ``(N, 1, 187)``.

    Args:
        dataset_dir: a folder that ``monai-ima prepare-ecg`` has written, or one with Kaggle's
            ``mitbih_train.csv`` and ``mitbih_test.csv``.
        num_classes: how many classes the network has; five are needed.
        protocol: ``"random"``, the paper's, or ``"inter_patient"``; see
            :func:`~monai_ima.data.ecg.split_beats`.
        training_per_class: at most so many training beats of each class, drawn at random; by
            default all.
        evaluation_per_class: the same for validation and test.
        seed: seed of the split and of what is drawn.
        device: where the tensors are to be.

    Raises:
        FileNotFoundError: if the folder holds neither.
        ValueError: if an argument does not fit, the beats do not fit the protocol, or a class is
            missing in training, validation or test.
    """
    for name, value in {
        "training_per_class": training_per_class,
        "evaluation_per_class": evaluation_per_class,
    }.items():
        if value is not None:
            checked_count(name, value, at_least=1)
    beats = _read(Path(dataset_dir))
    if num_classes is not None:
        check_class_count(beats.classes, num_classes, dataset_dir, "give other data")
    split = split_beats(beats, protocol, seed)
    for name in ("training", "validation", "test"):
        present = np.unique(beats.labels[getattr(split, name)])
        if lacking := [c for label, c in enumerate(beats.classes) if label not in present]:
            raise ValueError(
                f"expected beats of every class in the {name} set of {dataset_dir}, got none of "
                f"{', '.join(lacking)}; give more records, another seed or another split"
            )

    def samples(rows: Ints, per_class: int | None) -> TensorSamples:
        chosen = _at_most(rows, beats.labels, per_class, seed)
        places = zip(beats.records[chosen], beats.positions[chosen].tolist(), strict=True)
        patients = beats.patients[chosen].tolist()
        return TensorSamples(
            torch.from_numpy(beats.beats[chosen])[:, None],
            torch.from_numpy(beats.labels[chosen]),
            ids=[f"{record}:{position}" for record, position in places],
            patients=patients if all(patients) else None,
            device=device,
        )

    return TensorDatalist(
        training=samples(split.training, training_per_class),
        validation=samples(split.validation, evaluation_per_class),
        test=samples(split.test, evaluation_per_class),
        classes=beats.classes,
        test_shares=_shares(beats.labels[split.test], len(beats.classes)),
        warning=split.warning,
    )


def _read(folder: Path) -> EcgBeats:
    if (folder / SETTINGS_FILE).is_file():
        return load_ecg_beats(folder)
    train, test = (folder / f"{name}.csv" for name in (KAGGLE_TRAIN, KAGGLE_TEST))
    if train.is_file() and test.is_file():
        return load_kaggle_csv(train, test)
    raise FileNotFoundError(
        f"expected dataset_dir to hold beats ({SETTINGS_FILE}) or Kaggle's {train.name} and "
        f"{test.name}, got {folder}; write beats from PhysioNet's records with "
        f"monai-ima prepare-ecg --records {folder} --output data/ecg"
    )


def _at_most(rows: Ints, labels: Ints, per_class: int | None, seed: int) -> Ints:
    """The rows, or that many at random of each class, ascending."""
    if per_class is None:
        return rows
    chance = np.random.default_rng(seed).permutation(rows)
    kept = [chance[labels[chance] == label][:per_class] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


def _shares(labels: Ints, classes: int) -> tuple[float, ...]:
    counts = np.bincount(labels, minlength=classes)
    return tuple((counts / counts.sum()).tolist())
