"""DICOM files as scanners write them, made by pydicom."""

import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SERIES = generate_uid()


def write_dicom(path, pixels, **tags):
    """A file of one frame; tags by their keyword."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID = SERIES
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, volume, *, thickness=3.0, names="slice{}.dcm", **tags):
    """A volume ``(slices, rows, columns)``, the last slice first, as folders often have it."""
    for number, pixels in enumerate(volume):
        place = {
            "InstanceNumber": number + 1,
            "ImagePositionPatient": [-10.0, -20.0, thickness * number],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.25],
        }
        write_dicom(folder / names.format(len(volume) - number), pixels, **(place | tags))
    return folder
