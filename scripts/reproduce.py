"""Train and evaluate methods on one data set, and print the paper's table.

    python scripts/reproduce.py ecg --norm linf --methods ce adv0.1 ima --seeds 0 1 2 --dataset_dir FOLDER
    python scripts/reproduce.py ecg --norm linf

The first command makes one JSON file a run below ``results``; a run whose file is there is not made
again, and one that was cut off goes on from its last epoch and its last evaluated samples, to the same
figures. Both print the table of all runs that are there, and draw their curves beside them.

Options of the bundle (``--max_epochs 10``) may follow, and are kept in the file. Runs of one ``--name``
have the same ones: others are refused, since a table of both would compare the options as well.
``--budget MINUTES`` chooses ``max_epochs`` for each training instead: one epoch is timed, and as many
are made as fit into that time, up to the bundle's own number; if fewer than MIN_EPOCHS fit, the
training samples are reduced in proportion as well. What was chosen is in the file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import inf
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from monai_ima.handlers.files import read_csv, write_whole
from monai_ima.report import NORM_NAMES

ROOT = Path(__file__).resolve().parents[1]
MIN_EPOCHS = 10
DRAWS = 2000
FEWEST = 20  # training samples that a budget may leave
CHEAP = {"eval_steps": "1", "eval_restarts": "1", "robust_interval": "0"}
CURVE_ONLY = {"check_samples": "0", "noise_draws": "0", "auroc_steps": "0"}
METHODS = sorted(path.stem for path in (ROOT / "bundles" / "objectives").glob("*.json"))
STRENGTHS = {"adv": "adv_eps", "iaat": "iaat_eps", "trades": "trades_beta"}
OBJECTIVES_OWN = "(adv|ddn|iaat|trades)_"
OWN = {*CHEAP, *CURVE_ONLY, "noise_levels", "evaluation_levels", "output_dir", "evaluation_dir"}
OWN |= {"method", "resume"}
PRIVATE = {"dataset_dir", "datalist_file"}  # paths of whoever made the run


class DataSet(NamedTuple):
    """What differs between the data sets of the paper.

    Attributes:
        bundle: folder of the bundle.
        levels: noise levels of each norm.
        eps_max: largest margin in each norm.
        samples: the bundle's setting that limits the training samples.
        accuracy: the accuracy that the paper's table has.
    """

    bundle: str
    levels: dict[str, list[float]]
    eps_max: dict[str, float]
    samples: str
    accuracy: str = "accuracy"


DATA = {
    "ecg": DataSet(
        "ecg_ima",
        {"linf": [0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3], "l2": [0, 0.05, 0.15, 0.25, 0.5, 1, 1.5]},
        {"linf": 0.3, "l2": 1.5},
        "training_per_class",
        accuracy="balanced_accuracy",
    ),
    "fashion_mnist": DataSet(
        "fashion_mnist_ima",
        {"linf": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "l2": [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]},
        {"linf": 0.3, "l2": 1.5},
        "training_samples",
    ),
    "oct": DataSet(
        "oct_ima",
        {"linf": [0, 0.0025, 0.005, 0.01, 0.015, 0.02], "l2": [0, 0.1, 0.25, 0.5, 0.75, 1]},
        {"linf": 0.02, "l2": 1},
        "samples_per_class",
    ),
    "svhn": DataSet(
        "svhn_ima",
        {
            "linf": [0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1],
            "l2": [0, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2],
        },
        {"linf": 0.1, "l2": 2},
        "training_samples",
    ),
    "moons": DataSet(
        "moons_ima",
        {"linf": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "l2": [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]},
        {"linf": 0.3, "l2": 0.3},
        "training_samples",
    ),
}


def main() -> None:
    """Make the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument(
        "--methods", nargs="*", default=[], help="ce, ima, adv0.1, trades1, ddn, ..."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--name", default="default", help="of the size, in the results' file names")
    parser.add_argument("--budget", type=float, help="minutes for each training")
    parser.add_argument("--output", type=absolute, help="folder of the results")
    parser.add_argument("--runs", type=absolute, default=ROOT / "runs" / "reproduce")
    arguments, words = parser.parse_known_args()
    data, norm = DATA[arguments.data], arguments.norm
    output = arguments.output or ROOT / "results" / arguments.data
    try:
        given = {"eps_max": str(data.eps_max[norm]), "norm": norm} | given_options(words)
        check_budget(arguments.budget, given)
        asked = [
            Asked(arguments.data, arguments.name, norm, method, seed, arguments.budget, given)
            for seed in arguments.seeds
            for method in checked_methods(arguments.methods, given)
        ]
        for one in asked:
            path = output / f"{one.file_name}.json"
            if path.exists():
                one.check_same(json.loads(path.read_text()), path)
                continue
            write_json(path, run(one, arguments.runs / one.data / one.file_name))
        runs = read(output, arguments.name, norm)
        check_any(runs, arguments.name, norm, output)
        figure = draw(runs, data.accuracy)
        print(table(runs, data.accuracy), area_table(runs, data.accuracy), sep="\n\n")
    except RefusedError as reason:
        parser.exit(2, f"reproduce.py: {reason}\n")
    figure.savefig(output / f"{arguments.name}_{norm}.png")


class RefusedError(Exception):
    """What was asked cannot be done, or would not be what it says; says why, and what to do."""


def check_any(runs: Sequence[dict[str, Any]], name: str, norm: str, folder: Path) -> None:
    """Refuse to make a table of nothing."""
    if not runs:
        raise RefusedError(f"no results {name} in {norm} in {folder}; add --methods")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """All of it or nothing."""
    write_whole(path, lambda draft: draft.write_text(json.dumps(content) + "\n"))


def absolute(word: str) -> Path:
    """A path of the command line; the commands that it goes to run in another folder."""
    return Path(word).resolve()


def given_options(words: Sequence[str]) -> dict[str, str]:
    """The bundle's options ``--NAME VALUE``, by name."""
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(re.fullmatch(r"--\w[\w:#]*", name) for name in names):
        raise RefusedError(f"expected options of the bundle as --NAME VALUE, got {' '.join(words)}")
    found = {name[2:]: value for name, value in zip(names, values, strict=True)}
    if own := sorted(found.keys() & OWN):
        raise RefusedError(f"expected no --{own[0]}, which is chosen here; leave it out")
    paths = {name: str(absolute(found[name])) for name in found.keys() & PRIVATE}
    return found | paths


def check_budget(minutes: float | None, options: dict[str, str]) -> None:
    """Refuse a budget that is no time, or that would choose what was chosen already."""
    if minutes is None:
        return
    if not 0 < minutes < inf:
        raise RefusedError(f"expected --budget in minutes above 0, got {minutes:g}")
    if "max_epochs" in options:
        raise RefusedError("expected --budget or --max_epochs, got both: the budget chooses epochs")


def checked_methods(methods: Sequence[str], options: Iterable[str]) -> Sequence[str]:
    """Refuse names that are none, and options that only another method knows."""
    for method in methods:
        kind, _ = split_method(method)
        for name in options:
            if (whose := re.match(OBJECTIVES_OWN, name)) and whose[1] != kind:
                raise RefusedError(
                    f"expected --{name} with the method {whose[1]} alone, got also {method}; call "
                    "once for each, or write the strength behind the name, as in adv0.1"
                )
    return methods


def split_method(method: str) -> tuple[str, dict[str, str]]:
    """Name of the objective's file, and its strength as an option: adv0.1, trades6."""
    found = re.fullmatch(r"([a-z]+)(\d[\d.]*)?", method)
    kind, strength = found.groups() if found else (method, None)
    if kind not in METHODS or (strength and kind not in STRENGTHS):
        raise RefusedError(
            f"expected a method among {', '.join(METHODS)}, of which {', '.join(STRENGTHS)} may "
            f"have their strength behind, as in adv0.1; got {method!r}"
        )
    return kind, {STRENGTHS[kind]: strength} if strength else {}


# One run


class Asked(NamedTuple):
    """A run that is to be made.

    Attributes:
        data: name of the data set.
        size: name of the size.
        norm: of the noise.
        method: as in the tables.
        seed: of the training and of the attacks.
        budget: minutes for the training, or ``None``.
        given: options of the bundle by name, without the method's own strength.
    """

    data: str
    size: str
    norm: str
    method: str
    seed: int
    budget: float | None
    given: dict[str, str]

    @property
    def file_name(self) -> str:
        return f"{self.size}_{self.norm}_{self.method}_seed{self.seed}"

    @property
    def options(self) -> dict[str, str]:
        """All options of the training, but for what a budget chooses."""
        levels = str(DATA[self.data].levels[self.norm])
        _, strength = split_method(self.method)
        return self.given | {"seed": str(self.seed), **strength, "noise_levels": levels}

    def check_same(self, result: dict[str, Any], path: Path) -> None:
        """Refuse a run that is there already, but was asked for with other options."""
        theirs = result["options"] | {"budget": result["budget_minutes"]}
        ours = public(self.options) | {"budget": self.budget}
        if differing := differences_in_words(ours, theirs):
            raise RefusedError(
                f"expected the options that {path} was made with, but {differing}; choose another "
                "--name, or give the same options"
            )


def public(options: dict[str, str]) -> dict[str, str]:
    """The options without the paths of whoever made the run."""
    return {name: value for name, value in options.items() if name not in PRIVATE}


def differences_in_words(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Which options differ, and how."""
    names = [n for n in sorted(ours.keys() | theirs.keys()) if ours.get(n) != theirs.get(n)]
    return ", ".join(f"{name} is {theirs.get(name)} there, {ours.get(name)} here" for name in names)


def run(asked: Asked, folder: Path) -> dict[str, Any]:
    """Train and evaluate through the commands that a user types."""
    data = DATA[asked.data]
    bundle = ROOT / "bundles" / data.bundle
    kind, _ = split_method(asked.method)
    train = [str(bundle / "train.json")]
    if kind != "ima":
        train.append(str(ROOT / "bundles" / "objectives" / f"{kind}.json"))
    check_folder(asked, folder)
    chosen = (
        {} if asked.budget is None else within(asked.budget, data, train, asked.options, folder)
    )
    options = asked.options | chosen
    training = folder / "training"
    again = (training / "checkpoint.pt").exists()
    resume = {"resume": "true"} if again else {}
    seconds = command(train, options | CHEAP | resume | {"output_dir": str(training)})
    evaluation = known_to_an_evaluation(options) | CURVE_ONLY
    evaluation |= {"output_dir": str(training), "evaluation_dir": str(folder / "evaluation")}
    evaluation |= {"evaluation_levels": str({asked.norm: data.levels[asked.norm]})}
    command([train[0], str(bundle / "evaluate.json")], evaluation | {"method": asked.method})
    identity = {"data": asked.data, "size": asked.size, "seed": asked.seed}
    identity |= {"method": asked.method, "norm": asked.norm, "options": public(asked.options)}
    # of a training that was cut off, the time before is not known
    cost = {"budget_minutes": asked.budget, "seconds": None if again else round(seconds)}
    return identity | {"chosen": chosen} | collected(folder, asked.norm) | cost


def check_folder(asked: Asked, folder: Path) -> None:
    """Refuse to go on with what was begun with other options; remember these."""
    path, ours = folder / "asked.json", asked.options | {"budget": asked.budget}
    if not path.exists():
        write_json(path, ours)
    elif differing := differences_in_words(ours, json.loads(path.read_text())):
        raise RefusedError(
            f"expected the options that the run in {folder} was begun with, but {differing}; choose "
            "another --name, give the same options, or remove that folder"
        )


def known_to_an_evaluation(options: dict[str, str]) -> dict[str, str]:
    """The options without those of a training's objective."""
    return {name: v for name, v in options.items() if not re.match(OBJECTIVES_OWN, name)}


def command(configs: Sequence[str], options: dict[str, str]) -> float:
    """Run a bundle, and say how many seconds it took."""
    start = time.perf_counter()
    files = str(list(configs)) if len(configs) > 1 else configs[0]
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    full = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *words]
    ended = subprocess.run(full, check=False, cwd=ROOT)
    if ended.returncode:
        raise RefusedError(f"a run of the bundle failed, for the reason above: {' '.join(full)}")
    return time.perf_counter() - start


def within(
    minutes: float, data: DataSet, train: list[str], options: dict[str, str], folder: Path
) -> dict[str, str]:
    """Epochs, and if need be samples, of a training that takes about that long."""
    chosen = folder / "budget.json"
    if not chosen.exists():
        own = json.loads(Path(train[0]).read_text())
        probe = folder / "probe"
        once = options | CHEAP | {"output_dir": str(probe)}
        first, both = (command(train, once | {"max_epochs": str(n)}) for n in (1, 2))
        shutil.rmtree(probe)
        samples = options.get(data.samples, own[data.samples])
        found = fitting(60 * minutes, first, both, own["max_epochs"], data.samples, samples)
        write_json(chosen, found)
    chosen_before: dict[str, str] = json.loads(chosen.read_text())
    return chosen_before


def fitting(
    seconds: float, first: float, both: float, most: int, setting: str, samples: int | str | None
) -> dict[str, str]:
    """What fits into a time, of which one epoch takes ``first`` and two take ``both``.

    Both have the start of the program in them, which does not grow with the epochs.
    """
    epoch = max(both - first, 0.1)
    epochs = min(most, int((seconds - (first - epoch)) / epoch))
    found = {"max_epochs": str(max(epochs, min(most, MIN_EPOCHS)))}
    if epochs < min(most, MIN_EPOCHS):
        share = max(epochs, 0) / min(most, MIN_EPOCHS)
        if not str(samples).isdigit() or int(int(samples) * share) < FEWEST:
            raise RefusedError(
                f"expected a budget for {MIN_EPOCHS} epochs, got one for {max(epochs, 0)} of "
                f"{epoch:.3g} seconds each after a start of {first - epoch:.3g}; take a larger "
                f"budget, or give a smaller --{setting} (it is {samples})"
            )
        found[setting] = str(int(int(samples) * share) // 2 * 2)  # two classes have as many
    return found


def collected(folder: Path, norm: str) -> dict[str, Any]:
    """What a run leaves, in one dictionary of plain values."""
    training = json.loads((folder / "training" / "robustness.json").read_text())
    report = json.loads((folder / "evaluation" / "robustness.json").read_text())
    checkpoint = torch.load(folder / "training" / "checkpoint.pt", "cpu", weights_only=True)
    (curve,) = report["curves"]
    return {
        "settings": training["settings"],
        "training_data": checkpoint["identity"]["training_data"],
        "attack": report["attack"],
        "classes": report["classes"],
        "curve": curve,
        **samples(folder / "evaluation" / "samples.csv", report["classes"], norm),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "monai", "monai-ima")},
    }


def samples(path: Path, classes: list[str], norm: str) -> dict[str, list[Any]]:
    """Label, margin and class that the closest error was given, of each sample.

    There is neither margin nor class where no error was found.
    """
    rows = read_csv(path)
    margins, given = ([row[f"{key}_{norm}"] for row in rows] for key in ("margin", "broken_as"))
    return {
        "labels": [classes.index(row["label"]) for row in rows],
        "margins": [float(f"{float(margin):.5g}") if margin else None for margin in margins],
        "broken_as": [classes.index(name) if name else None for name in given],
    }


# All runs of one size and norm


def read(folder: Path, name: str, norm: str) -> list[dict[str, Any]]:
    """The runs of that name, in the order of their methods, IMA last.

    Raises:
        RefusedError: if they were not made with the same options.
    """
    runs = [json.loads(path.read_text()) for path in folder.glob(f"{name}_{norm}_*_seed*.json")]
    same_as: dict[str, dict[str, Any]] = {}
    for run in runs:
        for whose, options in (("all methods", shared(run)), (run["method"], own_and_shared(run))):
            if differing := differences_in_words(same_as.setdefault(whose, options), options):
                raise RefusedError(
                    f"expected runs of one name to have the same options, but among the runs of "
                    f"{whose} {differing}; give them different names"
                )
    return sorted(runs, key=lambda run: (rank(run["method"]), run["seed"]))


def shared(run: dict[str, Any]) -> dict[str, Any]:
    """The options of a run that all methods and seeds have in common."""
    return known_to_an_evaluation(own_and_shared(run))


def own_and_shared(run: dict[str, Any]) -> dict[str, Any]:
    """The options of a run that all seeds of its method have in common."""
    options = run["options"] | {"budget": run["budget_minutes"]}
    return {name: value for name, value in options.items() if name != "seed"}


def rank(method: str) -> tuple[int, str]:
    """Place of a method in the tables."""
    return {"ce": 0, "ima": 2}.get(method, 1), method


def by_method(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each method."""
    methods = dict.fromkeys(run["method"] for run in runs)
    return {method: [run for run in runs if run["method"] == method] for method in methods}


def table(runs: list[dict[str, Any]], accuracy: str) -> str:
    """The paper's table: accuracy at each level, a line a method.

    Mean and range over its seeds; of one run, with half the width of its 95 % interval.
    """
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    heading = ["method", "runs", *levels, "area", "minutes"]
    lines = [heading, ["---"] * len(heading)]
    for method, same in by_method(runs).items():
        columns = list(zip(*(run["curve"][accuracy] for run in same), strict=True))
        cells = [spread(column) for column in columns]
        if len(same) == 1:
            halves = half_widths(same[0], accuracy).tolist()
            cells = [f"{cell} ± {half:.3f}" for cell, half in zip(cells, halves, strict=True)]
        areas = [area(per_sample(run), weights(run, accuracy)).item() for run in same]
        lines.append([method, str(len(same)), *cells, spread(areas), minutes(same)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def minutes(runs: list[dict[str, Any]]) -> str:
    """Mean time of the trainings; of one that was cut off it is not known."""
    seconds = [run["seconds"] for run in runs]
    return "unknown" if None in seconds else f"{mean(seconds) / 60:.1f}"


def area_table(runs: list[dict[str, Any]], accuracy: str) -> str:
    """Area under IMA's curve less that of each other method, on the same samples, and its interval.

    Seed by seed the same samples are drawn for both; the mean over the seeds is what varies.
    """
    methods = by_method(runs)
    ours = {run["seed"]: run for run in methods.get("ima", [])}
    lines = ["| IMA less | seeds | area | 95 % interval |", "| --- | --- | --- | --- |"]
    for method, theirs in methods.items():
        pairs = [(ours[run["seed"]], run) for run in theirs if run["seed"] in ours]
        if method == "ima" or not pairs:
            continue
        draws = torch.stack([differences(*pair, accuracy) for pair in pairs]).mean(dim=0)
        low, high = draws[1:].quantile(draws.new_tensor([0.025, 0.975])).tolist()
        lines.append(
            f"| {method} | {len(pairs)} | {draws[0].item():+.3f} | {low:+.3f} to {high:+.3f} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""  # nothing to compare


def differences(ours: dict[str, Any], theirs: dict[str, Any], accuracy: str) -> Tensor:
    """Difference of the areas, and those of bootstrap draws of the samples, class by class."""
    reduced = any(run.get("chosen", {}).keys() - {"max_epochs"} for run in (ours, theirs))
    pairs = [(ours.get(w), theirs.get(w)) for w in ["labels"] + ["training_data"] * (not reduced)]
    # older files have no fingerprint
    if any(own != other for own, other in pairs if None not in (own, other)):
        raise RefusedError(
            f"expected {ours['method']} and {theirs['method']} of seed {ours['seed']} to have the "
            "same training and test samples; make them from the same data set"
        )
    labels, weight = torch.tensor(ours["labels"]), weights(ours, accuracy)
    difference = per_sample(ours) - per_sample(theirs)
    generator = torch.Generator().manual_seed(ours["seed"])
    drawn = torch.zeros(DRAWS, dtype=torch.float64)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        rows = own[torch.randint(len(own), (DRAWS, len(own)), generator=generator)]
        drawn += (difference * weight)[rows].sum(dim=1)
    return torch.cat([area(difference, weight)[None], drawn])


def half_widths(run: dict[str, Any], accuracy: str) -> Tensor:
    """``(L,)`` half the 95 % interval of the accuracy, from the variance within each class."""
    labels, robust = torch.tensor(run["labels"]), standing(run)
    weight = weights(run, accuracy)
    variance = torch.zeros(robust.shape[1], dtype=torch.float64)
    for label in labels.unique():
        rows = robust[labels == label]
        share = weight[labels == label].sum() ** 2
        variance += share * rows.var(dim=0, correction=0) / len(rows)
    return 1.959964 * variance.sqrt()


def per_sample(run: dict[str, Any]) -> Tensor:
    """Area under each sample's own curve, which is 1 up to its margin and 0 beyond."""
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    return torch.trapezoid(standing(run), eps, dim=1) / eps[-1]


def standing(run: dict[str, Any]) -> Tensor:
    """``(N, L)`` 1 where a sample stands at a level."""
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    margins = [torch.inf if margin is None else margin for margin in run["margins"]]
    return (torch.tensor(margins, dtype=torch.float64)[:, None] > eps).double()


def weights(run: dict[str, Any], accuracy: str) -> Tensor:
    """What each sample counts, so that the weighted sum is the accuracy or the balanced one."""
    labels = torch.tensor(run["labels"])
    if accuracy == "accuracy":
        return torch.full(labels.shape, 1 / len(labels), dtype=torch.float64)
    counts = labels.bincount().double()
    return 1 / (counts[labels] * (counts > 0).sum())


def area(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum."""
    return (values * weight).sum()


def spread(values: Iterable[float]) -> str:
    """Mean, and the range where there is more than one value."""
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def draw(runs: list[dict[str, Any]], accuracy: str) -> Figure:
    """Accuracy against the noise level, a line a method, with the range over its seeds."""
    figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    others = itertools.cycle(f"C{number}" for number in range(10) if number != 3)
    for method, same in by_method(runs).items():
        color = {"ce": "0.5", "ima": "C3"}.get(method) or next(others)
        curves = torch.tensor([run["curve"][accuracy] for run in same], dtype=torch.float64)
        eps = same[0]["curve"]["eps"]
        width = 2.2 if method == "ima" else 1.2
        axes.plot(eps, curves.mean(dim=0), "o-", ms=3, lw=width, color=color, label=method)
        low, high = curves.amin(dim=0), curves.amax(dim=0)
        axes.fill_between(eps, low, high, color=color, alpha=0.15, lw=0)
    axes.set_xlabel(f"noise level ({NORM_NAMES[runs[0]['norm']]})")
    axes.set_ylabel(accuracy.replace("_", " ") + " under attack")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
