"""Predictions with margins, as a person asks for them."""

import json
import math
import os
import re
import shutil

import numpy as np
import openpyxl
import pytest
import torch
from bundle_run import run_command
from exported import CLASSES, SHAPES, a_case, rows, trained
from PIL import Image

from monai_ima.data import list_samples
from monai_ima.deployment import predict, predict_files
from monai_ima.errors import RejectedError
from monai_ima.report import change_figure


def test_each_case_has_class_margins_percentiles_and_a_drawing(bundle, tmp_path):
    kind, folder, where = bundle
    ended = run_command("predict", folder, a_case(kind, where), "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = rows(tmp_path)
    said = json.loads((tmp_path / "predictions.json").read_text())
    reference = json.loads((folder / "configs" / "margins.json").read_text())
    assert len(found) == len(said["cases"]) == (3 if kind == "beats" else 1)
    assert said["classes"] == CLASSES[kind]
    for row, case in zip(found, said["cases"], strict=True):
        assert row["prediction"] == case["prediction"]
        assert row["prediction"] in ended.stdout
        for norm in ("linf", "l2"):
            margin = float(row[f"margin_{norm}"])
            assert margin > 0
            others = np.array(reference["margins"][norm], dtype=float)
            below = (others < margin).sum() + (others == margin).sum() / 2
            assert float(row[f"percentile_{norm}"]) == pytest.approx(
                100 * below / len(others), abs=0.01
            )
            assert row[f"changes_to_{norm}"] in set(CLASSES[kind]) - {row["prediction"]}
        columns = {name for name in row if name.endswith("_linf")} - {
            *("margin_linf", "percentile_linf", "changes_to_linf")
        }
        # volumes and beats have no grey levels: each is scaled by itself
        by_itself = kind in ("volumes", "beats")
        name, largest = ("percent_of_range", 100) if by_itself else ("grey_levels", 255)
        assert columns == {f"{name}_linf"}
        margins = {norm: float(row[f"margin_{norm}"]) for norm in ("linf", "l2")}
        values = math.prod(SHAPES[kind])
        for norm, each in (("linf", 1), ("l2", values**-0.5)):
            assert float(row[f"{name}_{norm}"]) == pytest.approx(
                largest * each * margins[norm], abs=0.001
            )
    heading, *cells = openpyxl.load_workbook(tmp_path / "predictions.xlsx").active.values
    for row, values in zip(found, cells, strict=True):
        in_a_spreadsheet = dict(zip(heading, values, strict=True))
        assert list(in_a_spreadsheet) == list(row)
        assert in_a_spreadsheet["probability"] == pytest.approx(
            float(row["probability"]), rel=1e-12
        )
    assert str(tmp_path / "predictions.xlsx") in ended.stdout
    drawings = [path.name for path in (tmp_path / "changes").glob("*.png")]
    assert len(drawings) == len(found)
    # series of several patients are often called the same
    patient = re.sub(r"[^\w-]+", "_", a_case(kind, where).parent.name)
    assert all(patient in name for name in drawings)
    assert f"percentiles are among the margins of {reference['source']}" in ended.stdout
    assert "not for clinical use" in ended.stdout


@pytest.mark.parametrize(
    ("name", "drawing"),
    [
        ("data/CNV/a.png", "007_CNV_a.png"),
        ("data/CNV/A.PNG", "007_CNV_A.png"),
        ("data/CNV/a.jpg", "007_CNV_a_jpg.png"),
        ("p 1/T1.nii.gz", "007_p_1_T1_nii_gz.png"),
        ("series/1.2.840.10008", "007_series_1_2_840_10008.png"),
        ("png", "007_png.png"),
        ("data/müller/" + 250 * "ü" + ".png", f"007_{60 * 'ü'}.png"),
    ],
)
def test_a_drawing_is_named_after_its_case(name, drawing, tmp_path):
    assert predict.drawing_name(7, name) == drawing
    (tmp_path / drawing).touch()


@pytest.mark.parametrize(
    ("percentile", "words"),
    [(0, "0 %"), (0.2, "under 1 %"), (49.6, "50 %"), (99.7, "over 99 %"), (100, "100 %")],
)
def test_a_drawing_says_all_and_none_of_exactly_these(percentile, words):
    assert predict.percent_words(percentile) == words


@pytest.fixture
def drawings(monkeypatch):
    """What each drawing was made of."""
    made = []

    def keep(inputs, answer, changes, **options):
        made.append(([change.caption for change in changes], options))
        return change_figure(inputs, answer, changes, **options)

    monkeypatch.setattr(predict, "change_figure", keep)
    return made


def test_a_drawing_says_sizes_in_units_of_the_data(bundle, tmp_path, drawings):
    kind, folder, where = bundle
    predict_files(folder, [a_case(kind, where)], tmp_path)
    (linf, l2), options = drawings[0]
    unit, element = {
        "beats": ("percent of the signal's range", "value"),
        "volumes": ("percent of the image's brightness range", "voxel"),
    }.get(kind, ("grey levels of 255", "pixel"))
    assert options["orientation"] is None
    assert options["units"].name.startswith(unit)
    assert f"{unit} in every {element})" in linf
    assert f"{unit} in every {element}, if spread evenly)" in l2


def test_a_list_without_labels_leads_here(bundle, tmp_path):
    kind, folder, where = bundle
    if kind != "rgb":
        return
    case = a_case(kind, where)
    listed = tmp_path / "new.json"
    listed.write_text(json.dumps([{"image": str(case)}]))
    with pytest.raises(
        ValueError, match=r"label them, or .*; monai-ima predict MODEL FILES answers"
    ):
        list_samples(case.parent, datalist=listed, allow_outside=True)
    done = predict_files(folder, [case], tmp_path / "answers", norms=[], drawings=0)
    assert len(done.predictions) == 1


def test_an_image_unlike_those_of_the_training_is_answered_with_a_warning(bundle, tmp_path):
    """As 12 bits in a file of 16, for a model of 8: the network answered in silence."""
    kind, folder, where = bundle
    if kind != "two_classes":
        return
    grey = np.array(Image.open(a_case(kind, where)).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16).save(tmp_path / "dark.png")
    Image.fromarray(grey * 257).save(tmp_path / "right.png")
    ended = run_command("predict", folder, tmp_path, "--output", tmp_path / "out", "--norms")
    found = {row["id"]: row for row in rows(tmp_path / "out")}
    assert found[f"{tmp_path}/right.png"]["warning"] == ""
    dark = found[f"{tmp_path}/dark.png"]
    assert dark["prediction"]
    assert dark["warning"].startswith("unlike the validation samples: mean 0.0")
    assert f"LOOK  {tmp_path}/dark.png: unlike the validation samples" in ended.stderr
    assert ended.returncode == 0


def test_drawings_of_earlier_answers_are_no_cases_and_those_of_others_stay(bundle, tmp_path):
    kind, folder, where = bundle
    if kind != "two_classes":
        return
    shutil.copy(a_case(kind, where), tmp_path / "case.png")
    own = tmp_path / "changes" / "of_a_person.png"
    own.parent.mkdir()
    shutil.copy(a_case(kind, where), own)
    for output, expected in ((tmp_path / "out", 2), (tmp_path / "out", 2), (tmp_path, 2)):
        done = predict_files(folder, [tmp_path], output, norms=["linf"], drawings=1)
        assert len(done.predictions) == expected
        assert len(list((tmp_path / "out" / "changes").iterdir())) == 1
    assert own.exists()


def test_margin_of_a_validation_sample_is_that_of_the_reference(bundle, tmp_path):
    kind, folder, where = bundle
    if kind != "rgb":
        return
    # a fifth of the thirty images is among the twelve whose margins were measured at most
    predict_files(folder, [where / "data"], tmp_path, norms=["l2"], drawings=0)
    reference = json.loads((folder / "configs" / "margins.json").read_text())
    found = np.array([float(row["margin_l2"]) for row in rows(tmp_path)])
    for margin in reference["margins"]["l2"]:
        assert np.abs(found / margin - 1).min() < 1e-3
    assert not (tmp_path / "changes").exists()


def test_what_cannot_be_read_is_named_and_the_others_are_answered(bundle, tmp_path):
    kind, folder, where = bundle
    case = a_case(kind, where)
    missing, broken = tmp_path / "missing.png", tmp_path / f"broken{''.join(case.suffixes)}"
    broken.write_bytes(case.read_bytes()[:200])
    files = [missing, case, broken]
    ended = run_command("predict", folder, *files, "--output", tmp_path / "out", "--norms")
    assert ended.returncode == 1
    found = {row["id"]: row for row in rows(tmp_path / "out")}
    assert f"no prediction for {missing}: there is no {missing}" in ended.stderr
    assert found[str(missing)]["error"] == f"there is no {missing}"
    assert found[str(missing)]["prediction"] == ""
    assert found[str(broken)]["error"]
    answered = [row for row in found.values() if row["prediction"]]
    assert len(answered) == (3 if kind == "beats" else 1)
    assert all(row["error"] == "" for row in answered)


def test_what_the_model_was_not_trained_on_is_named(bundle, tmp_path):
    kind, folder, _ = bundle
    if kind == "beats":
        np.savetxt(tmp_path / "high.csv", np.full((1, 187), 3.0), delimiter=",")
        file, said = tmp_path / "high.csv", "expected values from 0 to 1"
    elif kind == "rgb":
        Image.new("L", (20, 20)).save(tmp_path / "grey.png")
        file, said = tmp_path / "grey.png", r"expected an input of the shape (3, 16, 16)"
    elif kind == "volumes":
        (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
        (reason,) = predict_files(folder, [tmp_path / "report.pdf"], tmp_path).errors.values()
        assert "cannot identify image file" in reason
        Image.new("L", (20, 20)).save(tmp_path / "slice.png")
        file, said = tmp_path / "slice.png", "expected an image of 3 axes"
    else:
        return
    done = predict_files(folder, [file], tmp_path / "out")
    assert done.predictions == []
    (reason,) = done.errors.values()
    assert said in reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"text", "cannot identify image file"),
        ("report.pdf", b"%PDF-1.7", "cannot identify image file"),
        ("nan.tif", np.full((20, 20), np.nan, np.float32), "NaN in 400 of 400"),
        ("levels.tif", np.full((20, 20), 900, np.float32), "expected floats from 0 to 1, got 900"),
        ("oblong.png", np.zeros((20, 200), np.uint8), "keeps a quarter of"),
        ("cut.dcm", b"\0" * 128 + b"DICM", "cannot read"),
        ("text.dcm", b"text", "expected a DICOM file, got one that does not begin as such"),
    ],
)
def test_what_is_advised_of_a_new_case_is_for_who_has_no_data_set(
    bundle, tmp_path, name, content, said
):
    kind, folder, _ = bundle
    if kind != "two_classes":
        return
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        Image.fromarray(content).save(file)
    (reason,) = predict_files(folder, [file], tmp_path / "out", norms=[]).errors.values()
    assert said in reason
    for of_a_training in ("data set", "nan_value", "intensity_range", "--crop", "force="):
        assert of_a_training not in reason
    assert reason.endswith("again, as the images were that the model was trained on")


def test_a_name_that_is_no_unicode_stops_nothing(bundle, tmp_path):
    kind, folder, where = bundle
    if kind != "rgb":
        return
    case = os.fsdecode(os.fsencode(tmp_path) + b"/m\xfcller.png")
    shutil.copy(a_case(kind, where), case)
    ended = run_command("predict", folder, case, "--output", tmp_path / "out", "--norms", "linf")
    assert ended.returncode == 0, ended.stderr
    (row,) = rows(tmp_path / "out")
    assert row["id"] == f"{tmp_path}/m\\udcfcller.png"
    assert len(list((tmp_path / "out" / "changes").iterdir())) == 1


def test_arrays_without_a_case_are_named(bundle, tmp_path):
    kind, folder, _ = bundle
    if kind != "beats":
        return
    np.save(tmp_path / "none.npy", np.zeros((0, 187), np.float32))
    done = predict_files(folder, [tmp_path / "none.npy"], tmp_path / "out")
    (reason,) = done.errors.values()
    assert "to hold a beat at least, got none" in reason


def test_a_run_is_exported_when_it_is_asked_and_again_when_it_has_changed(
    tmp_path_factory, drawings
):
    folder = tmp_path_factory.mktemp("asked")
    run = trained("beats", folder)
    case = a_case("beats", folder)
    first = predict_files(run, [case], folder / "first", norms=[])
    exported = (run / "bundle" / "configs" / "source.json").stat().st_mtime_ns
    predict_files(run, [case], folder / "second", norms=[])
    assert (run / "bundle" / "configs" / "source.json").stat().st_mtime_ns == exported

    weights = torch.load(run / "model.pt", weights_only=True)
    torch.save({name: value * 0 for name, value in weights.items()}, run / "model.pt")
    said = run_command(
        "predict", run, case, "--output", folder / "constant", "--norms", "l2"
    ).stdout
    assert "no change of the answer found (l2, percentile 50)" in said
    third = predict_files(run, [case], folder / "third", norms=["linf"])
    assert drawings[-1][0] == [
        (
            "L∞: no change of the answer found up to 1 (100 percent of the signal's range in every value), "
            "the most that values from 0 to 1 allow"
        )
    ]
    assert torch.allclose(third.predictions[0].probabilities, torch.full((5,), 0.2))
    assert not torch.allclose(
        first.predictions[0].probabilities, third.predictions[0].probabilities
    )


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(RejectedError, match=r"expected a bundle of monai-ima export .*, got"):
        predict_files(tmp_path, [tmp_path], tmp_path / "out")
