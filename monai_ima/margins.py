"""Algorithm 2: one margin per training sample."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from monai_ima.faults import require


class MarginStore(nn.Module):
    """Margins of all training samples: estimated distances to the decision boundary.

    Each starts at ``delta``. A module, so that a checkpoint holds the margins as a tensor, they
    move with ``.to(device)``, and a store of another size, or with a margin that is not from
    ``delta`` to ``eps_max``, is rejected on loading.

    Args:
        num_samples: number of training samples; a sample is named by its index in the datalist.
        delta: expansion step of a margin, and its smallest value, in units of the inputs.
        eps_max: largest margin (the paper's noise level), in units of the inputs.

    Raises:
        ValueError: if there is no sample, or not ``0 < delta <= eps_max < inf``.

    Source:
        Ma and Liang, Increasing-Margin Adversarial (IMA) Training, 2020, Algorithm 2.
    """

    margins: Tensor

    def __init__(self, num_samples: int, delta: float, eps_max: float) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"expected at least one training sample, got {num_samples}")
        if not 0 < delta <= eps_max < math.inf:
            raise ValueError(
                f"expected 0 < delta <= eps_max, got delta={delta} and eps_max={eps_max}; eps_max "
                "is the largest noise to defend against, delta how much of it a margin grows by at "
                "an update, for instance eps_max / epochs"
            )
        self.delta = float(delta)
        self.eps_max = float(eps_max)
        self.register_buffer("margins", torch.full((num_samples,), self.delta))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        found = state_dict.get(f"{prefix}margins")
        if isinstance(found, Tensor):
            # in the type of the store, in which both ends were rounded
            bounded = found.to(self.margins.dtype)
            outside = int((bounded != bounded.clamp(self.delta, self.eps_max)).sum())
            if outside:  # not a number is unequal to itself
                error_msgs.append(
                    f"expected margins from delta={self.delta:g} to eps_max={self.eps_max:g}, got "
                    f"{outside} of {found.numel()} others"
                )
                return
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def __len__(self) -> int:
        return len(self.margins)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Margins ``(N,)`` of the samples with these indices ``(N,)``.

        Raises:
            IndexError: if the store has no such sample.
        """
        if len(index) == 0:
            return self.margins[index]
        low, high = index.aminmax()
        require(
            (low >= 0) & (high < len(self)),
            lambda: IndexError(
                f"expected sample indices from 0 to {len(self) - 1}, "
                f"got {low.item()} to {high.item()}; "
                "is this the training set that the margins belong to?"
            ),
        )
        known = index.clamp(
            0, len(self) - 1
        )  # by any other a CUDA kernel would fail, without a word
        return self.margins[known.to(self.margins.device)]

    @torch.no_grad()
    def update(
        self,
        index: Tensor,
        *,
        correct: Tensor,
        crossed: Tensor,
        distance: Tensor,
        expansions: Tensor | int = 1,
    ) -> None:
        """Lines 3 to 14 of Algorithm 2 for the samples with these indices.

        Of a sample that is named twice, as by up-sampling, the smaller margin counts.

        Args:
            index: ``(N,)`` indices of the samples.
            correct: ``(N,)`` bool, the clean sample is correctly classified.
            crossed: ``(N,)`` bool, B-PGD crossed the decision boundary (case 1).
            distance: ``(N,)`` norm of the perturbation that B-PGD found, in units of the inputs.
            expansions: how many times ``delta`` a margin grows by where nothing was found, of each
                ``(N,)`` or of all.
        """
        margins = self[index]
        correct, crossed, distance = (
            values.to(margins.device) for values in (correct, crossed, distance)
        )
        if isinstance(expansions, Tensor):
            expansions = expansions.to(margins)
        expanded = margins + self.delta * expansions
        updated = torch.where(crossed, distance.to(margins.dtype), expanded)
        updated = torch.where(correct, updated, self.delta)
        self.margins.scatter_reduce_(
            0,
            index.to(margins.device),
            updated.clamp(self.delta, self.eps_max),
            reduce="amin",
            include_self=False,
        )
