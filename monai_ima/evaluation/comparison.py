"""Compare evaluations of several models on the same samples.

What they say of the same samples is paired: which model is robust where another is not (McNemar's
exact test at each level, adjusted by Holm over all tests of a norm), and by how much the areas under
their curves differ (bootstrap over patients). Accuracy is the plain one, of all samples alike, and so
are the areas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_ima.errors import RejectedError
from monai_ima.evaluation.folder import Evaluation
from monai_ima.handlers.run_record import RunRecord, differences
from monai_ima.robustness import area_under, bootstrap_means, holm, mcnemar, percentile_interval
from monai_ima.robustness.uncertainty import ENOUGH_PATIENTS, numbered, with_unseen

# What may differ between attacks of the same strength. Other versions of a protocol are rejected.
SAME_STRENGTH = {"description", "version", "seed", "batch_size", "check_samples"}


@dataclass(frozen=True)
class Row:
    """An evaluation: ``accuracy`` at the L levels, ``area`` under them with its interval, if one is drawn."""

    name: str
    protocol: str
    n: int
    accuracy: list[float]
    area: float
    interval: tuple[float, float] | None
    median_margin: float | None


@dataclass(frozen=True)
class Pair:
    """Two evaluations on the same samples.

    Attributes:
        names: of the first and the second.
        wins: at each level, the samples where the first is robust and the second is not.
        losses: at each level, the reverse.
        p: at each level, of McNemar's exact test, adjusted.
        difference: the first's area less the second's.
        interval: of the difference, low and high end; ``None`` where patients are too few.
        differing: number of patients, or samples, that the two areas differ in.
    """

    names: tuple[str, str]
    wins: list[int]
    losses: list[int]
    p: list[float]
    difference: float
    interval: tuple[float, float] | None
    differing: int


@dataclass(frozen=True)
class NormComparison:
    """All evaluations in one norm, at the levels that they share.

    Attributes:
        norm: its name.
        eps: the L levels.
        rows: an evaluation each.
        pairs: two evaluations each.
    """

    norm: str
    eps: list[float]
    rows: list[Row]
    pairs: list[Pair]


@dataclass(frozen=True)
class Comparison:
    """All evaluations in all norms that they share.

    Attributes:
        evaluations: that were compared.
        norms: a comparison each.
        remarks: what a reader has to know first: of the data, of attacks that differ, of what not all
            evaluations have.
    """

    evaluations: Sequence[Evaluation]
    norms: list[NormComparison]
    remarks: list[str]


def evaluation_names(folders: Sequence[Path], given: str | None = None) -> list[str]:
    """What each evaluation is called: as given, or as much of its path's end as tells it from others.

    Args:
        folders: two or more, all different.
        given: a name for each, with commas between.

    Raises:
        RejectedError: if there are too few folders, or the names are not as many different ones.

    Example:
        >>> evaluation_names([Path("seed0/ima"), Path("seed1/ima"), Path("seed0/ce")])
        ['seed0/ima', 'seed1/ima', 'ce']
    """
    paths = [folder.resolve() for folder in folders]
    if len(paths) < 2:
        raise RejectedError(f"expected two runs or more, got only {folders[0]}; name another one")
    for path, times in Counter(paths).items():
        if times > 1:
            raise RejectedError(
                f"{path} is named {times} times; a run is compared with others only"
            )
    if given is None:
        return [_shortest_ending(path, paths) for path in paths]
    names = [name.strip() for name in given.split(",")]
    if len(names) != len(paths) or len(set(names)) != len(names) or "" in names:
        raise RejectedError(
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


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
    """Compare evaluations in each norm that they share, sample by sample.

    Args:
        evaluations: two or more, of the same samples.

    Raises:
        RejectedError: if they are of other samples or labels, by other versions of one protocol, or
            share no norm or no level.
    """
    _check_same_versions(evaluations)
    _check_same_samples(evaluations)
    norms = {norm: None for one in evaluations for norm in one.curves}
    shared = [norm for norm in norms if all(norm in one.curves for one in evaluations)]
    evaluated = ", ".join(f"{' and '.join(one.curves)} in {one.name}" for one in evaluations)
    if not shared:
        raise RejectedError(
            f"expected a norm that all runs were evaluated in, got {evaluated}; evaluate the others "
            "in one of these"
        )
    left_out = []
    if len(shared) < len(norms):
        left_out.append(f"Left out is the norm that not all runs have: {evaluated}.")
    comparisons = []
    for norm in shared:
        eps, others = _shared_levels(evaluations, norm)
        if others:
            left_out.append(
                f"Left out are the levels ({norm}) that not all runs have: "
                f"{', '.join(f'{level:g}' for level in others)}. The areas are those over the "
                f"others, up to {eps[-1]:g}; the figure shows all."
            )
        comparisons.append(_compare_in(evaluations, norm, eps))
    warnings = [
        *_data_warnings(evaluations),
        *_attack_warnings(evaluations),
        *_input_warnings(evaluations),
    ]
    return Comparison(evaluations, comparisons, [*warnings, *left_out])


def _shared_levels(evaluations: Sequence[Evaluation], norm: str) -> tuple[list[float], list[float]]:
    """The levels that all have, and those that only some have."""
    levels = [one.curves[norm].eps for one in evaluations]
    eps = [level for level in levels[0] if all(level in other for other in levels)]
    if len(eps) < 2:
        said = ", ".join(
            f"{eps} in {one.name}" for one, eps in zip(evaluations, levels, strict=True)
        )
        raise RejectedError(
            f"expected a noise level ({norm}) that all runs share, got {said}; evaluate them at the "
            "same levels"
        )
    return eps, sorted({level for other in levels for level in other} - set(eps))


def _compare_in(evaluations: Sequence[Evaluation], norm: str, eps: list[float]) -> NormComparison:
    """Rows and paired tests of one norm, at the given levels."""
    curves = [one.curves[norm] for one in evaluations]
    robust = [curve.robust[:, [curve.eps.index(level) for level in eps]] for curve in curves]
    levels = torch.tensor(eps, dtype=torch.float64)
    areas = torch.stack([area_under(samples.double(), levels) for samples in robust], dim=1)
    mean = areas.mean(dim=0).tolist()
    generator = torch.Generator().manual_seed(0)
    groups = patients(evaluations)
    drawn = bootstrap_means(areas, groups, generator=generator)
    enough = not 0 < known_patients(evaluations) < ENOUGH_PATIENTS

    rows = []
    for i, one in enumerate(evaluations):
        accuracy, margin = robust[i].double().mean(dim=0).tolist(), curves[i].median_margin
        interval = _ends(drawn[:, i], areas[:, i], groups) if enough else None
        rows.append(Row(one.name, one.protocol, len(areas), accuracy, mean[i], interval, margin))

    pairs = []
    for i, j in combinations(range(len(evaluations)), 2):
        wins = (robust[i] & ~robust[j]).sum(dim=0).tolist()
        losses = (robust[j] & ~robust[i]).sum(dim=0).tolist()
        p = [mcnemar(*counts) for counts in zip(wins, losses, strict=True)]
        names = (evaluations[i].name, evaluations[j].name)
        interval = _ends(drawn[:, i] - drawn[:, j]) if enough else None
        differ = (areas[:, i] - areas[:, j]).abs() > 1e-12
        differing = int(differ.sum() if groups is None else len(groups[differ].unique()))
        pairs.append(Pair(names, wins, losses, p, mean[i] - mean[j], interval, differing))
    adjusted = iter(holm([p for pair in pairs for p in pair.p]))
    pairs = [replace(pair, p=[next(adjusted) for _ in eps]) for pair in pairs]
    return NormComparison(norm, eps, rows, pairs)


def _ends(
    drawn: Tensor, areas: Tensor | None = None, groups: Tensor | None = None
) -> tuple[float, float]:
    """Those of an interval; of areas ``(N,)``, and not of differences, see :func:`with_unseen`."""
    ends = percentile_interval(drawn)
    low, high = (ends if areas is None else with_unseen(ends, areas, groups)).tolist()
    return low, high


def patients(evaluations: Sequence[Evaluation]) -> Tensor | None:
    """A number for the patient of each sample ``(N,)``; ``None`` if that of some sample is unknown."""
    return numbered(
        [max(one.patients[sample] for one in evaluations) for sample in evaluations[0].patients]
    )


def known_patients(evaluations: Sequence[Evaluation]) -> int:
    """How many they are, 0 if that of some sample is unknown."""
    numbers = patients(evaluations)
    return 0 if numbers is None else int(numbers.max()) + 1


def _check_same_versions(evaluations: Sequence[Evaluation]) -> None:
    """Reject versions of one protocol that differ: one finds errors that another does not."""
    for one, other in combinations(evaluations, 2):
        versions = [each.attack.get("version", "unknown") for each in (one, other)]
        if one.attack["protocol"] == other.attack["protocol"] and versions[0] != versions[1]:
            raise RejectedError(
                f"expected the same version of the protocol {one.attack['protocol']} in all runs, got "
                f"{versions[0]} in {one.name} and {versions[1]} in {other.name}; evaluate the "
                "older one again"
            )


def _check_same_samples(evaluations: Sequence[Evaluation]) -> None:
    """Reject evaluations that differ in the ids or labels of samples, or in the patients they know."""
    for one, other in permutations(evaluations, 2):
        if missing := [sample for sample in one.labels if sample not in other.labels]:
            raise RejectedError(
                f"expected the same samples in all runs, but {len(missing)} of the "
                f"{len(one.labels)} of {one.name} are not among the {len(other.labels)} of "
                f"{other.name} ({_few(missing)}); evaluate both on the same data"
            )
    for one, other in combinations(evaluations, 2):
        _check_same("label", one, other, one.labels, other.labels)
        _check_same("patient", one, other, one.patients, other.patients)


def _check_same(
    what: str,
    one: Evaluation,
    other: Evaluation,
    first: dict[str, str],
    second: dict[str, str],
) -> None:
    differing = [
        f"{sample} has {known} in {one.name} and {second[sample]} in {other.name}"
        for sample, known in first.items()
        if known and second[sample] and known != second[sample]
    ]
    if differing:
        raise RejectedError(
            f"expected each sample to have the same {what} in all runs, but {len(differing)} of "
            f"{len(first)} do not ({_few(differing)}); evaluate both on the same data"
        )


def _few(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:3]))
    return f"{shown}, ..." if len(names) > 3 else shown


def _data_warnings(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the evaluations say of their data, each once."""
    said = dict.fromkeys(one.warning for one in evaluations if one.warning)
    return [f"**WARNING:** {warning}" for warning in said]


def _attack_warnings(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the attacks differ in, by which one may be stronger than another."""
    settings = [one.attack.keys() - SAME_STRENGTH for one in evaluations]
    differing = []
    for setting in sorted(set().union(*settings), key=lambda name: (name != "protocol", name)):
        values = [one.attack.get(setting) for one in evaluations]
        if any(value != values[0] for value in values):
            said = ", ".join(
                f"{value} in {one.name}" for one, value in zip(evaluations, values, strict=True)
            )
            differing.append(f"{setting} is {said}")
    if not differing:
        return []
    warning = (
        f"**WARNING: the attacks differ.** {'; '.join(differing)}. What follows compares the attacks "
        "as much as the models: evaluate all of them in the same way before you conclude anything."
    )
    return [warning]


def _input_warnings(evaluations: Sequence[Evaluation]) -> list[str]:
    """What one model is given of a sample and another is not: noise then means another thing."""
    known = [(one.name, _inputs(one.trained)) for one in evaluations if one.trained is not None]
    said = [
        f"{setting} is {value} in {name}, {another} in {other}"
        for (name, inputs), (other, others) in pairwise(known)
        for setting, value, another in differences(inputs, others)
    ]
    if not said:
        return []
    warning = (
        f"**WARNING: the models see the samples differently.** {'; '.join(said)}. Noise of the same "
        "size is then not the same: train them with the same preprocessing to compare them."
    )
    return [warning]


def _inputs(trained: RunRecord) -> dict[str, Any]:
    size = {"image_size": trained.settings.get("image_size")}
    return {**size, **{name: trained.parts.get(name) for name in ("preprocessing", "bounds")}}
