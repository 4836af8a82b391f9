"""Data sets with a known fault each: the report names it, and lists are as trainings read them."""

import io
import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_sets import picture, write_set
from PIL import Image, ImageOps

from monai_ima.data import load_datalist
from monai_ima.data_report import write_datalists
from monai_ima.errors import RejectedError

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
SECTIONS = ("training", "validation", "test")


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "study", patients=10)


def found(written, words):
    """The finding whose title has these words."""
    (one,) = [finding for finding in written.findings if words in finding.title]
    return one


def paths_in(finding):
    return [set(paths) for _, paths in finding.pictures]


def split_of(*paths, patients=None):
    """Rows of a table whose split is given: ``(path, section)``."""
    rows = ["path,class,patient,split"]
    for path, section in paths:
        name = Path(path).stem.split("-")
        rows.append(f"{path},{name[0]},{(patients or {}).get(path, name[1])},{section}")
    return "\n".join(rows)


def given_split(folder, patients=None):
    """Six patients of each class for training and two each for the others, in a table."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    sections = (["train"] * 6 + ["val"] * 2 + ["test"] * 2) * 2
    table = folder / "list.csv"
    table.write_text(split_of(*zip(paths, sections, strict=True), patients=patients))
    return table


# --- lists -----------------------------------------------------------------------------------------


def test_a_list_is_read_by_a_training_as_it_was_written(folder, tmp_path):
    written = write_datalists(folder, tmp_path / "out", seed=3)

    (path,) = written.lists
    datalist = load_datalist(folder, num_classes=2, datalist=path)
    assert datalist.classes == ("A", "B")
    patients = [{item["patient"] for item in getattr(datalist, name)} for name in SECTIONS]
    assert [len(people) for people in patients] == [12, 4, 4]
    assert set.union(*patients) == set(map(str, range(20)))
    assert {item["id"]: item["label"] for item in datalist.test} == {
        sample.path: sample.label for sample in written.survey.sections["test"]
    }
    again = write_datalists(folder, tmp_path / "again", seed=3)
    assert again.lists[0].read_bytes() == path.read_bytes()
    assert again.page.read_bytes() == written.page.read_bytes()


def test_every_patient_is_tested_and_validated_in_one_fold_each(folder, tmp_path):
    written = write_datalists(folder, tmp_path / "out", folds=5)

    folds = [load_datalist(folder, num_classes=2, datalist=path) for path in written.lists]
    assert [path.name for path in written.lists] == [f"fold_{n}.json" for n in range(5)]
    for section in ("test", "validation"):
        tested = [item["id"] for fold in folds for item in getattr(fold, section)]
        assert len(tested) == len(set(tested)) == 20
        assert all(
            sorted(item["label"] for item in getattr(fold, section)) == [0, 0, 1, 1]
            for fold in folds
        )
    assert all(len(fold.training) == 12 for fold in folds)


def test_three_patients_a_class_are_enough_for_folds(tmp_path):
    folder = write_set(tmp_path / "study", patients=3)

    assert len(write_datalists(folder, tmp_path / "out", folds=3).lists) == 3


def test_a_test_that_is_set_aside_stays_and_validation_is_taken_from_training(folder, tmp_path):
    for name in "AB":
        (folder / "train").mkdir(exist_ok=True)
        (folder / "test" / name).mkdir(parents=True)
        (folder / name).rename(folder / "train" / name)
        for path in sorted((folder / "train" / name).iterdir())[:2]:
            path.rename(folder / "test" / name / path.name)

    written = write_datalists(folder, tmp_path / "out", fractions=(0.6, 0.2, 0.2))

    datalist = load_datalist(folder, num_classes=2, datalist=written.lists[0])
    assert [len(getattr(datalist, name)) for name in SECTIONS] == [12, 4, 4]
    assert all(item["id"].startswith("test/") for item in datalist.test)
    with pytest.raises(
        RejectedError, match=r"not split yet.*got .* with training, test; add --new"
    ):
        write_datalists(folder, tmp_path / "out2", folds=3)
    anew = write_datalists(folder, tmp_path / "out3", folds=5, new_split=True)
    assert {len(samples) for samples in anew.survey.sections.values()} == {4}


def test_patients_of_a_table_may_be_in_the_names(folder, tmp_path):
    table = tmp_path / "list.csv"
    rows = [f"{p.relative_to(folder)};{p.parent.name}" for p in folder.glob("*/*.png")]
    table.write_text("\n".join(["file;diagnosis", *rows]))

    written = write_datalists(
        folder, tmp_path / "out", table=table, patient_pattern=r"-(?P<patient>\d+)-"
    )

    assert {sample.patient for sample in written.survey.samples} == set(map(str, range(20)))
    with pytest.raises(ValueError, match=r"got no patient; add them, or say which"):
        write_datalists(folder, tmp_path / "out", table=table)


def test_each_image_may_be_taken_for_a_patient_and_that_is_said(folder, tmp_path):
    written = write_datalists(folder, tmp_path / "out", each_image_is_a_patient=True)

    assert found(written, "patients are not known").weight == "warning"
    assert {sample.patient for sample in written.survey.samples} == {
        sample.path for sample in written.survey.samples
    }
    with pytest.raises(ValueError, match=r"got both, the pattern"):
        write_datalists(
            folder, tmp_path, each_image_is_a_patient=True, patient_pattern="(?P<patient>.)"
        )
    table = given_split(folder)
    with pytest.raises(ValueError, match=r"got 20 images with one, like patient 0 of A/A-0-0.png"):
        write_datalists(folder, tmp_path, table=table, each_image_is_a_patient=True)


def test_lists_of_another_split_are_not_left_beside_new_ones(folder, tmp_path):
    write_datalists(folder, tmp_path / "out", folds=4)

    with pytest.raises(RejectedError, match=r"got fold_3.json; give another output, or remove"):
        write_datalists(folder, tmp_path / "out", folds=3)
    with pytest.raises(ValueError, match="folds to be a whole number >= 3, got 2"):
        write_datalists(folder, tmp_path / "out", folds=2)


# --- findings --------------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is(folder, tmp_path):
    written = write_datalists(folder, tmp_path / "out")

    assert [finding.weight for finding in written.findings] == ["note"]
    found(written, "fewer than 10 patients")
    page = written.page.read_text()
    top = page[page.index('class="banner passed"') : page.index("<nav")]
    assert "<strong>Nothing was found</strong> that speaks against a training. To be known:" in top
    assert f"<li>{written.findings[0].title}</li>" in top


def test_a_duplicate_across_sections_is_found(folder, tmp_path):
    (folder / "A" / "A-9-0.png").write_bytes((folder / "A" / "A-0-0.png").read_bytes())

    written = write_datalists(folder, tmp_path / "out", table=given_split(folder))

    finding = found(written, "the same image twice: 1 picture")
    assert paths_in(finding) == [{"A/A-0-0.png", "A/A-9-0.png"}]
    assert "patient 9, A, test" in finding.pictures[0][0]
    assert written.lists


def test_one_image_with_two_classes_is_found(folder, tmp_path):
    (folder / "B" / "B-0-7.png").write_bytes((folder / "A" / "A-0-0.png").read_bytes())

    written = write_datalists(folder, tmp_path / "out")

    assert paths_in(found(written, "the same image twice")) == [{"A/A-0-0.png", "B/B-0-7.png"}]
    assert found(written, "1 patient with images of more than one class").rows == (("0", "A, B"),)


def test_repetitions_of_one_patient_are_only_to_be_known(folder, tmp_path):
    (folder / "A" / "A-0-1.png").write_bytes((folder / "A" / "A-0-0.png").read_bytes())

    written = write_datalists(folder, tmp_path / "out")

    assert found(written, "1 image more than once").weight == "note"
    assert not [finding for finding in written.findings if finding.weight == "warning"]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (ImageOps.mirror, "mirrored"),
        (lambda image: image.resize((48, 36), Image.Resampling.BICUBIC), "as it is"),
    ],
    ids=["mirrored", "rescaled"],
)
def test_a_near_duplicate_of_another_patient_is_found(folder, tmp_path, change, how):
    change(Image.open(folder / "A" / "A-0-0.png")).save(folder / "A" / "A-99-0.png")

    written = write_datalists(folder, tmp_path / "out")

    finding = found(written, "1 pair of images that look alike")
    assert finding.weight == "warning"
    assert paths_in(finding) == [{"A/A-0-0.png", "A/A-99-0.png"}]
    assert f" {how} (correlation" in finding.pictures[0][0]


def test_near_duplicates_of_one_patient_are_to_be_expected(folder, tmp_path):
    ImageOps.mirror(Image.open(folder / "A" / "A-0-0.png")).save(folder / "A" / "A-0-1.png")

    written = write_datalists(folder, tmp_path / "out")

    assert not [finding for finding in written.findings if finding.weight == "warning"]


def test_a_patient_on_two_sides_of_a_given_split_is_a_problem(folder, tmp_path):
    table = given_split(folder, patients={"A/A-9-0.png": "0"})  # of test and training

    written = write_datalists(folder, tmp_path / "out", table=table)

    finding = found(written, "1 patient on two sides")
    assert finding.weight == "problem"
    assert finding.rows == (("0", "training, test"),)
    assert not written.lists
    assert "To be mended before a training" in written.page.read_text()
    assert write_datalists(folder, tmp_path / "out", table=table, new_split=True).lists


def test_broken_and_missing_files_are_named_and_left_out_when_asked(folder, tmp_path):
    broken = folder / "A" / "A-3-0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    table = given_split(folder)
    table.write_text(table.read_text() + "\nB/B-77-0.png,B,77,train")

    written = write_datalists(folder, tmp_path / "out", table=table)

    finding = found(written, "2 files that cannot be read")
    assert finding.weight == "problem"
    assert dict(finding.rows).keys() == {"A/A-3-0.png", "B/B-77-0.png"}
    assert dict(finding.rows)["B/B-77-0.png"] == "there is no such file"
    assert "paths in a table are relative" in finding.to_do
    assert not written.lists
    without = write_datalists(folder, tmp_path / "out", table=table, leave_out_unreadable=True)
    assert found(without, "2 files that cannot be read, left out").weight == "warning"
    datalist = load_datalist(folder, num_classes=2, datalist=without.lists[0])
    assert len(datalist.training) == 11


def test_a_class_without_images_in_a_section_is_a_problem(tmp_path):
    folder = write_set(tmp_path / "study", patients=2)

    written = write_datalists(folder, tmp_path / "out")

    finding = found(written, "no image of A, B in some sections")
    assert finding.weight == "problem"
    assert len(finding.rows) == 2
    assert not written.lists


def test_one_class_alone_is_rejected(folder, tmp_path):
    """Its list trained a network that answers everything with it."""
    shutil.rmtree(folder / "B")

    with pytest.raises(ValueError, match=r"several classes in .*study, got A alone, .*give as"):
        write_datalists(folder, tmp_path / "out")


@pytest.mark.parametrize("leave_out", [False, True])
def test_where_nothing_can_be_read_there_is_still_a_report(tmp_path, leave_out):
    folder = write_set(tmp_path / "study", patients=3)
    for path in folder.glob("*/*"):
        path.write_bytes(b"")

    written = write_datalists(folder, tmp_path / "out", leave_out_unreadable=leave_out)

    assert "6 files that cannot be read" in written.page.read_text()
    assert not written.lists


def test_mixed_channels_and_depths_are_found(folder, tmp_path):
    Image.open(folder / "A" / "A-1-0.png").convert("RGB").save(folder / "A" / "A-1-0.png")
    deep = np.asarray(picture(1), dtype=np.uint16) * 257
    Image.fromarray(deep).save(folder / "B" / "B-12-0.png")

    written = write_datalists(folder, tmp_path / "out")

    channels = found(written, "mixed numbers of channels").rows
    assert channels[1] == ("3 channels", "1", "A/A-1-0.png")
    assert "19 with 1 channel, 1 with 3 channels" in found(written, "mixed numbers").title
    assert found(written, "mixed bit depths").rows == (
        ("8 bits", "19", "A/A-0-0.png, A/A-1-0.png, A/A-2-0.png and 16 more"),
        ("16 bits", "1", "B/B-12-0.png"),
    )


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colour_is_by_what_is_seen_and_nothing_is_logged_of_grey(tmp_path, caplog, mode):
    for number in range(20):
        path = tmp_path / "study" / "AB"[number % 2] / f"x-{number}-1.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = [picture(number), picture(number + 50), picture(number + 90)]
        Image.merge("RGB", channels).convert(mode).save(path)

    written = write_datalists(tmp_path / "study", tmp_path / "out")

    assert written.fitting.settings == {"num_classes": 2, "colour": True}
    assert written.fitting.reasons == {"colour": "20 of 20 images are in colour"}
    listed = json.loads(written.lists[0].read_text("utf-8"))
    assert listed["bundle"] == "oct_ima"
    assert listed["bundle_settings"] == written.fitting.settings
    assert not caplog.records


def volumes(root, shape=(9, 8, 7), depth=np.float32):
    for number in range(12):
        path = root / "AB"[number % 2] / f"{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(number).integers(0, 255, shape)
        volume = nibabel.Nifti1Image(levels.astype(depth if number else np.uint8), np.eye(4))
        nibabel.save(volume, path)
    return root


def test_of_volumes_the_advice_is_about_their_bundle(tmp_path):
    folder = volumes(tmp_path / "study")

    written = write_datalists(folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)")

    mixed = found(written, "mixed bit depths")
    assert "scaled by its own percentiles (intensity_range of volume_ima)" in mixed.why
    assert "65535" not in mixed.why
    assert written.fitting.name == "volume_ima"
    assert written.fitting.settings == {"num_classes": 2}


def test_with_a_range_the_advice_is_about_that(tmp_path):
    folder = volumes(tmp_path / "study")

    written = write_datalists(
        folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)", intensity_range=(0, 255)
    )

    assert "scaled by the one --intensity_range" in found(written, "mixed bit depths").why
    assert written.fitting.settings == {"num_classes": 2, "intensity_range": (0, 255)}


def test_volumes_that_differ_in_size_by_class_are_advised_what_the_bundle_has(tmp_path):
    folder = tmp_path / "study"
    for number in range(40):
        path = folder / "AB"[number % 2] / f"{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(number).random((9, 8, 7 + number % 2), np.float32)
        nibabel.save(nibabel.Nifti1Image(levels, np.eye(4)), path)

    written = write_datalists(folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)")

    advice = found(written, "told without looking").to_do
    assert "cuts or pads them to one --image_size" in advice
    assert "square" not in advice


def test_pictures_among_volumes_are_a_problem_since_no_training_takes_both(tmp_path):
    folder = volumes(tmp_path / "study")
    picture(1).save(folder / "A" / "77.png")

    written = write_datalists(folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)")

    assert found(written, "mixed dimensions: 12 with 3 dimensions, 1 with 2").weight == "problem"
    assert not written.lists


def test_a_class_that_is_told_by_its_bit_depth_is_found(folder, tmp_path):
    for path in (folder / "B").iterdir():
        deep = np.asarray(Image.open(path), dtype=np.uint16) * 257
        Image.fromarray(deep).save(path)

    written = write_datalists(folder, tmp_path / "out")

    finding = found(written, "told without looking at what the images show: A by bit depth")
    assert finding.rows == (
        ("bit depth", "A", "100 %", "0 %", "A: 8 bits in 100 %\nB: 16 bits in 100 %"),
    )


@pytest.mark.parametrize("grey", [0, 255])
def test_a_class_that_is_told_by_its_frame_is_found(folder, tmp_path, grey):
    for path in (folder / "B").iterdir():
        ImageOps.expand(Image.open(path).crop((5, 5, 59, 43)), 5, grey).save(path)

    written = write_datalists(folder, tmp_path / "out")

    colour = "white" if grey else "black"
    assert f"{colour} border" in found(written, "told without looking").title


def test_constant_and_dark_images_are_found(folder, tmp_path):
    Image.new("L", (64, 48), 90).save(folder / "A" / "A-0-0.png")
    twelve_bits = np.asarray(picture(7), dtype=np.uint16) * 16
    Image.fromarray(twelve_bits).save(folder / "B" / "B-15-0.png")

    written = write_datalists(folder, tmp_path / "out")

    assert found(written, "1 image with one value everywhere").names == ("A/A-0-0.png",)
    dark = found(written, "1 image nearly black")
    assert paths_in(dark) == [{"B/B-15-0.png"}]
    assert "reach 4080 of 65535" in dark.why


def test_one_patient_of_many_images_and_classes_of_other_sizes_are_said(folder, tmp_path):
    for number in range(60):
        picture(9000 + number).save(folder / "A" / f"A-0-{number}.png")

    written = write_datalists(folder, tmp_path / "out")

    assert found(written, "60 of 79 images are of one patient, 0").weight == "warning"
    assert found(written, "A has 69 images, B 10").weight == "note"


def test_volumes_have_their_spacing_and_depth(tmp_path):
    folder = tmp_path / "study"
    for number in range(12):
        path = folder / "AB"[number % 2] / f"{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(-1000, 2000, (9, 8, 7), dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 2.5, 1])), path)

    written = write_datalists(
        folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)", fractions=(0.5, 0.25, 0.25)
    )

    facts = written.survey.facts["A/0.nii.gz"]
    assert (facts.size, facts.spacing, facts.depth) == ((9, 8, 7), (1, 1, 2.5), "int16")
    assert facts.lowest < -900
    assert "1 x 1 x 2.5" in written.page.read_text()
    assert written.lists


def test_volumes_that_do_not_say_which_way_round_they_lie_are_named(tmp_path):
    folder = tmp_path / "study"
    for number in range(12):
        path = folder / "AB"[number % 2] / f"{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 2000, (9, 8, 7), dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(values, None if number == 5 else np.eye(4)), path)

    written = write_datalists(
        folder, tmp_path / "out", patient_pattern=r"(?P<patient>\d+)", fractions=(0.5, 0.25, 0.25)
    )

    assert found(written, "1 volume whose file does not say").names == ("B/5.nii",)


# --- names -----------------------------------------------------------------------------------------


def test_names_that_are_nearly_the_same_are_found(folder, tmp_path):
    """Each way of writing was a class, and a patient on a side of its own."""
    rows = ["path,class,patient"]
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        name = path.parent.name
        patient = {3: "P_007", 4: "p-7"}.get(number, f"{number}00")
        label = (
            {"A": "wet AMD", "B": "HER2+"}[name]
            if number % 2
            else {"A": "Wet_AMD", "B": "HER2-"}[name]
        )
        rows.append(f"{path.relative_to(folder)},{label},{patient}")
    table = folder / "list.csv"
    table.write_text("\n".join(rows))

    written = write_datalists(folder, tmp_path / "out", table=table)

    classes = found(written, "classes whose names are nearly the same: Wet_AMD and wet AMD")
    assert classes.rows == (("Wet_AMD", "5"), ("wet AMD", "5"))
    patients = found(written, "1 patient whose name is written in several ways")
    assert patients.names == ("P_007 = p-7",)


@pytest.mark.parametrize("anonymous", [False, True])
def test_one_person_of_dicom_as_several_patients_is_found(tmp_path, anonymous):
    pytest.importorskip("pydicom")
    from dicom_files import write_dicom

    folder = tmp_path / "study"
    for number in range(16):
        path = folder / "AB"[number % 2] / f"{number}.dcm"
        pixels = np.random.default_rng(number).integers(0, 900, (16, 16)).astype(np.int16)
        write_dicom(path, pixels, PatientID="ANON" if anonymous else f"ID{number // 3 * 3}")

    written = write_datalists(folder, tmp_path / "out", each_image_is_a_patient=True)

    titles = [finding.title for finding in written.findings]
    if anonymous:
        assert not any("PatientID" in title for title in titles)
    else:
        finding = found(written, "5 persons under the names of several patients, by the PatientID")
        assert "A/0.dcm = A/2.dcm = B/1.dcm" in finding.names
        assert "ID0" not in written.page.read_text()


# --- the page --------------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_page_loads_and_runs_nothing_and_names_are_no_markup(tmp_path):
    folder = write_set(tmp_path / "<script>x", patients=4, classes=("<b>a", "b&"))

    text = write_datalists(folder, tmp_path / "out").page.read_text()

    tags = Tags()
    tags.feed(text)
    assert not {tag for tag, _ in tags.seen} & {"script", "link", "iframe", "b"}
    sources = [attrs["src"] for tag, attrs in tags.seen if tag == "img"]
    assert len(sources) == 8
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "&lt;b&gt;a" in text


def test_the_list_holds_what_it_was_made_with(folder, tmp_path):
    written = write_datalists(folder, tmp_path / "out")

    assert json.loads(written.lists[0].read_text())["settings"]["seed"] == 0
    written = write_datalists(folder, tmp_path / "out", seed=5)
    content = json.loads(written.lists[0].read_text())
    assert content["labels"] == {"0": "A", "1": "B"}
    assert content["settings"]["seed"] == 5
    assert content["test"][0].keys() == {"image", "label", "patient"}


# --- real images -----------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "oct").is_dir(), reason=f"no OCT images in {DATA / 'oct'}")
def test_the_known_traps_of_real_oct_are_found_and_no_others(tmp_path):
    written = write_datalists(DATA / "oct", tmp_path / "out")

    assert len(written.survey.facts) == 841
    told = found(written, "told without looking")
    assert "DME by width" in told.title
    assert found(written, "patients with images of more than one class").title.startswith("20 ")
    assert len(written.findings) == 2  # no duplicates among them


def test_images_in_colour_are_shown_in_colour(folder, tmp_path):
    kept = "<code>--colour true</code>"
    grey = write_datalists(folder, tmp_path / "grey")
    assert kept not in grey.page.read_text()
    assert {mode_of_thumbnail(one) for one in grey.survey.facts.values()} == {"L"}
    for path in folder.glob("*/*.png"):
        channels = [Image.open(path), Image.open(path).point(lambda value: value // 2)]
        Image.merge("RGB", [channels[0], channels[1], channels[1]]).save(path)

    written = write_datalists(folder, tmp_path / "out")

    assert kept in written.page.read_text()
    for one in written.survey.facts.values():
        red, green, blue = Image.open(io.BytesIO(one.thumbnail)).convert("RGB").split()
        assert np.mean(red) > 1.5 * np.mean(green)
        assert np.mean(green) == pytest.approx(np.mean(blue), abs=3)


def mode_of_thumbnail(facts):
    return Image.open(io.BytesIO(facts.thumbnail)).mode
