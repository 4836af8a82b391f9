"""Measure how robust a trained model is, from the folder of its training alone.

    monai-ima evaluate runs/oct_ima
    monai-ima evaluate runs/oct_ima --protocol strong --evaluation_dir runs/oct_ima/strong

RUN is the output folder of a training by a bundle of monai_ima: its config.json has all the settings that
the model was trained with. The evaluation leaves report.html, robustness.json and samples.csv in
RUN/evaluation. Any other setting of the bundle's evaluate.json may follow as --NAME VALUE.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.cli.settings import settings_values
from monai_ima.evaluate_run import evaluate_run


def main(words: Sequence[str]) -> None:
    """Evaluate the run; the bundle prints what was found."""
    parser = command_parser("evaluate", __doc__)
    parser.add_argument("run", type=Path, help="output folder of the training")
    parser.add_argument(
        "--protocol", help="of the attacks (default: minimum_norm, whatever the training had)"
    )
    parser.add_argument(
        "--section", choices=["test", "validation", "training"], help="of the data (default: test)"
    )
    arguments, others = parser.parse_known_args(words)
    own = {"protocol": arguments.protocol, "section": arguments.section}
    chosen = {name: value for name, value in own.items() if value is not None}
    evaluate_run(arguments.run, **chosen, **settings_values(others))
