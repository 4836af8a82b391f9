"""The whole evaluation of a classifier's robustness, as a handler of a MONAI evaluator."""

from __future__ import annotations

import hashlib
import logging
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.networks import eval_mode
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from tqdm import tqdm

from monai_ima import __version__
from monai_ima.attacks import get_norm
from monai_ima.attacks.base import checked_count, checked_labels, checked_logits
from monai_ima.handlers.evaluation_files import FILES, write_evaluation
from monai_ima.handlers.evaluation_progress import Examples, Progress
from monai_ima.handlers.files import put_back, remove_unfinished, set_aside
from monai_ima.logits import is_single_output, logits_of
from monai_ima.losses import logit_scale
from monai_ima.networks import weights_fingerprint
from monai_ima.report import Example
from monai_ima.robustness import Protocol, get_protocol
from monai_ima.robustness.checks import (
    ON_SUBSET,
    Check,
    Subset,
    checked,
    without_gradients,
    zero_gradient,
)
from monai_ima.robustness.clean import Finding, clean_findings, in_order
from monai_ima.robustness.curve import noise_levels as checked_levels
from monai_ima.robustness.measure import Measure, batched, eval_logits, probabilities
from monai_ima.robustness.seeds import seeded
from monai_ima.robustness.statistics import numbered

_logger = logging.getLogger(__name__)
# How many times the scale of the other classes: at 200, as of -1e4, a minimum-norm attack left up to
# 36 points too many samples standing, at 2 up to 5.
_MASK_WEIGHT = 2


class _Samples(NamedTuple):
    """Some samples: ``(N, *)`` inputs, ``(N,)`` labels and places in the data set."""

    inputs: Tensor
    labels: Tensor
    places: Tensor

    @classmethod
    def cat(cls, parts: Sequence[_Samples]) -> _Samples:
        return cls(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _plain(values: Tensor) -> Tensor:
    """A plain tensor: a MetaTensor makes every small operation slower."""
    return values.as_tensor() if hasattr(values, "as_tensor") else values


def _fingerprints(inputs: Tensor) -> Tensor:
    """A number for each of ``(N, *)`` samples that no other sample is likely to have."""
    rows = inputs.detach().cpu().contiguous().flatten(1).view(torch.uint8)
    digests = (hashlib.sha256(row.numpy()).digest() for row in rows)
    return torch.tensor([int.from_bytes(digest[:8], "big", signed=True) for digest in digests])


def _kind(outputs: Tensor) -> str:
    """What a model returns: logits, or by mistake probabilities, in which small gradients vanish."""
    sums = outputs.double().sum(dim=1)  # of numbers that may have been in bfloat16
    if outputs.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=5e-3):
        return "logits"
    _logger.warning(
        "THE MODEL RETURNS PROBABILITIES: where it is confident, their gradients vanish and it "
        "looks more robust than it is. Give a network that returns logits, without the softmax."
    )
    return "probabilities"


def _check_single_output(logits: Tensor) -> None:
    """Refuse what is no logit of two classes, but the probability of the second."""
    low, high = (end.item() for end in logits[:, 1].aminmax())
    if is_single_output(logits) and 0 <= low <= high <= 1 and high > 0:  # dead logits are all 0
        raise ValueError(
            f"expected the model's single output to be a logit, negative for the first class, got "
            f"values from {low:.3g} to {high:.3g} for all of {len(logits)} samples, as a sigmoid "
            "gives: taken for logits they would all mean the second class; give a network "
            "(network_def) that returns the logit, without the sigmoid"
        )


def _check_mask(logits: Tensor, classes: Sequence[str]) -> None:
    """Refuse a class put so far below the others that its logit alone is the scale of all."""
    constant = (logits == logits[0]).all(dim=0)
    others = logits[:, ~constant]
    if others.shape[1] < 2:
        return
    masked = (constant & (logits[0] < others.min())).nonzero()[:, 0].tolist()
    if masked and (logit_scale(others) / logit_scale(logits)).median() > _MASK_WEIGHT:
        raise ValueError(
            f"expected logits of one scale, got {logits[0, masked[0]].item():g} for class "
            f"{', '.join(classes[c] for c in masked)} in every sample, as a mask puts it: attacks "
            "measure logits by their mean, and would find too little; leave the class out of the "
            f"network's outputs, or mask it by a logit no lower than {others.min().item():.3g}, the "
            "lowest of the others"
        )


def _only(label: object) -> object:
    """The label in a list of one."""
    match label:
        case [only]:
            return only
    return label


def _checked_bounds(bounds: object) -> tuple[float, float] | None:
    """Two numbers or ``None``, whatever a command line made of them."""
    match bounds:
        case None:
            return None
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
    raise ValueError(
        f"expected bounds to be two numbers, low and high, got {bounds!r}; inputs without bounds "
        "are told by null in a file, and by '$None' on the command line"
    )


class RobustnessEvaluation:
    """Attack every sample that a ``SupervisedEvaluator`` sees, and write the report.

    Into ``output_dir`` go ``report.html``, ``robustness.json``, ``robustness.csv``,
    ``robustness.png``, ``samples.csv`` and TensorBoard events; into ``engine.state.metrics``
    ``robust_accuracy/<norm>/eps_<eps>`` and ``robust_accuracy/<norm>/auc``. Before the first attack
    all samples pass through the network once, and what speaks against its clean answers, see
    :func:`~monai_ima.robustness.clean_findings`, is logged as a warning. What is finished is kept
    in ``progress.records`` after every ``chunk_size`` samples and every check: a second call with the
    same model, data and settings goes on from there.

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

    Raises:
        ValueError: if an argument does not fit; on running, if model or data do not.
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
                bounds=_checked_bounds(bounds),
                seed=seed,
                batch_size=checked_count("batch_size", batch_size, at_least=1),
                noise_draws=checked_count("noise_draws", noise_draws, at_least=0),
                auroc_steps=checked_count("auroc_steps", auroc_steps, at_least=0),
            )
            for norm, levels in noise_levels.items()
        }
        self.samples = samples
        self.class_names = tuple(map(str, class_names))
        self.output_dir = Path(output_dir)
        self.batch_size = batch_size
        self.chunk_size = checked_count("chunk_size", chunk_size, at_least=1)
        self.settings = dict(settings or {})
        self.warning = warning
        self.seed = seed
        order = torch.randperm(len(samples), generator=seeded(seed, "checks"))
        self._checked = set(order[:check_samples].tolist())
        self._progress_path = self.output_dir / "progress.records"
        self._progress = Progress(self._progress_path, identity={})
        self._outputs = "logits"
        self._findings: list[Finding] = []
        self._looked_at = torch.zeros(0, dtype=torch.int64)
        self._seen = 0
        self._chunk: list[_Samples] = []
        self._subset: list[_Samples] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.batch_seen)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed)

    def started(self, engine: SupervisedEvaluator) -> None:
        """Forget the samples of an earlier run, and look at the clean ones before any is attacked."""
        self._seen, self._chunk, self._subset = 0, [], []
        _logger.info("classes, in the order of the logits: %s", in_order(self.class_names))
        self._findings = self._look(engine)
        for finding in self._findings:
            _logger.warning("CLEAN ACCURACY FIRST: %s. %s.", finding.verdict, finding.advice)

    def _look(self, engine: SupervisedEvaluator) -> list[Finding]:
        """What speaks against the answers to clean samples, from one pass over the data."""
        seen, predictions, labels, ends, looked_at = 0, [], [], [], []
        for data in tqdm(engine.state.dataloader, desc="clean samples", dynamic_ncols=True):
            inputs, given, *more = engine.prepare_batch(
                data, engine.state.device, engine.non_blocking, **engine.to_kwargs
            )
            args, kwargs = more or ((), {})
            with eval_mode(engine.network):
                answers = engine.inferer(inputs, engine.network, *args, **kwargs)
            output = {Keys.IMAGE: inputs, Keys.LABEL: given, Keys.PRED: answers}
            samples, logits = self._checked_batch(data, output, seen)
            seen += len(samples.labels)
            predictions.append(_plain(logits).argmax(dim=1).cpu())
            labels.append(samples.labels.cpu())
            ends += [end.item() for end in samples.inputs.aminmax()]
            looked_at.append(_fingerprints(samples.inputs))
        if seen != len(self.samples):
            raise ValueError(
                f"expected the data loader to give all {len(self.samples)} listed samples, got "
                f"{seen}; does it drop the last batch?"
            )
        self._looked_at = torch.cat(looked_at)
        return clean_findings(
            torch.cat(predictions), torch.cat(labels), self.class_names, (min(ends), max(ends))
        )

    def batch_seen(self, engine: SupervisedEvaluator) -> None:
        """Keep the batch until there are enough samples to attack."""
        batch, logits = self._checked_batch(engine.state.batch, engine.state.output, self._seen)
        self._check_same(batch, self._looked_at, "its first pass over the data gave")
        if self._seen == 0:
            self._outputs = _kind(logits)
            self._take_up(self._identity(engine.network, batch))
        self._seen += len(batch.labels)
        checked = [row for row, name in enumerate(batch.places.tolist()) if name in self._checked]
        if checked:
            self._subset.append(_Samples(*(values[checked] for values in batch)))
        finished = batch.places < self._progress.finished
        if finished.any():
            self._check_same(
                _Samples(*(values[finished] for values in batch)),
                self._progress.answers["fingerprints"],
                f"{self._progress_path} has begun",
            )
        if not finished.all():
            self._chunk.append(_Samples(*(values[~finished] for values in batch)))
        if sum(len(part.labels) for part in self._chunk) >= self.chunk_size:
            self._attack(engine.network)

    def _checked_batch(
        self, data: object, output: Mapping[Keys, Any], seen: int
    ) -> tuple[_Samples, Tensor]:
        """The samples that are listed after those seen, and logits that fit the classes."""
        inputs, labels, outputs = (output[key] for key in (Keys.IMAGE, Keys.LABEL, Keys.PRED))
        if labels is None:
            raise ValueError(
                "expected every sample with its label, the index of its class, got none; "
                "robustness is measured against the truth: add the labels to the list of samples"
            )
        labels, logits = checked_labels(labels), logits_of(outputs, len(labels))
        if logits.shape[1] != len(self.class_names):
            got = "one logit for two" if is_single_output(logits) else tuple(logits.shape)
            raise ValueError(
                f"expected the model to return logits of shape ({len(labels)}, "
                f"{len(self.class_names)}), for the classes {', '.join(self.class_names)}, got "
                f"{got}; correct network_def or the classes"
            )
        checked_logits(logits, labels)
        listed = self.samples[seen : seen + len(labels)]
        given = {"label": labels.tolist()}
        if isinstance(data, Mapping) and "id" in data:
            given["id"] = list(data["id"])
        for key, values in given.items():
            if values != [_only(s.get(key, value)) for s, value in zip(listed, values)]:  # noqa: B905
                raise ValueError(
                    f"expected the data loader to give the listed samples in their order, got "
                    f"others from sample {seen} on; turn shuffling off"
                )
        places = torch.arange(seen, seen + len(labels), device=labels.device)
        return _Samples(*(_plain(values) for values in (inputs, labels, places))), logits

    def _identity(self, network: nn.Module, first: _Samples) -> dict[str, Any]:
        """What the numbers depend on: an evaluation of something else starts anew."""
        listed = [
            (self._name(index), sample.get("label")) for index, sample in enumerate(self.samples)
        ]
        return {
            "version": __version__,
            "weights": weights_fingerprint(network),
            "samples": hashlib.sha256(repr(listed).encode()).hexdigest(),
            "first_sample": _fingerprints(first.inputs[:1]).tolist(),
            "classes": list(self.class_names),
            "measures": [measure.identity for measure in self.measures.values()],
            "chunk_size": self.chunk_size,
            "check_samples": len(self._checked),
        }

    def _take_up(self, identity: dict[str, Any]) -> None:
        """Go on with what an interrupted evaluation has left, or start anew."""
        put_back(self.output_dir)
        remove_unfinished(self.output_dir)
        progress = Progress.read(self._progress_path)
        if progress is None or progress.identity != identity:
            progress = Progress(self._progress_path, identity)
        elif progress.finished:
            _logger.info("going on after %d samples that are finished", progress.finished)
        self._progress = progress
        self._bar = tqdm(
            total=len(self.samples),
            initial=progress.finished,
            desc="attacking",
            unit="sample",
            dynamic_ncols=True,
        )

    def _check_same(self, batch: _Samples, known: Tensor, source: str) -> None:
        """The samples are those that they were when their fingerprints were taken."""
        places = batch.places.cpu()
        changed = places[known[places] != _fingerprints(batch.inputs)]
        if len(changed):
            raise ValueError(
                f"expected the samples of the evaluation that {source}, got another image "
                f"{self._name(int(changed[0]))}; leave randomness out of the transforms, turn "
                "shuffling off, or, if the data have changed, choose another folder"
            )

    def _name(self, index: int) -> str:
        sample = self.samples[index]
        if "id" in sample:
            return str(sample["id"])
        image = sample.get(Keys.IMAGE)
        return str(image) if isinstance(image, str | Path) else str(index)

    def _patient(self, index: int) -> str:
        """The patient of a sample, empty where it is not known."""
        patient = self.samples[index].get("patient")
        return "" if patient is None else str(patient)

    def _attack(self, network: nn.Module) -> None:
        """Measure the samples that have gathered, and keep the answers."""
        chunk, self._chunk = _Samples.cat(self._chunk), []
        logits = batched(eval_logits, network, chunk.inputs, batch_size=self.batch_size)
        if not self._progress.finished:  # of few samples it cannot be told
            _check_single_output(logits)
            _check_mask(logits, self.class_names)
        clean = logits.softmax(dim=1)
        answers = {
            "labels": chunk.labels.cpu(),
            "fingerprints": _fingerprints(chunk.inputs),
            "probabilities": clean.cpu(),
        }
        examples = {}
        for norm, measure in self.measures.items():
            own, errors = measure(network, *chunk)
            answers |= {f"{norm}/{name}": values for name, values in own.items()}
            kept = (chunk.places, errors.margins, chunk.inputs, errors.inputs)
            examples[norm] = Examples(*(values[errors.margins > 0].cpu() for values in kept))
        if not self._progress.finished:  # not earlier: what is refused should move nothing
            set_aside(self.output_dir, FILES)
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
        measure, answers = self.measures[norm], self._progress.answers
        samples = _Samples.cat(self._subset)
        subset = Subset(
            model=network,
            inputs=samples.inputs,
            labels=samples.labels,
            index=samples.places,
            margins=answers[f"{norm}/margins"].to(samples.places.device)[samples.places],
            eps=measure.eps.to(samples.places.device),
            norm=measure.norm,
            bounds=measure.bounds,
            protocol=measure.protocol,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        done = self._progress.checks.get(norm, {})
        for name in tqdm(ON_SUBSET, desc=f"checking {norm}", dynamic_ncols=True):
            if name not in done:
                takes = measure.takes_gradients
                found = checked(subset, name) if takes else without_gradients(name)
                self._progress.add_checks(norm, {name: found.to_dict()})
        if "zero_gradient" not in done:
            correct = answers[f"{norm}/margins"] > 0
            found = (
                zero_gradient(answers[f"{norm}/zero_gradient"], correct)
                if measure.takes_gradients
                else without_gradients("zero_gradient")
            )
            is_right = self._outputs == "logits"
            outputs = Check("logits", is_right, f"the model returns {self._outputs}")
            self._progress.add_checks(
                norm, {"zero_gradient": found.to_dict(), "logits": outputs.to_dict()}
            )

    def _hand_over(self, engine: SupervisedEvaluator) -> None:
        """Write the report, and give its numbers to the engine."""
        report = self.report()
        for curve in report["curves"]:
            tag = f"robust_accuracy/{curve['norm']}"
            for eps, accuracy in zip(curve["eps"], curve["accuracy"], strict=True):
                engine.state.metrics[f"{tag}/eps_{eps:g}"] = accuracy
            engine.state.metrics[f"{tag}/auc"] = curve["auc"]
        write_evaluation(
            self.output_dir,
            report,
            rows=self._rows(),
            answers=self._progress.answers,
            examples={
                norm: self._examples(engine.network, norm, engine.state.device)
                for norm in self.measures
            },
        )

    def report(self) -> dict[str, Any]:
        """The content of ``robustness.json``."""
        answers = self._progress.answers
        labels, patients = answers["labels"], self._patients()
        measure = next(iter(self.measures.values()))
        return {
            "settings": self.settings,
            "warning": self.warning,
            "clean_findings": [finding.to_dict() for finding in self._findings],
            "versions": {
                "monai_ima": __version__,
                "torch": torch.__version__,
                "monai": version("monai"),
                "python": platform.python_version(),
            },
            "attack": {
                "protocol": measure.protocol.name,
                "version": measure.protocol.version,
                "description": measure.protocol.description,
                **asdict(measure.protocol),
                "bounds": measure.bounds,
                "outputs": self._outputs,
                "seed": self.seed,
                "batch_size": self.batch_size,
                "check_samples": len(self._checked),
            },
            "classes": self.class_names,
            "n": len(labels),
            "patients": None if patients is None else len(patients.unique()),
            "class_counts": torch.bincount(labels, minlength=len(self.class_names)).tolist(),
            "curves": [
                measure.summary(
                    {
                        name.removeprefix(f"{norm}/"): values
                        for name, values in answers.items()
                        if name.startswith(f"{norm}/")
                    },
                    labels,
                    answers["probabilities"].argmax(dim=1),
                    len(self.class_names),
                    patients,
                )
                for norm, measure in self.measures.items()
            ],
            "checks": [
                {**check, "norm": norm}
                for norm, checks in self._progress.checks.items()
                for check in checks.values()
            ],
        }

    def _rows(self) -> list[dict[str, Any]]:
        """The rows of ``samples.csv``."""
        answers, names = self._progress.answers, self.class_names
        predictions = answers["probabilities"].argmax(dim=1).tolist()
        rows = [
            {
                "id": self._name(index),
                "patient": self._patient(index),
                "label": names[label],
                "prediction": names[prediction],
            }
            for index, (label, prediction) in enumerate(
                zip(answers["labels"].tolist(), predictions, strict=True)
            )
        ]
        for norm, measure in self.measures.items():
            margins = answers[f"{norm}/margins"]
            levels = torch.searchsorted(measure.eps, margins).tolist()
            for row, margin, level, given in zip(
                rows, margins.tolist(), levels, answers[f"{norm}/broken_as"].tolist(), strict=True
            ):
                found = margin < math.inf
                row[f"broke_at_{norm}"] = [*measure.eps.tolist(), ""][level]
                row[f"broken_as_{norm}"] = names[given] if found else ""
                row[f"margin_{norm}"] = margin if found else ""
        return rows

    def _patients(self) -> Tensor | None:
        """A number for the patient of each sample, where all are known."""
        return numbered([self._patient(index) for index in range(len(self.samples))])

    def _examples(self, network: nn.Module, norm: str, device: torch.device) -> list[Example]:
        """The most fragile and the hardest samples, as the report shows them."""
        measure, kept = self.measures[norm], self._progress.examples[norm]
        if len(kept.places) == 0:
            return []
        labels = self._progress.answers["labels"][kept.places]
        attacked, unbroken = kept.attacked.clone(), kept.margins.isinf()
        if unbroken.any() and measure.takes_gradients:
            unbroken_samples = (values[unbroken].to(device) for values in (kept.clean, labels))
            attacked[unbroken] = batched(
                measure.pushed, network, *unbroken_samples, batch_size=self.batch_size
            ).cpu()
        before, after = (
            batched(probabilities, network, inputs.to(device), batch_size=self.batch_size).cpu()
            for inputs in (kept.clean, attacked)
        )
        return [
            Example(
                kind=kind,
                id=self._name(int(kept.places[row])),
                patient=self._patient(int(kept.places[row])) or None,
                label=int(labels[row]),
                margin=float(kept.margins[row]),
                clean=kept.clean[row],
                attacked=attacked[row],
                clean_probabilities=before[row],
                attacked_probabilities=after[row],
            )
            for kind, rows in (("most fragile", kept.fragile), ("hardest to break", kept.hardest))
            for row in rows
        ]
