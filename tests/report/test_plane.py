import numpy as np
import pytest
import torch
from matplotlib.collections import PatchCollection
from matplotlib.contour import ContourSet

from monai_ima.report import plane_figure, plane_grid, spread_out

INPUTS = torch.tensor([[-1.0, 0.0], [-0.5, 0.7], [0.9, 0.1], [0.4, -0.6], [1.1, 0.8]])
LABELS = torch.tensor([0, 0, 1, 1, 1])
MARGINS = torch.tensor([0.5, 0.3, 0.2, 0.1, 0.4])


def figure(**arguments):
    grid, extent = plane_grid(INPUTS, 50)
    probability = torch.sigmoid(5 * (grid[..., 0] - 0.25))
    return plane_figure(INPUTS, LABELS, probability, extent, classes=("left", "right"), **arguments)


def balls(axes):
    """Extents of what is drawn around the samples: left, bottom, right, top."""
    filled = [c for c in axes.collections if isinstance(c, PatchCollection)][::2]
    return [path.get_extents().extents for group in filled for path in group.get_paths()]


@pytest.mark.parametrize(("norm", "corners"), [("linf", True), ("l2", False)])
def test_margins_are_balls_of_the_norm(norm, corners):
    axes = figure(margins=MARGINS, norm=norm).axes[0]
    expected = torch.cat([INPUTS - MARGINS[:, None], INPUTS + MARGINS[:, None]], dim=1)

    np.testing.assert_allclose(balls(axes), expected, atol=1e-6)
    path = next(c for c in axes.collections if isinstance(c, PatchCollection)).get_paths()[0]
    assert path.contains_point((-1.45, 0.45)) == corners  # of the first sample's square


def test_only_the_chosen_balls_are_drawn():
    axes = figure(margins=MARGINS, norm="linf", shown=torch.tensor([3, 0])).axes[0]
    np.testing.assert_allclose(balls(axes), [[-1.5, -0.5, -0.5, 0.5], [0.3, -0.7, 0.5, -0.5]])


def test_boundary_lies_where_the_probability_is_a_half():
    axes = figure().axes[0]
    (contour,) = [c for c in axes.collections if isinstance(c, ContourSet)]
    line = contour.get_paths()[0].vertices
    # The grid's points are the middles of the image's pixels.
    assert line[:, 0] == pytest.approx(0.25, abs=0.002)
    assert np.ptp(line[:, 1]) > 2


def test_without_margins_there_are_no_balls_and_no_word_of_them():
    axes = figure().axes[0]
    assert balls(axes) == []
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["left", "right", "decision boundary"]


def test_a_network_that_has_no_boundary_yet_is_drawn():
    grid, extent = plane_grid(INPUTS, 20)
    drawn = plane_figure(
        INPUTS, LABELS, torch.full(grid.shape[:2], 0.9), extent, classes=("a", "b")
    )
    assert not [c for c in drawn.axes[0].collections if isinstance(c, ContourSet)]


def test_grid_covers_samples_and_border_with_equal_spacing():
    grid, (left, right, bottom, top) = plane_grid(INPUTS, 90, border=0.5)

    assert (left, right, bottom, top) == pytest.approx((-1.5, 1.6, -1.1, 1.3))
    assert grid[0, 0].tolist() == pytest.approx([left, bottom])
    assert grid[-1, -1].tolist() == pytest.approx([right, top])
    x_step, y_step = (grid[1, 1] - grid[0, 0]).tolist()
    assert x_step == pytest.approx(y_step, rel=0.02)


def test_samples_are_spread_out():
    line = torch.tensor([[0.0], [0.1], [0.2], [5.0], [9.0], [10.0]])
    assert spread_out(line, 3).tolist() == [0, 5, 3]
    assert sorted(spread_out(line, 6).tolist()) == [0, 1, 2, 3, 4, 5]
