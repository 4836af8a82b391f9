"""How an image or a volume is looked at: which planes, which way round, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
# As a radiologist's screen shows them: what is at the left and at the top of the plane across an axis.
_SCREEN = {
    "axial": ("SI", "R", "A"),
    "coronal": ("AP", "R", "S"),
    "sagittal": ("RL", "A", "S"),
}
_LETTERS = {"S": "H", "I": "F"}  # head and feet, as DICOM has them


@dataclass(frozen=True)
class View:
    """A plane of an image as it is shown.

    Attributes:
        name: ``"axial, plane 14 of 48"``; ``"plane 14 of 48"`` where the orientation of a volume is not
            known, and empty for an image of one plane.
        edges: the letters at left, right, top and bottom, where they are known: ``R`` and ``L``, the
            patient's right and left, ``A`` and ``P``, front and back, ``H`` and ``F``, head and feet.
        cut: the axis that the plane lies across, and where; ``None`` of an image.
        turned: the second axis that is left goes down in place of across.
        flipped: whether rows, and whether columns, are shown from their ends.
    """

    name: str = ""
    edges: tuple[str, ...] = ()
    cut: tuple[int, int] | None = None
    turned: bool = False
    flipped: tuple[bool, bool] = (False, False)

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(C, H, W)``, as it is shown, of an image ``(C, H, W)`` or a volume ``(C, D, H, W)``."""
        if self.cut is None:
            return values
        axis, place = self.cut
        plane = np.take(values, place, axis=1 + axis)
        plane = plane.swapaxes(1, 2) if self.turned else plane
        axes = tuple(1 + at for at, is_flipped in enumerate(self.flipped) if is_flipped)
        return np.flip(plane, axes)


def views(change: NDArray[np.float64], orientation: str | None = None) -> list[View]:
    """The one view of an image, or the three planes of a volume that are changed most.

    Args:
        change: ``(C, H, W)`` or ``(C, D, H, W)``.
        orientation: of a volume, the direction in which each of its axes rises: ``"RAS"``, to the
            patient's right, to the front and to the head. Planes are then shown as on a radiologist's
            screen: the patient's right at the left, front and head at the top; sagittal ones from the
            patient's left. ``None`` where it is not known: planes are shown as they are stored.
    """
    if change.ndim < 4:
        return [View()]
    where, sides = most_changed(change), change.shape[1:]
    if orientation is None:
        return [
            View(f"plane {place + 1} of {side}", cut=(axis, place))
            for axis, (place, side) in enumerate(zip(where, sides, strict=True))
        ]
    return [_on_screen(name, orientation, where, sides) for name in _SCREEN]


def _on_screen(name: str, orientation: str, where: Sequence[int], sides: Sequence[int]) -> View:
    across, left, top = _SCREEN[name]
    axis = next(at for at, letter in enumerate(orientation) if letter in across)
    rows, columns = (
        next(at for at, letter in enumerate(orientation) if letter in (end, _OPPOSITE[end]))
        for end in (top, left)
    )
    ends = (left, _OPPOSITE[left], top, _OPPOSITE[top])
    return View(
        f"{name}, plane {where[axis] + 1} of {sides[axis]}",
        tuple(_LETTERS.get(end, end) for end in ends),
        cut=(axis, where[axis]),
        turned=columns < rows,
        # an axis that rises to what is to be at the left or at the top begins at the other end
        flipped=(orientation[rows] == top, orientation[columns] == left),
    )


def most_changed(change: NDArray[np.float64]) -> tuple[int, ...]:
    """Along each axis the place whose plane is changed most, the middle where nothing is.

    Args:
        change: ``(C, D, H, W)`` of a volume. Single voxels say nothing: an attack in Linf changes
            nearly all by as much.
    """
    size = np.abs(change).sum(axis=0)
    if not size.any():
        return tuple(side // 2 for side in size.shape)
    others = [tuple(set(range(size.ndim)) - {axis}) for axis in range(size.ndim)]
    return tuple(int(size.sum(axis=axes).argmax()) for axes in others)
