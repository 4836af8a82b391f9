"""The drawing of what would change an answer."""

import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage
from matplotlib.text import Text

from monai_ima.report import Change, Units, as_image, change_figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def drawn(inputs, *changed):
    changes = [
        Change(caption=f"change {n}", inputs=c, answer="DME 0.51") for n, c in enumerate(changed)
    ]
    return change_figure(inputs, "CNV 0.98", changes, bounds=(0.0, 1.0), title="case $1")


def overlays(figure):
    """The maps of changes, that are drawn over the case, as RGBA."""
    arrays = [image.get_array().data for image in figure.findobj(AxesImage)]
    return [array for array in arrays if array.shape[2:] == (4,)]


@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 6, 8), (1, 4, 6, 8), (1, 20), (3, 20)])
def test_all_forms_are_drawn_with_both_answers(shape):
    inputs = torch.rand(shape)
    figure = drawn(inputs, inputs + 0.1, inputs - 0.1)
    assert as_image(figure).ndim == 3
    said = " ".join(texts(figure))
    for text in ("CNV 0.98", "DME 0.51", "change 0", "change 1", r"case \$1"):
        assert text in said


def test_the_map_is_red_where_brighter_blue_where_darker_and_clear_elsewhere():
    inputs = torch.full((1, 4, 4), 0.5)
    changed = inputs.clone()
    changed[0, 0, 1], changed[0, 2, 3], changed[0, 3, 3] = 0.7, 0.4, 0.7
    (overlay,) = overlays(drawn(inputs, changed))
    red, blue = overlay[0, 1], overlay[2, 3]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert red[3] == pytest.approx(2 * blue[3], rel=1e-5)
    assert np.count_nonzero(overlay[..., 3]) == 3


def test_the_scale_is_in_units_of_the_data():
    inputs = torch.full((1, 4, 4), 0.5)
    units = Units("grey levels of 255", per_unit=255, values=16)
    changes = [Change(caption="", inputs=inputs + 0.02, answer="")]
    for given, end, name in (
        (None, "0.02", "units of the input"),
        (units, "5.1", "grey levels of 255"),
    ):
        figure = change_figure(inputs, "", changes, bounds=(0, 1), title="", units=given)
        said = texts(figure)
        assert {f"-{end}", "0", end} <= set(said)
        assert any(name in text.replace("\n", " ") for text in said)
        assert not any(" x " in text for text in said)  # a scale, and no factor


def test_one_pixel_does_not_make_the_others_pale():
    inputs = torch.zeros(1, 20, 20)
    changed = inputs + 0.1
    changed[0, 0, 0] = 1
    (overlay,) = overlays(drawn(inputs, changed))
    assert overlay[..., 3] == pytest.approx(1, abs=1e-5)


def test_of_colours_the_map_is_the_largest_change_over_the_case_in_grey():
    inputs = torch.tensor([0.9, 0.0, 0.0])[:, None, None].expand(3, 4, 4).clone()
    changed = inputs.clone()
    changed[0, 1, 1], changed[1, 1, 1] = 0.7, 0.1  # in the mean they would cancel
    changed[2, 2, 2] = 0.2
    figure = drawn(inputs, changed)
    (overlay,) = overlays(figure)
    assert np.argwhere(overlay[..., 3]).tolist() == [[1, 1], [2, 2]]
    assert overlay[1, 1] == pytest.approx(overlay[2, 2], abs=1e-3)
    pictures = [image.get_array() for image in figure.findobj(AxesImage)]
    assert sum(picture.shape == (4, 4) and np.ptp(picture) == 0 for picture in pictures) == 1
    assert sum(picture.shape == (4, 4, 3) for picture in pictures) == 2
    assert "0" in texts(figure)
    assert not any("darker" in text for text in texts(figure))


def test_planes_of_a_volume_are_those_that_are_changed_most():
    inputs = torch.zeros(1, 5, 4, 4)
    changed = inputs.clone()
    changed[0, 3, 2, 1] = 0.2
    figure = drawn(inputs, changed)
    found = [np.argwhere(overlay[..., 3]).tolist() for overlay in overlays(figure)]
    assert found == [[[2, 1]], [[3, 1]], [[3, 2]]]
    assert {"plane 4 of 5", "plane 3 of 4", "plane 2 of 4"} <= set(texts(figure))
    assert not {"R", "L", "A", "P", "H", "F"} & set(texts(figure))


def test_planes_of_known_orientation_have_names_and_sides():
    inputs = torch.zeros(1, 5, 4, 4)
    changed = inputs.clone()
    changed[0, 3, 2, 1] = 0.2
    changes = [Change(caption="", inputs=changed, answer="")]
    figure = change_figure(inputs, "", changes, bounds=(0, 1), title="", orientation="LPS")
    said = texts(figure)
    assert {"axial\nplane 2 of 4", "coronal\nplane 3 of 4", "sagittal\nplane 4 of 5"} <= set(said)
    assert [said.count(letter) for letter in "RLAPHF"] == [6] * 6
    # stored from right to left and from front to back, as the screen has it; the head is at the top
    found = [np.argwhere(overlay[..., 3]).tolist() for overlay in overlays(figure)]
    assert found == [[[2, 3]], [[2, 3]], [[2, 2]]]
    assert "the patient's right is at the left" in " ".join(said).replace("\n", " ")


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 20), (1, 4, 5, 6)])
def test_a_case_for_which_nothing_was_found_is_drawn_once(shape):
    inputs = torch.rand(shape)
    figure = drawn(inputs, inputs, inputs)
    said = " ".join(texts(figure))
    assert "change 0" in said
    assert "change 1" in said
    assert "CNV 0.98" in said
    assert "DME" not in said
    assert "the answer changes" not in said
    assert overlays(figure) == []
    shown = [axes for axes in figure.axes if axes.get_images() or axes.get_lines()]
    assert len(shown) == (3 if len(shape) == 4 else 1)
    assert all(len(axes.get_lines()) <= 1 for axes in shown)


def test_what_was_not_found_beside_a_change_is_said_and_not_drawn():
    inputs = torch.rand(1, 4, 4)
    figure = drawn(inputs, inputs + 0.1, inputs)
    assert len(overlays(figure)) == 1
    assert "change 1" in " ".join(texts(figure))


def test_that_the_answer_changes_there_is_said_to_be_so_by_construction():
    inputs = torch.rand(1, 4, 4)
    said = " ".join(texts(drawn(inputs, inputs + 0.1))).replace("\n", " ")
    assert "That is where the answer changes" in said
    assert "equally probable there, by construction (0.50 each of two classes)" in said
    assert "no sign of doubt" in said
