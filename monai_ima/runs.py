"""What a bundle's config asks for so that a run knows itself: its record, and who reads it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ima.data import TensorSamples
from monai_ima.distributed import by_first
from monai_ima.effective_config import EffectiveConfig
from monai_ima.handlers.run_record import (
    CONFIG,
    RECORD,
    RunDescription,
    RunRecord,
    Section,
    read_record,
)
from monai_ima.handlers.trained_on import check_own, check_same, check_unseen
from monai_ima.handlers.weights_keeper import KEPT

_logger = logging.getLogger(__name__)

# Of these a network is made, or its inputs are: another network or another input otherwise.
_PARTS = ("network_def", "network", "optimizer", "objective", "preprocessing", "augmentation")
# What a start is told, and not what the run is, however often it was cut off.
_OF_A_START = ("resume", "resuming")


def keep_own_settings(output_dir: str | Path, *, resume: bool) -> None:
    """Let a run that is made longer go on with what it made of its first ``max_epochs``.

    A setting whose expression depends on ``max_epochs``, as ``delta`` does, would change with it, and
    with it what the margins mean. To be called by an expression in the config's ``initialize``,
    before anything depends on such a setting.

    Args:
        output_dir: folder of the run.
        resume: whether the run goes on; a new one has nothing to keep.
    """
    folder = Path(output_dir)
    if not resume or not (folder / "checkpoint.pt").exists():
        return
    config = EffectiveConfig()
    record = read_record(folder)
    if record is None:
        return
    for name in list(config.depending_on("max_epochs")):
        own, default = record.settings.get(name), config.resolver.get_resolved_content(name)
        if own is None or own == default:
            continue
        config.replace(name, own)
        _logger.warning(
            "%s stays %s, that of the run so far; %s = %s goes with the new max_epochs of a new run",
            name,
            own,
            name,
            default,
        )


def describe_run(datalist: Any, output_dir: str | Path) -> RunDescription:
    """What a training is, for its record and for those that resume it.

    To be called by an expression in the config of a training. The content of all samples is read, of
    several processes by the first one.

    Args:
        datalist: with ``classes`` and the sections ``training``, ``validation`` and ``test``.
        output_dir: folder of the run.

    Raises:
        OSError: if a file of a sample cannot be read.
        TypeError: if something in the config cannot be written.
    """
    config = EffectiveConfig()
    parts = {name: config.values(name) for name in _PARTS if name in config}
    trainer = config.raw("train::trainer")
    parts["train#trainer"] = {
        name: value for name, value in trainer.items() if isinstance(value, bool | int | float)
    }
    parts["bounds"] = [float(end) for end in _training_bounds(config)]
    settings = {name: v for name, v in config.settings().items() if name not in _OF_A_START}
    record = RunRecord.of(settings, parts, datalist)
    return RunDescription(record, _of_its_own(config.as_json(), Path(output_dir)))


def _of_its_own(config: dict[str, Any], output_dir: Path) -> dict[str, Any]:
    """The config that means the same run from any working folder."""
    config |= {"output_dir": str(output_dir.resolve()), "resume": False}
    for name in ("dataset_dir", "datalist_file"):
        path = config.get(name)
        if isinstance(path, str) and path[:1] not in ("$", "@") and Path(path).exists():
            config[name] = str(Path(path).resolve())
    return config


def _training_bounds(config: EffectiveConfig) -> Sequence[float]:
    """Those of the attacks of a training, which are the objectives' own where none are given."""
    given_ = [config.values(id_) for id_ in ("objective::bounds", "bounds") if id_ in config]
    return next((bounds for bounds in given_ if isinstance(bounds, list)), (0.0, 1.0))


def check_evaluated_run(
    model: str | Path | None,
    samples: TensorSamples | Sequence[Mapping[str, Any]],
    *,
    classes: Sequence[str],
    bounds: Sequence[float] | None,
    section: str | None,
    other_data: bool = False,
) -> None:
    """Reject an evaluation of a model of ours on what it learned from, or not as it was trained.

    What the run in whose folder the weights lie has written of itself is compared: whose weights they
    are, image size, preprocessing, network, bounds and order of the classes, and the samples. To be called by an
    expression in the config of an evaluation.

    Args:
        model: file of the weights. Of one that is in the folder of no run, nothing is known, which
            the log says.
        samples: of the evaluation.
        classes: their names, in the order of the labels.
        bounds: range of valid inputs.
        section: that of the samples; training samples are evaluated on purpose.
        other_data: the data set is another than that of the training: only the content of the
            samples says whether one of them is a training sample, not their names and patients.

    Raises:
        ValueError: naming what differs, the other run, or the sample; or if ``run.json`` is damaged.
    """
    config = EffectiveConfig()
    weights = None if model is None else Path(model)
    record = None if weights is None else read_record(_run_of(weights))
    if weights is None or record is None:
        _logger.info(
            "no %s beside the weights: nothing is known of what %s was trained on", RECORD, model
        )
        return
    folder = _run_of(weights)
    check_own(record, weights, folder)
    names = ["image_size", "crop", "colour", "intensity_range", "nan_value"]
    names += ["preprocessing", "network_def"]
    now = {name: config.values(name) for name in names if name in config}
    now |= {"bounds": None if bounds is None else [float(end) for end in bounds]}
    bundle = (
        config.raw("bundle_root") if "bundle_root" in config else record.settings["bundle_root"]
    )
    own = f"['{folder / CONFIG}','{bundle}/evaluate.json']"
    advice = f'take those of the run: python -m monai.bundle run --config_file "{own}"'
    check_same(record, now | {"classes": list(classes)}, advice)
    if section == "training":
        return

    def check() -> None:
        check_unseen(
            record,
            Section.of(samples),
            trained_on=("training",) if section == "validation" else ("training", "validation"),
            other_data=other_data,
            advice=f"{advice}, which has its test set; if the data set is another one, whose names "
            "coincide by chance, add --other_data true",
        )

    by_first(check)  # the samples are read for it


def _run_of(weights: Path) -> Path:
    """The folder of the run that has written these weights, if a run has."""
    return weights.parent.parent if weights.parent.name == KEPT else weights.parent
