"""What is in a data set before a training, and what of it ruins models; and its MONAI datalists."""

from monai_ima.data_report.bundle_choice import FittingBundle, fitting_bundle
from monai_ima.data_report.facts import ImageFacts, image_facts
from monai_ima.data_report.findings import find_all
from monai_ima.data_report.page import data_page
from monai_ima.data_report.perceptual_hash import Pair, near_duplicates
from monai_ima.data_report.reading import ImageReader, ReadImage
from monai_ima.data_report.shortcut_search import Shortcut, shortcuts
from monai_ima.data_report.survey import Finding, Survey
from monai_ima.data_report.write import WrittenLists, write_datalists

__all__ = [
    "Finding",
    "FittingBundle",
    "ImageFacts",
    "ImageReader",
    "Pair",
    "ReadImage",
    "Shortcut",
    "Survey",
    "WrittenLists",
    "data_page",
    "find_all",
    "fitting_bundle",
    "image_facts",
    "near_duplicates",
    "shortcuts",
    "write_datalists",
]
