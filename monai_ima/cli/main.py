"""Which command of ``monai-ima`` is meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from monai_ima import __version__
from monai_ima.errors import RejectedError

# A module of this package each, which is imported when it is called: help is there at once.
COMMANDS = {
    "datalist": "split your images by patient, and see what is wrong with them before a training",
    "plan": "choose eps_max, delta, noise levels and epochs by a short training, and say why",
    "new": "write a bundle of your own, made from one that comes with monai_ima",
    "evaluate": "measure how robust a trained model is, from the folder of its training alone",
    "export": "write the MONAI bundle of a trained model, with its model card",
    "predict": "ask a trained model about new cases: class, probabilities, margin",
    "compare": "compare evaluations of several models on the same samples",
    "select": "choose eps_max after a training: the most robust epoch that is accurate enough",
    "reproduce": "train and evaluate methods on one data set, and print the paper's table",
    "prepare-ecg": "cut the heartbeats out of PhysioNet's records",
}
EXAMPLE = """\
for instance
  monai-ima new my_study --from oct_ima
  python -m monai.bundle run --config_file my_study/train.json --output_dir runs/my_study
  monai-ima evaluate runs/my_study
  monai-ima COMMAND --help
"""


def main(words: Sequence[str] | None = None) -> None:
    """Call a command.

    Args:
        words: of the command line, by default those that the program was started with.

    Raises:
        SystemExit: with code 2 if something was asked that cannot be done.
    """
    lines = [f"  {name:<12} {what}" for name, what in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="monai-ima",
        description="Robust training and robustness evaluation for medical AI.",
        epilog="\n".join(["commands:", *lines, "", EXAMPLE]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    words = sys.argv[1:] if words is None else words
    if not words:
        parser.print_help()
        parser.exit(2)
    name = parser.parse_args(words[:1]).command
    module = import_module(f"monai_ima.cli.{name.replace('-', '_')}")
    try:
        module.main(words[1:])
    except RejectedError as reason:
        parser.exit(2, f"monai-ima {name}: {reason}\n")


def command_parser(name: str, doc: str) -> argparse.ArgumentParser:
    """A parser for a command, whose help is the documentation of its module.

    Args:
        name: of the command.
        doc: what it does, with an example.
    """
    return argparse.ArgumentParser(
        prog=f"monai-ima {name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
