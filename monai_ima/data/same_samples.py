"""Whether several processes have the same samples, of which each takes a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_ima.data.content import at_a_glance
from monai_ima.data.tensors import TensorSamples
from monai_ima.distributed import from_all, processes


def check_same_samples(
    sections: Mapping[str, TensorSamples | Sequence[Mapping[str, Any]]],
) -> None:
    """Reject processes that see other data than the first one, as on two machines with a copy each.

    They would take one sample's margin for another's, or train with those that others test.

    Args:
        sections: samples by the name of their section.

    Raises:
        ValueError: in all processes, unless names, labels and sizes of files are the same in all.
    """
    if processes() == 1:
        return
    first, *others = from_all({name: at_a_glance(each) for name, each in sections.items()})
    for number, other in enumerate(others, start=1):
        for name in first:
            if first[name] != other[name]:
                raise ValueError(
                    f"expected the same samples in each of the {processes()} processes, got in process "
                    f"{number} other ones of {name} ({other[name][0]} samples) than in process 0 "
                    f"({first[name][0]}); let all of them read one copy of the data and of the list, "
                    "on a file system that every machine sees, or make the copies equal"
                )
