"""Evaluate a trained model with all the settings of its training, from the folder of the run alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_ima.config_checks import check_overrides
from monai_ima.errors import RejectedError
from monai_ima.handlers.run_record import CONFIG
from monai_ima.installed_bundles import bundles_folder

EVALUATE = "evaluate.json"


def evaluate_run(run: Path, **settings: Any) -> Path:
    """Evaluate the model of a training by its bundle's ``evaluate.json``.

    It is what ``python -m monai.bundle run --config_file "['RUN/config.json','BUNDLE/evaluate.json']"``
    does.

    Args:
        run: output folder of the training.
        **settings: of the evaluation, by name, such as ``protocol`` or ``section``.

    Returns:
        The folder of the evaluation.

    Raises:
        RejectedError: if there is no run, or it cannot be evaluated with these settings.
    """
    config = run / CONFIG
    if not config.is_file():
        raise RejectedError(
            f"there is no {config}; expected the output folder of a training by a bundle of monai_ima "
            "that has begun (older ones have no such file: give both files of the bundle to python -m "
            "monai.bundle run)"
        )
    # the folder may have been moved since
    workflow = evaluation_workflow([config], **{"output_dir": str(run.resolve()), **settings})
    workflow.run()
    workflow.finalize()
    return Path(workflow.parser.get_parsed_content("evaluation_dir"))


def evaluation_workflow(configs: Sequence[Path], **settings: Any) -> ConfigWorkflow:
    """The evaluation of a bundle, ready to run.

    Args:
        configs: config files of a training, or the ``config.json`` that it has written alone. The
            ``evaluate.json`` of their bundle follows them.
        **settings: by name, instead of those in the files.

    Raises:
        RejectedError: if a file is missing, or a setting was rejected.
    """
    root = settings.get("bundle_root")
    bundle = _bundle_of(configs[0]) if root is None else Path(root)
    files = [*configs, bundle / EVALUATE]
    if missing := [file for file in files if not file.is_file()]:
        raise RejectedError(
            f"there is no {missing[0]}; expected the config files of the training, with {EVALUATE} in "
            "the folder of the bundle; if that was moved, add --bundle_root FOLDER"
        )
    check_overrides(files, settings)
    try:
        workflow = ConfigWorkflow([str(file) for file in files], **settings)
        workflow.initialize()
    except RuntimeError as failed:  # MONAI's, of an expression
        if isinstance(failed.__cause__, ValueError):
            raise RejectedError(f"{failed.__cause__} (in {', '.join(map(str, files))})") from failed
        raise
    return workflow


def _bundle_of(config: Path) -> Path:
    """The folder of the bundle, which the config that a run has written of itself names.

    A relative one that is not here is that which comes with the package.
    """
    if config.name != CONFIG or not config.is_file():
        return config.parent
    try:
        root = Path(json.loads(config.read_text("utf-8"))["bundle_root"])
    except (ValueError, KeyError, TypeError) as error:
        raise RejectedError(
            f"expected {config} to be the config that a training has written of itself, got a file "
            f"that is damaged or of another kind ({type(error).__name__}: {error}); put a good copy in "
            f"its place, or give the config files of the bundle to python -m monai.bundle run"
        ) from error
    packed = bundles_folder() / root.name
    return packed if not (root / EVALUATE).is_file() and (packed / EVALUATE).is_file() else root
