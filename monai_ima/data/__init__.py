"""Data sets as MONAI datalists: which images, split by patient, and how they are read."""

from monai_ima.data.datalist import Datalist, SampleList, list_samples, load_datalist
from monai_ima.data.images import CenterSquareCropd, LoadGreyd
from monai_ima.data.synthetic_oct import write_synthetic_oct

__all__ = [
    "CenterSquareCropd",
    "Datalist",
    "LoadGreyd",
    "SampleList",
    "list_samples",
    "load_datalist",
    "write_synthetic_oct",
]
