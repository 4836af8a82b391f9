"""Methods and seeds of one data set: the runs that are missing are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ima.errors import RejectedError
from monai_ima.experiments.data_sets import DATA_SETS
from monai_ima.experiments.request import Request, check_methods, check_options
from monai_ima.experiments.results import read_results
from monai_ima.experiments.run import run, write_json
from monai_ima.robustness import Protocol, get_protocol


def reproduce(
    data: str,
    *,
    output: Path,
    runs: Path,
    norm: str = "linf",
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    name: str = "default",
    protocol: str | None = None,
    options: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Train and evaluate methods on one data set, unless it was done.

    Args:
        data: name of the data set, one of :data:`~monai_ima.experiments.DATA_SETS`.
        output: folder of the results, a file a run; a run whose file is there is not made again.
        runs: folder of the trainings and evaluations, which go on where they were cut off.
        norm: ``"linf"`` or ``"l2"``.
        methods: as in the tables: ``ce``, ``adv0.1``, ``ima``, ...
        seeds: one training of each method for each.
        name: of the size, in the results' file names.
        protocol: of the evaluation; by default the bundle's.
        options: of the bundle, by name.

    Returns:
        The contents of all files of that name and norm, those that were there as well.

    Raises:
        RejectedError: before anything runs, if the options do not go together or with the runs that
            are there, or these were evaluated by another protocol or version of it.
    """
    own, options = DATA_SETS[data], options or {}
    check_options(options)
    asked_protocol = _checked_protocol(protocol or own.config("train")["protocol"])
    given = {"eps_max": str(own.levels(norm)[-1]), "norm": norm, **options}
    check_methods(methods, given)
    requests = [
        Request(data, name, norm, asked_protocol.name, method, seed, given)
        for seed in seeds
        for method in methods
    ]
    if requests or protocol:
        read_results(output, name, norm, asked_protocol)  # what is there, before anything runs
    for request in requests:
        path = output / f"{request.file_name}.json"
        if path.exists():
            request.check_same(json.loads(path.read_text("utf-8")), path)
            continue
        write_json(path, run(request, runs / data / request.file_name))
    results = read_results(output, name, norm)
    if not results:
        raise RejectedError(f"no results {name} in {norm} in {output}; add --methods")
    return results


def _checked_protocol(name: str) -> Protocol:
    try:
        return get_protocol(name)
    except ValueError as error:
        raise RejectedError(str(error)) from error
