"""Figures hold the numbers that they are given."""

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from report.synthetic import attacked, ecg_example, oct_example, synthetic_report, volume_example

from monai_ima.data.synthetic_oct import CLASSES
from monai_ima.report import (
    Units,
    class_figure,
    example_figure,
    margin_figure,
    robustness_figure,
    white_noise_figure,
)
from monai_ima.report.drawing import as_image, as_png, as_svg

FIVE = ("N", "S", "V", "F", "Q")


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def line(axes, label):
    (found,) = (line for line in axes.get_lines() if line.get_label() == label)
    return found.get_xdata(), found.get_ydata()


def curve_of(**settings):
    report, *_ = synthetic_report(norms=("linf",), **settings)
    return report["curves"][0]


def test_robustness_figure_draws_curve_balanced_accuracy_chance_and_median():
    curve = curve_of()
    figure = robustness_figure(curve, label="ours")
    (axes,) = figure.axes
    for label, key in (("ours, band 95 %", "accuracy"), ("balanced accuracy", "balanced_accuracy")):
        x, y = line(axes, label)
        assert x.tolist() == curve["eps"]
        assert y.tolist() == curve[key]
    assert list(line(axes, "chance 0.25")[1]) == [0.25, 0.25]
    median = curve["median_margin"]
    assert list(line(axes, f"median margin {median:.3g}")[0]) == [median, median]
    assert "noise level (L∞ radius, in units of the input)" in texts(figure)


def test_a_class_without_samples_is_no_part_of_chance():
    curve = curve_of()
    curve["per_class"] = [[None] * len(curve["eps"]), *curve["per_class"][1:]]
    (axes,) = robustness_figure(curve).axes
    assert list(line(axes, "chance 0.33")[1]) == [1 / 3, 1 / 3]


def test_robustness_figure_draws_both_intervals():
    curve = curve_of()
    band, bars = robustness_figure(curve).axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(min(curve["low"]))
    assert heights.max() == pytest.approx(max(curve["high"]))
    assert [tuple(bar[:, 1]) for bar in bars.get_segments()] == list(
        zip(curve["patient_low"], curve["patient_high"], strict=True)
    )


def test_robustness_figure_without_patients_and_median_has_neither():
    curve = curve_of() | {"patient_low": None, "patient_high": None, "median_margin": None}
    figure = robustness_figure(curve)
    assert len(figure.axes[0].collections) == 1
    assert not any("median" in text or "patients" in text for text in texts(figure))


def test_a_median_beyond_the_levels_is_said_and_leaves_the_curve_its_place():
    curve = curve_of() | {"median_margin": 5.0}
    (axes,) = robustness_figure(curve).axes
    assert axes.get_xlim()[1] < 1.2 * curve["eps"][-1]
    assert "median margin 5, beyond the levels" in texts(axes.figure)
    figure = margin_figure(torch.tensor([5.0, 5.0]), curve["eps"], 5.0)
    assert "median margin 5, beyond the levels" in texts(figure)


@pytest.mark.parametrize("classes", [2, 20])
def test_class_figure_draws_each_class_in_every_panel(classes):
    names = [f"class {c}" for c in range(classes)]
    curve = curve_of(classes=names, n=60)
    figure = class_figure(curve, names)
    shown = {
        "sensitivity": "per_class",
        "specificity": "specificity",
        "pos. predictive value": "positive_predictive_value",
    }
    for axes, (name, key) in zip(figure.axes, shown.items(), strict=True):
        assert axes.get_ylabel() == f"{name} under attack"
        lines = [drawn.get_ydata() for drawn in axes.get_lines()]
        np.testing.assert_array_equal(lines, np.array(curve[key], dtype=float))
        looks = {(drawn.get_color(), drawn.get_marker()) for drawn in axes.get_lines()}
        assert len(looks) == classes
        assert {drawn.get_linestyle() for drawn in axes.get_lines()} == {"-"}
    assert set(names) <= texts(figure)


@pytest.mark.parametrize("length", [1, 5, 8, 15, 17])
def test_the_legend_of_many_classes_is_no_wider_than_the_figure(length):
    names = [f"{c:e>{length}}" for c in "abcdefghijklmnopqrst"]
    figure = class_figure(curve_of(classes=names, n=60), names)
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_class_figure_leaves_out_a_class_without_samples():
    curve = curve_of()
    curve["per_class"][1] = [None] * len(curve["eps"])
    curve["positive_predictive_value"][2][-1] = None
    figure = class_figure(curve, CLASSES)
    assert np.isnan(figure.axes[0].get_lines()[1].get_ydata()).all()
    assert np.isnan(figure.axes[2].get_lines()[2].get_ydata()).tolist() == [False] * 6 + [True]
    figure.draw_without_rendering()


def test_class_names_are_drawn_as_they_are_and_long_ones_with_both_ends():
    names = ["costs $1 and $2", "_hidden", "a name that is much too long for any legend"]
    figure = class_figure(curve_of(classes=names), names)
    figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [r"costs \$1 and \$2", " _hidden", "a name that is …r any legend"]


def test_classes_whose_shortened_names_are_one_are_told_apart():
    names = [f"{'very ' * 5}{c}{' long' * 5}" for c in "abc"] + ["short"]
    figure = class_figure(curve_of(classes=names), names)
    shown = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert shown == names


@pytest.mark.parametrize("make", [oct_example, ecg_example, volume_example])
def test_dollars_in_the_names_of_classes_are_drawn_once_and_as_they_are(make):
    example = make("", 0, 0.01)
    names = ["5$ to 10$", "$a_{b$", "$c$", "d$$", "_e"][: len(example.clean_probabilities)]
    figure = example_figure([example], classes=names, norm="linf", bounds=(0, 1))
    figure.draw_without_rendering()
    (said,) = (
        text for text in texts(figure) if "to 10" in text and "true" not in text and "0." in text
    )
    assert r"5\$ to 10\$ 0." in said


def test_margins_add_up_and_those_beyond_the_levels_stand_apart():
    # as the curve has it: what is just beyond the largest level is robust there
    margins = torch.tensor([0.001, 0.011, 0.011, 0.03, 0.030001, math.inf], dtype=torch.float64)
    figure = margin_figure(margins, [0.0, 0.03], 0.011)
    (axes,) = figure.axes
    *bars, stood = axes.patches
    assert sum(bar.get_height() for bar in bars) == 4
    assert bars[-1].get_height() == 1
    assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(0.03)
    assert stood.get_height() == 2
    assert stood.get_x() > 0.03
    assert {"2 of 6 robust at every level", "median margin 0.011"} <= texts(figure)


def test_margin_figure_of_no_samples():
    assert "0 of 0 robust at every level" in texts(margin_figure(torch.empty(0), [0, 1.0], None))


def test_white_noise_figure_draws_both_shares_of_both_kinds():
    curve = curve_of()
    (axes,) = white_noise_figure(curve).axes
    for kind in ("uniform", "gaussian"):
        noise = curve["white_noise"][kind]
        assert line(axes, f"{kind}, any of 20 draws")[1].tolist() == noise["samples"]
        assert line(axes, f"{kind}, of all draws")[1].tolist() == noise["draws"]


def test_white_noise_figure_of_a_classifier_that_is_always_wrong():
    curve = curve_of(levels=2) | {"accuracy": [0.0, 0.0]}
    (axes,) = white_noise_figure(curve).axes
    assert len(axes.get_lines()) == 4


def colors(figure):
    return {text.get_text(): text.get_color() for text in figure.findobj(Text)}


def pictures(figure):
    shown = [axes.get_images() for axes in figure.axes]
    return [images[0].get_array().data for images in shown if images]


def overlays(figure):
    """The maps of changes, as RGBA."""
    return [
        image.get_array().data
        for axes in figure.axes
        for image in axes.get_images()
        if image.get_array().shape[2:] == (4,)
    ]


def test_grey_images_are_drawn_with_a_map_of_the_change_and_its_scale():
    clean = torch.linspace(-1, 3, 30).reshape(1, 5, 6)
    example = attacked(clean, "", 1, 0.1, 4, seed=0)
    change = 0.1 * torch.linspace(-1, 1, 30).reshape(1, 5, 6)
    example.attacked.copy_(clean + change)
    figure = example_figure([example], classes=CLASSES, norm="linf", bounds=(-1, 3))
    before, _, after = pictures(figure)
    assert before == pytest.approx((clean[0].numpy() + 1) / 4)
    assert after == pytest.approx(np.clip(((clean + change)[0].numpy() + 1) / 4, 0, 1))
    (overlay,) = overlays(figure)
    assert overlay[..., 3] == pytest.approx(np.abs(change[0].numpy()) / 0.1, abs=1e-5)
    assert {"the change", "-0.1", "0.1", "true: DME", "DME 0.94", "DRUSEN 0.50"} <= texts(figure)
    assert "sample-0-1.png, patient 0, margin 0.1 (L∞)" in texts(figure)
    assert colors(figure)["DME 0.94"] != colors(figure)["DRUSEN 0.50"]


def test_an_example_that_stood_is_said_to():
    example = oct_example("hardest to break", 2, math.inf)
    shown = texts(example_figure([example], classes=CLASSES, norm="l2", bounds=(0, 1)))
    assert "sample-0-2.png, patient 0, no error found at any level" in shown


def test_what_is_not_known_of_an_example_is_not_said():
    example = oct_example("", 0, 0.01)
    for name, value in (("id", ""), ("patient", None), ("margin", None)):
        object.__setattr__(example, name, value)
    figure = example_figure(
        [example] * 2, classes=CLASSES, norm="l2", bounds=(0, 1), title="20-PGD"
    )
    assert len(pictures(figure)) == 6
    assert not any("patient" in text or "margin" in text for text in texts(figure))
    assert "20-PGD" in texts(figure)


def test_of_a_volume_of_which_nothing_else_is_known_the_class_is_said():
    example = volume_example("", 0, 0.02)
    for name, value in (("id", ""), ("patient", None), ("margin", None)):
        object.__setattr__(example, name, value)
    figure = example_figure([example], classes=["healthy", "lesion"], norm="l2", bounds=(0, 1))
    assert "true: healthy" in texts(figure)


def test_an_error_found_after_the_measurement_is_not_denied():
    example = oct_example("hardest to break", 0, math.inf)
    assert any("no error found" in text for text in texts(one(example)))
    object.__setattr__(example, "attacked_probabilities", torch.tensor([0.1, 0.9, 0.0, 0.0]))
    said = " ".join(" ".join(texts(one(example))).split())
    assert "no error found" not in said
    assert "PGD finds an error afterwards" in said


def one(example):
    return example_figure([example], classes=CLASSES, norm="linf", bounds=(0, 1))


def test_three_channels_are_drawn_in_color():
    clean = torch.rand(3, 5, 6)
    example = attacked(clean, "", 0, 0.1, 4, seed=0)
    before, *_ = pictures(example_figure([example], classes=CLASSES, norm="l2", bounds=(0, 1)))
    assert before == pytest.approx(clean.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("bounds", [(0, 1), None])
def test_a_volume_shows_the_planes_that_are_changed_most(bounds):
    example = volume_example("", 0, 0.02)
    example.attacked.copy_(example.clean)
    example.attacked[0, 3, 20, 7] += 0.4
    example.attacked[0, 0, 0, 0] -= 0.3
    figure = example_figure([example], classes=("no", "yes"), norm="l2", bounds=bounds)
    shown = pictures(figure)
    assert len(shown) == 9  # clean, change and attacked of three planes
    clean = example.clean[0].numpy()
    low, high = bounds or (clean.min(), clean.max())
    for before, plane in zip(shown[::3], (clean[3], clean[:, 20], clean[:, :, 7]), strict=True):
        assert before == pytest.approx((plane - low) / (high - low), abs=1e-6)
    assert {"plane 4 of 32", "plane 21 of 48", "plane 8 of 32"} <= texts(figure)
    assert any("true: no" in text for text in texts(figure))


def test_of_an_unchanged_volume_the_middle_is_shown():
    volume = torch.rand(1, 6, 8, 10)
    example = attacked(volume, "", 0, 0.0, 4, seed=0)
    example.attacked.copy_(volume)
    before, *_ = pictures(example_figure([example], classes=CLASSES, norm="l2", bounds=(0, 1)))
    assert before == pytest.approx(volume[0, 3].numpy())


@pytest.mark.parametrize("clean", [torch.full((1, 4, 4), 0.5), torch.rand(1, 30)])
def test_an_unchanged_sample_is_drawn_once(clean):
    example = attacked(clean, "", 0, math.inf, 4, seed=0)
    example.attacked.copy_(clean)
    figure = example_figure([example], classes=CLASSES, norm="l2", bounds=None)
    shown = [axes for axes in figure.axes if axes.get_images() or axes.get_lines()]
    assert len(shown) == 1
    assert len(shown[0].get_lines()) <= 1
    assert not any("attacked" in text for text in texts(figure))


def test_a_volume_of_known_orientation_has_its_planes_named():
    example = volume_example("", 0, 0.02)
    figure = example_figure(
        [example], classes=("no", "yes"), norm="l2", bounds=(0, 1), orientation="RAS"
    )
    said = [text.get_text() for text in figure.findobj(Text)]
    assert [sum(name in text for text in said) for name in ("axial", "coronal", "sagittal")] == [
        1
    ] * 3
    assert [said.count(letter) for letter in "RLAPHF"] == [6] * 6


def test_a_signal_is_drawn_attacked_over_clean_with_the_change_below():
    example = ecg_example("", 3, 0.02)
    units = Units("percent of the range", per_unit=100, values=187)
    for given, scale, name in ((None, 1, "units of the input"), (units, 100, units.name)):
        figure = example_figure([example], classes=FIVE, norm="linf", bounds=(0, 1), units=given)
        above, below = figure.axes
        clean, noisy = above.get_lines()
        assert clean.get_ydata() == pytest.approx(example.clean[0].numpy())
        assert noisy.get_ydata() == pytest.approx(example.attacked[0].numpy())
        (drawn,) = below.get_lines()
        change = (example.attacked.double() - example.clean.double())[0].numpy()
        assert drawn.get_ydata() == pytest.approx(scale * change)
        assert {f"the change, in {name}", "clean: F 0.94", "attacked: Q 0.50"} <= texts(figure)


def test_channels_of_a_signal_are_drawn_below_one_another():
    example = ecg_example("", 0, 0.02, channels=12)
    above, below = example_figure([example], classes=FIVE, norm="l2", bounds=(0, 1)).axes
    starts = [drawn.get_ydata()[0] for drawn in above.get_lines()[:12]]
    assert starts == sorted(starts, reverse=True)
    assert len(set(starts)) == len(below.get_lines()) == 12


def test_features_without_channels_are_drawn_as_one_line():
    example = attacked(torch.rand(9), "", 0, 0.1, 4, seed=0)
    above, _ = example_figure([example], classes=CLASSES, norm="l2", bounds=None).axes
    assert len(above.get_lines()) == 2


def test_files_of_a_figure_are_the_same_bytes_each_time():
    def drawn():
        example = oct_example("", 0, 0.01, size=(32, 32))
        figure = example_figure([example], classes=CLASSES, norm="l2", bounds=(0, 1))
        return as_png(figure), as_svg(robustness_figure(curve_of()))

    assert drawn() == drawn()


def test_the_file_of_a_picture_has_its_colors():
    example = oct_example("", 0, 0.01, size=(64, 64))
    figure = example_figure([example], classes=CLASSES, norm="l2", bounds=(0, 1))
    shown = np.asarray(Image.open(BytesIO(as_png(figure))).convert("RGB"))
    assert np.array_equal(shown, as_image(figure))


@pytest.mark.parametrize("drawn", [as_image, as_svg, as_png])
@pytest.mark.filterwarnings("error")
def test_a_name_in_a_script_that_the_font_lacks_is_no_warning(drawn):
    names = ["心", "🫀", "c"]
    drawn(class_figure(curve_of(classes=names), names))
