r"""Split your images by patient into a MONAI datalist, and see what is wrong with them beforehand.

    monai-ima datalist FOLDER
    monai-ima datalist FOLDER --table FOLDER/list.xlsx --output lists/study
    monai-ima datalist FOLDER --patient_pattern "^(?P<patient>\d+)_" --folds 5

FOLDER holds one folder of images for each class, which may have a folder for each patient, or lie in
train, val and test; or FILE lists the images: a table (CSV, TSV, Excel) with the columns path, class,
patient and, if the split is made, split, or a MONAI datalist. Columns are known by their usual names.

It leaves data_report.html in the output folder, to be opened in a browser, and datalist.json beside it
(fold_0.json and so on with --folds), which the bundles take as --datalist_file. With files that cannot be
read, a patient on two sides or a class that a section lacks, it leaves the report alone and ends with code 2.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from monai_ima.bundle.config_text import plain_text
from monai_ima.cli.main import command_parser
from monai_ima.cli.prepare_ecg import where_beats_lead
from monai_ima.cli.training_command import quoted, setting_word, training_commands
from monai_ima.data.intensity import IntensityRange, checked_range
from monai_ima.data_report import WrittenLists, write_datalists
from monai_ima.data_report.page import lead
from monai_ima.errors import RejectedError

_SETTING = (
    r"(?<![-\w])(patient_pattern|(?:path|class|patient|split)_column|allow_outside|nan_value|"
    r"intensity_range)\b"
)
_MARKS = {"problem": "MEND", "warning": "LOOK", "note": "note"}


def main(words: Sequence[str]) -> None:
    """Write the report and the lists, and say what was found.

    Raises:
        RejectedError: if there is a problem that a training would stop at.
    """
    parser = command_parser("datalist", __doc__)
    parser.add_argument("folder", type=Path, help="the images", metavar="FOLDER")
    parser.add_argument("--table", type=Path, metavar="FILE", help="lists the images")
    parser.add_argument("--output", type=Path, help="folder to write (default: lists/FOLDER)")
    parser.add_argument(
        "--fractions", type=float, nargs=3, default=(0.7, 0.15, 0.15),
        help="of training, validation and test (default: 0.7 0.15 0.15)",
    )  # fmt: skip
    parser.add_argument("--folds", type=int, help="lists for cross-validation, of few patients")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--new-split", action="store_true", help="though the data are split")
    parser.add_argument(
        "--leave-out-unreadable", action="store_true", help="of the lists, not of the report"
    )
    patients = parser.add_mutually_exclusive_group()
    patients.add_argument(
        "--patient_pattern",
        help="regular expression whose group (?P<patient>...) finds the patient in a file's name",
    )
    patients.add_argument(
        "--patients", choices=["each-image"], help="not known: take each image for another's"
    )
    for name in ("path", "class", "patient", "split"):
        parser.add_argument(f"--{name}_column", help=f"of the table, that holds the {name}")
    parser.add_argument("--allow_outside", action="store_true", help="paths may leave FOLDER")
    parser.add_argument(
        "--intensity_range", type=_intensity_range, metavar="RANGE",
        help='what is black and white: "[0, 4095]" in units of the files, minmax or percentiles',
    )  # fmt: skip
    parser.add_argument("--nan_value", type=float, help="grey value for NaN, from 0 to 1")
    arguments = parser.parse_args(words)
    logging.basicConfig(format="%(message)s")
    if leads := where_beats_lead(arguments.folder):
        raise RejectedError(leads)
    output = arguments.output or Path("lists", arguments.folder.resolve().name)
    try:
        written = write_datalists(
            arguments.folder,
            output,
            table=arguments.table,
            fractions=arguments.fractions,
            folds=arguments.folds,
            new_split=arguments.new_split,
            leave_out_unreadable=arguments.leave_out_unreadable,
            intensity_range=arguments.intensity_range,
            nan_value=arguments.nan_value,
            seed=arguments.seed,
            progress=_progress,
            patient_pattern=arguments.patient_pattern,
            each_image_is_a_patient=arguments.patients == "each-image",
            path_column=arguments.path_column,
            class_column=arguments.class_column,
            patient_column=arguments.patient_column,
            split_column=arguments.split_column,
            allow_outside=arguments.allow_outside,
        )
    except (OSError, ValueError) as error:
        known = arguments.patients is not None or isinstance(error, RejectedError)
        message = _in_words_of_the_command(str(error), patients_are_known=known)
        raise RejectedError(message) from error
    print(summary(written))
    if not written.lists:
        raise RejectedError(f"no list was written: mend what {written.page} shows first")
    print(_next_commands(written, arguments))


def summary(written: WrittenLists) -> str:
    """How much there is, and what was found."""
    survey = written.survey
    width = max(map(len, survey.classes))
    lines = [lead(survey), ""]
    for label, name in enumerate(survey.classes):
        counts = (
            f"{section} {sum(sample.label == label for sample in samples)}"
            for section, samples in survey.sections.items()
        )
        lines.append(f"  {name:<{width}}  {', '.join(counts)}")
    if written.findings:
        lines.append("")
    lines += [f"  {_MARKS[finding.weight]}  {finding.title}" for finding in written.findings]
    return "\n".join([*lines, "", f"{written.page}  what to do about each, with pictures"])


def _progress(images: Iterable[object], number: int) -> Iterable[object]:
    bar: Iterable[object] = tqdm(images, total=number, desc="reading", unit=" images", disable=None)
    return bar


def _in_words_of_the_command(message: str, *, patients_are_known: bool) -> str:
    """A message of the library, which knows the settings of the bundles."""
    message = message.replace("datalist_file", "--table").replace("dataset_dir", "FOLDER")
    message = re.sub(_SETTING, r"--\1", message).replace("--allow_outside true", "--allow_outside")
    if "patient" in message and not patients_are_known:
        message += (
            "; where patients are not known, --patients each-image takes each image for another's"
        )
    return message


def _intensity_range(text: str) -> IntensityRange:
    try:
        return checked_range(json.loads(text) if text.startswith("[") else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _next_commands(written: WrittenLists, arguments: argparse.Namespace) -> str:
    """How to train with what was written."""
    first = written.lists[0]
    fitting = written.fitting
    paths = {"dataset_dir": str(arguments.folder), "datalist_file": str(first)}
    *before, command = training_commands(fitting.name, {**paths, **fitting.settings})
    said = [f"{path}  a MONAI datalist" for path in written.lists]
    said += [
        f"--{name} {json.dumps(fitting.settings[name])}  {why}"
        for name, why in fitting.reasons.items()
    ]
    if arguments.folds is None:
        plan = f"monai-ima plan {quoted(str(first))}"
        proposes = f"{plan}  proposes eps_max, noise levels and epochs"
        return "\n".join([*said, proposes, "", *before, command])
    one = quoted(setting_word(plain_text(str(first))))
    before_number, _, behind = one.rpartition("0")
    number = "'$k'" if one.startswith("'") else "$k"  # for the shell, out of its quotes
    command = command.replace(one, f"{before_number}{number}{behind}")
    numbers = " ".join(map(str, range(arguments.folds)))
    loop = f"for k in {numbers}; do\n  {command} --output_dir runs/fold_$k\ndone"
    return "\n".join([*said, "", *before, loop])
