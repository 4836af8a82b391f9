"""Write a bundle of your own, made from one that comes with monai_ima.

    monai-ima new my_study --from oct_ima
    python -m monai.bundle run --config_file my_study/train.json --dataset_dir FOLDER

The new folder holds train.json, evaluate.json, the files of all training methods (objectives) and a page
with every setting (docs/README.md). It is yours to change, and runs from any folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.cli.training_command import quoted
from monai_ima.installed_bundles import bundle_names
from monai_ima.new_bundle import new_bundle


def main(words: Sequence[str]) -> None:
    """Write the bundle, and say how to run it."""
    parser = command_parser("new", __doc__)
    parser.add_argument("name", type=Path, help="folder of the new bundle, which names it")
    parser.add_argument(
        "--from", required=True, dest="source", choices=bundle_names(), help="what to copy"
    )
    arguments = parser.parse_args(words)
    folder = new_bundle(arguments.name, arguments.source)
    print(f"{folder}  a bundle like {arguments.source}; its page is docs/README.md")
    for config in ("train", "evaluate"):
        if (folder / f"{config}.json").exists():
            file = quoted(f"{arguments.name.as_posix()}/{config}.json")
            print(f"python -m monai.bundle run --config_file {file}")
            break
