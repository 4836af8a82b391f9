"""What the benchmarks share: samples of the bundles, a short training, passes and CPU time, reports."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from torch import Tensor, nn

from monai_ima import __version__
from monai_ima.report import markdown_table
from monai_ima.robustness import CountingModel

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "benchmarks"
SEED = 0


class Run(NamedTuple):
    """What a piece of work took and gave; passes are per sample."""

    seconds: float
    forwards: float
    gradients: float
    result: Any


def begin(what: str, rounds: int) -> int:
    """Read how many rounds are asked for, take one thread, and seed."""
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    set_determinism(SEED)
    return rounds


def configured(data: str, **settings: Any) -> ConfigParser:
    """The config of a bundle's training and evaluation, with these settings."""
    parser = ConfigParser()
    folder = ROOT / "bundles" / f"{data}_ima"
    parser.read_config([str(folder / "train.json"), str(folder / "evaluate.json")])
    parser.update({**settings, "imports": ["$import monai_ima", "$import torch"]})
    return parser


def samples(parser: ConfigParser) -> tuple[Tensor, Tensor]:
    """Inputs and labels of the section that a config evaluates."""
    batches = list(parser.get_parsed_content("dataloader"))
    inputs, labels = (
        torch.cat([torch.as_tensor(batch[key]) for batch in batches]) for key in ("image", "label")
    )
    return inputs, labels


def train(
    network: nn.Module, inputs: Tensor, labels: Tensor, batches: Iterable[Tensor], rate: float
) -> None:
    """Train with cross-entropy and Adam on the rows of each batch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for rows in batches:
        optimizer.zero_grad()
        F.cross_entropy(network(inputs[rows]), labels[rows]).backward()
        optimizer.step()


def measured(work: Callable[[], Any], model: CountingModel, n: int) -> Run:
    """Do a piece of work on ``n`` samples once."""
    model.reset()
    start = time.process_time()
    result = work()
    return Run(time.process_time() - start, model.forwards / n, model.gradients / n, result)


def ratios(seconds: Sequence[float], units: Sequence[float]) -> dict[str, float]:
    """CPU time over that of the same round's unit: median and range over the rounds."""
    found = [time / unit for time, unit in zip(seconds, units, strict=True)]
    summary = {"median": median(found), "min": min(found), "max": max(found)}
    return {name: round(value, 3) for name, value in summary.items()}


def median_and_range(name: str, digits: int) -> str:
    """How :func:`table` is to write what :func:`ratios` gave."""
    median, low, high = (f"{{{name}[{which}]:.{digits}f}}" for which in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def table(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    """A line for each row; ``columns`` are headings, and how the cell is written."""
    cells = [[cell.format(**row) for cell in columns.values()] for row in rows]
    return markdown_table([list(columns), *cells])


def machine(*packages: str) -> dict[str, Any]:
    """What else figures depend on."""
    return {
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in packages},
    }


def write(name: str, settings: dict[str, Any], **rows: Any) -> None:
    """Keep a report."""
    report = {"version": __version__, "settings": settings} | rows
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
