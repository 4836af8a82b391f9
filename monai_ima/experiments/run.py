"""One run: a training and its evaluation, and what they leave in one file of plain values."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monai_ima.config_checks import check_overrides
from monai_ima.errors import RejectedError
from monai_ima.evaluation import read_report, read_samples
from monai_ima.experiments.data_sets import DATA_SETS, split_method
from monai_ima.experiments.request import (
    CHEAP,
    CURVE_ONLY,
    Request,
    differences,
    public,
)
from monai_ima.experiments.results import UNNAMED
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.folder_lock import lock_folder
from monai_ima.handlers.run_record import CONFIG
from monai_ima.installed_bundles import bundle_folder, method_file


def run(request: Request, folder: Path) -> dict[str, Any]:
    """Train and evaluate through the commands that a user types.

    Args:
        request: the run.
        folder: of its training and its evaluation. What was begun there goes on from its last epoch
            and its last evaluated samples; a training that is finished is not made again.

    Returns:
        The content of a result file.

    Raises:
        RejectedError: if an option is within what the bundle does not have, the folder was begun with
            other options, another command is in it, or a command failed.
    """
    data = DATA_SETS[request.data]
    bundle = bundle_folder(data.bundle)
    kind, _ = split_method(request.method)
    train = [str(bundle / "train.json")]
    if kind != "ima":
        train.append(str(method_file(kind)))
    check_overrides(train, request.options)
    folder.mkdir(parents=True, exist_ok=True)
    lock_folder(folder, "--runs")
    _check_folder(request, folder)
    options = request.options
    training, seconds = folder / "training", folder / "seconds.json"
    if not (seconds.exists() and (training / "model.pt").exists()):
        again = (training / "checkpoint.pt").exists()
        resume = {"resume": "true"} if again else {}
        taken = run_bundle(train, options | CHEAP | resume | {"output_dir": str(training)})
        # of a training that was cut off, the time before is not known
        write_json(seconds, None if again else round(taken))
    evaluation = CURVE_ONLY | {"protocol": request.protocol}
    evaluation |= {"output_dir": str(training), "evaluation_dir": str(folder / "evaluation")}
    evaluation |= {"evaluation_levels": str({request.norm: data.levels(request.norm)})}
    run_bundle([str(training / CONFIG), str(bundle / "evaluate.json")], evaluation)
    identity = {"data": request.data, "size": request.size, "seed": request.seed}
    identity |= {"method": request.method, "norm": request.norm, "options": public(options)}
    cost = {"seconds": json.loads(seconds.read_text("utf-8"))}
    return identity | _collected(folder, request.norm) | cost


def write_json(path: Path, content: object) -> None:
    """All of it or nothing."""
    write_whole(path, lambda draft: draft.write_text(json.dumps(content) + "\n", "utf-8"))


def _check_folder(request: Request, folder: Path) -> None:
    """Reject going on with what was begun with other options; remember these."""
    path = folder / "asked.json"
    if not path.exists():
        write_json(path, request.options)
    elif differing := differences(request.options, json.loads(path.read_text("utf-8"))):
        raise RejectedError(
            f"expected the options that the run in {folder} was begun with, but {differing}; choose "
            "another --name, give the same options, or remove that folder"
        )


def run_bundle(configs: Sequence[str], options: Mapping[str, str]) -> float:
    """Run a bundle by MONAI's command, and say how many seconds it took.

    Raises:
        RejectedError: if it failed; the reason is on the console.
    """
    start = time.perf_counter()
    files = str(list(configs)) if len(configs) > 1 else configs[0]
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    full = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *words]
    if subprocess.run(full, check=False).returncode:
        raise RejectedError(f"a run of the bundle failed, for the reason above: {' '.join(full)}")
    return time.perf_counter() - start


def _collected(folder: Path, norm: str) -> dict[str, Any]:
    """What a run leaves, in one dictionary of plain values."""
    training = read_report(folder / "training")
    report = read_report(folder / "evaluation")
    checkpoint = read_run_checkpoint(folder / "training")
    (curve,) = report["curves"]
    return {
        "version": report["versions"]["monai_ima"],
        "training_version": training.get("versions", {}).get("monai_ima", UNNAMED),
        "settings": training["settings"],
        "training_data": checkpoint["identity"]["training_data"],
        "attack": report["attack"],
        "classes": report["classes"],
        "curve": curve,
        **samples(folder / "evaluation", report["classes"], norm),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "monai")},
    }


def samples(folder: Path, classes: Sequence[str], norm: str) -> dict[str, Any]:
    """Label, margin, class that the closest error was given, and patient of each sample.

    There is neither margin nor class where no error was found.

    Args:
        folder: of the evaluation.
        classes: their names, in the order of the labels.
        norm: of the noise.
    """
    rows = read_samples(folder)
    margins, given = ([row[f"{key}_{norm}"] for row in rows] for key in ("margin", "broken_as"))
    return {
        "labels": [classes.index(row["label"]) for row in rows],
        # every digit: a rounded one may be on the other side of a level
        "margins": [float(margin) if margin else None for margin in margins],
        "broken_as": [classes.index(name) if name else None for name in given],
        **numbered_patients([row["patient"] for row in rows]),
    }


def numbered_patients(patients: Sequence[str]) -> dict[str, Any]:
    """A number for each sample's patient, and a fingerprint of who the patients are.

    Runs of one fingerprint have given each patient the same number. Both are ``None`` where a
    patient is not known.
    """
    if not all(patients):
        return {"patients": None, "patients_fingerprint": None}
    names = sorted(set(patients))
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "patients": [numbers[name] for name in patients],
        "patients_fingerprint": hashlib.sha256("\n".join(names).encode()).hexdigest()[:15],
    }
