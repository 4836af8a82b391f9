"""Choose eps_max after a training: the most robust of its epochs that is accurate enough.

    monai-ima select runs/oct_wide --min-clean-accuracy 0.9

RUN is the output folder of a training that kept weights along the way (--keep_interval 1); its
config.json has all the settings that it was trained with, unless --config_file and --NAME VALUE give
them, as of an older run or of data that was moved (--dataset_dir FOLDER). Each kept epoch is
evaluated on the validation set, by the protocol screen. Of those whose clean accuracy is high enough,
the one with the largest area under its curve becomes RUN/model_selected.pt. Accuracy and area are
balanced, the mean over the classes. On the test set, which the choice does not see, the chosen epoch
and the last one are then evaluated by the protocol minimum_norm: in selection.png, with the trade-off,
and in selection.json.

Nothing is trained. Another threshold is another call, which evaluates only what no earlier call did,
and a call that was cut off goes on from its last evaluated samples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fire.parser import DefaultParseValue

from monai_ima.cli.main import command_parser
from monai_ima.cli.settings import settings_values
from monai_ima.selection import Trained, check_threshold, select
from monai_ima.selection_report import selection_text, write_selection


def main(words: Sequence[str]) -> None:
    """Evaluate the kept epochs, choose one, and show what it is worth.

    Raises:
        SystemExit: with code 1 if no epoch is accurate enough.
    """
    parser = command_parser("select", __doc__)
    parser.add_argument("run", type=Path, help="output folder of the training")
    parser.add_argument(
        "--min-clean-accuracy",
        type=float,
        required=True,
        help="balanced, on the validation set; between 0 and 1",
    )
    parser.add_argument(
        "--config_file", help="that it was trained with, or a list (default: RUN/config.json)"
    )
    arguments, settings = parser.parse_known_args(words)
    check_threshold(arguments.min_clean_accuracy)
    given = [] if arguments.config_file is None else DefaultParseValue(arguments.config_file)
    files = given if isinstance(given, list | tuple) else [given]
    trained = Trained.read(arguments.run, [*map(Path, files)], settings_values(settings))
    selection = select(trained, arguments.min_clean_accuracy)
    if selection.epoch is None:
        sys.stderr.write(selection_text(selection) + "\n")
        sys.exit(1)
    write_selection(selection)
    print(selection_text(selection))
