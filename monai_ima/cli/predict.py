"""Ask a trained model about new cases: class, probabilities, and how little would change the answer.

    monai-ima predict runs/oct_ima new_patient.png --output predictions
    monai-ima predict oct_two_classes FOLDER_OF_IMAGES
    monai-ima predict ecg_bundle beats.csv

MODEL is a bundle of monai-ima export, or the output folder of a training, which is exported first. Its
configs are run: take them from people you trust only. FILES are images of an image bundle; for
heartbeats CSV files, a beat a row, 187 values (a label behind them is not looked at), or what monai-ima
prepare-ecg has written; for other arrays .npy files of inputs (N, C, ...). Folders are looked through.

The output folder gets predictions.xlsx for a spreadsheet, predictions.csv and predictions.json for
programs, and below changes a drawing for each case of what would change the answer. The margin is the size
of the smallest such change that was found, in units of the network's input, of images in units of the data
as well, such as grey levels of 255; its percentile is among the margins of the validation samples of the
training. A small margin does not mean that the answer is wrong. For research; not for clinical use.

A file that cannot be read is named with the reason, and the command ends with code 1; the others are
answered.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.deployment import predict_files

_SHOWN = 20  # cases on the console; the files have all


def main(words: Sequence[str]) -> None:
    """Answer the cases, and print the first of them.

    Raises:
        SystemExit: with code 1 if a file or a case could not be read.
    """
    parser = command_parser("predict", __doc__)
    parser.add_argument("model", type=Path, help="bundle, or output folder of a training")
    parser.add_argument("files", nargs="+", type=Path, help="files, or folders of them")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder")
    parser.add_argument(
        "--norms",
        nargs="*",
        choices=["linf", "l2"],
        default=["linf", "l2"],
        help="of the margins (default: both; without any, no margins)",
    )
    parser.add_argument(
        "--drawings", type=int, default=50, help="at most, of the smallest margins (default: 50)"
    )
    arguments = parser.parse_args(words)
    done = predict_files(
        arguments.model,
        arguments.files,
        arguments.output,
        norms=arguments.norms,
        drawings=arguments.drawings,
    )
    for prediction in done.predictions[:_SHOWN]:
        answer = done.class_names[prediction.label]
        parts = [f"{answer} {float(prediction.probabilities[prediction.label]):.2f}"]
        parts += [
            f"{_margin(changed.margin)} ({norm}, percentile {changed.percentile:.0f})"
            for norm, changed in prediction.changed.items()
        ]
        print(f"{prediction.id}  {'  '.join(parts)}")
    if (more := len(done.predictions) - _SHOWN) > 0:
        print(f"and {more} more")
    if arguments.norms and done.predictions:
        print(f"percentiles are among the margins of {done.reference}")
    for path in done.written:
        print(f"{path}")
    if done.drawn:
        print(f"{arguments.output / 'changes'}  what would change {done.drawn} of the answers")
    print("For research; not for clinical use.")
    warned = [each for each in done.predictions if each.warning]
    for each in warned[:_SHOWN]:
        sys.stderr.write(f"LOOK  {each.id}: {each.warning}\n")
    if len(warned) > _SHOWN:
        sys.stderr.write(f"LOOK  and {len(warned) - _SHOWN} more, in the column warning\n")
    for name, reason in done.errors.items():
        sys.stderr.write(f"no prediction for {name}: {reason}\n")
    if done.errors:
        sys.exit(1)


def _margin(margin: float) -> str:
    return "no change of the answer found" if math.isinf(margin) else f"margin {margin:.3g}"
