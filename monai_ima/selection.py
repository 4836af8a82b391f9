"""Choose eps_max after a training: the most robust of its epochs that is accurate enough.

Each kept epoch is evaluated on the validation set, by the protocol ``screen``. Of those whose clean
accuracy is high enough, the one with the largest area under its curve is chosen. Accuracy is balanced,
the mean over the classes, for the threshold as for the area: the plain one would let a model pass that
gives the most frequent class to everybody. The test set, which the choice does not see, is evaluated
for the chosen epoch and the last one, by the protocol ``minimum_norm``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from monai_ima.errors import RejectedError
from monai_ima.evaluate_run import evaluation_workflow
from monai_ima.evaluation import read_report
from monai_ima.handlers import kept_weights
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.folder_lock import lock_folder
from monai_ima.handlers.run_record import CONFIG, Section, read_record
from monai_ima.robustness import area_under, noise_levels

# Every epoch is measured in the same way: in the norm and at the levels of the training, the curve
# alone, by the attacks of the protocol.
CURVE_ONLY = {
    "evaluation_levels": "${@norm: @noise_levels}",
    "check_samples": 0,
    "noise_draws": 0,
    "auroc_steps": 0,
    "run": ["$@evaluator.run()"],
}
CHOSEN_HERE = {"checkpoint", "evaluation_dir", "section", *CURVE_ONLY}
RESULTS = ("selection.json", "selection.png", "model_selected.pt")
OF_THE_TRAININGS_CURVE = {"eval_steps": None, "eval_restarts": None}


def check_threshold(accuracy: float) -> None:
    """Reject what is not an accuracy, or asks nothing of a model, or everything."""
    if not 0 < accuracy < 1:
        raise RejectedError(
            f"expected --min-clean-accuracy between 0 and 1, got {accuracy:g}; 0.9 is 90 %"
        )


@dataclass(frozen=True)
class EpochCurve:
    """The weights of an epoch, evaluated: the curve of their balanced accuracy.

    Attributes:
        epoch: after which they were kept.
        norm: of the noise.
        eps: the L noise levels, from 0.
        accuracy: the balanced one at each.
        plain_accuracy: of all samples alike.
        n: number of samples.
        protocol: of the attack.
        protocol_version: of that.
        warning: what a reader has to know of the data; empty if nothing.
    """

    epoch: int
    norm: str
    eps: list[float]
    accuracy: list[float]
    plain_accuracy: list[float]
    n: int
    protocol: str
    protocol_version: int
    warning: str

    @property
    def balanced_area(self) -> float:
        """Area under the curve of the balanced accuracy, from 0 to 1."""
        accuracy, eps = torch.tensor([self.accuracy, self.eps], dtype=torch.float64)
        return float(area_under(accuracy, eps))


@dataclass(frozen=True)
class Trained:
    """A training that kept weights, with the bundle that made it.

    Attributes:
        folder: its output folder.
        configs: config files of the training.
        settings: what is set beside them.
        weights: the kept files by epoch.
    """

    folder: Path
    configs: Sequence[Path]
    settings: Mapping[str, Any]
    weights: dict[int, Path]

    @classmethod
    def read(
        cls,
        folder: Path,
        configs: Sequence[Path] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Trained:
        """A training from its output folder.

        Args:
            folder: the output folder.
            configs: config files that it was trained with; by default the one that it has written of
                itself, which has all its settings.
            settings: what was set beside the files, by name.

        Raises:
            RejectedError: if it has kept no weights, or settings are given that are not a training's.
        """
        settings = dict(settings or {})
        if Path(settings.pop("output_dir", folder)).resolve() != folder.resolve():
            raise RejectedError(
                f"expected RUN alone to name the run, got {folder} and --output_dir; leave it out"
            )
        if own := sorted(settings.keys() & CHOSEN_HERE):
            raise RejectedError(
                f"expected settings of the training, got --{own[0]}, which is the same for every "
                "choice; leave it out"
            )
        weights = kept_weights(folder)
        if not weights or not (folder / "checkpoint.pt").exists():
            raise RejectedError(
                f"there are no kept weights in {folder}, or no checkpoint.pt; expected the output "
                "folder of a training with --keep_interval 1 or more, which keeps those of every "
                "epoch or of every so many"
            )
        return cls(folder, configs or [folder / CONFIG], settings, weights)

    def workflow(self, folder: Path, **settings: Any) -> ConfigWorkflow:
        """The bundle's evaluation, ready to run."""
        own = {"output_dir": str(self.folder), "evaluation_dir": str(folder), **settings}
        return evaluation_workflow(
            self.configs, **{**self.settings, **OF_THE_TRAININGS_CURVE, **CURVE_ONLY, **own}
        )

    def check_same_data(self) -> None:
        """Reject settings under which the validation set may hold what the run was trained on."""
        try:
            checkpoint = read_run_checkpoint(self.folder)
        except ValueError as reason:
            raise RejectedError(str(reason)) from reason
        if (last := max(self.weights)) < checkpoint["epoch"]:
            raise RejectedError(
                f"expected the weights of the last epoch among the kept ones, but {self.folder} is at "
                f"epoch {checkpoint['epoch']} and they end at {last}; train anew with --keep_interval, "
                "or resume an unfinished run with it"
            )
        identity = checkpoint["identity"]
        config = self.workflow(self.folder / "selection").parser
        self.check_same_levels(noise_levels(config.get_parsed_content("noise_levels")).tolist())
        data = config.get_parsed_content("datalist")
        now = {"norm": config.get_parsed_content("norm"), "training_data": data.fingerprint}
        differing = [name for name, value in now.items() if identity[name] != value]
        record = read_record(self.folder)  # none of an older run
        if record and not differing:
            same = record.sections["validation"] == Section.of(data.validation)
            differing = [] if same else ["validation_data"]
        if differing:
            raise RejectedError(
                f"expected the config files and settings that {self.folder} was trained with, got "
                f"another {' and '.join(differing).replace('_', ' ')}; give the same --config_file, "
                "--dataset_dir, --seed, ... again"
            )

    def check_same_levels(self, levels: list[float]) -> None:
        """Reject levels other than those of the training, whose area is another."""
        path = self.folder / "robustness.json"
        trained = read_report(self.folder)["curves"][-1]["eps"] if path.exists() else levels
        if levels != trained:
            raise RejectedError(
                f"expected the noise_levels that {self.folder} was trained with, {trained}, got "
                f"{levels}; leave --noise_levels out, or give the same again"
            )

    def evaluate(self, epoch: int, section: str, protocol: str) -> EpochCurve:
        """The curve of an epoch, whose evaluation goes on where an earlier call left it."""
        folder = self.folder / "selection" / section / f"epoch_{epoch:04}"
        checkpoint = str(self.weights[epoch])
        self.workflow(folder, checkpoint=checkpoint, section=section, protocol=protocol).run()
        report = read_report(folder)
        (curve,) = report["curves"]
        return EpochCurve(
            epoch,
            norm=curve["norm"],
            eps=curve["eps"],
            accuracy=curve["balanced_accuracy"],
            plain_accuracy=curve["accuracy"],
            n=curve["n"],
            protocol=report["attack"]["protocol"],
            protocol_version=report["attack"]["version"],
            warning=report["warning"],
        )


@dataclass(frozen=True)
class Selection:
    """A choice among the kept epochs of a training.

    Attributes:
        folder: output folder of the training.
        threshold: balanced clean accuracy that was asked for.
        epoch: that was chosen; ``None`` if no epoch is accurate enough.
        weights: the kept files by epoch.
        validation: the curve of each kept epoch on the validation set.
        test: those of the chosen and the last epoch on the test set; empty if none was chosen.
    """

    folder: Path
    threshold: float
    epoch: int | None
    weights: dict[int, Path]
    validation: list[EpochCurve]
    test: list[EpochCurve]


def select(trained: Trained, min_clean_accuracy: float) -> Selection:
    """Evaluate the kept epochs, and choose the most robust that is accurate enough.

    What an earlier call has evaluated is not evaluated again, and one that was cut off goes on from
    its last samples. An earlier choice in the folder is taken away.

    Args:
        trained: the training.
        min_clean_accuracy: the least balanced clean accuracy on the validation set, between 0 and 1.

    Raises:
        RejectedError: if that is not an accuracy, another command is in the folder, or the training
            cannot be evaluated as it was made.
    """
    check_threshold(min_clean_accuracy)
    lock_folder(trained.folder, "RUN")
    trained.check_same_data()
    validation = [trained.evaluate(epoch, "validation", "screen") for epoch in trained.weights]
    for name in RESULTS:  # an earlier call's would be taken for the answer to this one
        (trained.folder / name).unlink(missing_ok=True)
    chosen = choose(
        {one.epoch: (one.accuracy[0], one.balanced_area) for one in validation}, min_clean_accuracy
    )
    shown = [] if chosen is None else dict.fromkeys([chosen, max(trained.weights)])
    test = [trained.evaluate(epoch, "test", "minimum_norm") for epoch in shown]
    return Selection(trained.folder, min_clean_accuracy, chosen, trained.weights, validation, test)


def choose(epochs: Mapping[int, tuple[float, float]], threshold: float) -> int | None:
    """The epoch with the largest area of those that are accurate enough.

    Of equal areas the more accurate, and of equal models the earlier.

    Args:
        epochs: clean accuracy and area under the curve of each.
        threshold: clean accuracy that is enough.

    Returns:
        The epoch, or ``None`` if none is accurate enough.
    """
    enough = [epoch for epoch, (accuracy, _) in epochs.items() if reaches(accuracy, threshold)]
    return max(enough, key=lambda epoch: (*epochs[epoch][::-1], -epoch), default=None)


def reaches(accuracy: float, threshold: float) -> bool:
    """Whether it is enough; a mean over classes is rounded: 0.9 may be 0.8999999999999999."""
    return accuracy > threshold - 1e-9
