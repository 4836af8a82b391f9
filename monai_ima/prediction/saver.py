"""Predictions of a MONAI evaluator as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys

from monai_ima.handlers.evaluation_samples import plain
from monai_ima.prediction.files import write_predictions
from monai_ima.prediction.predictor import Prediction, Predictor
from monai_ima.prediction.reference import ReferenceMargins


class PredictionSaver:
    """Write what the network of an evaluator says of each case, and its margin if that is asked for.

    Attach it to a MONAI evaluator whose batches have ``image`` and ``id``, as that of a bundle that
    ``monai-ima export`` has written. It leaves ``predictions.csv``, ``.xlsx`` and
    ``.json``.

    Args:
        output_dir: folder for both.
        class_names: in the order of the network's outputs.
        reference_margins: file that the export has written (``configs/margins.json``).
        norms: of the margins, ``"linf"`` and ``"l2"``; none are looked for by default, which takes
            a thousandth of the time.
        units: of the data, ``name`` and ``per_unit``, in which a margin is said, too, as
            :func:`~monai_ima.report.image_units` has them; ``None`` where they are not known.

    Raises:
        ValueError: if the file of the margins is damaged, or has none in a norm.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        reference_margins: str | Path,
        norms: Sequence[str] = (),
        *,
        units: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.class_names = tuple(class_names)
        self.reference = ReferenceMargins.read(Path(reference_margins))
        self.norms = tuple(norms)
        self.units = units
        self._predictions: list[Prediction] = []

    def attach(self, engine: Engine) -> None:
        """Look at each batch, and write at the end."""
        engine.add_event_handler(Events.STARTED, self.started)
        # before MONAI takes the batch apart
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.forward_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, _: Engine) -> None:
        """Begin anew."""
        self._predictions = []

    def forward_completed(self, engine: SupervisedEvaluator) -> None:
        """Answer the cases of a batch."""
        inputs = plain(engine.state.output[Keys.IMAGE])
        predictor = Predictor(engine.network, self.reference, self.norms)
        found = predictor(list(engine.state.batch["id"]), inputs)
        self._predictions += [prediction.without_inputs() for prediction in found]

    def completed(self, _: Engine) -> None:
        """Write what was gathered."""
        write_predictions(
            self.output_dir,
            self._predictions,
            class_names=self.class_names,
            reference=self.reference,
            norms=self.norms,
            units=self.units,
        )
