"""Cases without labels, as files have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from monai_ima.data import (
    array_cases,
    beat_cases,
    image_cases,
    volume_cases,
    write_synthetic_ecg,
)


def test_images_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    for name in ("b.png", "a/c.JPG", "notes.txt", "a/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (3, 5)).save(tmp_path / name, "PNG")
    found = [case["id"] for case in image_cases(tmp_path)]
    assert found == [str(tmp_path / name) for name in ("a/c.JPG", "a/d.tif", "b.png")]


def test_an_image_that_is_named_is_a_case_whatever_its_suffix(tmp_path):
    (tmp_path / "scan.dcm").touch()
    (case,) = image_cases(tmp_path / "scan.dcm")
    assert case["image"] == case["id"] == str(tmp_path / "scan.dcm")


def test_a_folder_of_slices_is_one_volume(tmp_path):
    for name in ("b/1.dcm", "b/2.dcm", "a/1.dcm", "c.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [case["image"] for case in volume_cases(tmp_path)]
    assert found == [str(tmp_path / name) for name in ("a", "b", "c.nii.gz")]
    assert [case["id"] for case in volume_cases(tmp_path / "b")] == [str(tmp_path / "b")]
    (one_file,) = volume_cases(tmp_path / "b" / "1.dcm")
    assert one_file["image"] == str(tmp_path / "b" / "1.dcm")


@pytest.mark.parametrize("lister", [image_cases, volume_cases, beat_cases, array_cases])
def test_what_is_not_there_is_said(lister, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\.csv"):
        lister(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match=r"expected .* got none"):
        lister(tmp_path)


@pytest.mark.parametrize("columns", [187, 188])
def test_beats_of_kaggles_form_with_and_without_labels(tmp_path, columns):
    rows = np.random.default_rng(0).random((3, columns)).astype(np.float32)
    rows[:, 187:] = 4
    np.savetxt(tmp_path / "beats.csv", rows, delimiter=",")
    cases = beat_cases(tmp_path / "beats.csv")
    assert [case["id"] for case in cases] == [f"{tmp_path}/beats.csv:{row}" for row in (1, 2, 3)]
    found = torch.stack([case["image"] for case in cases])
    assert torch.allclose(found[:, 0], torch.from_numpy(rows[:, :187]))


def test_beats_of_prepare_ecg(tmp_path):
    folder = write_synthetic_ecg(tmp_path / "ecg", patients=8, beats_per_patient=50, seed=0)
    cases = beat_cases(folder)
    beats = np.load(f"{folder}/beats.npy")
    assert len(cases) == len(beats)
    assert torch.equal(cases[3]["image"], torch.from_numpy(beats[3:4]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "rows of 187 numbers"),
        ("1,2,3\n", r"shape \(1, 3\)"),
        ("", "got an empty file; copy or export it again"),
        ("0,5;0,25\n", "with decimal points and commas between"),
    ],
)
def test_other_tables_are_rejected(tmp_path, content, said):
    file = tmp_path / "table.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=said):
        beat_cases(file)


def test_arrays_are_cases_by_their_place(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", values)
    first, second = array_cases(tmp_path)
    assert second["id"] == f"{tmp_path}/x.npy:2"
    assert torch.equal(first["image"], torch.tensor(values[0], dtype=torch.float32))


@pytest.mark.parametrize(
    ("values", "said"), [(np.arange(3.0), "shape"), (np.array([["a"]]), "numbers")]
)
def test_other_arrays_are_rejected(tmp_path, values, said):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(ValueError, match=said):
        array_cases(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "got an empty file"),
        (b"1,2,3", r"an array of NumPy's \(.npy\), got another file$"),
        (b"\x93NUMPY\x01\x00", "an array of NumPy's, got: "),
    ],
)
def test_files_that_are_no_arrays_are_rejected(tmp_path, content, said):
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    for cases in (array_cases, beat_cases):
        with pytest.raises(ValueError, match=said):
            cases(file)


def test_an_array_without_a_case_is_rejected(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 187), np.float32))
    for cases in (array_cases, beat_cases):
        with pytest.raises(ValueError, match="at least, got none"):
            cases(tmp_path / "none.npy")


def test_what_a_person_did_not_put_into_a_folder_is_no_case(tmp_path, caplog):
    """Links were not followed, in silence, and macOS's files beside were named as broken."""
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "folder"
    for path in (
        *(folder / name for name in ("a.png", "._a.png", ".x/b.png", "__MACOSX/a.png")),
        *(folder / name for name in ("Thumbs.db", "c.webp", "d.webp", ".DS_Store")),
        elsewhere / "e.png",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "link").symlink_to(elsewhere)

    found = [case["image"] for case in image_cases(folder)]

    assert found == [str(folder / "a.png"), str(folder / "link" / "e.png")]
    assert f"not read in {folder}: 1 .db, 2 .webp (read are .jpeg" in caplog.text
