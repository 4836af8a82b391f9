"""Train and evaluate methods on one data set, and print the paper's table.

    monai-ima reproduce ecg --norm linf --methods ce adv0.1 ima --seeds 0 1 2 --dataset_dir data/ecg
    monai-ima reproduce ecg --norm linf

The first command makes one JSON file a run below results/; a run whose file is there is not made again,
and one that was cut off goes on from its last epoch and its last evaluated samples, to the same figures.
Both print the table of all runs that are there, and draw their curves beside them; of heartbeats
there are tables by class as well, in the natural proportions of the classes.

Options of the bundle (--max_epochs 10) may follow, and are kept in the file. Runs of one --name have the
same ones, and are evaluated by one version of one protocol: others are rejected, since a table of both
would compare the options or the attacks as well. --protocol chooses another protocol than the bundle's.
A run whose file is moved away is evaluated again, and not trained again as long as its folder below
--runs is there; so is one with another --output, as by another protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_ima.cli.main import command_parser
from monai_ima.cli.settings import settings_text
from monai_ima.experiments import DATA_SETS, reproduce, results_figure, tables
from monai_ima.experiments.class_tables import class_tables


def main(words: Sequence[str]) -> None:
    """Make the runs that are missing, then print the table."""
    parser = command_parser("reproduce", __doc__)
    parser.add_argument("data", choices=DATA_SETS)
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument(
        "--methods", nargs="*", default=[], help="ce, ima, adv0.1, trades1, ddn, ..."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--name", default="default", help="of the size, in the results' file names")
    parser.add_argument("--protocol", help="of the evaluation (default: the bundle's)")
    parser.add_argument("--output", type=Path, help="folder (default: results/DATA)")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="folder")
    arguments, others = parser.parse_known_args(words)
    output = arguments.output or Path("results") / arguments.data
    runs = reproduce(
        arguments.data,
        output=output,
        runs=arguments.runs,
        norm=arguments.norm,
        methods=arguments.methods,
        seeds=arguments.seeds,
        name=arguments.name,
        protocol=arguments.protocol,
        options=settings_text(others),
    )
    data = DATA_SETS[arguments.data]
    found = tables(runs, data.accuracy)
    if shown := data.class_levels.get(arguments.norm):
        found |= class_tables(runs, shown)
    print(*found.values(), sep="\n\n")
    results_figure(runs, data.accuracy).savefig(output / f"{arguments.name}_{arguments.norm}.png")
