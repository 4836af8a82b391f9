"""Cut the heartbeats out of PhysioNet's records, once, and account for every annotation.

    monai-ima prepare-ecg --records FOLDER --output data/ecg --beats kaggle

FOLDER holds the records of the MIT-BIH Arrhythmia Database; the bundle ecg_ima reads what is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_ima.bundle.config_text import plain_text
from monai_ima.cli.main import command_parser
from monai_ima.cli.training_command import quoted, setting_word, training_commands
from monai_ima.data.ecg import CLASSES, EcgBeats, load_ecg_beats, write_ecg_beats
from monai_ima.data.ecg.beats import FORMS
from monai_ima.data.ecg.class_counts import fitting_protocols, small_classes
from monai_ima.data.ecg.dataset import SETTINGS_FILE, SUMMARY_FILE
from monai_ima.data.ecg.kaggle import KAGGLE_TEST, KAGGLE_TRAIN
from monai_ima.errors import RejectedError


def main(words: Sequence[str]) -> None:
    """Write the beats, unless they are there, and print what became of the annotations, and what next."""
    parser = command_parser("prepare-ecg", __doc__)
    parser.add_argument("--records", type=Path, required=True, help="with .hea, .dat and .atr")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--beats", choices=FORMS, default="kachuee", help="how beats are cut")
    parser.add_argument("--lead", help="by default MLII where there is one")
    arguments = parser.parse_args(words)
    try:
        written = write_ecg_beats(
            arguments.records, arguments.output, form=arguments.beats, lead=arguments.lead
        )
    except (ImportError, OSError, ValueError) as error:
        raise RejectedError(str(error)) from error
    print(f"{arguments.output}: {'written' if written else 'is there already, left as it is'}\n")
    print(describe(json.loads((arguments.output / SUMMARY_FILE).read_text())))
    beats = load_ecg_beats(arguments.output)
    protocols = fitting_protocols(beats)
    for protocol in protocols:
        for line in few_beats(beats, protocol):
            print(f"  LOOK  --split {protocol}: {line}")
    print("\n".join(["", *next_commands(arguments.output)]))
    if "inter_patient" in protocols:
        print(
            "add --split inter_patient to keep each patient on one side, as results for new patients "
            "need it"
        )


def few_beats(beats: EcgBeats, protocol: str) -> list[str]:
    """What cannot be learnt or tested under a split, a line each."""
    try:
        small = small_classes(beats, protocol)
    except ValueError as error:
        return [f"no training, {error}"]
    lines = []
    for name, counts in small:
        said = ", ".join(f"{section} {count}" for section, count in counts.items())
        verdict = (
            f"a training needs every class in each, and stops; add records that have {name}"
            if min(counts.values()) == 0
            else f"too few to learn {name} from, or to tell how well it is recognised"
        )
        lines.append(f"beats of {name}: {said}: {verdict}")
    return lines


def next_commands(folder: Path) -> list[str]:
    """How to go on with prepared beats."""
    settings = {"dataset_dir": str(folder)}
    plan = f"monai-ima plan --bundle ecg_ima --dataset_dir {quoted(setting_word(plain_text(str(folder))))}"
    return [
        f"{plan}  proposes eps_max, noise levels and epochs",
        *training_commands("ecg_ima", settings),
    ]


def where_beats_lead(folder: Path) -> str:
    """What to do with a folder of heartbeats, which needs no list; empty if it is none."""
    kaggle = (folder / f"{name}.csv" for name in (KAGGLE_TRAIN, KAGGLE_TEST))
    if (folder / SETTINGS_FILE).is_file() or all(file.is_file() for file in kaggle):
        ways = "\n".join(f"  {command}" for command in next_commands(folder))
        return (
            f"expected images, got heartbeats in {folder}; the bundle ecg_ima reads and splits them "
            f"without a list:\n{ways}"
        )
    if folder.is_dir() and any(folder.glob("*.hea")):
        return (
            f"expected images, got ECG records in {folder}; cut the heartbeats out of them first:\n"
            f"  monai-ima prepare-ecg --records {quoted(str(folder))} --output data/ecg --beats kaggle"
        )
    return ""


def describe(summary: dict[str, Any]) -> str:
    """All counts; each column adds up to its first row."""
    table = {
        "annotated beats": summary["annotated"],
        **{f"- {reason}": counts for reason, counts in summary["excluded"].items()},
        "= written": summary["written"],
    }
    width = max(map(len, table))
    lines = [" " * width + "".join(f"{name:>9}" for name in (*CLASSES, "all"))]
    for name, counts in table.items():
        numbers = [*counts.values(), sum(counts.values())]
        lines.append(f"{name:<{width}}" + "".join(f"{number:>9,}" for number in numbers))
    lines += [
        "",
        f"{summary['records']} records of {summary['patients']} patients; leads: "
        + _listed(summary["leads"]),
        f"beats longer than a row, shortened: {summary['shortened']:,}",
        f"annotations that are no beats: {_listed(summary['not_beats'])}",
        f"annotations with an unknown symbol: {_listed(summary['unknown_symbols'])}",
    ]
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items()) or "none"
