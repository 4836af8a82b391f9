import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from monai.data import DataLoader, Dataset
from PIL import Image

from monai_ima.data import list_samples, load_datalist
from monai_ima.data.sample import section_named

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
PATTERN = r"^[^-]+-(?P<patient>\d+)-"


def write_image(path, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (3, 2)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three images of class B, two of class A; patient 1 is in both."""
    for name in ("B/B-2-1.png", "B/B-1-2.png", "B/B-3-1.png", "A/A-1-1.png", "A/A-4-1.png"):
        write_image(tmp_path / name)
    return tmp_path


def write_csv(file, rows):
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_json(file, content):
    file.write_text(json.dumps(content))
    return file


ROWS = [
    {"path": "B/B-2-1.png", "class": "B", "patient": "2"},
    {"path": "A/A-1-1.png", "class": "A", "patient": "1"},
    {"path": "B/B-3-1.png", "class": "B", "patient": "3"},
]
ENTRIES = [{"image": r["path"], "label": r["class"], "patient": r["patient"]} for r in ROWS]


def ids(samples):
    return [item["id"] for item in samples.items]


# --- what is listed -------------------------------------------------------------------------------


def test_class_folders_are_listed_whole(folder):
    write_image(folder / ".cache" / "C-9-1.png")
    (folder / "B" / "notes.txt").touch()

    samples = list_samples(folder)

    assert samples.classes == ("A", "B")
    assert ids(samples) == [
        "A/A-1-1.png",
        "A/A-4-1.png",
        "B/B-1-2.png",
        "B/B-2-1.png",
        "B/B-3-1.png",
    ]
    assert samples.items[3] == {
        "image": str(folder / "B" / "B-2-1.png"),
        "label": 1,
        "patient": "",
        "index": 3,
        "id": "B/B-2-1.png",
    }
    with_patients = list_samples(folder, patient_pattern=PATTERN)
    assert [item["patient"] for item in with_patients.items] == ["1", "4", "1", "2", "3"]
    assert with_patients.fingerprint == samples.fingerprint


def test_a_listing_is_kept_in_its_order(folder):
    manifest = write_csv(folder / "list.csv", ROWS)
    decathlon = write_json(folder / "list.json", {"test": ENTRIES, "name": "demo"})
    bare = write_json(folder / "bare.json", ENTRIES)

    samples = list_samples(folder, datalist=manifest)

    assert ids(samples) == ["B/B-2-1.png", "A/A-1-1.png", "B/B-3-1.png"]
    assert [item["label"] for item in samples.items] == [1, 0, 1]
    assert [item["patient"] for item in samples.items] == ["2", "1", "3"]
    assert [item["index"] for item in samples.items] == [0, 1, 2]
    assert list_samples(folder, datalist=decathlon) == samples
    assert list_samples(folder, datalist=bare) == samples


def test_a_listing_may_lack_the_patients(folder):
    manifest = write_csv(folder / "list.csv", [{"path": "A/A-1-1.png", "class": "A"}])

    assert list_samples(folder, datalist=manifest).items[0]["patient"] == ""


def test_patients_from_another_column(folder):
    rows = [row | {"subject": f"s{row['patient']}"} for row in ROWS]
    manifest = write_csv(folder / "list.csv", rows)

    samples = list_samples(folder, datalist=manifest, patient_column="subject")

    assert [item["patient"] for item in samples.items] == ["s2", "s1", "s3"]


def test_unknown_patients_pass_the_data_loader(folder):
    samples = list_samples(folder)

    batch = next(iter(DataLoader(Dataset(samples.items), batch_size=5)))

    assert batch["label"].tolist() == [0, 0, 1, 1, 1]
    assert batch["id"] == ids(samples)
    assert batch["patient"] == [""] * 5


def test_files_of_any_kind_may_be_listed(tmp_path):
    np.save(tmp_path / "ecg.npy", np.zeros(3))
    (tmp_path / "series").mkdir()  # DICOM
    rows = [{"path": "ecg.npy", "class": "A"}, {"path": "series", "class": "B"}]

    samples = list_samples(tmp_path, datalist=write_csv(tmp_path / "list.csv", rows))

    assert ids(samples) == ["ecg.npy", "series"]


def test_paths_may_be_absolute(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    entries = [{"image": str(folder / "A" / "A-1-1.png"), "label": 0}]
    listed = write_json(elsewhere / "list.json", entries)

    samples = list_samples(elsewhere, datalist=listed, allow_outside=True)

    assert samples.items[0]["image"] == samples.items[0]["id"] == entries[0]["image"]
    (inside,) = list_samples(folder, datalist=listed).items
    assert (inside["id"], inside["image"]) == ("A/A-1-1.png", entries[0]["image"])


# --- which section --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["training", "validation", "test", "extra"], "test"),
        (["training", "testing", "validation"], "testing"),
        (["training", "validation"], "validation"),
        (["extra", "training"], "training"),
    ],
)
def test_the_section_that_is_evaluated(folder, there, chosen):
    paths = ["B/B-2-1.png", "A/A-1-1.png", "B/B-3-1.png", "A/A-4-1.png"]
    of_section = dict(zip(there, paths, strict=False))
    entries = {name: [{"image": path, "label": path[0]}] for name, path in of_section.items()}
    decathlon = write_json(folder / "list.json", entries)
    rows = [{"path": p, "class": p[0], "split": name} for name, p in of_section.items()]
    manifest = write_csv(folder / "list.csv", rows)

    for datalist in (decathlon, manifest):
        by_default = list_samples(folder, datalist=datalist)
        assert ids(by_default) == [of_section[chosen]]
        for name, path in of_section.items():
            samples = list_samples(folder, datalist=datalist, section=name)
            assert ids(samples) == [path]
            # numbered by the names in all sections: the model's outputs do not depend on the one
            assert samples.classes == by_default.classes == ("A", "B")
            assert samples.items[0]["label"] == "AB".index(path[0])


def test_a_section_without_labels_is_passed_by_on_request(folder):
    content = {"training": ENTRIES, "test": [entry["image"] for entry in ENTRIES]}
    decathlon = write_json(folder / "list.json", content)

    assert len(list_samples(folder, datalist=decathlon, section="training").items) == 3
    with pytest.raises(
        ValueError, match=r"section test .*a label .*got 3 of 3 without, like B/B-2-"
    ):
        list_samples(folder, datalist=decathlon)


# --- the order of the classes ---------------------------------------------------------------------


def test_declared_classes_keep_their_numbers(folder):
    content = {"labels": {"1": "A", "0": "B"}, "test": ENTRIES}
    samples = list_samples(folder, datalist=write_json(folder / "list.json", content))

    assert samples.classes == ("B", "A")
    assert [item["label"] for item in samples.items] == [0, 1, 0]


def test_declared_classes_may_be_numbers(folder):
    entries = [entry | {"label": "AB".index(entry["label"])} for entry in ENTRIES]
    decathlon = write_json(folder / "list.json", {"classes": [7, 5], "test": entries})

    samples = list_samples(folder, datalist=decathlon)

    assert samples.classes == ("7", "5")
    assert [item["label"] for item in samples.items] == [1, 0, 1]


def test_classes_fix_the_order(folder):
    order = ["C", "B", "A"]
    numbers = [entry | {"label": "CBA".index(entry["label"])} for entry in ENTRIES]
    rows = [row | {"class": "CBA".index(row["class"])} for row in ROWS]
    sources = {
        "names": write_json(folder / "names.json", {"test": ENTRIES}),
        "numbers": write_json(folder / "numbers.json", {"test": numbers}),
        "numbers in a CSV": write_csv(folder / "numbers.csv", rows),
    }
    for source, datalist in sources.items():
        samples = list_samples(folder, datalist=datalist, classes=order, num_classes=3)
        assert samples.classes == ("C", "B", "A")
        assert [item["label"] for item in samples.items] == [1, 2, 1], source
    of_folders = list_samples(folder, classes=order)
    assert of_folders.classes == ("C", "B", "A")
    assert [item["label"] for item in of_folders.items] == [2, 2, 1, 1, 1]
    assert of_folders.fingerprint != list_samples(folder).fingerprint


def test_numbers_mean_the_declared_classes_whatever_order_is_asked_for(folder):
    entries = [entry | {"label": "AB".index(entry["label"])} for entry in ENTRIES]
    decathlon = write_json(folder / "list.json", {"classes": ["A", "B"], "test": entries})

    samples = list_samples(folder, datalist=decathlon, classes=["B", "A"])

    assert [samples.classes[item["label"]] for item in samples.items] == ["B", "A", "B"]
    assert [item["label"] for item in samples.items] == [0, 1, 0]


def test_numbers_are_sorted_by_value(tmp_path):
    for number in range(11):
        write_image(tmp_path / str(number) / "image.png")
    rows = [{"path": f"{n}/image.png", "class": n} for n in range(11)]
    manifest = write_csv(tmp_path / "list.csv", rows)

    for samples in (list_samples(tmp_path), list_samples(tmp_path, datalist=manifest)):
        assert {item["id"]: item["label"] for item in samples.items} == {
            f"{n}/image.png": n for n in range(11)
        }


def test_numbered_classes_may_lack_samples(folder):
    entries = [entry | {"label": 2} for entry in ENTRIES]
    decathlon = write_json(folder / "list.json", {"test": entries})

    assert list_samples(folder, datalist=decathlon).classes == ("0", "1", "2")
    samples = list_samples(folder, datalist=decathlon, num_classes=4)
    assert samples.classes == ("0", "1", "2", "3")
    assert [item["label"] for item in samples.items] == [2, 2, 2]


def test_a_class_without_samples_is_named(folder):
    samples = list_samples(folder, classes=["A", "AB", "B"], num_classes=3)

    assert samples.classes == ("A", "AB", "B")
    assert [item["label"] for item in samples.items] == [0, 0, 2, 2, 2]


def test_labels_agree_with_those_of_a_training(folder):
    rows = [
        {"path": f"{name}/{name}-{n}-1.png", "class": name, "patient": n}
        for name, numbers in {"10": "123", "9": "456"}.items()
        for n in numbers
    ]
    for row in rows:
        write_image(folder / row["path"])
    manifest = write_csv(folder / "list.csv", rows)

    trained = load_datalist(folder, num_classes=2, datalist=manifest)
    evaluated = list_samples(folder, datalist=manifest)

    assert trained.classes == evaluated.classes == ("9", "10")
    labels = {item["image"]: item["label"] for item in evaluated.items}
    for item in trained.training + trained.validation + trained.test:
        assert labels[item["image"]] == item["label"]


# --- bad input: the listing, the arguments, the words of the message ------------------------------


def listing(*changes, **more):
    """A JSON file of the entries, with changed values by position, and more at the top."""
    entries = [dict(entry) for entry in ENTRIES]
    for position, values in changes:
        entries[position] |= values
    return {"test": entries} | more


BAD_INPUT = {
    "no folder": (None, {"dataset_dir": "none"}, r"dataset_dir .*got .*none: no such folder"),
    "no class folders": (
        None,
        {"dataset_dir": "A"},
        r"got 2 files directly in it; sort the images",
    ),
    "folders of sections": (
        None,
        {"dataset_dir": ".."},
        r"several class folders in .*, got images alone; give as dataset_dir .* or name all",
    ),
    "section of folders": (
        None,
        {"section": "test"},
        r"got 'test' without; give datalist_file, or",
    ),
    "folder of no class": (
        None,
        {"classes": ["B", "C"]},
        r"one of the classes B, C, got A; correct classes",
    ),
    "too many classes": (
        None,
        {"num_classes": 4},
        r"num_classes = 4 classes in .*got 2: A, B; correct num_classes, or name them all with cl",
    ),
    "name without a patient": (
        None,
        {"patient_pattern": r"^x(?P<patient>\d+)"},
        r"patient_pattern '\^x.*' finds the patient, got .*A-1-1.png",
    ),
    "pattern without the group": (None, {"patient_pattern": r"\d"}, r"group \(\?P<patient>"),
    "a word for classes": (None, {"classes": "AB"}, r"classes to be a list of .*got 'AB'; name"),
    "no class": (None, {"classes": []}, r"classes to be a list of different names, got \[\]"),
    "a class twice": (None, {"classes": ["A", "A"]}, r"different names, got \['A', 'A'\]"),
    "empty listing": ({"test": []}, {}, r"samples to evaluate in .*list.json, got none; list some"),
    "no such section": (
        listing(),
        {"section": "validation"},
        r"those in .*list.json, test, got 'validation'; choose",
    ),
    "the class names for a section": (
        listing(classes=["A", "B"]),
        {"section": "classes"},
        r"those in .*list.json, test, got 'classes'; choose",
    ),
    "no known section": ({"more": ENTRIES}, {}, r"in .*list.json, more, got None; choose one"),
    "no label": (
        listing((1, {"label": None})),
        {},
        r"section test .*label .*got 1 of 3 without, like .*A/A-1-1.png.*label them, or choose",
    ),
    "no image": (
        listing((1, {"image": ["a", "b"]})),
        {},
        r"an image \(path\) .*got 1 of 3 without",
    ),
    "some patients": (
        listing((1, {"patient": ""})),
        {},
        r"a patient in every entry of .*got 1 of 3 without, like .*A-1-1.png.*fill it in, or leave",
    ),
    "no such patients": (
        listing(),
        {"patient_column": "subject"},
        r"a subject, the patient_column, in every entry of .*got 3 of 3 without",
    ),
    "a file missing": (
        listing((1, {"image": "A/A-9-1.png"})),
        {},
        r"got 1 missing, like A/A-9-1.png; paths are relative",
    ),
    "a file twice": (
        listing((1, {"image": "./B/B-2-1.png"})),
        {},
        r"one class for every image in .*list.json, got 1 with several, like B/B-2-1.png with A and B",
    ),
    "undeclared label": (
        listing(classes=["A", "C"]),
        {},
        r"one of A, C or a number from 0 to 1, got 'B'; correct the label, or the classes",
    ),
    "label out of range": (
        listing((1, {"label": 3}), classes=["A", "B"]),
        {},
        r"one of A, B or a number from 0 to 1, got 3; correct the label",
    ),
    "negative label": (
        listing((1, {"label": -1}), classes=["A", "B"]),
        {},
        r"a number from 0 to 1, got -1; correct",
    ),
    "other classes": (
        listing(classes=["A", "B"]),
        {"classes": ["A", "C"]},
        r"order those that .*list.json declares, A, B, got A, C; give the same names",
    ),
    "too few classes declared": (
        listing(classes=["A", "B"]),
        {"num_classes": 3},
        r"num_classes = 3 classes in .*list.json, got 2: A, B; correct num_classes, or name",
    ),
}
NOT_THERE = {"no folder", "a file missing"}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named(folder, case):
    content, arguments, message = BAD_INPUT[case]
    root = folder.rename(folder.parent / f"{folder.name}-sections") / "images"
    root.mkdir()
    for name in ("A", "B"):
        (root.parent / name).rename(root / name)
    if content is not None:
        write_image(root / "A" / "rgb.png", "RGB")
        arguments = arguments | {"datalist": write_json(root / "list.json", content)}
    arguments = {"dataset_dir": "."} | arguments
    arguments["dataset_dir"] = root / arguments["dataset_dir"]

    with pytest.raises(FileNotFoundError if case in NOT_THERE else ValueError, match=message):
        list_samples(**arguments)


def test_columns_are_needed_but_for_the_patient(folder):
    manifest = write_csv(folder / "list.csv", [{"scan": "A/A-1-1.png", "grade": "A"}])

    with pytest.raises(
        ValueError,
        match=r"columns path and class, got no class, path; add them, or say which of its columns "
        r"\(scan, grade\) they are with class_column, path_column",
    ):
        list_samples(folder, datalist=manifest)


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "oct").is_dir(), reason=f"no OCT images in {DATA / 'oct'}")
def test_the_real_oct_set_is_listed_alike_from_folders_and_manifest():
    samples = list_samples(DATA / "oct", patient_pattern=PATTERN)
    manifest = list_samples(DATA / "oct", datalist=DATA / "oct" / "manifest.csv")

    assert samples.classes == manifest.classes == ("CNV", "DME", "DRUSEN", "NORMAL")
    assert len(samples.items) == 841
    assert len({item["patient"] for item in samples.items}) == 521
    assert {(i["id"], i["label"], i["patient"]) for i in samples.items} == {
        (i["id"], i["label"], i["patient"]) for i in manifest.items
    }


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("Train", "training"),
        ("Trainings-Daten", "training"),
        ("entrai\u0302nement", "training"),
        ("sub set", "sub set"),
        ("t../raining", "t../raining"),
        ("test/", "test/"),
        ("", ""),
    ],
)
def test_a_section_is_named_by_a_word(name, section):
    assert section_named(name) == section
