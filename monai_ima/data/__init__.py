"""Data sets as MONAI datalists or as tensors: which samples, how they are split and read."""

from monai_ima.data.cases import array_cases, beat_cases, image_cases, volume_cases
from monai_ima.data.class_balance import balanced_weights
from monai_ima.data.content import hash_of_item
from monai_ima.data.ecg import load_ecg
from monai_ima.data.fashion_mnist import load_fashion_mnist
from monai_ima.data.images import CenterSquareCropd, LoadIntensityd, reads_intensities
from monai_ima.data.listing import list_samples, load_datalist, read_cohort
from monai_ima.data.moons import load_plane
from monai_ima.data.orientation import orientation_of
from monai_ima.data.resident import ImageBatches, ResidentSamples
from monai_ima.data.sample import Cohort, Datalist, Sample, SampleList
from monai_ima.data.shares import SharedBatches, share_of_samples
from monai_ima.data.svhn import load_svhn
from monai_ima.data.synthetic_ecg import write_synthetic_ecg
from monai_ima.data.synthetic_fashion import write_synthetic_fashion
from monai_ima.data.synthetic_oct import write_synthetic_oct
from monai_ima.data.synthetic_svhn import write_synthetic_svhn
from monai_ima.data.synthetic_volumes import write_synthetic_volumes
from monai_ima.data.tensors import BatchSampler, TensorDatalist, TensorSamples, batches

__all__ = [
    "BatchSampler",
    "CenterSquareCropd",
    "Cohort",
    "Datalist",
    "ImageBatches",
    "LoadIntensityd",
    "ResidentSamples",
    "Sample",
    "SampleList",
    "SharedBatches",
    "TensorDatalist",
    "TensorSamples",
    "array_cases",
    "balanced_weights",
    "batches",
    "beat_cases",
    "hash_of_item",
    "image_cases",
    "list_samples",
    "load_datalist",
    "load_ecg",
    "load_fashion_mnist",
    "load_plane",
    "load_svhn",
    "orientation_of",
    "read_cohort",
    "reads_intensities",
    "share_of_samples",
    "volume_cases",
    "write_synthetic_ecg",
    "write_synthetic_fashion",
    "write_synthetic_oct",
    "write_synthetic_svhn",
    "write_synthetic_volumes",
]
