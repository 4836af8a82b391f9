"""The whole evaluation of a classifier's robustness, as a handler of a MONAI evaluator."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from torch import nn
from tqdm import tqdm

from monai_ima import __version__
from monai_ima.attacks import get_norm
from monai_ima.counts import checked_count
from monai_ima.data.same_samples import check_same_samples
from monai_ima.distributed import by_first, is_first
from monai_ima.handlers.evaluation_attack import attacked
from monai_ima.handlers.evaluation_checks import checks_left, subset_of
from monai_ima.handlers.evaluation_clean import clean_pass
from monai_ima.handlers.evaluation_files import FILES, write_evaluation
from monai_ima.handlers.evaluation_progress import Progress
from monai_ima.handlers.evaluation_report import report_content, sample_rows, shown_examples
from monai_ima.handlers.evaluation_samples import (
    SampleList,
    Samples,
    checked_bounds,
    checked_orientation,
    checked_units,
    fingerprints,
)
from monai_ima.handlers.evaluation_without_noise import TwoClasses
from monai_ima.handlers.files import put_back, remove_unfinished, set_aside
from monai_ima.handlers.folder_lock import free_folder, make_and_lock
from monai_ima.handlers.model_outputs import check_mask, check_single_output, output_kind
from monai_ima.networks import weights_fingerprint
from monai_ima.robustness import Protocol, get_protocol
from monai_ima.robustness.clean import Finding, in_order
from monai_ima.robustness.curve import noise_levels as checked_levels
from monai_ima.robustness.measure import Measure, batched, eval_logits
from monai_ima.robustness.seeds import seeded

_logger = logging.getLogger(__name__)


class RobustnessEvaluation:
    """Attack every sample that a ``SupervisedEvaluator`` sees, and write the report.

    Into ``output_dir`` go ``report.html``, ``robustness.json``, ``robustness.csv``,
    ``robustness_<norm>.png``, ``samples.csv`` (both tables as ``.xlsx``, too) and TensorBoard events; into
    ``engine.state.metrics`` ``robust_accuracy/<norm>/eps_<eps>`` and ``robust_accuracy/<norm>/auc``. Before the first attack
    all samples pass through the network once, and what speaks against its clean answers, see
    :func:`~monai_ima.robustness.clean_findings`, is logged as a warning. What is finished is kept
    in ``progress.records`` after every ``chunk_size`` samples and every check: a second call with the
    same model, data and settings goes on from there. Several processes share the attacks; each has a
    data loader that gives all samples. While it runs, other commands are kept out of
    ``output_dir``.

    Args:
        noise_levels: levels, increasing, for each norm (``"linf"``, ``"l2"``), in units of the
            inputs; level 0 is added.
        samples: the samples in the order of the data loader, each with its ``label``; their ``id``
            (or else ``image``, where it is a path) and ``patient``, where there are any, name them
            in the report.
        class_names: names of the classes, in the order of the logits.
        output_dir: folder of the report.
        protocol: ``"minimum_norm"``, ``"strong"``, ``"paper"``, ``"screen"`` or ``"blackbox"``, or one
            with settings.
        bounds: range of valid inputs; ``None`` for inputs without a range.
        batch_size: samples that are attacked together; the model is given no more at once, but
            by the evaluator, whose data loader has its own.
        chunk_size: samples after which progress is kept.
        check_samples: samples on which the checks are made; ``0`` leaves the checks out.
        noise_draws: draws of white noise at each level; ``0`` leaves them out.
        auroc_steps: steps of the PGD under which the area under the ROC curve is measured; ``0``
            leaves it out.
        seed: seed of all that is random.
        settings: plain values by name that the report is to mention.
        warning: what a reader of the results has to know of the data; empty if nothing.
        positive_class: of two classes, that which a diagnosis looks for, by default the second.
        operating_specificity: of two classes, the specificity at which the sensitivity is said.
        prevalence: of two classes, the share of the positive one at which predictive values are said;
            by default that of the samples.
        units: of the data, in which the report says noise levels, too: ``name``, as ``"grey levels of
            255"``, and ``per_unit``, how many of them one unit of the inputs is; ``None``: not known.
        orientation: of volumes, the direction in which each axis rises, as ``"RAS"``, see
            :func:`~monai_ima.data.orientation_of`; the report then names planes and sides of the
            patient. ``None``: not known.

    Raises:
        ValueError: if an argument does not fit; on running, if model or data do not, or several
            processes have been given other samples.
        FolderInUseError: on running, if another command is in ``output_dir``.
        OSError: on running, if it cannot be written to.
    """

    def __init__(
        self,
        *,
        noise_levels: Mapping[str, Sequence[float]],
        samples: Sequence[Mapping[str, Any]],
        class_names: Sequence[str],
        output_dir: str | Path,
        protocol: Protocol | str = "minimum_norm",
        bounds: tuple[float, float] | None = (0.0, 1.0),
        batch_size: int = 256,
        chunk_size: int = 512,
        check_samples: int = 64,
        noise_draws: int = 10,
        auroc_steps: int = 20,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        warning: str = "",
        positive_class: str | None = None,
        operating_specificity: float = 0.9,
        prevalence: float | None = None,
        units: Mapping[str, Any] | None = None,
        orientation: str | None = None,
    ) -> None:
        if not noise_levels or not hasattr(noise_levels, "items"):
            raise ValueError(
                f"expected noise levels by norm, like {{'linf': [0.01, 0.02]}}, got {noise_levels}"
            )
        if len(samples) == 0:
            raise ValueError("expected samples to evaluate, got none; is the data set empty?")
        checked_count("check_samples", check_samples, at_least=0)
        self.measures = {
            norm: Measure(
                eps=checked_levels(levels),
                norm=get_norm(norm),
                protocol=get_protocol(protocol),
                bounds=checked_bounds(bounds),
                seed=seed,
                batch_size=checked_count("batch_size", batch_size, at_least=1),
                noise_draws=checked_count("noise_draws", noise_draws, at_least=0),
                auroc_steps=checked_count("auroc_steps", auroc_steps, at_least=0),
            )
            for norm, levels in noise_levels.items()
        }
        self._listed = SampleList(samples, class_names)
        self.output_dir = Path(output_dir)
        self.batch_size = batch_size
        self.chunk_size = checked_count("chunk_size", chunk_size, at_least=1)
        self.settings = dict(settings or {})
        self.warning = warning
        self.units = checked_units(units)
        self.orientation = checked_orientation(orientation)
        self.two_classes = TwoClasses.of(
            class_names,
            positive_class=positive_class,
            operating_specificity=operating_specificity,
            prevalence=prevalence,
        )
        order = torch.randperm(len(samples), generator=seeded(seed, "checks"))
        self._checked = set(order[:check_samples].tolist())
        self._progress_path = self.output_dir / "progress.records"
        self._progress = Progress(self._progress_path, identity={})
        self._outputs = "logits"
        self._input_shape: list[int] = []
        self._findings: list[Finding] = []
        self._looked_at = torch.zeros(0, dtype=torch.int64)
        self._has_locked = False
        self._seen = 0
        self._chunk: list[Samples] = []
        self._subset: list[Samples] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.batch_seen)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed)
        engine.add_event_handler(Events.COMPLETED | Events.TERMINATE, self._leave)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)
        # first: those of MONAI raise the error again, after which no other is called
        failing = engine._event_handlers[Events.EXCEPTION_RAISED]
        failing.insert(0, failing.pop())

    def _leave(self) -> None:
        """Let others into the folder, unless whoever runs the evaluation keeps them out."""
        if self._has_locked:
            self._has_locked = False
            free_folder(self.output_dir)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._leave()
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error  # as the engine does where no handler is

    def started(self, engine: SupervisedEvaluator) -> None:
        """Forget the samples of an earlier run, and look at the clean ones before any is attacked."""
        check_same_samples({"the evaluation": self._listed.samples})
        locked = by_first(partial(make_and_lock, self.output_dir, "output_dir"))
        self._has_locked = (locked and is_first()) or self._has_locked
        self._seen, self._chunk, self._subset = 0, [], []
        _logger.info("classes, in the order of the logits: %s", in_order(self._listed.class_names))
        self._findings, self._looked_at = clean_pass(engine, self._listed)
        for finding in self._findings:
            _logger.warning("CLEAN ACCURACY FIRST: %s. %s.", finding.verdict, finding.advice)

    def batch_seen(self, engine: SupervisedEvaluator) -> None:
        """Keep the batch until there are enough samples to attack."""
        batch, logits = self._listed.batch(engine.state.batch, engine.state.output, self._seen)
        self._listed.check_same(batch, self._looked_at, "its first pass over the data gave")
        if self._seen == 0:
            self._outputs = output_kind(logits)
            self._input_shape = list(batch.inputs.shape[1:])
            self._take_up(self._identity(engine.network, batch))
        self._seen += len(batch.labels)
        checked = [row for row, name in enumerate(batch.places.tolist()) if name in self._checked]
        if checked:
            self._subset.append(Samples(*(values[checked] for values in batch)))
        finished = batch.places < self._progress.finished
        if finished.any():
            self._listed.check_same(
                Samples(*(values[finished] for values in batch)),
                self._progress.answers["fingerprints"],
                f"{self._progress_path} has begun",
            )
        if not finished.all():
            self._chunk.append(Samples(*(values[~finished] for values in batch)))
        if sum(len(part.labels) for part in self._chunk) >= self.chunk_size:
            self._attack(engine.network)

    def _identity(self, network: nn.Module, first: Samples) -> dict[str, Any]:
        """What the numbers depend on: an evaluation of something else starts anew."""
        return {
            "version": __version__,
            "weights": weights_fingerprint(network),
            "samples": self._listed.digest,
            "first_sample": fingerprints(first.inputs[:1]).tolist(),
            "classes": list(self._listed.class_names),
            "measures": [measure.identity for measure in self.measures.values()],
            "chunk_size": self.chunk_size,
            "check_samples": len(self._checked),
        }

    def _take_up(self, identity: dict[str, Any]) -> None:
        """Go on with what an interrupted evaluation has left, or start anew."""

        def tidy_up() -> None:
            put_back(self.output_dir)
            remove_unfinished(self.output_dir)

        by_first(tidy_up)
        progress = Progress.read(self._progress_path)
        if progress is None or progress.identity != identity:
            progress = Progress(self._progress_path, identity)
        elif progress.finished:
            _logger.info("going on after %d samples that are finished", progress.finished)
        self._progress = progress
        self._bar = tqdm(
            total=len(self._listed),
            initial=progress.finished,
            desc="attacking",
            unit="sample",
            dynamic_ncols=True,
            disable=not is_first(),
        )

    def _attack(self, network: nn.Module) -> None:
        """Measure the samples that have gathered, and keep the answers."""
        chunk, self._chunk = Samples.cat(self._chunk), []
        logits = batched(eval_logits, network, chunk.inputs, batch_size=self.batch_size)
        if not self._progress.finished:  # of few samples it cannot be told
            check_single_output(logits)
            check_mask(logits, self._listed.class_names)
        answers, examples = attacked(network, chunk, logits.softmax(dim=1), self.measures)
        if not self._progress.finished:  # not earlier: what is rejected should move nothing
            by_first(partial(set_aside, self.output_dir, FILES))
        self._progress.add(answers, examples)
        self._bar.update(len(chunk.labels))

    def completed(self, engine: SupervisedEvaluator) -> None:
        """Attack the last samples, make the checks, write the report."""
        if self._chunk:
            self._attack(engine.network)
        self._bar.close()
        for norm in self.measures:
            self._check(engine.network, norm)
        self._hand_over(engine)

    def _check(self, network: nn.Module, norm: str) -> None:
        """Make the checks of a norm that are not made yet, and keep each."""
        if not self._checked:
            return
        answers = self._progress.answers
        margins = answers[f"{norm}/margins"]
        found = checks_left(
            subset_of(network, Samples.cat(self._subset), margins, self.measures[norm]),
            set(self._progress.checks.get(norm, {})),
            zero_gradients=answers.get(f"{norm}/zero_gradient"),
            correct=margins > 0,
            outputs=self._outputs,
        )
        for check in found:
            self._progress.add_checks(norm, check)

    def _hand_over(self, engine: SupervisedEvaluator) -> None:
        """Write the report, and give its numbers to the engine."""
        report = report_content(
            self._listed,
            self._progress,
            self.measures,
            inputs={
                "shape": self._input_shape,
                "units": self.units,
                "orientation": self.orientation,
            },
            network=engine.network,
            two_classes=self.two_classes,
            findings=self._findings,
            outputs=self._outputs,
            check_samples=len(self._checked),
            settings=self.settings,
            warning=self.warning,
        )
        for curve in report["curves"]:
            tag = f"robust_accuracy/{curve['norm']}"
            for eps, accuracy in zip(curve["eps"], curve["accuracy"], strict=True):
                engine.state.metrics[f"{tag}/eps_{eps:g}"] = accuracy
            engine.state.metrics[f"{tag}/auc"] = curve["auc"]
        if not is_first():
            return
        write_evaluation(
            self.output_dir,
            report,
            rows=sample_rows(self._listed, self._progress.answers, self.measures),
            answers=self._progress.answers,
            examples={
                norm: shown_examples(
                    engine.network,
                    self._listed,
                    measure,
                    self._progress.examples[norm],
                    self._progress.answers["labels"],
                    engine.state.device,
                )
                for norm, measure in self.measures.items()
            },
        )
