"""What a person looks at: figures and the HTML report. Nothing is computed here that a file needs."""

from monai_ima.report.changes import Change, change_figure
from monai_ima.report.curves import (
    class_figure,
    curve_figure,
    curve_figures,
    margin_figure,
    robustness_figure,
    white_noise_figure,
)
from monai_ima.report.drawing import NORM_NAMES, as_image, as_png
from monai_ima.report.examples import Example, example_figure
from monai_ima.report.html import html_report
from monai_ima.report.markdown import markdown_table, markdown_text
from monai_ima.report.plane import plane_figure, plane_grid, spread_out
from monai_ima.report.units import BEAT_UNITS, Units, image_units

__all__ = [
    "BEAT_UNITS",
    "NORM_NAMES",
    "Change",
    "Example",
    "Units",
    "as_image",
    "as_png",
    "change_figure",
    "class_figure",
    "curve_figure",
    "curve_figures",
    "example_figure",
    "html_report",
    "image_units",
    "margin_figure",
    "markdown_table",
    "markdown_text",
    "plane_figure",
    "plane_grid",
    "robustness_figure",
    "spread_out",
    "white_noise_figure",
]
