import csv
import json
import os
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from monai_ima.data import load_datalist
from monai_ima.data.sample import SECTIONS, Sample
from monai_ima.data.split import split_by_patient

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
FRACTIONS = (0.6, 0.2, 0.2)


def write_image(path, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (3, 2)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of four patients with two images each; patient 1 is in both classes."""
    for name, patients in {"A": (1, 2, 3, 4), "B": (1, 5, 6, 7)}.items():
        for patient in patients:
            for n in (1, 2):
                write_image(tmp_path / name / f"{name}-{patient}-{n}.png")
    return tmp_path


def sections_of(datalist):
    return {section: getattr(datalist, section) for section in SECTIONS}


def rows_of(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    return [{"path": n, "class": n[0], "patient": n.split("-")[1]} for n in names]


def write_csv(file, rows):
    with file.open("w", newline="", encoding="utf-8-sig") as stream:  # as Excel does
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_json(file, content):
    file.write_text(json.dumps(content))
    return file


def as_entries(rows):
    return [{"image": r["path"], "label": r["class"], "patient": r["patient"]} for r in rows]


def given_split(rows):
    """Patients 1 and 2, and 5, for training, 3 and 6 for validation, 4 and 7 for the test."""
    section = dict(
        zip("1253647", ["training"] * 3 + ["validation"] * 2 + ["test"] * 2, strict=True)
    )
    return [row | {"split": section[row["patient"]]} for row in rows]


# --- the split ------------------------------------------------------------------------------------


@st.composite
def samples(draw):
    """Any samples: patients of any size and in any number of classes."""
    owners = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=60))
    return [Sample(f"{n}.png", label, str(patient)) for n, (patient, label) in enumerate(owners)]


fractions = st.tuples(*[st.integers(1, 9)] * 3).map(lambda f: tuple(x / sum(f) for x in f))


@given(samples(), fractions, st.integers(0, 99))
def test_the_split_deals_out_every_sample_once_and_no_patient_twice(samples, fractions, seed):
    split = split_by_patient(samples, fractions, seed)

    assert sorted(sample for section in split.values() for sample in section) == sorted(samples)
    patients = [{sample.patient for sample in section} for section in split.values()]
    assert sum(map(len, patients)) == len(set().union(*patients))


@given(st.data(), samples(), st.integers(0, 99))
def test_the_split_depends_on_the_seed_and_not_on_the_order(data, samples, seed):
    shuffled = data.draw(st.permutations(samples))

    assert split_by_patient(shuffled, FRACTIONS, seed) == split_by_patient(samples, FRACTIONS, seed)


@given(st.lists(st.integers(1, 5), min_size=10, max_size=40), st.integers(0, 99))
def test_the_split_nears_the_fractions_up_to_a_patient_or_two(sizes, seed):
    samples = [
        Sample(f"{patient}-{n}", 0, str(patient))
        for patient, size in enumerate(sizes)
        for n in range(size)
    ]
    split = split_by_patient(samples, FRACTIONS, seed)

    for section, fraction in zip(SECTIONS, FRACTIONS, strict=True):
        assert abs(len(split[section]) - fraction * len(samples)) <= 2 * max(sizes)


def test_no_order_enters_by_rounding():
    listed = (  # found by search: without sorting, the last bit of a sum decides between sections
        "2:1 2:13 3:10 3:14 4:6 1:12 4:14 3:8 4:10 3:1 0:6 1:13 1:0 1:8 1:1 4:6 0:13 1:10 0:8 1:5 "
        "2:0 3:6 4:7 0:12 0:11 3:6 3:4 4:14 3:2 2:10 4:1 0:1 0:2 2:4"
    )
    pairs = [pair.split(":") for pair in listed.split()]
    samples = [Sample(f"{n}.png", int(label), patient) for n, (label, patient) in enumerate(pairs)]

    assert split_by_patient(samples[::-1], FRACTIONS, 0) == split_by_patient(samples, FRACTIONS, 0)


def test_small_patients_make_up_for_large_ones():
    sizes = [20, 10] + [1] * 70
    samples = [Sample(f"{p}-{n}", 0, str(p)) for p, size in enumerate(sizes) for n in range(size)]

    split = split_by_patient(samples, FRACTIONS, 0)

    assert {section: len(members) for section, members in split.items()} == {
        "training": 60,
        "validation": 20,
        "test": 20,
    }


def test_another_seed_gives_another_split():
    samples = [Sample(f"{n}.png", 0, str(n)) for n in range(50)]

    assert split_by_patient(samples, FRACTIONS, 0) != split_by_patient(samples, FRACTIONS, 1)


# --- what is read ---------------------------------------------------------------------------------


def test_items_of_class_folders(folder):
    write_image(folder / "A" / "A-8-1.JPG")
    expected = {str(path) for path in folder.glob("*/*")}
    write_image(folder / "A" / ".A-9-1.png")
    write_image(folder / ".cache" / "C-9-1.png")
    (folder / "B" / "notes.txt").touch()

    datalist = load_datalist(folder, num_classes=2)

    assert datalist.classes == ("A", "B")
    for items in sections_of(datalist).values():
        assert [item["index"] for item in items] == list(range(len(items)))
        for item in items:
            path = Path(item["image"])
            assert datalist.classes[item["label"]] == path.parent.name
            assert item["patient"] == path.name.split("-")[1]
    images = {item["image"] for items in sections_of(datalist).values() for item in items}
    assert images == expected


def test_the_order_of_the_file_system_does_not_matter(folder, monkeypatch):
    expected = load_datalist(folder, num_classes=2)
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: sorted(iterdir(path), reverse=True))

    assert load_datalist(folder, num_classes=2) == expected


def test_folders_manifest_and_decathlon_file_give_the_same(folder):
    expected = load_datalist(folder, num_classes=2)
    rows = rows_of(folder)[::-1]
    manifest = write_csv(folder / "manifest.csv", rows)
    # labels that are also the names of folders, which MONAI's own reader takes for paths
    decathlon = write_json(folder / "datalist.json", {"training": as_entries(rows)})

    assert load_datalist(folder, num_classes=2, datalist=manifest) == expected
    assert load_datalist(folder, num_classes=2, datalist=decathlon) == expected
    bare = write_json(folder / "bare.json", as_entries(rows))
    assert load_datalist(folder, num_classes=2, datalist=bare) == expected


def test_a_given_split_is_kept_in_its_order(folder):
    rows = given_split(rows_of(folder))[::-1]
    manifest = write_csv(folder / "manifest.csv", rows)
    content = {s: as_entries(r for r in rows if r["split"] == s) for s in SECTIONS}
    decathlon = write_json(folder / "datalist.json", content)

    datalist = load_datalist(folder, num_classes=2, datalist=manifest)

    for section, items in sections_of(datalist).items():
        listed = [str(folder / r["path"]) for r in rows if r["split"] == section]
        assert [item["image"] for item in items] == listed
    assert load_datalist(folder, num_classes=2, datalist=decathlon) == datalist


@pytest.mark.parametrize(
    "classes",
    [{"classes": ["z", "y"]}, {"labels": {"1": "y", "0": "z"}}],
)
def test_classes_that_a_decathlon_file_names_keep_their_numbers(folder, classes):
    entries = as_entries(rows_of(folder))
    for entry in entries:
        entry["label"] = {"A": "z", "B": 1}[entry["label"]]
    decathlon = write_json(folder / "datalist.json", classes | {"training": entries})

    datalist = load_datalist(folder, num_classes=2, datalist=decathlon)

    assert datalist.classes == ("z", "y")
    assert all(item["label"] == ("B" in Path(item["image"]).name) for item in datalist.training)


def test_patients_by_another_pattern_and_column(folder):
    expected = load_datalist(folder, num_classes=2)
    rows = [r | {"subject": r["patient"], "patient": "1"} for r in rows_of(folder)]
    manifest = write_csv(folder / "manifest.csv", rows)
    for path in list(folder.glob("*/*.png")):
        name, patient, n = path.stem.split("-")
        path.rename(path.with_name(f"p{patient}_{name}_{n}.png"))
    by_pattern = load_datalist(folder, num_classes=2, patient_pattern=r"p(?P<patient>\d+)_")
    for path in list(folder.glob("*/*.png")):
        patient, name, n = path.stem[1:].split("_")
        path.rename(path.with_name(f"{name}-{patient}-{n}.png"))
    by_column = load_datalist(folder, num_classes=2, datalist=manifest, patient_column="subject")

    assert by_column == expected
    for section, items in sections_of(by_pattern).items():
        assert {i["patient"] for i in items} == {i["patient"] for i in getattr(expected, section)}


def test_samples_per_class_draws_from_training_alone(folder):
    whole = load_datalist(folder, num_classes=2)
    drawn = load_datalist(folder, num_classes=2, samples_per_class=1)

    assert [item["label"] for item in drawn.training] == [0, 1]
    assert [item["index"] for item in drawn.training] == [0, 1]
    assert {i["image"] for i in drawn.training} < {i["image"] for i in whole.training}
    assert (drawn.validation, drawn.test) == (whole.validation, whole.test)
    assert load_datalist(folder, num_classes=2, samples_per_class=99) == whole


def test_the_fingerprint_is_of_paths_and_labels_and_not_of_the_place(folder, tmp_path_factory):
    first = load_datalist(folder, num_classes=2)
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "data")
    again = load_datalist(moved, num_classes=2)
    swapped = {"classes": ["B", "A"], "training": as_entries(rows_of(moved))}
    relabelled = load_datalist(
        moved, num_classes=2, datalist=write_json(moved / "swapped.json", swapped)
    )

    assert again.fingerprint == first.fingerprint
    assert [Path(i["image"]).name for i in relabelled.training] == [
        Path(i["image"]).name for i in first.training
    ]
    assert relabelled.fingerprint != first.fingerprint
    assert load_datalist(moved, num_classes=2, samples_per_class=1).fingerprint != first.fingerprint
    for path in list(moved.glob("*/*-1.png")):
        path.rename(path.with_name(path.name.replace("-1.png", "-3.png")))
    renamed = load_datalist(moved, num_classes=2)
    assert [i["label"] for i in renamed.training] == [i["label"] for i in first.training]
    assert renamed.fingerprint != first.fingerprint


def test_volumes_are_listed(tmp_path):
    for patient in range(3):
        path = tmp_path / "A" / f"A-{patient}-1.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.float32), np.eye(4)), path)

    assert len(load_datalist(tmp_path, num_classes=1).training) == 1


@pytest.mark.parametrize(
    ("name", "shape", "axes"),
    [("png", (4, 3), 2), ("nii", (4, 3), 2), ("nii", (4, 3, 1), 2), ("nii.gz", (4, 3, 2), 3)],
)
def test_images_of_other_axes_than_the_size_are_rejected_by_their_headers(
    tmp_path, name, shape, axes
):
    for patient in range(3):
        path = tmp_path / "A" / f"A-{patient}-1.{name}"
        path.parent.mkdir(exist_ok=True)
        if name == "png":
            Image.new("L", shape).save(path)
        else:
            nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), path)

    assert len(load_datalist(tmp_path, num_classes=1, spatial_dims=axes).training) == 1
    other = 5 - axes
    said = (
        rf"images of {other} axes, .* got 3 of others, like A/A-0-1.{name} of {axes}; .* volume_ima"
    )
    with pytest.raises(ValueError, match=said):
        load_datalist(tmp_path, num_classes=1, spatial_dims=other)


# --- bad input: what to break, the arguments, the words of the message ----------------------------


def broken_header(folder):
    (folder / "B" / "B-6-3.png").write_text("not an image")


def empty_class(folder):
    (folder / "C").mkdir()
    (folder / "C" / "notes.txt").touch()


def csv_of(change):
    def write(folder):
        rows = given_split(rows_of(folder))
        change(rows)
        write_csv(folder / "list.csv", rows)

    return write


def json_of(change):
    def write(folder):
        content = {"training": as_entries(rows_of(folder))}
        write_json(folder / "list.json", change(content) or content)

    return write


def nothing(_):
    pass


def set_in(rows, index, **values):
    rows[index].update(values)


def drop(rows, key):
    for row in rows:
        del row[key]


BAD_INPUT = {
    "no folder": (nothing, {"dataset_dir": "none"}, r"dataset_dir.*got .*none: no such folder"),
    "empty folder": (
        lambda folder: (folder / "empty").mkdir(),
        {"dataset_dir": "empty"},
        r"one folder of images per class .*got an empty folder; sort",
    ),
    "no class folders": (nothing, {"dataset_dir": "A"}, r"got 8 files directly in it; sort the im"),
    "empty class folder": (
        empty_class,
        {"num_classes": 3},
        r"expected images .*folder .*C, got no",
    ),
    "too many classes": (nothing, {"num_classes": 1}, r"num_classes = 1 .*got 2: A, B; correct"),
    "too few classes": (nothing, {"num_classes": 3}, r"num_classes = 3 .*got 2: A, B; correct"),
    "name without a patient": (
        nothing,
        {"patient_pattern": r"^x(?P<patient>\d+)"},
        r"patient_pattern '\^x.*' finds the patient, got .*A-1-1.png; give a patient_pattern .*CSV",
    ),
    "pattern without the group": (
        nothing,
        {"patient_pattern": r"\d"},
        r"group \(\?P<patient>\.\.\.\)",
    ),
    "no pattern": (nothing, {"patient_pattern": "("}, r"a regular expression, got '\('"),
    "broken header": (
        broken_header,
        {},
        r"cannot read .*B-6-3.png as an image .*; replace the file",
    ),
    "two fractions": (
        nothing,
        {"fractions": (0.5, 0.5)},
        r"three positive fractions .*\(0.5, 0.5\)",
    ),
    "no share": (nothing, {"fractions": (1, 0, 0)}, r"three positive fractions .*got \(1, 0, 0\)"),
    "wrong sum": (
        nothing,
        {"fractions": (0.6, 0.2, 0.1)},
        r"with the sum 1, got \(0.6, 0.2, 0.1\)",
    ),
    "no samples": (nothing, {"samples_per_class": 0}, r"samples_per_class .*at least 1, got 0"),
    "no file": (nothing, {"datalist": "list.csv"}, r"datalist_file .*got .*list.csv: no such file"),
    "other file": (
        lambda folder: (folder / "list.ods").touch(),
        {"datalist": "list.ods"},
        r"a .csv, .tsv, .txt, .xlsx, .xlsm, .json file, got .*list.ods; save it as one of these",
    ),
    "a class too few for the split": (
        lambda folder: [p.unlink() for n in "567" for p in (folder / "B").glob(f"B-{n}-*")],
        {},
        r"every class in the section validation, got none of B from \S+; give more patients .*another seed",
    ),
    "section without a class": (
        csv_of(lambda rows: rows.pop(13) and rows.pop(12)),  # patient 6, B's only one in validation
        {"datalist": "list.csv"},
        r"every class in the section validation, got none of B from \S+list.csv; give more patients",
    ),
    "missing columns": (
        csv_of(lambda rows: drop(rows, "patient")),
        {"datalist": "list.csv"},
        r"columns path, class and patient, got no patient; add",
    ),
    "empty field": (
        csv_of(lambda rows: set_in(rows, 3, patient="")),
        {"datalist": "list.csv"},
        r"a patient, got \{'path': 'A/A-2-2.png', 'class': 'A', 'patient': '', .*\}; fill",
    ),
    "unknown section": (
        csv_of(lambda rows: set_in(rows, 3, split="learn")),
        {"datalist": "list.csv"},
        r"sections training, validation, test.* got training, learn, validation, test; add",
    ),
    "missing image": (
        csv_of(lambda rows: set_in(rows, 3, path="A/A-2-9.png")),
        {"datalist": "list.csv"},
        r"every image listed in \S+list.csv to be in .*got 1 missing, like A/A-2-9.png; paths are relative",
    ),
    "duplicate": (
        csv_of(lambda rows: set_in(rows, 1, path="./A/A-1-1.png")),
        {"datalist": "list.csv"},
        r"listed once in \S+list.csv, got 1 more often, like A/A-1-1.png; remove",
    ),
    "patient on two sides": (
        csv_of(lambda rows: set_in(rows, 0, split="test")),
        {"datalist": "list.csv"},
        r"two sides .*got 1, like patient 1 in training and test; move",
    ),
    "no JSON": (
        lambda folder: (folder / "list.json").write_text("{"),
        {"datalist": "list.json"},
        r"list.json to be JSON .*got: Expecting",
    ),
    "JSON of a word": (
        json_of(lambda content: "training"),
        {"datalist": "list.json"},
        r"list.json to be JSON .*got: 'str'",
    ),
    "no training": (
        json_of(lambda content: {"test": content["training"]}),
        {"datalist": "list.json"},
        r"sections .*, or training alone to be split, got test; add",
    ),
    "no labels": (
        json_of(lambda content: {"training": [e["image"] for e in content["training"]]}),
        {"datalist": "list.json"},
        r"every entry .*a label \(class name or number\) .*got A/A-1-1.png; fill",
    ),
    "label out of range": (
        json_of(lambda content: set_in(content["training"], 5, label=2)),
        {"datalist": "list.json"},
        r"label .*one of A, B or a number from 0 to 1, got 2; correct",
    ),
    "unnamed label": (
        json_of(lambda content: content | {"classes": ["A", "C"]}),
        {"datalist": "list.json"},
        r"label .*one of A, C or a number from 0 to 1, got 'B'; correct",
    ),
    "class count of a listing": (
        json_of(lambda content: content | {"classes": ["A", "B", "C"]}),
        {"datalist": "list.json"},
        r"num_classes = 2 classes in .*list.json, got 3: A, B, C; correct",
    ),
}
NOT_THERE = {"no folder", "no file", "missing image"}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named(folder, case):
    break_it, arguments, message = BAD_INPUT[case]
    break_it(folder)
    arguments = {"dataset_dir": ".", "num_classes": 2} | arguments
    for key in {"dataset_dir", "datalist"} & set(arguments):
        arguments[key] = folder / arguments[key]

    with pytest.raises(FileNotFoundError if case in NOT_THERE else ValueError, match=message):
        load_datalist(**arguments)


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "oct").is_dir(), reason=f"no OCT images in {DATA / 'oct'}")
def test_the_real_oct_set_is_split_by_patient_and_in_proportion():
    datalist = load_datalist(DATA / "oct", num_classes=4)
    sections = sections_of(datalist)
    of_class = {s: Counter(item["label"] for item in items) for s, items in sections.items()}
    totals = sum(of_class.values(), Counter())

    assert datalist.classes == ("CNV", "DME", "DRUSEN", "NORMAL")
    assert [totals[label] for label in range(4)] == [211, 209, 217, 204]
    patients = [{item["patient"] for item in items} for items in sections.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 521
    for section, fraction in zip(SECTIONS, FRACTIONS, strict=True):
        shares = [of_class[section][label] / totals[label] for label in range(4)]
        assert shares == pytest.approx([fraction] * 4, abs=0.02)
    by_manifest = load_datalist(DATA / "oct", num_classes=4, datalist=DATA / "oct" / "manifest.csv")
    assert by_manifest == datalist
