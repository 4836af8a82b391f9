"""What grows with the number of samples, and by how much: time, memory and files.

    OMP_NUM_THREADS=1 python scripts/benchmarks/growth.py

Each part is measured at each size in a process of its own, so that its peak of memory is its own: that
above what the imports take. The network is a stand-in, linear, with one number a sample, so that what
is left is what the package itself does for a sample. Each line is printed as soon as it is known; all
go to a JSON file, a figure and a Markdown table. Linux only: the peak is that of ``/proc/self``.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, NamedTuple

import measuring
import numpy as np
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from monai.engines import SupervisedEvaluator
from PIL import Image
from torch import Tensor, nn

from monai_ima import distributed
from monai_ima.data import TensorSamples, batches, load_datalist
from monai_ima.data.list_file import Columns, read_list
from monai_ima.data.tensors import TensorDatalist
from monai_ima.engines import LogitsInferer
from monai_ima.handlers import RobustnessEvaluation, RunCheckpoint
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.evaluation_progress import Progress
from monai_ima.handlers.run_record import RunRecord, read_record
from monai_ima.margins import MarginStore
from monai_ima.objectives import IMA
from monai_ima.robustness import Screen

SIZES = (100_000, 1_000_000, 10_000_000)
BATCH = 8192
CHECKED = 64  # samples on which an evaluation makes its checks
PROCESSES = 2
LINKS = 60_000  # to one file: ext4 has at most 65,000
CLASSES = ("first", "second")


class Cost(NamedTuple):
    """CPU seconds, and bytes: of the peak of memory above that of the start, and of each file."""

    seconds: float
    memory: int
    files: dict[str, int]


def spent(work: Callable[[], object], folder: Path | None = None) -> Cost:
    """Do a piece of work once; ``folder`` has its files, if it writes any."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is the present size
    before, start = _peak(), time.process_time()
    work()
    seconds, memory = time.process_time() - start, _peak() - before
    files: dict[str, int] = {}
    for path in sorted(folder.iterdir()) if folder else ():
        name = path.name.split(".tfevents.")[0]
        files[name] = files.get(name, 0) + path.stat().st_size
    return Cost(seconds, memory, files)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def margins(count: int, _: Path) -> Cost:
    """An epoch of Algorithm 2 without its attack: each margin is updated, in batches."""
    order = torch.randperm(count)
    found = {
        "correct": torch.rand(count) < 0.9,
        "crossed": torch.rand(count) < 0.5,
        "distance": torch.rand(count),
    }

    def work() -> None:
        store = MarginStore(count, delta=0.1, eps_max=1.0)
        for rows in order.split(BATCH):
            store.update(rows, **{name: values[rows] for name, values in found.items()})

    return spent(work)


def reduce(count: int, _: Path) -> Cost:
    """Two processes over gloo, each with every other margin, tell each other: the larger cost."""
    fork = multiprocessing.get_context("fork")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(probe.getsockname()[1])}
    os.environ |= address | {"WORLD_SIZE": str(PROCESSES)}
    costs: Queue[Cost] = fork.Queue()
    started = [fork.Process(target=_reduce, args=(r, count, costs)) for r in range(PROCESSES)]
    for each in started:
        each.start()
    found = [costs.get(timeout=300) for _ in started]
    for each in started:
        each.join()
    return Cost(max(cost.seconds for cost in found), max(cost.memory for cost in found), {})


def _reduce(rank: int, count: int, costs: Queue[Cost]) -> None:
    os.environ["RANK"] = str(rank)
    distributed.join("cpu")
    index = torch.arange(rank, count, PROCESSES)
    values, met = torch.rand(len(index)), torch.rand(len(index)) < 0.5
    costs.put(spent(lambda: distributed.by_sample(index, values, met)))
    distributed.leave()


def checkpoint(count: int, folder: Path) -> Cost:
    """``checkpoint.pt`` and the weights of a run with IMA, written and read."""
    objective = IMA(MarginStore(count, delta=0.1, eps_max=1.0), norm="linf", beta=0.5)
    keeper = RunCheckpoint(
        folder,
        network=nn.Linear(1, len(CLASSES)),
        state={"objective": objective},
        identity={},
        evaluator=Engine(lambda *_: None),
        key_metric="",
    )
    engine: Any = Engine(lambda *_: None)
    engine.state.epoch, engine.scaler = 1, None

    def work() -> None:
        keeper.save(engine)
        objective.load_state_dict(read_run_checkpoint(folder)["objects"]["objective"])

    return spent(work, folder)


def record(count: int, folder: Path) -> Cost:
    """``run.json``, which names each sample and its content: made, written and read."""
    datalist = TensorDatalist(
        training=samples(count), validation=samples(1), test=samples(1), classes=CLASSES
    )

    def work() -> None:
        RunRecord.of({}, {}, datalist).write(folder)
        read_record(folder)

    return spent(work, folder)


def list_file(count: int, folder: Path) -> Cost:
    """A CSV list is read."""
    file = folder / "list.csv"
    write_list(file, count)
    return spent(lambda: read_list(file, folder, Columns(), patients_needed=True))


def datalist(count: int, folder: Path) -> Cost:
    """A CSV list is read, each file looked for and its header read, and all split by patient."""
    file = folder / "list.csv"
    write_list(file, count)
    image = Image.fromarray(np.zeros((1, 1), np.uint8))
    for index in range(count):
        path, first = folder / path_of(index), folder / path_of(index - index % LINKS)
        if path == first:
            path.parent.mkdir(exist_ok=True)
            image.save(path)
        else:
            path.hardlink_to(first)
    return spent(lambda: load_datalist(folder, num_classes=len(CLASSES), datalist=file))


def path_of(index: int) -> str:
    """Of a sample's file, in folders that do not become too large."""
    return f"{index // LINKS}/{index:08}.png"


def write_list(file: Path, count: int) -> None:
    """A CSV list of that many samples, ten of each patient."""
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "class", "patient"])
        for index in range(count):
            patient = index // 10
            writer.writerow([path_of(index), CLASSES[patient % 2], f"P{patient}"])


def samples(count: int) -> TensorSamples:
    """One number each, from 0 to 1; those above a half are of the second class."""
    inputs: Tensor = (torch.arange(count)[:, None] + 0.5) / count
    return TensorSamples(inputs, (inputs[:, 0] > 0.5).long(), ids=[f"{i:08}" for i in range(count)])


def evaluation(count: int, folder: Path) -> Cost:
    """All of an evaluation by a short attack, and what lets it go on where it was, read again."""
    listed = samples(count)
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, len(CLASSES)))
    network.load_state_dict(
        {"1.weight": torch.tensor([[-1.0], [1.0]]), "1.bias": torch.tensor([0.5, -0.5])}
    )

    def evaluate() -> None:
        handler = RobustnessEvaluation(
            noise_levels={"linf": [0.1, 0.2]},
            samples=listed.samples,
            class_names=CLASSES,
            output_dir=folder,
            protocol=Screen(steps=5),
            batch_size=BATCH,
            chunk_size=BATCH,
            check_samples=CHECKED,
            noise_draws=1,
            auroc_steps=1,
        )
        SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=batches(listed, BATCH),
            network=network,
            inferer=LogitsInferer(),
            decollate=False,
            val_handlers=[handler],
        ).run()

    def work() -> None:
        evaluate()
        Progress.read(folder / "progress.records")

    return spent(work, folder)


# What is measured, how it is called in the table, and the largest size that fits into the time.
PARTS: dict[str, tuple[Callable[[int, Path], Cost], str, int]] = {
    "margins": (margins, "update of all margins, without their attack", SIZES[-1]),
    "reduce": (reduce, "margins of two processes put together, gloo", SIZES[-1]),
    "checkpoint": (checkpoint, "`checkpoint.pt` written and read", SIZES[-1]),
    "record": (record, "`run.json` made, written and read", SIZES[-1]),
    "list": (list_file, "CSV list read", SIZES[-1]),
    "datalist": (datalist, "CSV list read, files looked at, split by patient", SIZES[1]),
    "evaluation": (evaluation, "evaluation, with all that it writes", SIZES[-1]),
}


def main() -> None:
    """Measure, each in a process of its own, and print; then write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="that alone, in this process")
    parser.add_argument("--samples", type=int, default=SIZES[0], help="of --part")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part:
        logging.disable(logging.WARNING)
        print(json.dumps(measured(args.part, args.samples)))
        return
    rows: list[dict[str, Any]] = []
    for part, (_, _, largest) in PARTS.items():
        for count in SIZES:
            if count <= largest:
                rows.append(in_own_process(part, count))
                print(json.dumps(rows[-1]), flush=True)
    settings = {"batch": BATCH, "processes": PROCESSES, **measuring.machine("torch", "monai")}
    measuring.write("growth", settings, rows=rows)
    draw(rows, measuring.RESULTS / "growth.png")
    print(cost_table(rows), file_table(rows), sep="\n\n")


def measured(part: str, count: int) -> dict[str, Any]:
    """A row of the report."""
    with tempfile.TemporaryDirectory() as folder:
        cost = PARTS[part][0](count, Path(folder))
    return {"part": part, "samples": count, **cost._asdict()}


def cost_table(rows: list[dict[str, Any]]) -> str:
    """A line for each part and size; seconds and bytes also by sample."""
    columns = {
        "what": "{what}",
        "samples": "{samples:,}",
        "CPU seconds": "{seconds:.3g}",
        "us a sample": "{us:.2f}",
        "memory, MB": "{megabytes:.0f}",
        "bytes a sample": "{bytes:.0f}",
    }
    lines = [
        row
        | {
            "what": PARTS[row["part"]][1],
            "us": 1e6 * row["seconds"] / row["samples"],
            "megabytes": row["memory"] / 1e6,
            "bytes": row["memory"] / row["samples"],
        }
        for row in rows
    ]
    return measuring.table(columns, lines)


def file_table(rows: list[dict[str, Any]]) -> str:
    """A line for each file: megabytes at each size, and bytes that a further sample takes."""
    by_file: dict[str, dict[int, int]] = {}
    for row in rows:
        for name, size in row["files"].items():
            by_file.setdefault(name, {})[row["samples"]] = size
    sizes = sorted({count for found in by_file.values() for count in found})
    columns = {"file": "{name}"}
    columns |= {f"MB at {count:,}": f"{{found[{count}]:.4g}}" for count in sizes}
    columns["bytes a further sample"] = "{slope:.1f}"
    lines = [
        {
            "name": f"`{name}`",
            "found": {count: size / 1e6 for count, size in found.items()},
            "slope": (found[sizes[-1]] - found[sizes[0]]) / (sizes[-1] - sizes[0]),
        }
        for name, found in by_file.items()
    ]
    return measuring.table(columns, lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds, memory and files against the number of samples, all axes logarithmic."""
    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, name, unit in zip(panels, ("seconds", "memory"), (1, 1e6), strict=False):
        for part in PARTS:
            own = [row for row in rows if row["part"] == part]
            counts = [row["samples"] for row in own]
            axes.plot(counts, [row[name] / unit for row in own], marker="o", ms=3, label=part)
    for name in sorted({name for row in rows for name in row["files"]}):
        own = [row for row in rows if name in row["files"]]
        counts = [row["samples"] for row in own]
        panels[2].plot(counts, [r["files"][name] / 1e6 for r in own], marker="o", ms=3, label=name)
    titles = ("CPU seconds", "peak memory, MB", "files, MB")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="samples", title=title)
        axes.grid(alpha=0.3)
    style: dict[str, Any] = {"ncols": 4, "fontsize": "small", "frameon": False}
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", **style)
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower right", **style)
    figure.savefig(path)


def in_own_process(part: str, count: int) -> dict[str, Any]:
    """A row of the report, measured by a Python that has done nothing else."""
    command = [sys.executable, __file__, "--part", part, "--samples", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    main()
