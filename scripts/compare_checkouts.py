"""Train and evaluate every bundle for a moment with two checkouts, and compare what they write bit by bit.

    git worktree add --detach ../old REVISION
    python scripts/compare_checkouts.py ../old .

Each bundle is trained on few synthetic samples and evaluated, and every other method in the bundle of
the plane; weights, margins, curves and samples.csv are compared. A change that is meant to change
nothing is one after which every line ends in "equal".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

# In a process of its own, which imports the package of the checkout.
RUN = """
import json, shutil, sys
from monai.bundle import ConfigWorkflow
for files, settings, weights in json.load(sys.stdin):
    if weights:
        shutil.copy(*weights)
    workflow = ConfigWorkflow(files, logging_file=False, **settings)
    workflow.initialize()
    workflow.run()
"""
QUICK = {"attack_steps": 3, "margin_steps": 4, "eval_steps": 2, "protocol": "screen"}
TRAINING = QUICK | {"max_epochs": 2, "margin_interval": 1, "robust_interval": 0, "device": "cpu"}
EVALUATION = {"check_samples": 4, "noise_draws": 1, "auroc_steps": 1, "chunk_size": 16}
FEW = {"training_samples": 60, "validation_samples": 20, "test_samples": 20}
OWN: dict[str, dict[str, Any]] = {
    "oct_ima": {"image_size": [32, 32]},
    "ecg_ima": {"epoch_size": 128, "evaluation_per_class": 4},
    "fashion_mnist_ima": FEW,
    "svhn_ima": FEW,
    "moons_ima": {"training_samples": 60, "plane_interval": 2},
}
DATA = {
    "oct_ima": "oct('{}', patients_per_class=5, images_per_patient=2, seed=0)",
    "ecg_ima": "ecg('{}', patients=12, beats_per_patient=60, seed=0)",
    "fashion_mnist_ima": "fashion('{}', training=120, test=60, seed=0)",
    "svhn_ima": "svhn('{}', training=120, test=60, seed=0)",
}
# Of the network that OWN trains in oct_ima, as weights of which nothing is known.
ANY = {"network_def": {"_target_": "monai_ima.networks.small_cnn", "num_classes": 4}}


class Case(NamedTuple):
    """A bundle, and the method that it is trained with: its own, if it is not named."""

    bundle: str
    method: str = ""

    def steps(self, checkout: Path, folder: Path, data: Path) -> list[Any]:
        """The config files, settings and weights of each workflow of the case, for ``RUN``."""
        bundles = checkout.resolve() / "bundles"
        if self.bundle == "robustness_evaluation":
            weights = (str(folder.parent / "oct_ima" / "model.pt"), str(folder / "any.pt"))
            settings = ANY | OWN["oct_ima"] | EVALUATION | {"eval_steps": 2, "device": "cpu"}
            settings |= {"checkpoint": weights[1], "output_dir": str(folder / "evaluation")}
            settings |= {"dataset_dir": str(data / "oct_ima"), "datalist_file": None}
            return [[[str(bundles / self.bundle / "evaluate.json")], settings, weights]]
        own = bundles / self.bundle
        files = [own / "train.json"]
        files += [bundles / "objectives" / f"{self.method}.json"] if self.method else []
        settings = TRAINING | OWN[self.bundle] | {"output_dir": str(folder)}
        if write := DATA.get(self.bundle):
            written = write.format(data / self.bundle)
            settings["dataset_dir"] = f"$monai_ima.data.write_synthetic_{written}"
        if self.method == "ddn":
            settings["norm"] = "l2"
        training = [list(map(str, files)), settings, None]
        evaluation = [[*map(str, files), str(own / "evaluate.json")], settings | EVALUATION, None]
        return [training, evaluation]

    def run(self, checkout: Path, folder: Path, data: Path) -> None:
        """Train and evaluate with the package and the bundles of a checkout."""
        folder.mkdir(parents=True)
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RUN],
            input=json.dumps(self.steps(checkout, folder, data)),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise SystemExit(f"{checkout}: {self} failed\n{ended.stderr[-3000:]}")


CASES = [
    *(Case(bundle) for bundle in OWN),
    Case("robustness_evaluation"),
    *(Case("moons_ima", method) for method in ("adv", "ce", "ddn", "iaat", "mma", "trades")),
    Case("oct_ima", "ce"),
]


def differing(old: Path, new: Path) -> Iterator[str]:
    """The results of a run and its evaluation that are not the same in both folders."""
    for name in ("model.pt", "model_best.pt", "checkpoint.pt"):
        if (old / name).exists() or (new / name).exists():
            one, other = (torch.load(folder / name, weights_only=True) for folder in (old, new))
            if name == "checkpoint.pt":  # its identity names settings
                one, other = one["objects"], other["objects"]
            if not _same(one, other):
                yield name
    for name in ("robustness.csv", "evaluation/samples.csv"):
        if (old / name).exists() and (old / name).read_bytes() != (new / name).read_bytes():
            yield name
    curves = [json.loads((f / "evaluation/robustness.json").read_text()) for f in (old, new)]
    if curves[0]["curves"] != curves[1]["curves"] or curves[0]["checks"] != curves[1]["checks"]:
        yield "evaluation/robustness.json"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def main() -> None:
    """Compare two checkouts; the exit status is 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as work:
        for case in CASES:
            name = "_".join(filter(None, case))
            folders = [Path(work) / side / name for side in ("old", "new")]
            for checkout, folder in zip((arguments.old, arguments.new), folders, strict=True):
                case.run(checkout, folder, Path(work) / "data")
            found = list(differing(*folders))
            failed |= bool(found)
            print(f"{name:24}{', '.join(found) + ' differ' if found else 'equal'}", flush=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
