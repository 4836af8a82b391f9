"""Cut the heartbeats out of PhysioNet's records, once, and account for every annotation.

    monai-ima prepare-ecg --records FOLDER --output data/ecg --beats kaggle

FOLDER holds the records of the MIT-BIH Arrhythmia Database; the bundle ecg_ima reads what is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_ima.cli.main import command_parser
from monai_ima.data.ecg import CLASSES, write_ecg_beats
from monai_ima.data.ecg.beats import FORMS
from monai_ima.data.ecg.dataset import SUMMARY_FILE
from monai_ima.errors import RejectedError


def main(words: Sequence[str]) -> None:
    """Write the beats, unless they are there, and print what became of the annotations."""
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
