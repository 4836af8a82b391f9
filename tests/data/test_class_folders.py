"""Folders as they are downloaded: sections, patients, files of other kinds."""

import os

import numpy as np
import pytest
from PIL import Image

from monai_ima.data import list_samples, load_datalist

PATIENT = r"(?P<patient>\d+)"


def write(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2)).save(root / path)
    return root


def listed(datalist):
    items = datalist.training + datalist.validation + datalist.test
    return {item["id"]: (item["label"], item["patient"]) for item in items}


def test_folders_of_patients_are_read(tmp_path):
    paths = {
        f"{name}/p{patient}/{study}/image.png": (label, f"p{patient}")
        for label, name in enumerate("AB")
        for patient in range(3 * label, 3 * label + 3)
        for study in ("first", "second")
    }
    write(tmp_path, *paths)

    assert listed(load_datalist(tmp_path, num_classes=2)) == paths
    samples = list_samples(tmp_path)
    assert {i["id"]: (i["label"], i["patient"]) for i in samples.items} == paths


def test_folders_of_patients_and_names_may_be_mixed_in_a_training(tmp_path):
    write(tmp_path, "A/1/x.png", *(f"{name}/{n}.png" for n in range(2, 6) for name in "AB"))

    found = listed(load_datalist(tmp_path, num_classes=2, patient_pattern=PATIENT))

    assert found["A/1/x.png"] == (0, "1")
    assert found["B/5.png"] == (1, "5")
    with pytest.raises(ValueError, match=r"got 8 of 9 without, like A/2.png; give a patient_patt"):
        list_samples(tmp_path)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TEST")])
def test_folders_of_sections_are_read(tmp_path, names):
    for number, section in enumerate(names):
        write(tmp_path, f"{section}/A/{number}.png", f"{section}/B/{number}.png")
    (tmp_path / "__MACOSX" / "train").mkdir(parents=True)

    datalist = load_datalist(tmp_path, num_classes=2, patient_pattern=PATIENT)

    assert datalist.classes == ("A", "B")
    assert [item["id"] for item in datalist.training] == [f"{names[0]}/A/0.png", f"{names[0]}/B/0.png"]  # fmt: skip
    assert datalist.validation[0]["id"] == f"{names[1]}/A/1.png"
    assert [item["label"] for item in datalist.test] == [0, 1]
    assert list_samples(tmp_path).items[0]["id"] == f"{names[2]}/A/2.png"
    of_val = list_samples(tmp_path, section="val")
    assert of_val.items[0]["id"] == f"{names[1]}/A/1.png"


def test_classes_that_a_section_lacks_keep_the_numbers_of_all(tmp_path):
    write(tmp_path, "train/A/1.png", "train/B/1.png", "test/B/2.png")

    samples = list_samples(tmp_path)

    assert samples.classes == ("A", "B")
    assert [item["label"] for item in samples.items] == [1]


def test_a_patient_on_two_sides_of_folders_is_refused(tmp_path):
    write(tmp_path, *(f"{s}/{c}/1.png" for s in ("train", "val", "test") for c in "AB"))

    with pytest.raises(ValueError, match=r"no patient on two sides .*got 1, like patient 1 in tra"):
        load_datalist(tmp_path, num_classes=2, patient_pattern=PATIENT)


def test_pictures_of_all_kinds_are_read_and_the_rest_is_counted(tmp_path, caplog):
    suffixes = ("png", "bmp", "TIF", "tiff", "jpg")
    write(tmp_path, *(f"{name}/1.{suffix}" for name in "AB" for suffix in suffixes))
    for name in ("A/1.doc", "A/2.DOC", "B/deep/notes", "B/.hidden", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write(tmp_path, "astray.png", ".cache/C/1.png", "__MACOSX/A/1.png", "A/__MACOSX/1.png")

    samples = list_samples(tmp_path, patient_pattern=PATIENT)

    assert samples.classes == ("A", "B")
    assert len(samples.items) == 10
    assert "2 .doc, 1 .png, 1 without a suffix (read are" in caplog.text


def test_nothing_is_said_where_all_is_read(tmp_path, caplog):
    list_samples(write(tmp_path, "A/1.png", "B/1.png"))

    assert caplog.text == ""


def test_pictures_beside_the_folders_alone_are_said(tmp_path, caplog):
    (write(tmp_path, "A/1.png", "B/1.png") / "manifest.csv").touch()

    list_samples(tmp_path)

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["A/1.png", "B/"], r"in the class folder .*B, got none; add some, remove"),
        (["A/1.png", "B/1.doc"], r"in the class folder .*B, got none but 1 .doc; add some"),
        (["train/A/1.png", "A/1.png"], r"got A, train; rename those of the sections \(train\)"),
        (["train/A/1.png", "Training/A/1.png"], r"got Training, train; rename those of the sect"),
        (["train/1.png", "test/1.png"], r"per class in .*t\w+, got none; sort its images"),
        (["A/train/1.png", "B/train/1.png"], r"folders of patients in .*A, got train; put the"),
        (["A/p/1.png"], r"several class folders in .*, got A alone; give as dataset_dir"),
    ],
)
def test_folders_that_mean_nothing_are_refused(tmp_path, paths, message):
    for path in paths:
        if path.endswith(".png"):
            write(tmp_path, path)
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).mkdir() if path.endswith("/") else (tmp_path / path).touch()

    with pytest.raises(ValueError, match=message):
        list_samples(tmp_path)


def test_an_image_without_a_patient_is_refused_for_a_training(tmp_path):
    write(tmp_path, "A/1.png", "B/1.png")

    with pytest.raises(
        ValueError, match=r"patient of every image in .*A/1.png; give a patient_pat"
    ):
        load_datalist(tmp_path, num_classes=2, patient_pattern=None)


def test_a_pipe_is_refused_without_being_opened(tmp_path):
    write(tmp_path, "A/1.png", "B/1.png")
    os.mkfifo(tmp_path / "B" / "2.png")

    with pytest.raises(
        ValueError, match=r"a regular file or a folder, got 1 of another kind .*B/2.png"
    ):
        list_samples(tmp_path)


def test_a_link_upwards_is_refused(tmp_path):
    write(tmp_path, "A/1.png", "B/1.png")
    (tmp_path / "B" / "again").symlink_to(tmp_path)

    with pytest.raises(ValueError, match=r"B/again/B, a link to a folder above it; remove"):
        list_samples(tmp_path)


def test_folders_that_are_links_are_read(tmp_path, tmp_path_factory):
    store = write(tmp_path_factory.mktemp("store"), "1.png", "2.png")
    for name in "AB":
        (tmp_path / name).symlink_to(store)

    assert [item["label"] for item in list_samples(tmp_path).items] == [0, 0, 1, 1]


def test_flat_folders_are_listed_as_before(tmp_path):
    paths = [f"{name}/{n}.png" for name in ("9", "10") for n in (1, 11, 2)]
    write(tmp_path, *paths)

    samples = list_samples(tmp_path)

    assert samples.classes == ("9", "10")
    assert [item["id"] for item in samples.items] == paths
    np.testing.assert_array_equal([item["label"] for item in samples.items], [0, 0, 0, 1, 1, 1])
