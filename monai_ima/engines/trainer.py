"""A MONAI trainer for methods that attack the network they train."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from ignite.engine import Events
from monai.engines import PrepareBatchExtraInput, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_ima.attacks.base import checked_labels
from monai_ima.attacks.capture import can_be_captured
from monai_ima.attacks.forms import fixed_shape
from monai_ima.data import SharedBatches
from monai_ima.distributed import idling, processes
from monai_ima.engines.captured_step import CapturedStep
from monai_ima.engines.means import MeansOverSamples
from monai_ima.networks import DistributedNetwork
from monai_ima.objectives import Objective, ObjectiveResult


class RobustTrainer(SupervisedTrainer):
    """MONAI's ``SupervisedTrainer`` with an objective in place of inferer and loss function.

    Each batch is a dictionary with ``image``, ``label`` and ``index``, the sample's place in the
    training datalist. The mean of the loss and of each term of the objective over an epoch are put
    into ``engine.state.metrics`` as ``train_<name>``, where MONAI's handlers find them.

    With ``amp`` the clean and the noisy samples pass through the network in mixed precision, of the
    ``dtype`` in ``amp_kwargs``; attacks stay in float32. Gradients are scaled in float16 on a GPU, in
    which they underflow, and not in bfloat16, whose range is that of float32.

    In several processes, see :mod:`monai_ima.distributed`, the network is to be a
    :class:`~monai_ima.networks.DistributedNetwork` and the data loader a
    :class:`~monai_ima.data.SharedBatches`: a step is then that of one process which has the whole
    batch, and so are the means.

    On a CUDA device, in one process, the attack, the losses and the gradients of a step are replayed as one
    CUDA graph, where :func:`~monai_ima.attacks.loop_form` permits, the objective is capturable, and
    neither batches are accumulated nor gradients scaled. The gradients are there when
    ``FORWARD_COMPLETED`` is fired.

    Batches stay whole, unless there is ``postprocessing`` or ``decollate`` asks for samples one by one.

    Args:
        objective: the training method, see :class:`~monai_ima.objectives.Objective`.
        kwargs: arguments of ``SupervisedTrainer``, except ``loss_function``, ``inferer``,
            ``iteration_update`` and ``compile``, which have no meaning here.

    Raises:
        TypeError: if network or data loader are those of one process where there are several.
        ValueError: if one of the arguments without a meaning is given, or ``amp`` where torch has no
            such mixed precision.
    """

    def __init__(self, *, objective: Objective, **kwargs: Any) -> None:
        for name in ("loss_function", "inferer", "iteration_update", "compile"):
            if kwargs.get(name):
                raise ValueError(f"RobustTrainer takes an objective, not {name}; leave {name} out")
        if kwargs.get("amp"):
            _check_autocast(torch.device(kwargs["device"]), kwargs.get("amp_kwargs") or {})
        if processes() > 1:
            _check_shared(kwargs["network"], kwargs["train_data_loader"])
            if not kwargs.get("postprocessing"):
                kwargs["decollate"] = False
        # What postprocessing needs: to take a batch apart, the host waits for each of its numbers.
        kwargs.setdefault("decollate", bool(kwargs.get("postprocessing")))
        kwargs.setdefault("non_blocking", True)  # from pinned memory
        self.objective = objective
        self._captured: CapturedStep | None = None
        kwargs.setdefault("prepare_batch", _PrepareIndexedBatch({"index": "index"}))
        kwargs["train_handlers"] = kwargs.get("train_handlers") or ()
        super().__init__(loss_function=_no_loss_function, **kwargs)

    def _register_handlers(self, handlers: Sequence[Any]) -> None:
        # Before the handlers, so that at the end of an epoch they see its losses.
        MeansOverSamples(("loss", *self.objective.terms)).attach(self, "train_")
        self.add_event_handler(Events.EPOCH_COMPLETED, lambda _: self._look_back(steps=0))
        super()._register_handlers(handlers)

    def run(self) -> None:  # type: ignore[override]  # as MONAI's own
        """Train, from the epoch that the state is in."""
        scaler = torch.amp.GradScaler("cuda") if self._underflows() else None
        self.scaler = scaler  # type: ignore[assignment]  # MONAI names its deprecated alias
        Workflow.run(self)  # the trainer's own run would make CUDA's scaler on any device

    def _underflows(self) -> bool:
        """Whether gradients are of a type in which small ones are zero."""
        device = self.state.device.type
        if not self.amp or device != "cuda":
            return False
        dtype = self.amp_kwargs.get("dtype") or torch.get_autocast_dtype(device)
        return bool(dtype == torch.float16)

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        """One batch: the objective's loss, its gradient, a step of the optimizer."""
        inputs, labels, _, extra = engine.prepare_batch(
            batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs
        )
        if hasattr(inputs, "as_tensor"):  # a MetaTensor makes every small operation slower
            inputs = inputs.as_tensor()
        labels = checked_labels(labels)
        share = batchdata.get("share", 1.0)
        engine.state.output = {Keys.IMAGE: inputs, Keys.LABEL: labels}
        first, last = self._accumulation()
        engine.network.train()
        if first:
            engine.optimizer.zero_grad(set_to_none=engine.optim_set_to_none)

        self._look_back(steps=1)
        captured = self._captured_step(inputs, extra)
        # Weights that are casted once for several passes have other gradients than in a graph.
        precision = {"cache_enabled": False} if captured else {}

        def step() -> ObjectiveResult:
            with idling(share == 0), self._autocast(**precision):
                result: ObjectiveResult = self.objective(engine.network, inputs, labels, **extra)
            return result

        replayed = captured and captured(inputs, labels, extra["index"])
        result = replayed or (step() if captured is None else captured.watch(step))
        if not replayed:
            self._check_loss(result.loss, engine.state.iteration)
        engine.state.output |= {Keys.PRED: result.logits, Keys.LOSS: result.loss, **result.terms}
        if share == 0:  # another process's sample, which that one reports
            for name in (Keys.IMAGE, Keys.LABEL, Keys.PRED):
                engine.state.output[name] = engine.state.output[name][:0]
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)

        if not replayed:
            loss = result.loss / engine.accumulation_steps
            if share != 1:
                loss = loss * share
            (loss if engine.scaler is None else engine.scaler.scale(loss)).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last and engine.scaler is None:
            engine.optimizer.step()
        elif last:
            engine.scaler.step(engine.optimizer)
            engine.scaler.update()
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = engine.state.output
        return output

    def _autocast(self, **options: Any) -> torch.autocast:
        options |= self.amp_kwargs
        return torch.autocast(self.state.device.type, enabled=self.amp, **options)

    def _captured_step(self, inputs: Tensor, extra: Mapping[str, Any]) -> CapturedStep | None:
        """The step as one graph, or ``None`` where it cannot be one."""
        is_plain = processes() == 1 and self.scaler is None and self.accumulation_steps == 1
        on_device = fixed_shape(inputs) and can_be_captured(inputs)
        can_be = self.objective.capturable and extra.keys() == {"index"}
        if not (is_plain and on_device and can_be):
            return None
        if self._captured is None:
            uncached = partial(self._autocast, cache_enabled=False)
            precision = f"{self.amp} {self.amp_kwargs}"
            self._captured = CapturedStep(self.objective, self.network, uncached, precision)
        return self._captured

    def _look_back(self, steps: int) -> None:
        """Raise what was wrong with the step so many ``steps`` before, if it was a graph, which cannot say it."""
        batch = self._captured and self._captured.troubled()
        if batch:
            with self._autocast():
                loss = self.objective(self.network, *batch).loss
            self._check_loss(loss, self.state.iteration - steps)

    def _check_loss(self, loss: Tensor, iteration: int) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss, got {loss.item()} at epoch {self.state.epoch}, "
                f"iteration {iteration}; lower the learning rate, or look for "
                "extreme values in the data. The last checkpoint was kept."
            )

    def _accumulation(self) -> tuple[bool, bool]:
        """Whether this iteration is the first and the last of those that share a step."""
        epoch_length = self.state.epoch_length
        iteration = (self.state.iteration - 1) % epoch_length
        steps = self.accumulation_steps
        return iteration % steps == 0, (iteration + 1) % steps == 0 or iteration + 1 == epoch_length


class _PrepareIndexedBatch(PrepareBatchExtraInput):
    def __call__(self, batchdata: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if "index" not in batchdata:
            raise ValueError(
                "expected batches with image, label and index, the sample's place in the training "
                f"datalist, got {', '.join(map(str, batchdata))}; add the index to each sample"
            )
        return super().__call__(batchdata, *args, **kwargs)


def _check_autocast(device: torch.device, options: Mapping[str, Any]) -> None:
    """Reject a mixed precision that torch does not have: of some it warns, and goes on without."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.autocast(device.type, **options)
    except (RuntimeError, UserWarning) as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"expected amp on a device for which torch has mixed precision in "
            f"{options.get('dtype') or 'its default type'}, got {device} ({said}); leave amp out, or "
            "choose another device"
        ) from error


def _check_shared(network: object, data_loader: object) -> None:
    wanted: dict[type, object] = {DistributedNetwork: network, SharedBatches: data_loader}
    for kind, given in wanted.items():
        if not isinstance(given, kind):
            raise TypeError(
                f"expected a {kind.__name__} in each of {processes()} processes, which take a batch "
                f"together, got {type(given).__name__}; add bundles/scale/multi_gpu_train.json to "
                "--config_file"
            )


def _no_loss_function(*_: Any) -> NoReturn:
    raise TypeError("RobustTrainer has an objective in place of a loss function")
