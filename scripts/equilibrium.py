"""How near to the middle of two classes each method's decision boundary ends.

    python scripts/equilibrium.py
    python scripts/equilibrium.py --seeds

The first command trains every method on two Gaussian classes, between which the best boundary is
known in closed form, and on two moons, and keeps what it measured in results/moons/equilibrium.json;
a run that is there is not repeated. Both print the tables of docs/equilibrium.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from monai.bundle import create_workflow
from torch import nn

from monai_ima import __version__
from monai_ima.data import TensorSamples
from monai_ima.experiments.equilibrium import (
    Equilibrium,
    equilibrium_table,
    gaussian_middle,
    measure_equilibrium,
    moons_middle,
)
from monai_ima.installed_bundles import bundle_folder, method_file

RESULTS = Path(__file__).resolve().parents[1] / "results" / "moons" / "equilibrium.json"
METHODS = ("ima", "ce", "adv", "mma")
# Noise levels are large, as section 2.2 of the paper supposes: about half the classes' distance.
DATA: dict[str, dict[str, Any]] = {
    "gaussians": {"noise": 0.3, "eps_max": 1.0},
    "moons": {"noise": 0.1, "eps_max": 0.4},
}
NOTHING = "$None"  # MONAI drops an override that is None itself
SETTINGS: dict[str, Any] = {
    "norm": "l2",
    "max_epochs": 60,
    "plane_interval": 60,
    "device": "cpu",
    **dict.fromkeys(("progress", "robust_evaluation", "validation"), NOTHING),
}
GROWTH = {"ima": {"delta": "$@eps_max / 30"}}  # half of the epochs are left for the equilibrium


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    runs = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for data, method, seed in product(DATA, METHODS, parser.parse_args().seeds):
        identity = {"data": data, "method": method, "seed": seed}
        if not any(run.items() >= identity.items() for run in runs):
            found = measure(*train(data, method, seed), data)
            runs.append({"version": __version__, **identity, **found._asdict()})
            RESULTS.write_text(json.dumps(runs, indent=2) + "\n")
    runs.sort(key=lambda run: METHODS.index(run["method"]))
    tables = (equilibrium_table(data, [r for r in runs if r["data"] == data]) for data in DATA)
    print(*tables, sep="\n\n")


def train(data: str, method: str, seed: int) -> tuple[nn.Module, TensorSamples]:
    """One run of the bundle, through its config."""
    files = [str(bundle_folder("moons_ima") / "train.json")]
    if method != "ima":
        files.append(str(method_file(method)))
    chosen = SETTINGS | {"shape": data, "seed": seed} | DATA[data] | GROWTH.get(method, {})
    with tempfile.TemporaryDirectory() as folder:
        chosen["output_dir"] = folder
        workflow = create_workflow(workflow_type="train", config_file=files, **chosen)
        workflow.trainer.run()
        return workflow.parser.get_parsed_content("network"), workflow.train_dataset


def measure(network: nn.Module, samples: TensorSamples, data: str) -> Equilibrium:
    """Where the network's boundary lies, within the noise that it was trained with."""
    settings = DATA[data]
    middle = gaussian_middle(settings["noise"]) if data == "gaussians" else moons_middle()
    return measure_equilibrium(network, samples, middle, settings["eps_max"])


if __name__ == "__main__":
    main()
