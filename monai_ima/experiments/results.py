"""Result files of one size and norm, read and checked to belong together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monai_ima.errors import RejectedError
from monai_ima.experiments.request import differences, known_to_an_evaluation
from monai_ima.robustness import Protocol

UNNAMED = "0.1.0"  # the version of what does not name its own


def read_results(
    folder: Path, name: str, norm: str, protocol: Protocol | None = None
) -> list[dict[str, Any]]:
    """The runs of that name, in the order of their methods, IMA last.

    Args:
        folder: of the results.
        name: of the size.
        norm: of the noise.
        protocol: by which the runs are to be evaluated; by default by any, the same for all.

    Raises:
        RejectedError: if they were not made with the same options, or evaluated by another protocol
            or version of it.
    """
    paths = sorted(folder.glob(f"{name}_{norm}_*_seed*.json"))
    runs = [json.loads(path.read_text("utf-8")) for path in paths]
    evaluated_by = defaultdict(list)
    for path, run in zip(paths, runs, strict=True):
        evaluated_by[protocol_of(run)].append(path.name)
    if protocol and runs:
        evaluated_by[protocol.name, protocol.version].append("what is asked for here")
    _check_one_protocol(evaluated_by)
    same_as: dict[str, dict[str, Any]] = {}
    for run in runs:
        own = {name: value for name, value in run["options"].items() if name != "seed"}
        for whose, options in (
            ("all methods", known_to_an_evaluation(own)),
            (run["method"], own),
        ):
            if differing := differences(same_as.setdefault(whose, options), options):
                raise RejectedError(
                    f"expected runs of one name to have the same options, but among the runs of "
                    f"{whose} {differing}; give them different names"
                )
    return sorted(runs, key=lambda run: (_rank(run["method"]), run["seed"]))


def protocol_of(run: dict[str, Any]) -> tuple[str, int | None]:
    """Name and version of the protocol that a run was evaluated by; older files have no version."""
    return run["attack"]["protocol"], run["attack"].get("version")


def _check_one_protocol(evaluated_by: dict[tuple[str, int | None], list[str]]) -> None:
    """Reject runs of which some were attacked more strongly than others."""
    if len(evaluated_by) > 1:
        found = "; ".join(
            f"{name}, version {'unknown' if version is None else version} ({', '.join(files)})"
            for (name, version), files in evaluated_by.items()
        )
        raise RejectedError(
            f"expected runs of one name to be evaluated by one version of one protocol, got {found}. "
            "To evaluate a run again, move its file away and give its command again, with the folder "
            "of --runs as it was: nothing is trained again. To keep what is there, give its "
            "--protocol, or another --name"
        )


def _rank(method: str) -> tuple[int, str]:
    """Place of a method in the tables."""
    return {"ce": 0, "ima": 2}.get(method, 1), method


def by_method(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each method, in the order of first appearance."""
    methods = dict.fromkeys(run["method"] for run in runs)
    return {method: [run for run in runs if run["method"] == method] for method in methods}


def evaluated(runs: Sequence[dict[str, Any]]) -> str:
    """By what the runs were evaluated, and on how many samples, in a sentence."""
    name, version = protocol_of(runs[0])
    by = f"`{name}`, version {'unknown' if version is None else version}"
    made = sorted({run.get("version", UNNAMED) for run in runs})
    trained = sorted({run.get("training_version", run.get("version", UNNAMED)) for run in runs})
    elsewhere = "" if trained == made else f", trained by monai_ima {' and '.join(trained)}"
    samples = _counted(run["curve"]["n"] for run in runs)
    known = [len(set(run["patients"])) for run in runs if run.get("patients")]
    patients = f" of {_counted(known)} patients" if len(known) == len(runs) else ""
    return (
        f"Evaluated by {by} (monai_ima {' and '.join(made)}){elsewhere}, on {samples} "
        f"samples{patients}."
    )


def _counted(numbers: Iterable[int]) -> str:
    """A number, or the smallest and the largest where they differ."""
    numbers = sorted(numbers)
    return " to ".join(f"{number:,}" for number in dict.fromkeys((numbers[0], numbers[-1])))
