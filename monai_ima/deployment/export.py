"""A run as a MONAI bundle: what others need to use its model, and nothing of the training."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.networks.utils import eval_mode

from monai_ima.deployment.figures import Figures
from monai_ima.deployment.inference_config import inference_config
from monai_ima.deployment.metadata import metadata
from monai_ima.deployment.model_card import model_card
from monai_ima.deployment.trained_run import TrainedRun
from monai_ima.errors import RejectedError
from monai_ima.handlers.evaluation_samples import fingerprints
from monai_ima.handlers.files import file_digest
from monai_ima.handlers.json_file import write_json
from monai_ima.installed_bundles import bundles_folder
from monai_ima.prediction import ReferenceMargins
from monai_ima.prediction.unlike import levels_of
from monai_ima.robustness import changed_answers, get_protocol

INFERENCE, METADATA, MARGINS = "inference.json", "metadata.json", "margins.json"
SOURCE = "source.json"
NORMS = ("linf", "l2")
_PROTOCOL = "minimum_norm"
_LOGGING = "logging.conf"
_TEXTS = ("docs/README.md", f"configs/{METADATA}")  # which a person completes
_logger = logging.getLogger(__name__)


def export_run(
    run: Path,
    output: Path | None = None,
    *,
    checkpoint: str = "model.pt",
    evaluation: Path | None = None,
    margin_samples: int = 200,
    as_zip: bool = False,
    **settings: Any,
) -> Path:
    """Write the MONAI bundle of a run's model.

    Its layout is that of MONAI's specification: ``configs``, ``models``, ``docs`` and ``LICENSE``.
    All of MONAI's commands for bundles run on it, wherever monai_ima is installed; what it needs of
    the run is in it. Margins of validation samples are measured for it, in both norms.

    Args:
        run: output folder of a finished training.
        output: folder of the bundle, whose name becomes the bundle's; by default ``bundle`` in that
            of the run. An earlier export there is replaced; its model card and metadata, if somebody has
            completed them, are kept beside the new ones.
        checkpoint: name of the weights in the folder of the run.
        evaluation: folder of an evaluation of these weights, whose figures the model card has; by
            default ``evaluation`` in that of the run, if it is one. Without any, the card has the
            curve at the end of the training.
        margin_samples: at most so many validation samples, drawn from the run's seed, have their
            margins measured.
        as_zip: write the bundle as a zip file, too, as the model zoo has them, beside its folder.
        **settings: of the run's config, by name, that are others now, such as ``dataset_dir``.

    Returns:
        The folder.

    Raises:
        RejectedError: if the run is not finished, its data have changed, or there is something else
            in the folder.
    """
    if margin_samples < 1:
        raise RejectedError(f"expected at least one sample for margins, got {margin_samples}")
    trained = TrainedRun(run, checkpoint, **settings)
    folder = trained.folder / "bundle" if output is None else output.resolve()
    if folder.exists() and not _is_export(folder) and not _is_empty(folder):
        raise RejectedError(
            f"expected a new folder or an earlier export, got {folder}, which holds something else; "
            f"choose another by --output"
        )
    figures = Figures.of(trained, evaluation)
    inputs = trained.validation_inputs(_drawn(trained, margin_samples))
    with eval_mode(trained.network):
        outputs = trained.network(inputs[:1])
    if not isinstance(outputs, torch.Tensor):
        raise RejectedError(
            f"expected network_def to return a tensor, as MONAI's commands for bundles do, got a "
            f"{type(outputs).__name__}; wrap it in a network that returns the logits alone"
        )
    described = metadata(
        trained, shape=inputs.shape[1:], outputs=outputs.reshape(1, -1).shape[1], figures=figures
    )
    if output is not None:
        described["name"] = folder.name
    margins = _margins(trained, inputs)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        _write(unfinished, trained, described, margins, figures)
        _keep_completed(folder, unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if as_zip:
        shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
    return folder


def _keep_completed(earlier: Path, folder: Path) -> None:
    """Put the texts of an earlier export that a person has completed beside those of the new one."""
    if not _is_export(earlier):
        return
    written = json.loads((earlier / "configs" / SOURCE).read_text("utf-8")).get("texts", {})
    for name in _TEXTS:
        beside = Path(name).with_suffix(f".earlier{Path(name).suffix}")
        is_changed = name in written and file_digest(earlier / name) != written[name]
        kept = earlier / (name if is_changed else beside)
        if kept.is_file():
            shutil.copy(kept, folder / beside)
            _logger.warning(
                "%s of an earlier export was changed, and is kept as %s; take over what is still true",
                name,
                beside,
            )


def is_current(folder: Path, weights: Path) -> bool:
    """Whether a folder is an export of weights as they are now."""
    source = folder / "configs" / SOURCE
    if not source.is_file():
        return False
    said = json.loads(source.read_text("utf-8"))
    return bool(said.get("weights") == file_digest(weights))


def _write(
    folder: Path,
    run: TrainedRun,
    described: Mapping[str, Any],
    margins: ReferenceMargins,
    figures: Figures | None,
) -> None:
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    for name, content in ((INFERENCE, inference_config(run)), (METADATA, described)):
        text = json.dumps(content, indent=2)
        (folder / "configs" / name).write_text(text + "\n", encoding="utf-8")
    margins.write(folder / "configs" / MARGINS)
    card = model_card(run, described, margins, figures)
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
    write_json(
        folder / "configs" / SOURCE,
        {
            "run": run.record.run,
            "checkpoint": run.weights.name,
            "weights": file_digest(run.weights),
            "texts": {name: file_digest(folder / name) for name in _TEXTS},
        },
    )
    torch.save(run.network.state_dict(), folder / "models" / "model.pt")
    bundle = Path(str(run.config.get("bundle_root")))
    packed = bundles_folder()
    for name, target in (("LICENSE", "LICENSE"), (_LOGGING, f"configs/{_LOGGING}")):
        sources = (bundle / name, packed / bundle.name / name, packed / "oct_ima" / name)
        source = next(path for path in sources if path.is_file())
        (folder / target).write_bytes(source.read_bytes())


def _drawn(run: TrainedRun, most: int) -> list[int]:
    """Places of the validation samples whose margins are measured."""
    count = len(run.datalist.validation)
    generator = torch.Generator().manual_seed(int(run.record.settings.get("seed") or 0))
    return torch.randperm(count, generator=generator)[:most].sort().values.tolist()


def _margins(run: TrainedRun, inputs: torch.Tensor) -> ReferenceMargins:
    protocol = get_protocol(_PROTOCOL)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = run.network.to(device)
    try:
        answers = changed_answers(
            network,
            inputs.to(device),
            norms=NORMS,
            protocol=protocol,
            bounds=run.bounds,
            index=fingerprints(inputs),
            batch_size=int(run.record.settings.get("evaluation_batch_size") or 128),
        )
    except ValueError as error:
        raise RejectedError(str(error)) from error
    finally:
        network.to("cpu")
    whole = len(run.datalist.validation)
    share = f"{len(inputs)} of the {whole}" if len(inputs) < whole else f"the {whole}"
    margins = {norm: found.margins.cpu() for norm, found in answers.items()}
    return ReferenceMargins(
        margins,
        protocol,
        run.bounds,
        f"{share} validation samples of the training",
        levels_of(inputs, run.bounds[0]),
    )


def _is_export(folder: Path) -> bool:
    return (folder / "configs" / SOURCE).is_file()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
