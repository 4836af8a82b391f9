"""The drawing of what would change an answer."""

import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage
from matplotlib.text import Text

from monai_ima.report import Change, as_image, change_figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def drawn(inputs, *changed):
    changes = [
        Change(caption=f"change {n}", inputs=c, answer="DME 0.51") for n, c in enumerate(changed)
    ]
    return change_figure(inputs, "CNV 0.98", changes, bounds=(0.0, 1.0), title="case $1")


def overlays(figure):
    """The images that are drawn over another, as RGBA."""
    arrays = [image.get_array() for image in figure.findobj(AxesImage)]
    return [array for array in arrays if array.shape[2:] == (4,)]


@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 6, 8), (1, 4, 6, 8), (1, 20), (3, 20)])
def test_all_forms_are_drawn_with_both_answers(shape):
    inputs = torch.rand(shape)
    figure = drawn(inputs, inputs + 0.1, inputs - 0.1)
    assert as_image(figure).ndim == 3
    said = " ".join(texts(figure))
    for text in ("CNV 0.98", "DME 0.51", "change 0", "change 1", r"case \$1"):
        assert text in said


def test_overlay_is_red_where_brighter_blue_where_darker_and_clear_elsewhere():
    inputs = torch.full((1, 4, 4), 0.5)
    changed = inputs.clone()
    changed[0, 0, 1], changed[0, 2, 3] = 0.7, 0.4
    (overlay,) = overlays(drawn(inputs, changed))
    red, blue = overlay[0, 1], overlay[2, 3]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert red[3] == pytest.approx(2 * blue[3], rel=1e-5)
    assert np.count_nonzero(overlay[..., 3]) == 2


def test_colours_are_those_of_the_change_and_not_of_the_case():
    inputs = torch.tensor([0.9, 0.0, 0.0])[:, None, None].expand(3, 4, 4).clone()
    changed = inputs.clone()
    changed[:, 1, 1] += 0.1
    pictures = [image.get_array() for image in drawn(inputs, changed).findobj(AxesImage)]
    below = [picture for picture in pictures if picture.ndim == 2]
    assert len(below) == 1
    assert np.allclose(below[0], 0.3)
    assert sum(picture.shape == (4, 4, 3) for picture in pictures) == 2


def test_planes_of_a_volume_are_those_that_are_changed_most():
    inputs = torch.zeros(1, 5, 4, 4)
    changed = inputs.clone()
    changed[0, 3, 2, 1] = 0.2
    figure = drawn(inputs, changed)
    found = [np.argwhere(overlay[..., 3]).tolist() for overlay in overlays(figure)]
    assert found == [[[2, 1]], [[3, 1]], [[3, 2]]]
    assert {"plane 4 of 5", "plane 3 of 4", "plane 2 of 4"} <= set(texts(figure))


def test_no_change_is_drawn_as_none():
    inputs = torch.rand(1, 4, 4)
    (overlay,) = overlays(drawn(inputs, inputs))
    assert not overlay[..., 3].any()
