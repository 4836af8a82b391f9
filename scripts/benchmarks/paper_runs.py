"""How long the paper's trainings take on the device at hand, from their first epochs.

    python scripts/benchmarks/paper_runs.py
    python scripts/benchmarks/paper_runs.py --small  # on tiny data, on any machine

Each bundle is begun with its ``paper.json``, as ``python -m monai.bundle run`` does, and stopped after an
epoch that is like most and one with a pass over the margins; the first one, in which graphs are captured,
does not count. What an epoch's steps and its validation take of it is said too. What is evaluated after the last epoch does not count either. Fashion-MNIST is read from
``--fashion_mnist``; the other data, and that by default, are stand-ins of the real ones' sizes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import measuring
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from monai_ima.data import write_synthetic_ecg, write_synthetic_fashion, write_synthetic_oct

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
EPOCHS = 60  # of the paper's trainings


class Run(NamedTuple):
    """A bundle, its data, and every how many epochs a pass over the margins comes."""

    bundle: str
    dataset_dir: Path
    interval: int


def main() -> None:
    """Begin each, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--fashion_mnist", type=Path)
    parser.add_argument("--bundles", nargs="+")
    args = parser.parse_args()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    settings = {"device": where, "small": args.small, **measuring.machine("torch")}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run in runs(folder, args.small, args.fashion_mnist):
            if args.bundles and run.bundle not in args.bundles:
                continue
            row = measured(run, folder, args.small)
            rows.append(row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            measuring.write("paper_runs_small" if args.small else "paper_runs", settings, rows=rows)


def runs(folder: Path, small: bool, fashion_mnist: Path | None) -> list[Run]:
    """The paper's trainings with as many samples as it has, but for OCT's, of which we have no more."""
    beats = {"patients": 8, "beats_per_patient": 50} if small else {"patients": 140}
    images = {"training": 120, "test": 30} if small else {"training": 60_000, "test": 1000}
    patients = 8 if small else 70
    fashion = fashion_mnist or write_synthetic_fashion(folder / "fashion_mnist", **images)
    return [
        Run("fashion_mnist_ima", fashion, 1),
        Run("ecg_ima", write_synthetic_ecg(folder / "ecg", **beats), 1),
        Run("oct_ima", write_synthetic_oct(folder / "oct", patients_per_class=patients), 3),
    ]


def measured(run: Run, folder: Path, small: bool) -> dict[str, Any]:
    """Seconds of an epoch without and with a pass over the margins, and minutes of all."""
    smaller: dict[str, Any] = {"attack_steps": 2, "margin_steps": 2} if small else {}
    if small and run.bundle == "oct_ima":
        smaller |= {"image_size": [64, 64]}
    workflow = ConfigWorkflow(
        config_file=[str(BUNDLES / run.bundle / name) for name in ("train.json", "paper.json")],
        workflow_type="train",
        dataset_dir=str(run.dataset_dir),
        output_dir=str(folder / "runs" / run.bundle),
        logging_file=False,
        **smaller,
    )
    workflow.initialize()
    trainer, validator = (
        workflow.parser.get_parsed_content(name)
        for name in ("train::trainer", "validate::evaluator")
    )
    began: list[float] = []
    stepped: list[float] = []
    validated: list[float] = []

    def note(times: list[float]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    def at_start(engine: Engine) -> None:
        note(began)
        if len(began) > max(run.interval, 2) + 1:
            engine.terminate()

    last = Events.ITERATION_COMPLETED(every=len(trainer.data_loader))
    trainer.add_event_handler(Events.EPOCH_STARTED, at_start)
    trainer.add_event_handler(last, lambda: note(stepped))
    for event in (Events.STARTED, Events.COMPLETED):
        validator.add_event_handler(event, lambda: note(validated))
    trainer.run()
    steps = stepped[-1] - began[len(stepped) - 1]
    validation = validated[-1] - validated[-2]
    _, *epochs = (end - start for start, end in itertools.pairwise(began))
    without, with_pass = (None, epochs[0]) if run.interval == 1 else (epochs[0], epochs[-1])
    mean = ((run.interval - 1) * (without or 0) + with_pass) / run.interval
    return {
        "bundle": run.bundle,
        "training_samples": len(trainer.objective.margins),
        "seconds_of_all_steps": round(steps, 2),
        "seconds_of_a_validation": round(validation, 2),
        "seconds_of_an_epoch": without and round(without, 2),
        "seconds_of_an_epoch_with_a_pass": round(with_pass, 2),
        f"minutes_of_{EPOCHS}_epochs": round(mean * EPOCHS / 60, 2),
    }


if __name__ == "__main__":
    main()
