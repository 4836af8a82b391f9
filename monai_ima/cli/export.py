"""Write the MONAI bundle of a trained model: what others need to use it, and nothing of the training.

    monai-ima export runs/oct_ima
    monai-ima export runs/oct_ima --output oct_two_classes --zip

RUN is the output folder of a training by a bundle of monai_ima. The folder that is written has MONAI's
layout: configs (inference.json, metadata.json, margins.json), models/model.pt, docs/README.md, which is
the model card, and LICENSE. Each command of python -m monai.bundle runs on it. Evaluate the model
before (monai-ima evaluate RUN): the card has the figures of the evaluation. For the percentiles of
monai-ima predict, margins of validation samples are measured, in both norms; the data set is read from
where the training found it, or from --dataset_dir FOLDER. Any other setting of the bundle may follow
as --NAME VALUE.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.cli.settings import settings_values
from monai_ima.cli.training_command import quoted
from monai_ima.deployment import export_run


def main(words: Sequence[str]) -> None:
    """Write the bundle, and say how to use it."""
    parser = command_parser("export", __doc__)
    parser.add_argument("run", type=Path, help="output folder of the training")
    parser.add_argument("--output", type=Path, help="folder of the bundle (default: RUN/bundle)")
    parser.add_argument("--zip", action="store_true", help="write OUTPUT.zip, too")
    parser.add_argument(
        "--checkpoint", default="model.pt", help="weights in RUN (default: model.pt)"
    )
    parser.add_argument("--evaluation", type=Path, help="its folder (default: RUN/evaluation)")
    parser.add_argument(
        "--margin-samples", type=int, default=200, help="validation samples (default: 200)"
    )
    arguments, others = parser.parse_known_args(words)
    folder = export_run(
        arguments.run,
        arguments.output,
        checkpoint=arguments.checkpoint,
        evaluation=arguments.evaluation,
        margin_samples=arguments.margin_samples,
        as_zip=arguments.zip,
        **settings_values(others),
    )
    print(
        f"{folder}  the bundle; docs/README.md is the model card: complete what only you can know"
    )
    if arguments.zip:
        print(f"{folder}.zip  the same as one file")
    print(f"monai-ima predict {quoted(str(folder))} FILES --output predictions")
