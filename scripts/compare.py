"""Compare evaluations of several models on the same samples.

    python scripts/compare.py runs/eval_ce runs/eval_ima --names ce,ima --output runs/compare

Each run is the output folder of an evaluation, of which ``robustness.json`` and ``samples.csv`` are
read. What they say of the same samples is paired: which model stands where another falls (McNemar's
exact test at each level, adjusted by Holm over all tests of a norm), and by how much the areas under
their curves differ (bootstrap over patients). ``compare.md``, ``compare.csv`` and ``compare.png`` are
left in the output folder; the first of them is printed too.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, permutations
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest
from torch import Tensor

from monai_ima.handlers.files import read_csv, write_whole
from monai_ima.handlers.run_record import RunRecord, differences, read_record
from monai_ima.report import NORM_NAMES
from monai_ima.robustness.statistics import ENOUGH_PATIENTS, bootstrap_means

SIGNIFICANT = 0.05
# What may differ between attacks of the same strength. Other versions of a protocol are refused.
SAME_STRENGTH = {"description", "version", "seed", "batch_size", "check_samples"}
# Okabe and Ito's colours, which most people tell apart, and two more.
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#000000", "#888888", "#6A3D9A"),
)
MARKERS = "osD^vPX*<>"
SMALL_PRINT = (
    "The area is the mean accuracy over the levels from 0 to the largest. {intervals} The median "
    "margin is the noise at which half of the correctly classified samples are lost; none: fewer "
    "are, at any level. p is that of McNemar's exact test, adjusted by Holm's method for all levels "
    f"and pairs of a norm; below {SIGNIFICANT}, a difference is called beyond chance."
)


def main() -> None:
    """Read the runs, write the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of evaluations")
    parser.add_argument(
        "--names", help="of the runs, with commas between (default: their folders')"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/compare"), help="folder")
    arguments = parser.parse_args()
    try:
        names = run_names(arguments.runs, arguments.names)
        runs = [read(folder, name) for folder, name in zip(arguments.runs, names, strict=True)]
        check_same_versions(runs)
        check_same_samples(runs)
        comparisons, left_out = compare(runs)
    except RefusedError as reason:
        parser.exit(2, f"compare.py: {reason}\n")
    warnings = [*data_warnings(runs), *attack_warnings(runs), *input_warnings(runs)]
    text = in_words(runs, comparisons, [*warnings, *left_out])
    write_whole(arguments.output / "compare.md", lambda path: path.write_text(text, "utf-8"))
    write_whole(arguments.output / "compare.csv", lambda path: write_csv(path, comparisons))
    write_whole(arguments.output / "compare.png", draw(runs, comparisons).savefig)
    print(text, end="")


class RefusedError(Exception):
    """The runs cannot be compared; says why, and what to do."""


@dataclass(frozen=True)
class Curve:
    """What a run found in one norm.

    Attributes:
        eps: the L levels.
        robust: ``(N, L)`` bool, the samples in the order of their ids that stand at each level.
        low: lower end of the 95 % interval of the accuracy at each level.
        high: its upper end.
        median_margin: the noise at which half of the correctly classified samples are lost.
    """

    eps: list[float]
    robust: Tensor
    low: list[float]
    high: list[float]
    median_margin: float | None


@dataclass(frozen=True)
class Run:
    """An evaluation.

    Attributes:
        name: what it is called in the comparison.
        protocol: of its attack, and which version of it.
        attack: all that was set of its attack.
        labels: the class of each sample, by ids in order.
        patients: likewise, "" where unknown.
        curves: one for each norm.
        warning: what a reader has to know of the data; empty if nothing.
        trained: what the training of the model has written of itself, if it has.
    """

    name: str
    protocol: str
    attack: dict[str, Any]
    labels: dict[str, str]
    patients: dict[str, str]
    curves: dict[str, Curve]
    warning: str
    trained: RunRecord | None


@dataclass(frozen=True)
class Comparison:
    """All runs in one norm, at the levels that they share.

    Attributes:
        norm: its name.
        eps: the L levels.
        rows: a run each.
        pairs: two runs each.
    """

    norm: str
    eps: list[float]
    rows: list[Row]
    pairs: list[Pair]


@dataclass(frozen=True)
class Row:
    """A run: ``accuracy`` at the L levels, ``area`` under them with its interval, if one is drawn."""

    name: str
    protocol: str
    n: int
    accuracy: list[float]
    area: float
    interval: tuple[float, float] | None
    median_margin: float | None


@dataclass(frozen=True)
class Pair:
    """Two runs on the same samples.

    Attributes:
        names: of the first and the second run.
        wins: at each level, the samples where the first stands and the second falls.
        losses: at each level, the reverse.
        p: at each level, of McNemar's exact test, adjusted.
        difference: the first's area less the second's.
        interval: of the difference, low and high end; ``None`` where patients are too few.
    """

    names: tuple[str, str]
    wins: list[int]
    losses: list[int]
    p: list[float]
    difference: float
    interval: tuple[float, float] | None


def run_names(folders: Sequence[Path], given: str | None) -> list[str]:
    """The given names, or as much of the end of each path as tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    if len(paths) < 2:
        raise RefusedError(f"expected two runs or more, got only {folders[0]}; name another one")
    for path, times in Counter(paths).items():
        if times > 1:
            raise RefusedError(f"{path} is named {times} times; a run is compared with others only")
    if given is None:
        return [_shortest_ending(path, paths) for path in paths]
    names = [name.strip() for name in given.split(",")]
    if len(names) != len(paths) or len(set(names)) != len(names) or "" in names:
        raise RefusedError(
            f"expected --names to be {len(paths)} different names, one for each run and with commas "
            f"between, got {given!r}"
        )
    return names


def _shortest_ending(path: Path, paths: Sequence[Path]) -> str:
    for length in range(1, len(path.parts)):
        ending = path.parts[-length:]
        if [other.parts[-length:] for other in paths].count(ending) == 1:
            return "/".join(ending)
    return str(path)


def read(folder: Path, name: str) -> Run:
    """An evaluation from its folder, of which the two files must agree."""
    report_path, samples_path = folder / "robustness.json", folder / "samples.csv"
    if not report_path.exists() and (folder / "progress.pt").exists():
        raise RefusedError(
            f"the evaluation in {folder} is not finished; run it again with the same settings, it "
            "goes on from where it was"
        )
    for path in (report_path, samples_path):
        if not path.exists():
            raise RefusedError(
                f"there is no {path}; expected {folder} to be the output folder of an evaluation, "
                "which holds robustness.json and samples.csv"
            )
    try:
        report = json.loads(report_path.read_text("utf-8"))
        samples = read_samples(samples_path)
        return Run(
            name,
            protocol_in_words(report["attack"]),
            report["attack"],
            {sample["id"]: sample["label"] for sample in samples},
            {sample["id"]: sample["patient"] for sample in samples},
            {curve["norm"]: read_curve(curve, samples, samples_path) for curve in report["curves"]},
            report["warning"],
            read_record(Path(report.get("settings", {}).get("model") or folder).parent),
        )
    except KeyError as error:
        raise RefusedError(
            f"expected {folder} to hold the report and the samples of an evaluation, but there is "
            f"no {error} in them; run the evaluation again"
        ) from error
    except (TypeError, ValueError) as error:
        raise RefusedError(
            f"{report_path} or {samples_path} cannot be read ({error}); run the evaluation again"
        ) from error


def protocol_in_words(attack: dict[str, Any]) -> str:
    """Its name, and its version, which older evaluations do not have."""
    name: str = attack["protocol"]
    return f"{name}, version {attack['version']}" if "version" in attack else name


def read_samples(path: Path) -> list[dict[str, str]]:
    """The rows of a ``samples.csv``, in the order of their ids."""
    rows = read_csv(path)
    if not rows:
        raise RefusedError(f"there is no sample in {path}; run the evaluation again")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise RefusedError(
                f"expected sample {number} of {path} to have the columns of the heading, got more "
                "or fewer; run the evaluation again"
            )
    for sample, times in Counter(row["id"] for row in rows).items():
        if times > 1:
            raise RefusedError(f"expected different ids in {path}, got {sample!r} {times} times")
    return sorted(rows, key=lambda row: row["id"])


def read_curve(curve: dict[str, Any], samples: list[dict[str, str]], path: Path) -> Curve:
    """A curve from the levels at which the samples broke, which must add up to the reported one."""
    norm, eps = curve["norm"], [_level(eps) for eps in curve["eps"]]
    robust = torch.ones(len(samples), len(eps), dtype=torch.bool)
    for standing, sample in zip(robust, samples, strict=True):
        if broke_at := sample[f"broke_at_{norm}"]:
            if _level(broke_at) not in eps:
                raise ValueError(f"{sample['id']} broke at {broke_at}, which is none of {eps}")
            standing[eps.index(_level(broke_at)) :] = False
    numbers = robust.sum(dim=0).tolist()
    for level, standing, said in zip(eps, numbers, curve["accuracy"], strict=True):
        if len(robust) != curve["n"] or round(said * curve["n"]) != standing:
            raise RefusedError(
                f"in {path}, {standing} of {len(robust)} samples stand at {level:g} ({norm}), but "
                f"robustness.json beside it says {said * curve['n']:.6g} of {curve['n']}: they are "
                "not of one evaluation; run it again"
            )
    low, high = (curve[f"patient_{end}"] or curve[end] for end in ("low", "high"))
    return Curve(eps, robust, low, high, curve["median_margin"])


def _level(text: str | float) -> float:
    """Equal for what was equal before it was written, in whatever precision."""
    return float(f"{float(text):.6g}")


def check_same_versions(runs: Sequence[Run]) -> None:
    """Refuse versions of one protocol that differ: one of them finds errors that another does not."""
    for one, other in combinations(runs, 2):
        versions = [run.attack.get("version", "unknown") for run in (one, other)]
        if one.attack["protocol"] == other.attack["protocol"] and versions[0] != versions[1]:
            raise RefusedError(
                f"expected the same version of the protocol {one.attack['protocol']} in all runs, "
                f"got {versions[0]} in {one.name} and {versions[1]} in {other.name}; evaluate the "
                "older one again"
            )


def check_same_samples(runs: Sequence[Run]) -> None:
    """Refuse runs that differ in the ids or labels of their samples, or in the patients they know."""
    for one, other in permutations(runs, 2):
        if missing := [sample for sample in one.labels if sample not in other.labels]:
            raise RefusedError(
                f"expected the same samples in all runs, but {len(missing)} of the "
                f"{len(one.labels)} of {one.name} are not among the {len(other.labels)} of "
                f"{other.name} ({_few(missing)}); evaluate both on the same data"
            )
    for one, other in combinations(runs, 2):
        _check_same("label", one, other, one.labels, other.labels)
        _check_same("patient", one, other, one.patients, other.patients)


def _check_same(
    what: str, one: Run, other: Run, first: dict[str, str], second: dict[str, str]
) -> None:
    differing = [
        f"{sample} has {known} in {one.name} and {second[sample]} in {other.name}"
        for sample, known in first.items()
        if known and second[sample] and known != second[sample]
    ]
    if differing:
        raise RefusedError(
            f"expected each sample to have the same {what} in all runs, but {len(differing)} of "
            f"{len(first)} do not ({_few(differing)}); evaluate both on the same data"
        )


def _few(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:3]))
    return f"{shown}, ..." if len(names) > 3 else shown


def data_warnings(runs: Sequence[Run]) -> list[str]:
    """What the evaluations say of their data, each once."""
    said = dict.fromkeys(run.warning for run in runs if run.warning)
    return [f"**WARNING:** {warning}" for warning in said]


def attack_warnings(runs: Sequence[Run]) -> list[str]:
    """What the attacks differ in, by which one may be stronger than another."""
    settings = [run.attack.keys() - SAME_STRENGTH for run in runs]
    differing = []
    for setting in sorted(set().union(*settings), key=lambda name: (name != "protocol", name)):
        values = [run.attack.get(setting) for run in runs]
        if any(value != values[0] for value in values):
            said = ", ".join(
                f"{value} in {run.name}" for run, value in zip(runs, values, strict=True)
            )
            differing.append(f"{setting} is {said}")
    if not differing:
        return []
    warning = (
        f"**WARNING: the attacks differ.** {'; '.join(differing)}. What follows compares the attacks "
        "as much as the models: evaluate all of them in the same way before you conclude anything."
    )
    return [warning]


def input_warnings(runs: Sequence[Run]) -> list[str]:
    """What one model is given of a sample and another is not: noise then means another thing."""
    known = [run for run in runs if run.trained is not None]
    said = []
    for first, run in pairwise(known):
        trees = (_inputs(first), _inputs(run))
        said += [
            f"{setting} is {one} in {first.name}, {other} in {run.name}"
            for setting, one, other in differences(*trees)
        ]
    if not said:
        return []
    warning = (
        f"**WARNING: the models see the samples differently.** {'; '.join(said)}. Noise of the same "
        "size is then not the same: train them with the same preprocessing to compare them."
    )
    return [warning]


def _inputs(run: Run) -> dict[str, Any]:
    trained = run.trained
    assert trained is not None
    size = {"image_size": trained.settings.get("image_size")}
    return {**size, **{name: trained.parts.get(name) for name in ("preprocessing", "bounds")}}


def compare(runs: Sequence[Run]) -> tuple[list[Comparison], list[str]]:
    """Compare all runs in each norm that they share, and say what had to be left out."""
    norms = {norm: None for run in runs for norm in run.curves}
    shared = [norm for norm in norms if all(norm in run.curves for run in runs)]
    evaluated = ", ".join(f"{' and '.join(run.curves)} in {run.name}" for run in runs)
    if not shared:
        raise RefusedError(f"expected a norm that all runs were evaluated in, got {evaluated}")
    left_out = []
    if len(shared) < len(norms):
        left_out.append(f"Left out is the norm that not all runs have: {evaluated}.")
    comparisons = []
    for norm in shared:
        levels = [run.curves[norm].eps for run in runs]
        eps = [level for level in levels[0] if all(level in other for other in levels)]
        if len(eps) < 2:
            said = ", ".join(f"{eps} in {run.name}" for run, eps in zip(runs, levels, strict=True))
            raise RefusedError(f"expected a noise level ({norm}) that all runs share, got {said}")
        if others := sorted({level for other in levels for level in other} - set(eps)):
            left_out.append(
                f"Left out are the levels ({norm}) that not all runs have: "
                f"{', '.join(f'{level:g}' for level in others)}. The areas are those over the "
                f"others, up to {eps[-1]:g}; the figure shows all."
            )
        comparisons.append(compare_in(runs, norm, eps))
    return comparisons, left_out


def compare_in(runs: Sequence[Run], norm: str, eps: list[float]) -> Comparison:
    """Rows and paired tests of one norm, at the given levels."""
    curves = [run.curves[norm] for run in runs]
    robust = [curve.robust[:, [curve.eps.index(level) for level in eps]] for curve in curves]
    levels = torch.tensor(eps, dtype=torch.float64)
    areas = torch.stack([torch.trapezoid(stands.double(), levels) for stands in robust], dim=1)
    areas /= levels[-1]
    mean = areas.mean(dim=0).tolist()
    generator = torch.Generator().manual_seed(0)
    drawn = bootstrap_means(areas, patients(runs), generator=generator)
    enough = not too_few_patients(runs)

    rows = []
    for i, run in enumerate(runs):
        accuracy, margin = robust[i].double().mean(dim=0).tolist(), curves[i].median_margin
        interval = _ends(drawn[:, i]) if enough else None
        rows.append(Row(run.name, run.protocol, len(areas), accuracy, mean[i], interval, margin))

    pairs = []
    for i, j in combinations(range(len(runs)), 2):
        wins = (robust[i] & ~robust[j]).sum(dim=0).tolist()
        losses = (robust[j] & ~robust[i]).sum(dim=0).tolist()
        p = [mcnemar(*counts) for counts in zip(wins, losses, strict=True)]
        names = (runs[i].name, runs[j].name)
        interval = _ends(drawn[:, i] - drawn[:, j]) if enough else None
        pairs.append(Pair(names, wins, losses, p, mean[i] - mean[j], interval))
    adjusted = iter(holm([p for pair in pairs for p in pair.p]))
    pairs = [replace(pair, p=[next(adjusted) for _ in eps]) for pair in pairs]
    return Comparison(norm, eps, rows, pairs)


def patients(runs: Sequence[Run]) -> Tensor | None:
    """A number for each patient ``(N,)``, or ``None`` if that of some sample is unknown."""
    names = [max(run.patients[sample] for run in runs) for sample in runs[0].patients]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names]) if all(names) else None


def known_patients(runs: Sequence[Run]) -> int:
    """How many they are, 0 if that of some sample is unknown."""
    numbers = patients(runs)
    return 0 if numbers is None else int(numbers.max()) + 1


def too_few_patients(runs: Sequence[Run]) -> str:
    """Their number in words, if no interval over them can be trusted; else ""."""
    known = known_patients(runs)
    return f"only {_counted(known)}" if 0 < known < ENOUGH_PATIENTS else ""


def _counted(number: int) -> str:
    return f"{number} patient{'s' if number > 1 else ''}"


def _ends(drawn: Tensor) -> tuple[float, float]:
    low, high = drawn.quantile(drawn.new_tensor([0.025, 0.975])).tolist()
    return low, high


def mcnemar(wins: int, losses: int) -> float:
    """P value, two-sided, of as unequal numbers among the samples that two models differ on.

    Source:
        McNemar, Note on the Sampling Error of the Difference between Correlated Proportions or
        Percentages, 1947, in its exact form.
    """
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for their number.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def in_words(runs: Sequence[Run], comparisons: Sequence[Comparison], remarks: Sequence[str]) -> str:
    """The comparison in Markdown."""
    samples = f"{len(runs[0].labels)} samples"
    known, few = known_patients(runs), too_few_patients(runs)
    of_patients = f" of {_counted(known)}" if known else ""
    paragraphs = [f"# {len(runs)} runs on the same {samples}{of_patients}", *remarks]
    for comparison in comparisons:
        paragraphs += [
            f"## {NORM_NAMES.get(comparison.norm, comparison.norm)}",
            table(comparison),
            "\n".join(verdict(pair, comparison, few) for pair in comparison.pairs),
        ]
    intervals = (
        f"No interval of it is given: {few}, and over fewer than {ENOUGH_PATIENTS} it would be too "
        "narrow."
        if few
        else "Its interval, and that of the difference of two areas, are from 1000 bootstrap draws "
        f"of the {_counted(known) if known else 'samples'}, the same for all runs: 95 % each, not "
        "adjusted for the number of pairs."
    )
    paragraphs += ["## How to read this", SMALL_PRINT.format(intervals=intervals)]
    if 0 < known < len(runs[0].labels):
        paragraphs.append(
            "McNemar's test takes samples for independent, which those of one patient are not: "
            + (
                f"its p may be too small, and with {few} nothing here tells whether a difference "
                "would be found in other patients."
                if few
                else "where tests and areas disagree, trust the areas."
            )
        )
    return "\n\n".join([*paragraphs, "![Accuracy against the noise level](compare.png)"]) + "\n"


def table(comparison: Comparison) -> str:
    """A line a run."""
    levels = [f"{eps:g}" if eps else "clean" for eps in comparison.eps]
    heading = ["run", "protocol", "n", *levels, "area (95 % interval)", "median margin"]
    lines = [heading, ["---"] * len(heading)]
    for row in comparison.rows:
        area = f"{row.area:.3f} ({_range(row.interval)})"
        accuracy = [f"{value:.3f}" for value in row.accuracy]
        margin = "none" if row.median_margin is None else f"{row.median_margin:.3g}"
        lines.append([_plain(row.name), row.protocol, str(row.n), *accuracy, area, margin])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(interval: tuple[float, float] | None) -> str:
    return "\N{EN DASH}" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def _plain(name: str) -> str:
    return name.replace("|", "\\|")


def verdict(pair: Pair, comparison: Comparison, few_patients: str) -> str:
    """By how much the areas of two runs differ, and a sentence for each level beyond chance."""
    first, second = map(_plain, pair.names)
    if not any(pair.wins) and not any(pair.losses):
        return f"- **{first} and {second}**: there is no difference, the same samples stand at each level"
    lines = [f"- **{first} and {second}**: {_areas(pair, few_patients)}"]
    for eps, wins, losses, p in zip(comparison.eps, pair.wins, pair.losses, pair.p, strict=True):
        if p < SIGNIFICANT:
            stands, falls = (first, second) if wins > losses else (second, first)
            lines.append(
                f"  - at {eps:g} ({comparison.norm}) {stands} stands for {max(wins, losses)} "
                f"samples where {falls} falls, the reverse for {min(wins, losses)}: "
                f"p = {p:.2g} (adjusted)"
            )
    if len(lines) == 1:
        smallest = f"{min(pair.p):.2g}"
        lines.append(
            f"  - at no level is a difference beyond chance: p = {smallest} (adjusted)"
            + ("" if smallest == "1" else " or more")
        )
    return "\n".join(lines)


def _areas(pair: Pair, few_patients: str) -> str:
    larger, smaller = map(_plain, pair.names)
    difference, interval = pair.difference, pair.interval
    if difference < 0:
        larger, smaller, difference = smaller, larger, -difference
        interval = interval and (-interval[1], -interval[0])
    by = f"{difference:.3f}"
    said = (
        f"the areas differ by {by}"
        if float(by) == 0
        else f"the area of {larger} is larger than that of {smaller} by {by}"
    )
    if interval is None:
        return (
            f"{said}; {few_patients}: too few to tell whether the difference of areas is beyond "
            "chance"
        )
    chance = "beyond chance" if interval[0] > 0 else "which chance may explain"
    return f"{said} ({_range(interval)}), {chance}"


def write_csv(path: Path, comparisons: Sequence[Comparison]) -> None:
    """A line a norm and run; a level that was not used in its norm stays empty."""
    levels = sorted({level for comparison in comparisons for level in comparison.eps[1:]})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["norm", "run", "protocol", "n", "clean_accuracy"]
            + [f"accuracy_at_{level:g}" for level in levels]
            + ["area", "area_low", "area_high", "median_margin"]
        )
        for comparison in comparisons:
            for row in comparison.rows:
                accuracy = dict(zip(comparison.eps, row.accuracy, strict=True))
                writer.writerow(
                    [comparison.norm, row.name, row.protocol, row.n, row.accuracy[0]]
                    + [accuracy.get(level) for level in levels]
                    + [row.area, *(row.interval or (None, None)), row.median_margin]
                )


def draw(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> Figure:
    """Accuracy against the noise level: a panel a norm, a line with its 95 % band a run."""
    longest = max(len(run.name) for run in runs)
    size = (4.4 * len(comparisons) + 1.2 + 0.09 * longest, 4.0)
    figure = Figure(size, dpi=150, layout="constrained")
    panels = figure.subplots(1, len(comparisons), sharey=True, squeeze=False)[0]
    for axes, comparison in zip(panels, comparisons, strict=True):
        lines = []
        for number, run in enumerate(runs):
            curve = run.curves[comparison.norm]
            accuracy = curve.robust.double().mean(dim=0).numpy()
            color = COLORS[number % len(COLORS)]
            marker = MARKERS[number % len(MARKERS)]
            opacity = 0.6 / (len(runs) + 2)  # of many bands, none may hide the others
            axes.fill_between(curve.eps, curve.low, curve.high, color=color, alpha=opacity, lw=0)
            lines += axes.plot(curve.eps, accuracy, color=color, marker=marker, ms=5, clip_on=False)
        axes.set_title(NORM_NAMES.get(comparison.norm, comparison.norm))
        axes.set_xlabel("noise level (radius, in units of the input)")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy under attack, with 95 % interval")
    legend = figure.legend(
        lines, [run.name for run in runs], loc="outside right center", frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


if __name__ == "__main__":
    main()
