"""The robustness curves of a training as files and as images of TensorBoard."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from monai_ima import __version__
from monai_ima.attacks import pgd
from monai_ima.attacks.base import checked_labels
from monai_ima.distributed import by_sample, from_all, is_first
from monai_ima.handlers.evaluation_samples import checked_orientation
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.json_file import read_json, write_json
from monai_ima.handlers.robustness_curve import RobustnessCurveHandler, places_of
from monai_ima.handlers.tables import curve_rows, write_table
from monai_ima.logits import logits_of
from monai_ima.report import NORM_NAMES, Example, as_image, curve_figure, example_figure
from monai_ima.robustness.clean import Finding, clean_findings
from monai_ima.robustness.measure import batched, probabilities

_logger = logging.getLogger(__name__)


class RobustnessReport:
    """Files and TensorBoard images of the curves that a :class:`RobustnessCurveHandler` makes.

    ``robustness.csv`` and ``.xlsx`` hold a row for each level of each curve so far,
    ``robustness.json`` the same with the accuracy of each class and the settings of the attack,
    ``robustness.png`` the figure. Images ``robustness/curve`` and ``robustness/examples`` go to TensorBoard. What speaks
    against the clean answers of an evaluation, see :func:`~monai_ima.robustness.clean_findings`, is
    logged as a warning; the JSON file has that of the last. Put it after the curve's handler.

    Args:
        curve_handler: makes the curves.
        output_dir: where the files go. Curves of earlier epochs are kept, which is how a resumed
            run has them all.
        class_names: names of the classes.
        summary_writer: where the images go.
        settings: plain values of the run, by name, that the JSON file keeps beside the curves.
        orientation: of volumes, the direction in which each axis rises, as ``"RAS"``, see
            :func:`~monai_ima.data.orientation_of`, by which planes are named and turned; ``None``:
            not known.

    Raises:
        ValueError: if the orientation is none.
    """

    def __init__(
        self,
        curve_handler: RobustnessCurveHandler,
        output_dir: str | Path,
        *,
        class_names: Sequence[str],
        summary_writer: SummaryWriter,
        settings: Mapping[str, Any],
        orientation: str | None = None,
    ) -> None:
        self.curve_handler = curve_handler
        self.output_dir = Path(output_dir)
        self.class_names = tuple(class_names)
        self.summary_writer = summary_writer
        self.settings = dict(settings)
        self.orientation = checked_orientation(orientation)
        self._examples: dict[int, tuple[int, Tensor]] = {}  # of each class, with its place
        self._clean: list[tuple[Tensor, Tensor, Tensor]] = []  # places, predictions, labels
        self._range = (math.inf, -math.inf)
        self._batch_size = 0  # the largest that the network was given

    def attach(self, engine: Engine) -> None:
        self.read_curves()  # what cannot be read is rejected before an epoch is spent
        engine.add_event_handler(Events.EPOCH_STARTED, self.started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.keep_examples)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed)

    def started(self, engine: SupervisedEvaluator) -> None:  # noqa: ARG002  Ignite hands the engine over
        self._examples, self._clean, self._range = {}, [], (math.inf, -math.inf)

    def keep_examples(self, engine: SupervisedEvaluator) -> None:
        """Keep what is given to each sample, and the first correct one of each class."""
        output = engine.state.output
        labels = checked_labels(output[Keys.LABEL])
        self._batch_size = max(self._batch_size, len(labels))
        predictions = logits_of(output[Keys.PRED], len(labels)).argmax(dim=1)
        places = places_of(engine, seen=sum(len(labels) for *_, labels in self._clean))
        self._clean.append((places, predictions.cpu(), labels.cpu()))
        low, high = (end.item() for end in output[Keys.IMAGE].aminmax())
        self._range = (min(low, self._range[0]), max(high, self._range[1]))
        correct = predictions == labels
        rows = zip(places[correct.cpu()], output[Keys.IMAGE][correct], labels[correct], strict=True)
        for place, image, label in rows:
            self._examples.setdefault(int(label), (int(place), image))

    def completed(self, engine: SupervisedEvaluator) -> None:
        """Write the files, and the images of this epoch."""
        predictions, labels, examples, extremes = self._of_all_processes()
        if not is_first():
            return
        epoch = engine.state.epoch
        curves = {old: curve for old, curve in self.read_curves().items() if old < epoch}
        curve = self.curve_handler.curve
        if curve is None:
            raise RuntimeError("put the curve's handler before its report, in the same evaluator")
        curves[epoch] = curve.to_dict()
        findings = clean_findings(predictions, labels, self.class_names, extremes)
        for finding in findings:
            _logger.warning("CLEAN ACCURACY FIRST: %s. %s.", finding.verdict, finding.advice)
        self._write_files(curves, findings)
        figure = curve_figure(curves)
        self.summary_writer.add_image(
            "robustness/curve", as_image(figure), epoch, dataformats="HWC"
        )
        # signals (C, L), images (C, H, W) and volumes (C, D, H, W) can be shown
        if any(sample.ndim in (2, 3, 4) for sample in examples.values()):
            self._write_examples(engine, examples)
        self.summary_writer.flush()

    def _of_all_processes(
        self,
    ) -> tuple[Tensor, Tensor, dict[int, Tensor], tuple[float, float]]:
        """Predictions and labels in order, the first example of each class, extreme values."""
        clean = (torch.cat(parts) for parts in zip(*self._clean, strict=True))
        _, predictions, labels = by_sample(*clean)
        own = {label: (place, image.cpu()) for label, (place, image) in self._examples.items()}
        examples: dict[int, tuple[int, Tensor]] = {}
        for found in from_all(own):
            for label, example in found.items():
                examples[label] = min(example, examples.get(label, example), key=itemgetter(0))
        lows, highs = zip(*from_all(self._range), strict=True)
        images = {label: image for label, (_, image) in examples.items()}
        return predictions, labels, images, (min(lows), max(highs))

    def read_curves(self) -> dict[int, dict[str, Any]]:
        """Curves so far, by epoch, each as ``RobustnessCurve.to_dict()`` gives it.

        Raises:
            ValueError: if the file is not as it was written.
        """
        path = self.output_dir / "robustness.json"
        if not path.exists():
            return {}
        try:
            return {curve.pop("epoch"): curve for curve in read_json(path)["curves"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"expected {path} to hold the curves of this run so far, got a damaged file or one "
                "of another kind; put a good copy in its place, or remove it to go on without them"
            ) from error

    def _write_files(self, curves: dict[int, dict[str, Any]], findings: list[Finding]) -> None:
        handler = self.curve_handler
        report = {
            "settings": self.settings,
            "versions": {"monai_ima": __version__},
            "attack": {
                "protocol": handler.protocol.name,
                "version": handler.protocol.version,
                "description": handler.protocol.description,
                **asdict(handler.protocol),
                "norm": handler.norm.name,
                "bounds": handler.bounds,
                "seed": handler.seed,
            },
            "classes": self.class_names,
            "clean_findings": [finding.to_dict() for finding in findings],
            "curves": [{"epoch": epoch, **curve} for epoch, curve in curves.items()],
        }
        rows = [row for epoch, curve in curves.items() for row in curve_rows(curve, epoch)]
        write_table(self.output_dir / "robustness.csv", rows)
        write_whole(self.output_dir / "robustness.png", curve_figure(curves).savefig)
        write_json(self.output_dir / "robustness.json", report)

    def _write_examples(self, engine: SupervisedEvaluator, examples: dict[int, Tensor]) -> None:
        handler = self.curve_handler
        classes = sorted(examples)
        inputs = torch.stack([examples[label] for label in classes]).to(engine.state.device)
        labels = torch.tensor(classes, device=inputs.device)
        eps = float(handler.eps[len(handler.eps) // 2])
        generator = torch.Generator(inputs.device).manual_seed(handler.seed)

        def attack(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            return pgd(
                network,
                inputs,
                labels,
                eps=eps,
                norm=handler.norm,
                step_size=eps / 10,
                bounds=handler.bounds,
                generator=generator,
            ).inputs

        in_batches = partial(batched, batch_size=self._batch_size)
        attacked = in_batches(attack, engine.network, inputs, labels)
        before, after = (
            in_batches(probabilities, engine.network, images).cpu() for images in (inputs, attacked)
        )
        shown = [
            Example(
                clean=clean,
                attacked=noisy,
                clean_probabilities=clean_probabilities,
                attacked_probabilities=attacked_probabilities,
                label=label,
            )
            for clean, noisy, clean_probabilities, attacked_probabilities, label in zip(
                inputs.cpu(), attacked.cpu(), before, after, classes, strict=True
            )
        ]
        figure = example_figure(
            shown,
            classes=self.class_names,
            norm=handler.norm.name,
            bounds=handler.bounds,
            title=f"PGD at a noise of {eps:g} ({NORM_NAMES.get(handler.norm.name, handler.norm.name)})",
            orientation=self.orientation,
            dpi=200,  # TensorBoard enlarges no picture beyond its pixels
        )
        self.summary_writer.add_image(
            "robustness/examples", as_image(figure), engine.state.epoch, dataformats="HWC"
        )
