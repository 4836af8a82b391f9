"""Loss and gradients of a batch, replayed as one CUDA graph: attack, losses and backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from monai_ima.attacks.capture import Answer, on_side_stream, replayed
from monai_ima.attacks.draws import drawn_seeds, other_generators, seeds_given
from monai_ima.attacks.graph_key import laid_down
from monai_ima.faults import any_fault, written_down
from monai_ima.objectives import Objective, ObjectiveResult


class CapturedStep:
    """An objective's loss of a batch, and its gradients in the parameters' ``grad``.

    What it finds is what the objective and ``backward`` find, in their order of random numbers. The
    first batch goes the plain way; it tells how many seeds a step draws, which a graph has to be given
    at each replay. A step that draws any other random numbers on the CPU is not captured.

    Nobody waits for the device: whether something was wrong with a batch is to be asked for by
    :meth:`troubled` before the next one.

    Args:
        objective: the training method.
        network: in train mode.
        precision: makes the context in which the objective runs, without a cache of casted weights,
            which a graph cannot see.
        named: what the precision is, as a name.
    """

    def __init__(
        self,
        objective: Objective,
        network: nn.Module,
        precision: Callable[[], AbstractContextManager[None]],
        named: str,
    ) -> None:
        self.objective = objective
        self.network = network
        self._precision = precision
        self._named = named
        self._seeds: int | None = None
        self._is_fit = True
        self._last: tuple[Answer, tuple[Tensor, ...]] | None = None

    def __call__(self, inputs: Tensor, labels: Tensor, index: Tensor) -> ObjectiveResult | None:
        """The objective's result, or ``None`` where the batch has to go the plain way."""
        parameters = list(self.network.parameters())
        if self._seeds is None or not self._is_fit or any(map(_has_hooks, parameters)):
            return None
        seeds = drawn_seeds(self._seeds, inputs.device)
        loss, logits, in_trouble, *rest = replayed(
            self.network,
            self._key(),
            self._losses_and_gradients,
            *(inputs, labels, index, seeds),
            what=f"A training step of {type(self.objective).__name__}",
        )
        self._last = Answer(in_trouble), (inputs, labels, index)
        names = self.objective.terms
        for parameter, gradient in zip(parameters, rest[len(names) :], strict=True):
            parameter.grad = gradient if gradient.shape == parameter.shape else None
        return ObjectiveResult(loss, logits, dict(zip(names, rest, strict=False)))

    def troubled(self) -> tuple[Tensor, ...] | None:
        """The last batch, if something was wrong with it that the plain way can tell."""
        last, self._last = self._last, None
        return last[1] if last is not None and last[0] else None

    def watch(self, step: Callable[[], ObjectiveResult]) -> ObjectiveResult:
        """Take the first step, the plain way, and look at what it draws at random."""
        if self._seeds is not None:
            return step()
        drawn = 0

        def seeds() -> Iterator[Tensor]:
            nonlocal drawn
            while True:
                drawn += 1
                yield drawn_seeds(1)[0]

        before, others = torch.get_rng_state(), other_generators()
        device = next(self.network.parameters()).device
        with seeds_given(seeds()), on_side_stream(device):
            result = step()
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        drawn_seeds(drawn)
        self._is_fit = torch.equal(torch.get_rng_state(), after) and other_generators() == others
        torch.set_rng_state(after)
        self._seeds = drawn
        return result

    def _key(self) -> tuple[object, ...]:
        """What a capture depends on beside the network's weights: all that is no tensor's value."""
        remembered = tuple(laid_down(self.objective))
        learned = tuple(parameter.requires_grad for parameter in self.network.parameters())
        return self.objective, repr(self.objective.settings), remembered, learned, self._named

    def _losses_and_gradients(
        self, inputs: Tensor, labels: Tensor, index: Tensor, seeds: Tensor
    ) -> tuple[Tensor, ...]:
        """Loss, logits, whether something is wrong, terms, and the gradient of each parameter."""
        left = iter(seeds.unbind())
        with written_down() as book, seeds_given(left), self._precision():
            result = self.objective(self.network, inputs, labels, index)
        if next(left, None) is not None:
            raise RuntimeError("fewer random starts are drawn than at the first time")
        learned = [each for each in self.network.parameters() if each.requires_grad]
        found = iter(torch.autograd.grad(result.loss, learned, allow_unused=True))
        nothing = inputs.new_empty(len(learned) + 2, 0)  # of no parameter's shape
        gradients = [
            next(found) if parameter.requires_grad else None
            for parameter in self.network.parameters()
        ]
        loss = result.loss.detach()
        return (
            loss,
            result.logits.detach(),
            any_fault(book, inputs) | ~loss.isfinite(),
            *(result.terms[name] for name in self.objective.terms),
            *(nothing if gradient is None else gradient for gradient in gradients),
        )


def _has_hooks(parameter: nn.Parameter) -> bool:
    """Whether Python is to be called with the gradient, which only ``backward`` does."""
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)
