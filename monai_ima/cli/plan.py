"""Choose eps_max, delta, noise levels and epochs for your data by a short training, and say why.

    monai-ima plan lists/FOLDER/datalist.json
    monai-ima plan lists/FOLDER/datalist.json --write my_study
    monai-ima plan --bundle ecg_ima --dataset_dir data/ecg

DATALIST is what monai-ima datalist has written. The bundle's network is trained on the training samples
by plain cross-entropy, for as many epochs as the bundle has; how far its decision boundary is from
validation samples says how much noise to train against. Test samples are not looked at. A step and an
update of the margins say how long the training will take on this device. With --trials, three trainings
choose eps_max among once, twice and four times what the margins propose.

Any setting of the bundle may follow as --NAME VALUE; those of eps_max, noise_levels and max_epochs that are
given stay as they are, and the others follow from them. The plan is printed, and kept as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_ima.cli.main import command_parser
from monai_ima.cli.settings import settings_values
from monai_ima.cli.training_command import run_command
from monai_ima.errors import RejectedError
from monai_ima.handlers.files import write_whole
from monai_ima.installed_bundles import bundle_folder, bundle_names
from monai_ima.new_bundle import check_new, new_bundle
from monai_ima.planning import Plan, TrainingParts, make_plan
from monai_ima.planning.datalist_settings import datalist_settings

_PLAN = "plan.json"
_PATHS = ("dataset_dir", "datalist_file")


def main(words: Sequence[str]) -> None:
    """Make the plan, print and keep it, and write a bundle if one is asked for.

    Raises:
        RejectedError: if there is neither a datalist nor a bundle, or nothing can be planned.
    """
    parser = command_parser("plan", __doc__)
    parser.usage = "monai-ima plan [DATALIST] [OPTIONS] [--SETTING VALUE ...]"
    parser.add_argument("--bundle", help="name, or folder of your own (default: as the data need)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="a bundle of these settings")
    parser.add_argument("--output", type=Path, default=Path(_PLAN), help="default: plan.json")
    parser.add_argument(
        "--samples",
        type=int,
        help="validation samples to attack, at most (default: 128; with --trials 400)",
    )
    parser.add_argument(
        "--trials",
        action="store_true",
        help="train with once, twice and four times that eps_max, too, and take the largest that is not "
        "worse by validation samples: as long as three trainings",
    )
    # not an argument of the parser, which would take the value of a setting for it
    named = bool(words) and not words[0].startswith("-")
    arguments, others = parser.parse_known_args(words[1:] if named else words)
    settings = settings_values(others)
    bundle = arguments.bundle
    if named:
        fitting, own = datalist_settings(Path(words[0]), settings.get("dataset_dir"))
        bundle, settings = bundle or fitting, own | settings
    if bundle is None:
        raise RejectedError(
            "expected a DATALIST, or --bundle, got neither; monai-ima datalist FOLDER writes one"
        )
    packed = bundle in bundle_names()
    if arguments.write is not None and not packed:
        raise RejectedError(
            f"expected --write with one of the bundles {', '.join(bundle_names())}, got {bundle}, which "
            "is yours already; leave --write out, and put the settings into its train.json"
        )
    if arguments.write is not None:
        check_new(arguments.write)
    root = bundle_folder(bundle) if packed else Path(bundle)
    plan = make_plan(
        TrainingParts([root / "train.json"], **settings),
        samples=arguments.samples,
        trials=arguments.trials,
        say=_say,
    )
    print(plan.text(), end="\n\n")
    _keep(plan, arguments.output)
    print(f"{arguments.output}  all of it, as JSON")
    if arguments.write is None:
        print(run_command(root / "train.json", plan.settings))
        return
    folder = new_bundle(arguments.write, bundle, {**plan.settings, **_absolute(plan.settings)})
    _keep(plan, folder / _PLAN)
    print(f"{folder}  a bundle with these settings")
    print(run_command(arguments.write / "train.json", {}))


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def _keep(plan: Plan, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda draft: draft.write_text(text, "utf-8"))


def _absolute(settings: dict[str, Any]) -> dict[str, str]:
    """Paths that mean the same from any working folder."""
    return {
        name: str(Path(path).resolve())
        for name in _PATHS
        if isinstance(path := settings.get(name), str) and not path.startswith("$")
    }
