"""DICOM as scanners write it."""

import sys

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Spacingd

from monai_ima.data import LoadIntensityd, image_cases, load_datalist
from monai_ima.data.images import count_channels

pydicom = pytest.importorskip("pydicom")
from dicom_files import write_dicom, write_series
from pydicom.dataset import Dataset, FileMetaDataset

LEVELS = np.arange(6, dtype=np.uint16).reshape(2, 3) * 100
VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def load(path, **options):
    return LoadIntensityd("image", **options)({"image": str(path)})["image"]


def test_a_file_is_upright_and_scaled_by_itself(tmp_path):
    image = load(write_dicom(tmp_path / "image.dcm", LEVELS))

    assert image.shape == (1, 2, 3)
    torch.testing.assert_close(
        image.as_tensor()[0], torch.from_numpy(LEVELS.astype(np.float32)) / 500
    )


def test_a_range_is_in_the_modality_s_units(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS, RescaleSlope=2, RescaleIntercept=-1000)

    image = load(path, intensity_range=[-1000, -200])  # -1000, -800, ..., 0

    assert image.flatten().tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


def test_what_is_shown_inverted_is_read_as_it_is_shown(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS, PhotometricInterpretation="MONOCHROME1")

    torch.testing.assert_close(
        load(path).as_tensor()[0], 1 - torch.from_numpy(LEVELS.astype(np.float32)) / 500
    )


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619.2.55", "IM1.IMA"])
def test_a_file_of_another_name_is_known_by_its_first_bytes(tmp_path, name):
    path = write_dicom(tmp_path / name, LEVELS)

    assert load(path).shape == (1, 2, 3)
    assert [case["image"] for case in image_cases(tmp_path)] == [str(path)]


def enhanced(path, **tags):
    """A file that says of its one frame in a group what others say for themselves."""
    data, group, about = pydicom.dcmread(path), Dataset(), Dataset()
    for name, value in tags.items():
        setattr(about, name, value)
    group.PixelValueTransformationSequence = pydicom.Sequence([about])
    data.SharedFunctionalGroupsSequence = pydicom.Sequence([group])
    data.save_as(path)
    return path


def test_units_of_an_enhanced_file_of_one_frame_are_kept(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS, NumberOfFrames=1)
    enhanced(path, RescaleSlope=2, RescaleIntercept=-1000)

    image = load(path, intensity_range=[-1000, -200])

    assert image.flatten().tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


def test_a_table_of_units_is_rejected(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS)
    data, table = pydicom.dcmread(path), Dataset()
    table.ModalityLUTType = "OD"
    data.ModalityLUTSequence = pydicom.Sequence([table])
    data.save_as(path)

    with pytest.raises(ValueError, match=r"image.dcm .*got places in a table .*apply_modality_lut"):
        load(path)


def report(path):
    """DICOM without an image, as a DICOMDIR or a structured report is."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.1.3.10", pydicom.uid.generate_uid()
    data.save_as(path, enforce_file_format=True)
    return path


def test_what_lies_beside_the_slices_of_a_series_is_passed_over(tmp_path):
    folder = write_series(tmp_path / "T1 [axial]", VOLUME)
    expected = load(write_series(tmp_path / "alone", VOLUME)).as_tensor()
    report(folder / "DICOMDIR")
    (folder / "other").mkdir()
    for name in ("Thumbs.db", "._slice1.dcm"):
        (folder / name).write_bytes(bytes(200))

    torch.testing.assert_close(load(folder).as_tensor(), expected)
    assert count_channels(folder) == 1


def test_dicom_without_an_image_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"DICOMDIR .*got DICOM without one"):
        load(report(tmp_path / "DICOMDIR"))


def test_what_decodes_a_compressed_file_is_said(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS)
    data = pydicom.dcmread(path)
    data.PixelData = pydicom.encaps.encapsulate([b"compressed"])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    data.save_as(path)
    if pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1).is_available:
        pytest.skip("this installation decodes it")

    with pytest.raises(ValueError, match=r"image.dcm .*pip install python-gdcm"):
        load(path)


def test_colour_is_kept_or_becomes_luminance(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    path = write_dicom(tmp_path / "image.dcm", colours)

    torch.testing.assert_close(load(path, colour=True).as_tensor(), torch.eye(3).reshape(3, 1, 3))
    assert load(path).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert count_channels(path) == 3


def test_a_series_is_a_volume_in_the_order_of_its_slices(tmp_path):
    folder = write_series(tmp_path / "series", VOLUME)
    (folder / "DICOMDIR.txt").write_text("not a slice")

    image = load(folder)

    assert image.shape == (1, 3, 4, 2)
    expected = torch.from_numpy(VOLUME.astype(np.float32)).movedim(0, -1) / 23
    torch.testing.assert_close(image.as_tensor()[0], expected)
    assert count_channels(folder) == 1


def test_a_series_knows_where_it_lies(tmp_path):
    folder = write_series(tmp_path / "series", VOLUME)
    transform = Compose(
        [
            LoadIntensityd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
        ]
    )

    image = transform({"image": folder})["image"]

    assert image.shape == (1, 4, 3, 2)  # right, anterior, superior
    assert image.pixdim.tolist() == pytest.approx([0.25, 0.5, 3])
    isotropic = Spacingd("image", pixdim=(0.25, 0.25, 3))({"image": image})["image"]
    assert isotropic.shape[1:3] == (4, 5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: write_dicom(folder / "other.dcm", VOLUME[0], SeriesInstanceUID="1.2.3"),
            "one series in the folder, got 2",
        ),
        (
            lambda folder: write_series(
                folder, np.zeros((1, 3, 4), np.int16), names="copy{}.dcm", InstanceNumber=2
            ),
            "InstanceNumber of its own",
        ),
        (
            lambda folder: write_series(
                folder,
                np.zeros((1, 3, 4), np.int16),
                names="gap{}.dcm",
                InstanceNumber=9,
                ImagePositionPatient=[-10.0, -20.0, 24.0],
            ),
            "one may be missing",
        ),
        (
            lambda folder: write_series(
                folder, np.zeros((1, 5, 4), np.int16), names="large{}.dcm", InstanceNumber=9
            ),
            "slices of one size",
        ),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "one series, got none"),
        (
            lambda folder: [file.unlink() for file in sorted(folder.iterdir())[1:]],
            "volume, got one",
        ),
        (
            lambda folder: write_series(
                folder, np.zeros((4, 3, 4), np.int16), ImagePositionPatient=[0, 0, 0]
            ),
            "several of one place",
        ),
        (
            lambda folder: [
                write_series(folder, np.zeros((4, 3, 4), np.int16), ImagePositionPatient=None),
                (folder / "slice2.dcm").unlink(),
            ],
            "expected slices 1 to 4, .*got 3 of 4",
        ),
    ],
)
def test_what_is_no_whole_series_is_rejected(tmp_path, spoil, message):
    folder = write_series(tmp_path / "series", np.zeros((4, 3, 4), np.int16))
    spoil(folder)

    with pytest.raises(ValueError, match=rf"cannot read .*series as an image .*{message}"):
        load(folder)


def test_several_frames_in_a_file_are_rejected(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS)
    data = pydicom.dcmread(path)
    data.NumberOfFrames, data.PixelData = 2, data.PixelData * 2
    data.save_as(path)

    with pytest.raises(ValueError, match=r"image.dcm .*one frame a file, got 2; save them"):
        load(path)


def test_a_palette_is_rejected_whose_places_are_no_levels(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS, PhotometricInterpretation="PALETTE COLOR")

    with pytest.raises(ValueError, match=r"image.dcm .*got places in a palette; save it"):
        load(path)


def test_other_colour_spaces_become_red_green_and_blue(tmp_path):
    ybr = np.array([[[76, 85, 255], [150, 44, 21]]], np.uint8)  # red, green
    path = write_dicom(tmp_path / "image.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    expected = torch.tensor([[[1.0, 0]], [[0, 1]], [[0, 0]]])

    torch.testing.assert_close(load(path, colour=True).as_tensor(), expected, atol=0.02, rtol=0)


def test_a_damaged_file_is_named(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", LEVELS)
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(ValueError, match=r"cannot read .*image.dcm as an image"):
        load(path)


def test_without_pydicom_its_extra_is_named(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "image.dcm", LEVELS)
    monkeypatch.setattr(sys.modules["monai_ima.data.dicom"], "_has_pydicom", False)

    for read in (load, count_channels):
        with pytest.raises(ImportError, match=r"pip install 'monai-ima\[dicom\]'"):
            read(path)


def test_the_data_report_says_what_dicom_says_of_itself(tmp_path):
    from monai_ima.data_report.reading import ImageReader

    series = ImageReader()(write_series(tmp_path / "series", VOLUME))
    xray = ImageReader()(write_dicom(tmp_path / "xray.dcm", LEVELS, BitsStored=12, HighBit=11))

    assert (series.format, series.depth, series.spacing) == ("DICOM", "16 bits", (0.5, 0.25, 3.0))
    assert (series.lowest, series.highest, series.grey.shape) == (0, 23, (3, 4, 2))
    assert (xray.depth, xray.spacing, xray.highest) == ("12 bits", None, 500)


def test_that_slices_in_class_folders_are_images_each_is_said(tmp_path, caplog):
    for label in ("A", "B"):
        for patient in range(3):
            write_series(tmp_path / label / f"{label}{patient}", VOLUME)

    found = load_datalist(tmp_path, num_classes=2)

    assert len(found.training) + len(found.validation) + len(found.test) == 12
    assert "12 DICOM files in" in caplog.text
    assert "list the folder in a table" in caplog.text
