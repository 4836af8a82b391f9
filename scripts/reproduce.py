"""Train and evaluate methods on one data set, and print the paper's table.

    python scripts/reproduce.py ecg --norm linf --methods ce adv0.1 ima --seeds 0 1 2 --dataset_dir FOLDER
    python scripts/reproduce.py ecg --norm linf

The first command makes one JSON file a run below ``results``; a run whose file is there is not made
again, and one that was cut off goes on from its last epoch and its last evaluated samples, to the same
figures. Both print the table of all runs that are there, and draw their curves beside them.

Options of the bundle (``--max_epochs 10``) may follow, and are kept in the file. Runs of one ``--name``
have the same ones, and are evaluated by one version of one protocol: others are refused, since a table
of both would compare the options or the attacks as well. ``--protocol`` chooses another protocol than
the bundle's. A run whose file is moved away is evaluated again, and not trained again as long as its
folder below ``--runs`` is there; so is one with another ``--output``, as by another protocol.
``--budget MINUTES`` chooses ``max_epochs`` for each training instead: one epoch is timed, and as many
are made as fit into that time, up to the bundle's own number; if fewer than MIN_EPOCHS fit, the
training samples are reduced in proportion as well. What was chosen is in the file.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import inf
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import one_hot

from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.files import read_csv, write_whole
from monai_ima.handlers.folder_lock import FolderInUseError, lock_folder
from monai_ima.report import NORM_NAMES
from monai_ima.robustness import Protocol, get_protocol
from monai_ima.robustness.statistics import ENOUGH_PATIENTS, bootstrap_means

ROOT = Path(__file__).resolve().parents[1]
MIN_EPOCHS = 10
DRAWS = 2000
FEWEST = 20  # training samples that a budget may leave
CHEAP = {"protocol": "screen", "eval_steps": "1", "robust_interval": "0"}
CURVE_ONLY = {"check_samples": "0", "noise_draws": "0", "auroc_steps": "0"}
METHODS = sorted(path.stem for path in (ROOT / "bundles" / "objectives").glob("*.json"))
STRENGTHS = {"adv": "adv_eps", "iaat": "iaat_eps", "trades": "trades_beta"}
OBJECTIVES_OWN = "(adv|ddn|iaat|trades)_"
OWN = {*CHEAP, *CURVE_ONLY, "noise_levels", "evaluation_levels", "output_dir", "evaluation_dir"}
OWN |= {"eval_restarts", "method", "resume"}
UNNAMED = "0.1.0"  # the version of what does not name its own
PRIVATE = {"dataset_dir", "datalist_file"}  # paths of whoever made the run


class DataSet(NamedTuple):
    """A data set of the paper, whose bundle has its levels and settings.

    Attributes:
        bundle: folder of the bundle.
        samples: the bundle's setting that limits the training samples.
        accuracy: the accuracy that the paper's table has.
    """

    bundle: str
    samples: str
    accuracy: str = "accuracy"

    def config(self, name: str) -> dict[str, Any]:
        """One of the bundle's files."""
        path = ROOT / "bundles" / self.bundle / f"{name}.json"
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def levels(self, norm: str) -> list[float]:
        """Noise levels of a norm; the largest one is ``eps_max``, too."""
        levels: str | list[float] = self.config("evaluate")["evaluation_levels"][norm]
        if isinstance(levels, str):
            levels = self.config("train")[levels.removeprefix("@")]
        return levels


DATA = {
    "ecg": DataSet("ecg_ima", "training_per_class", accuracy="balanced_accuracy"),
    "fashion_mnist": DataSet("fashion_mnist_ima", "training_samples"),
    "oct": DataSet("oct_ima", "samples_per_class"),
    "svhn": DataSet("svhn_ima", "training_samples"),
    "moons": DataSet("moons_ima", "training_samples"),
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
    parser.add_argument("--protocol", help="of the evaluation (default: the bundle's)")
    parser.add_argument("--output", type=absolute, help="folder of the results")
    parser.add_argument("--runs", type=absolute, default=ROOT / "runs" / "reproduce")
    arguments, words = parser.parse_known_args()
    data, norm = DATA[arguments.data], arguments.norm
    output = arguments.output or ROOT / "results" / arguments.data
    try:
        given = {"eps_max": str(data.levels(norm)[-1]), "norm": norm} | given_options(words)
        check_budget(arguments.budget, given)
        protocol = checked_protocol(arguments.protocol or data.config("train")["protocol"])
        name = arguments.name
        asked = [
            Asked(arguments.data, name, norm, protocol.name, method, seed, arguments.budget, given)
            for seed in arguments.seeds
            for method in checked_methods(arguments.methods, given)
        ]
        if asked or arguments.protocol:
            read(output, name, norm, protocol)  # what is there, before anything runs
        for one in asked:
            path = output / f"{one.file_name}.json"
            if path.exists():
                one.check_same(json.loads(path.read_text()), path)
                continue
            write_json(path, run(one, arguments.runs / one.data / one.file_name))
        runs = read(output, name, norm)
        check_any(runs, name, norm, output)
        figure = draw(runs, data.accuracy)
        print(*tables(runs, data.accuracy).values(), sep="\n\n")
    except (FolderInUseError, RefusedError) as reason:
        parser.exit(2, f"reproduce.py: {reason}\n")
    figure.savefig(output / f"{name}_{norm}.png")


class RefusedError(Exception):
    """What was asked cannot be done, or would not be what it says; says why, and what to do."""


def check_any(runs: Sequence[dict[str, Any]], name: str, norm: str, folder: Path) -> None:
    """Refuse to make a table of nothing."""
    if not runs:
        raise RefusedError(f"no results {name} in {norm} in {folder}; add --methods")


def write_json(path: Path, content: object) -> None:
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


def checked_protocol(name: str) -> Protocol:
    """The protocol of that name, if there is one."""
    try:
        return get_protocol(name)
    except ValueError as error:
        raise RefusedError(str(error)) from error


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
        protocol: of the evaluation.
        method: as in the tables.
        seed: of the training and of the attacks.
        budget: minutes for the training, or ``None``.
        given: options of the bundle by name, without the method's own strength.
    """

    data: str
    size: str
    norm: str
    protocol: str
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
        levels = str(DATA[self.data].levels(self.norm))
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
    folder.mkdir(parents=True, exist_ok=True)
    lock_folder(folder, "--runs")
    check_folder(asked, folder)
    chosen = (
        {} if asked.budget is None else within(asked.budget, data, train, asked.options, folder)
    )
    options = asked.options | chosen
    training, seconds = folder / "training", folder / "seconds.json"
    if not (seconds.exists() and (training / "model.pt").exists()):
        again = (training / "checkpoint.pt").exists()
        resume = {"resume": "true"} if again else {}
        taken = command(train, options | CHEAP | resume | {"output_dir": str(training)})
        # of a training that was cut off, the time before is not known
        write_json(seconds, None if again else round(taken))
    evaluation = known_to_an_evaluation(options) | CURVE_ONLY | {"protocol": asked.protocol}
    evaluation |= {"output_dir": str(training), "evaluation_dir": str(folder / "evaluation")}
    evaluation |= {"evaluation_levels": str({asked.norm: data.levels(asked.norm)})}
    command([train[0], str(bundle / "evaluate.json")], evaluation | {"method": asked.method})
    identity = {"data": asked.data, "size": asked.size, "seed": asked.seed}
    identity |= {"method": asked.method, "norm": asked.norm, "options": public(asked.options)}
    cost = {"budget_minutes": asked.budget, "seconds": json.loads(seconds.read_text())}
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
        **samples(folder / "evaluation" / "samples.csv", report["classes"], norm),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "monai")},
    }


def samples(path: Path, classes: list[str], norm: str) -> dict[str, Any]:
    """Label, margin, class that the closest error was given, and patient of each sample.

    There is neither margin nor class where no error was found.
    """
    rows = read_csv(path)
    margins, given = ([row[f"{key}_{norm}"] for row in rows] for key in ("margin", "broken_as"))
    return {
        "labels": [classes.index(row["label"]) for row in rows],
        # every digit: a rounded one may be on the other side of a level
        "margins": [float(margin) if margin else None for margin in margins],
        "broken_as": [classes.index(name) if name else None for name in given],
        **numbered([row["patient"] for row in rows]),
    }


def numbered(patients: Sequence[str]) -> dict[str, Any]:
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


# All runs of one size and norm


def read(
    folder: Path, name: str, norm: str, protocol: Protocol | None = None
) -> list[dict[str, Any]]:
    """The runs of that name, in the order of their methods, IMA last.

    Args:
        folder: of the results.
        name: of the size.
        norm: of the noise.
        protocol: by which the runs are to be evaluated; by default by any, the same for all.

    Raises:
        RefusedError: if they were not made with the same options, or evaluated by another protocol
            or version of it.
    """
    paths = sorted(folder.glob(f"{name}_{norm}_*_seed*.json"))
    runs = [json.loads(path.read_text()) for path in paths]
    evaluated_by = defaultdict(list)
    for path, run in zip(paths, runs, strict=True):
        evaluated_by[protocol_of(run)].append(path.name)
    if protocol and runs:
        evaluated_by[protocol.name, protocol.version].append("what is asked for here")
    check_one_protocol(evaluated_by)
    same_as: dict[str, dict[str, Any]] = {}
    for run in runs:
        for whose, options in (("all methods", shared(run)), (run["method"], own_and_shared(run))):
            if differing := differences_in_words(same_as.setdefault(whose, options), options):
                raise RefusedError(
                    f"expected runs of one name to have the same options, but among the runs of "
                    f"{whose} {differing}; give them different names"
                )
    return sorted(runs, key=lambda run: (rank(run["method"]), run["seed"]))


def protocol_of(run: dict[str, Any]) -> tuple[str, int | None]:
    """Name and version of the protocol that a run was evaluated by; older files have no version."""
    return run["attack"]["protocol"], run["attack"].get("version")


def check_one_protocol(evaluated_by: dict[tuple[str, int | None], list[str]]) -> None:
    """Refuse runs of which some were attacked more strongly than others."""
    if len(evaluated_by) > 1:
        found = "; ".join(
            f"{name}, version {'unknown' if version is None else version} ({', '.join(files)})"
            for (name, version), files in evaluated_by.items()
        )
        raise RefusedError(
            f"expected runs of one name to be evaluated by one version of one protocol, got {found}. "
            "To evaluate a run again, move its file away and give its command again, with the folder "
            "of --runs as it was: nothing is trained again. To keep what is there, give its "
            "--protocol, or another --name"
        )


def evaluated(runs: list[dict[str, Any]]) -> str:
    """By what the runs were evaluated, and on how many samples, in a sentence."""
    name, version = protocol_of(runs[0])
    by = f"`{name}`, version {'unknown' if version is None else version}"
    made = sorted({run.get("version", UNNAMED) for run in runs})
    trained = sorted({run.get("training_version", run.get("version", UNNAMED)) for run in runs})
    elsewhere = "" if trained == made else f", trained by monai_ima {' and '.join(trained)}"
    samples = counted(run["curve"]["n"] for run in runs)
    known = [len(set(run["patients"])) for run in runs if run.get("patients")]
    patients = f" of {counted(known)} patients" if len(known) == len(runs) else ""
    return (
        f"Evaluated by {by} (monai_ima {' and '.join(made)}){elsewhere}, on {samples} "
        f"samples{patients}."
    )


def counted(numbers: Iterable[int]) -> str:
    """A number, or the smallest and the largest where they differ."""
    numbers = sorted(numbers)
    return " to ".join(f"{number:,}" for number in dict.fromkeys((numbers[0], numbers[-1])))


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


def tables(runs: list[dict[str, Any]], accuracy: str) -> dict[str, str]:
    """All that is printed of runs of one name and norm."""
    return {
        "curves": table(runs, accuracy),
        "evaluated": evaluated(runs),
        "areas": area_table(runs, accuracy),
    }


def table(runs: list[dict[str, Any]], accuracy: str) -> str:
    """The paper's table: accuracy at each level, a line a method.

    Mean and range over its seeds; of one run, with half the width of its 95 % interval.
    """
    unit = interval_unit(runs)
    levels = [f"{eps:g}" for eps in runs[0]["curve"]["eps"]]
    heading = ["method", "runs", *levels, "area", "minutes"]
    lines = [heading, ["---"] * len(heading)]
    for method, same in by_method(runs).items():
        columns = list(zip(*(run["curve"][accuracy] for run in same), strict=True))
        cells = [spread(column) for column in columns]
        if len(same) == 1 and unit:
            halves = half_widths(same[0], accuracy, unit).tolist()
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

    Seed by seed the same patients, or samples, are drawn for both; the mean over the seeds is what
    varies.
    """
    methods, unit = by_method(runs), interval_unit(runs)
    ours = {run["seed"]: run for run in methods.get("ima", [])}
    heading = f"95 % interval over {unit}" if unit else "95 % interval"
    lines = [f"| IMA less | seeds | area | {heading} |", "| --- | --- | --- | --- |"]
    for method, theirs in methods.items():
        pairs = [(ours[run["seed"]], run) for run in theirs if run["seed"] in ours]
        if method == "ima" or not pairs:
            continue
        areas = torch.stack([differences(*pair, accuracy, unit) for pair in pairs]).mean(dim=0)
        interval = f"none: fewer than {ENOUGH_PATIENTS} patients"
        if unit:
            low, high = ends(areas[1:]).tolist()
            interval = f"{low:+.3f} to {high:+.3f}"
        lines.append(f"| {method} | {len(pairs)} | {areas[0].item():+.3f} | {interval} |")
    return "\n".join(lines) if len(lines) > 2 else ""  # nothing to compare


def differences(ours: dict[str, Any], theirs: dict[str, Any], accuracy: str, unit: str) -> Tensor:
    """Difference of the areas, and those of bootstrap draws of the unit, if there is one."""
    reduced = any(run.get("chosen", {}).keys() - {"max_epochs"} for run in (ours, theirs))
    same = ["labels", "patients", "patients_fingerprint"] + ["training_data"] * (not reduced)
    pairs = [(ours.get(what), theirs.get(what)) for what in same]
    # older files have no fingerprint
    if any(own != other for own, other in pairs if None not in (own, other)):
        raise RefusedError(
            f"expected {ours['method']} and {theirs['method']} of seed {ours['seed']} to have the "
            "same training and test samples; make them from the same data set"
        )
    difference = per_sample(ours) - per_sample(theirs)
    whole = area(difference, weights(ours, accuracy))[None]
    if unit == "patients":
        return torch.cat([whole, of_drawn_patients(difference[:, None], ours, accuracy)[:, 0]])
    return torch.cat([whole, of_drawn_samples(difference, ours, accuracy)]) if unit else whole


def interval_unit(runs: list[dict[str, Any]]) -> str:
    """What is drawn for intervals: patients where all runs know theirs, else samples.

    Samples of one patient resemble each other: an interval that takes them for independent is too
    narrow, and so is one over few patients. Then there is none, "".
    """
    known = [len(set(run["patients"])) for run in runs if run.get("patients")]
    if len(known) < len(runs):
        return "samples"
    return "patients" if min(known) >= ENOUGH_PATIENTS else ""


def of_drawn_samples(values: Tensor, run: dict[str, Any], accuracy: str) -> Tensor:
    """``(DRAWS,)`` the accuracy's mean of ``values`` ``(N,)``; samples are drawn class by class."""
    labels, weight = torch.tensor(run["labels"]), weights(run, accuracy)
    generator = torch.Generator().manual_seed(run["seed"])
    sums = torch.zeros(DRAWS, dtype=torch.float64)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        rows = own[torch.randint(len(own), (DRAWS, len(own)), generator=generator)]
        sums += (values * weight)[rows].sum(dim=1)
    return sums


def of_drawn_patients(values: Tensor, run: dict[str, Any], accuracy: str) -> Tensor:
    """``(DRAWS, L)`` the accuracy's means of ``values`` ``(N, L)``; whole patients are drawn.

    Runs with the same patients draw the same ones, whatever their seed. A class that none of the
    drawn patients has does not count.
    """
    labels = torch.tensor(run["labels"])
    if accuracy == "accuracy":  # all samples alike
        labels = torch.zeros_like(labels)
    member = one_hot(labels).double()[:, None]
    generator = torch.Generator().manual_seed(int(run["patients_fingerprint"], 16))
    means = bootstrap_means(
        torch.cat([values[..., None] * member, member], dim=1),
        torch.tensor(run["patients"]),
        draws=DRAWS,
        generator=generator,
    )
    return (means[:, :-1] / means[:, -1:]).nanmean(dim=2)


def ends(draws: Tensor) -> Tensor:
    """``(2, *)`` of the 95 % interval of draws ``(DRAWS, *)``."""
    return draws.quantile(draws.new_tensor([0.025, 0.975]), dim=0)


def half_widths(run: dict[str, Any], accuracy: str, unit: str) -> Tensor:
    """``(L,)`` half the 95 % interval of the accuracy; of samples, from the variance within classes."""
    labels, robust = torch.tensor(run["labels"]), standing(run)
    if unit == "patients":
        low, high = ends(of_drawn_patients(robust, run, accuracy))
        return (high - low) / 2
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
    """``(N, L)`` 1 where a sample is robust at a level."""
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
