"""Compare evaluations of several models on the same samples.

    monai-ima compare runs/oct_ce/evaluation runs/oct_ima/evaluation --names ce,ima

Each run is the output folder of an evaluation, of which robustness.json and samples.csv are read. What
they say of the same samples is paired: which model is robust where another is not (McNemar's exact test
at each level, adjusted by Holm over all tests of a norm), and by how much the areas under their curves
differ (bootstrap over patients). compare.md, compare.xlsx (and .csv) and compare.png are left in the
output folder; the first of them is printed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.evaluation import compare, evaluation_names, read_evaluation, write_comparison


def main(words: Sequence[str]) -> None:
    """Read the evaluations, write the comparison and print it."""
    parser = command_parser("compare", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of evaluations")
    parser.add_argument(
        "--names", help="of the runs, with commas between (default: their folders')"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/compare"), help="folder")
    arguments = parser.parse_args(words)
    names = evaluation_names(arguments.runs, arguments.names)
    evaluations = [
        read_evaluation(folder, name) for folder, name in zip(arguments.runs, names, strict=True)
    ]
    print(write_comparison(compare(evaluations), arguments.output), end="")
