"""Lists as spreadsheets, pandas and other tools write them: read right, or refused by name."""

import datetime
import json
import logging
import os
import unicodedata

import openpyxl
import pytest
from PIL import Image

from monai_ima.data import list_samples, load_datalist
from monai_ima.data.spreadsheet import _text
from monai_ima.data.table_words import OTHER_COLUMNS, USUAL_COLUMNS, plain

SPLIT = {"1": "train", "2": "val", "3": "test"}
SPLIT_NAMES = ("training", "validation", "test")
PATHS = [f"{name}/{patient}.png" for name in ("cat", "Müller, dog") for patient in SPLIT]


@pytest.fixture
def folder(tmp_path):
    for path in PATHS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("L", (3, 2)).save(tmp_path / path)
    return tmp_path


def fields(path):
    name, _, file = path.partition("/")
    patient = file.removesuffix(".png")
    return path, name, patient, SPLIT[patient]


def text(columns="path,class,patient,split", delimiter=",", rows=None):
    lines = [columns.split(","), *(rows or map(fields, PATHS))]
    quoted = ([f'"{value}"' if "," in value else value for value in line] for line in lines)
    return "".join(delimiter.join(line) + "\r\n" for line in quoted)


def write(folder, content, name="list.csv"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def sections(datalist):
    return {
        name: [(item["id"], item["label"], item["patient"]) for item in getattr(datalist, name)]
        for name in ("training", "validation", "test")
    }


EXPECTED = {
    "training": [("cat/1.png", 1, "1"), ("Müller, dog/1.png", 0, "1")],
    "validation": [("cat/2.png", 1, "2"), ("Müller, dog/2.png", 0, "2")],
    "test": [("cat/3.png", 1, "3"), ("Müller, dog/3.png", 0, "3")],
}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(text().encode("utf-8-sig"), id="mark of UTF-8"),
        pytest.param(text(delimiter=";").encode(), id="semicolons"),
        pytest.param(text(delimiter="\t").encode("utf-16"), id="UTF-16 with tabs, as Excel's text"),
        pytest.param(text(delimiter=";").encode("cp1252"), id="cp1252, as Excel's CSV"),
        pytest.param(text(delimiter=", ").encode(), id="blanks behind commas"),
        pytest.param(text("Path,Class,Patient,Split").encode(), id="large letters"),
        pytest.param(text("filename,label,patient_id,split").encode(), id="usual names"),
        pytest.param(text("Image Path,Class Name,Subject ID,SPLIT").encode(), id="blanks in names"),
        pytest.param(text().replace("/", "\\").encode(), id="paths of Windows"),
        pytest.param(text().replace("val\r", "Validation\r").encode(), id="long names of sections"),
        pytest.param((text() + "\r\n").encode(), id="empty line at the end"),
        pytest.param(text(delimiter="|").encode(), id="bars"),
        pytest.param(text("img,Diagnosis,Case ID,Subset").encode(), id="other names"),
        pytest.param(text("Serie,Diagnose,Patient,Split").encode(), id="series, in German"),
        pytest.param(text("Series folder,Label,Patient ID,Split").encode(), id="folders of series"),
    ],
)
def test_lists_of_other_tools_are_read_right(folder, content):
    datalist = load_datalist(folder, num_classes=2, datalist=write(folder, content))

    assert datalist.classes == ("Müller, dog", "cat")
    assert sections(datalist) == EXPECTED


def test_a_series_beside_a_path_is_not_taken_for_one(folder):
    """It may be a number, or T1."""
    rows = [(*fields(path), "T1") for path in PATHS]
    content = text("Datei,Befund,Patient,Split,Serie", rows=rows)

    assert (
        sections(load_datalist(folder, num_classes=2, datalist=write(folder, content))) == EXPECTED
    )


LANGUAGES = {
    "German": ("Dateiname,Diagnose,PatientenID,Aufteilung", "Training,Validierung,Test"),
    "German, cases": (
        "BILDPFAD,Klasse,Pat.-Nr.,Teilmenge",
        "Trainingsdaten,Validierungsdaten,Testdaten",
    ),
    "German, studies": ("Bild,Befund,Fallnummer,Split", "train,val,test"),
    "French": ("Nom du fichier,Étiquette,N° patient,Répartition", "entraînement,validation,test"),
    "French, capitals": (
        "CHEMIN,CLASSE,Numéro de patient,sous-ensemble",
        "Apprentissage,VALIDATION,Test",
    ),
    "Spanish": ("archivo,diagnóstico,ID paciente,partición", "entrenamiento,validación,prueba"),
    "Spanish, images": ("Imagen,Clase,paciente,Subconjunto", "Entrenamiento,Validacion,Test"),
    "Italian": ("nome file,etichetta,ID-paziente,Suddivisione", "addestramento,validazione,test"),
    "Portuguese": ("Nome do arquivo,Rótulo,Paciente,Divisão", "treino,validação,teste"),
    "Dutch": ("Bestandsnaam,Klasse,Patiëntnummer,Splitsing", "training,validatie,test"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("decomposed", [False, True], ids=["", "accents apart"])
def test_columns_and_sections_are_known_in_other_languages(folder, caplog, language, decomposed):
    """Accents may be characters of their own, as macOS has them in names."""
    columns, sections_ = LANGUAGES[language]
    called = dict(zip(SPLIT.values(), sections_.split(","), strict=True))
    rows = [(*others, called[section]) for *others, section in map(fields, PATHS)]
    content = text(columns, delimiter=";", rows=rows)
    if decomposed:
        content = "\n".join(
            line if "Müller" in line else unicodedata.normalize("NFD", line)
            for line in content.splitlines()
        )
    caplog.set_level(logging.INFO)

    listed = write(folder, content)

    assert sections(load_datalist(folder, num_classes=2, datalist=listed)) == EXPECTED
    assert "path in " in caplog.text


def test_a_table_from_a_german_excel_is_read(folder):
    """Numbers with commas in it are none of the list's, and 1,0 is the class 1."""
    lines = ["Bild;Klasse;PatientenID;Alter;Volumen (ml, links)"]
    lines += [f"{path};{float(path.startswith('cat'))};p{patient};61,5;3,25".replace(".0", ",0")
              for path, _, patient, _ in map(fields, PATHS)]  # fmt: skip
    listed = write(folder, "\r\n".join(lines).encode("cp1252"))

    datalist = load_datalist(folder, num_classes=2, datalist=listed)

    assert datalist.classes == ("0", "1")
    everyone = [item for section in SPLIT_NAMES for item in getattr(datalist, section)]
    assert {(item["id"][:3], item["label"]) for item in everyone} == {("cat", 1), ("Mül", 0)}
    assert {item["patient"] for item in everyone} == {"p1", "p2", "p3"}


def test_a_label_with_a_thousand_is_no_small_number(folder):
    listed = write(folder, "path;class\ncat/1.png;1,000\ncat/2.png;2,000\n")

    assert list_samples(folder, datalist=listed).classes == ("1,000", "2,000")


@pytest.mark.parametrize("noun", USUAL_COLUMNS)
def test_no_name_of_a_column_is_that_of_another(noun):
    mine = {*USUAL_COLUMNS[noun], *OTHER_COLUMNS[noun]}
    others = {name for other in USUAL_COLUMNS if other != noun for name in (*USUAL_COLUMNS[other], *OTHER_COLUMNS[other])}  # fmt: skip
    assert not mine & others
    assert all(plain(name) == name for name in mine)


def test_a_usual_name_is_taken_before_that_of_another_language(folder):
    rows = [(path, name, "x", *others) for path, name, *others in map(fields, PATHS)]
    listed = write(folder, text("Bild,label,Diagnose,patient,split", rows=rows))

    assert sections(load_datalist(folder, num_classes=2, datalist=listed)) == EXPECTED


def workbook(folder, *sheets):
    """Write sheets of rows as Excel does."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Tabelle{number}")
        for row in rows:
            sheet.append(row)
    book.save(folder / "list.xlsx")
    return folder / "list.xlsx"


def test_tables_are_told_by_their_content_not_their_name(folder):
    for name in ("list.tsv", "list.TXT"):
        datalist = write(folder, text(delimiter="\t"), name)
        assert sections(load_datalist(folder, num_classes=2, datalist=datalist)) == EXPECTED


def test_a_workbook_is_read_as_its_csv_would_be(folder, caplog):
    rows = [["Path ", "Class", "Patient", "Split", None], []]
    rows += [
        [path, name, float(patient), split] for path, name, patient, split in map(fields, PATHS)
    ]

    datalist = load_datalist(
        folder, num_classes=2, datalist=workbook(folder, [], rows, [["notes"]])
    )

    assert sections(datalist) == EXPECTED
    assert "the sheet 'Tabelle1' is read; not read: Tabelle2" in caplog.text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (2.0, "2"),
        (2.5, "2.5"),
        (7, "7"),
        (None, ""),
        (" a ", "a"),
        (datetime.datetime(2026, 1, 31), "2026-01-31"),
        (datetime.datetime(2026, 1, 31, 8), "2026-01-31 08:00:00"),
    ],
)
def test_cells_are_written_as_a_person_would(cell, text):
    assert _text(cell) == text


def test_cells_of_a_workbook_that_are_missing_are_empty(folder):
    rows = [["path", "class", "patient"], ["cat/1.png", "cat"], ["cat/2.png", "cat", 0]]

    with pytest.raises(ValueError, match=r"a patient, got \{'path': 'cat/1.png', .*'patient': ''"):
        load_datalist(folder, num_classes=1, datalist=workbook(folder, rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"list.xlsx to have the columns .*\(none\)"),
        ([["path", "path"]], r"first row, got the columns path, path, not all"),
        ([["path"], ["cat/1.png", "cat"]], r"list.xlsx to have the columns .*\(path\)"),
        ([["Study of 2021"], ["path", "class"]], r"got no class, path, .*remove what is above"),
    ],
)
def test_other_workbooks_are_refused_by_name(folder, rows, message):
    with pytest.raises(ValueError, match=message):
        load_datalist(folder, num_classes=2, datalist=workbook(folder, rows))


def test_what_a_person_sees_in_a_workbook_is_read(folder, caplog):
    """Cells that are merged over rows, a remark beside the table, and rows that a filter hides."""
    rows = [["path", "class", "patient", "split"], *map(fields, PATHS)]
    rows[2] = [*rows[2], None, None, "to be checked"]
    file = workbook(folder, rows)
    book = openpyxl.load_workbook(file)
    book.active.merge_cells("B2:B4")  # the class of all cats
    book.active.row_dimensions[3].hidden = True
    book.save(file)

    assert sections(load_datalist(folder, num_classes=2, datalist=file)) == EXPECTED
    assert "list.xlsx: 1 hidden rows, as of a filter, are read as well" in caplog.text


def test_lines_of_excel_without_content_are_none(folder):
    plain = text(delimiter=";")
    for content in (
        "sep=;\r\n" + plain,
        plain + ";;;\r\n;;;\r\n",
        plain.replace("\r\n", ";;\r\n"),
        plain.replace("\r\n", ";\r\n").replace("split;", "split", 1),
    ):
        datalist = load_datalist(folder, num_classes=2, datalist=write(folder, content))
        assert sections(datalist) == EXPECTED


def test_a_name_has_one_spelling(folder):
    """Accents of macOS and blanks of Word made a class, a patient and a file of their own."""
    nfd = unicodedata.normalize("NFD", "Müller, dog")
    (folder / "cat" / unicodedata.normalize("NFD", "é.png")).write_bytes(
        (folder / "cat" / "1.png").read_bytes()
    )
    rows = list(map(fields, PATHS))
    rows[3] = (rows[3][0], nfd, *rows[3][2:])
    rows[4] = (rows[4][0], "Müller,\u00a0 dog", *rows[4][2:])
    rows.append(("cat/é.png", "cat", "1", "train"))

    datalist = load_datalist(folder, num_classes=2, datalist=write(folder, text(rows=rows)))

    assert datalist.classes == ("Müller, dog", "cat")
    assert len(datalist.training) == 3


@pytest.mark.parametrize("nothing", ["nan", "NA", "#N/A", "NULL", "#REF!", "<NA>"])
@pytest.mark.parametrize("column", [1, 2])
def test_what_programs_write_for_nothing_names_no_class_and_no_patient(folder, column, nothing):
    rows = [list(fields(path)) for path in PATHS]
    rows[0][column] = nothing

    with pytest.raises(ValueError, match=rf"got \{{.*'{nothing}'.*fill it in"):
        load_datalist(folder, num_classes=2, datalist=write(folder, text(rows=rows)))


def test_rows_without_a_split_are_for_training_only_if_no_others_are(folder, caplog):
    rows = [list(fields(path)) for path in PATHS]
    rows[0][3] = ""

    with pytest.raises(ValueError, match=r"every row of .* got 1 without, like \{'path': 'cat/1"):
        load_datalist(folder, num_classes=2, datalist=write(folder, text(rows=rows)))
    rows[3][3] = ""
    datalist = load_datalist(folder, num_classes=2, datalist=write(folder, text(rows=rows)))
    assert sections(datalist) == EXPECTED
    assert "2 rows of" in caplog.text


def test_an_image_with_two_classes_is_named_with_both(folder):
    rows = [*map(fields, PATHS), ("cat/1.png", "Müller, dog", "1", "train")]

    with pytest.raises(ValueError, match=r"one class .*like cat/1.png with Müller, dog and cat;"):
        load_datalist(folder, num_classes=2, datalist=write(folder, text(rows=rows)))


def test_a_column_is_named_with_blanks_around_it_too(folder):
    listed = write(folder, text("path,my class ,patient,split"))

    datalist = load_datalist(folder, num_classes=2, datalist=listed, class_column="my class ")

    assert sections(datalist) == EXPECTED


@pytest.mark.parametrize(
    "wrong", ["C:\\Users\\me\\cat\\1.png", "cat/1", "Cat/1.PNG", "images/cat/1"]
)
def test_what_a_missing_path_may_mean_is_said(folder, wrong):
    rows = [list(fields(path)) for path in PATHS if not path.startswith("M")]
    rows[0][0] = wrong

    with pytest.raises(FileNotFoundError, match=r"1 missing, .*where there is cat/1.png"):
        load_datalist(folder, num_classes=1, datalist=write(folder, text(rows=rows)))
    rows[0][0] = "1.png"  # as there are two
    with pytest.raises(FileNotFoundError, match=r"like 1.png; paths are relative to dataset_dir$"):
        load_datalist(folder, num_classes=1, datalist=write(folder, text(rows=rows)))


def test_what_is_no_workbook_is_refused_by_name(folder):
    with pytest.raises(ValueError, match=r"list.xlsx to be an Excel workbook .* save it anew as"):
        load_datalist(folder, num_classes=2, datalist=write(folder, text(), "list.xlsx"))


def test_what_is_not_utf_8_is_said(folder, caplog):
    load_datalist(folder, num_classes=2, datalist=write(folder, text().encode("cp1252")))

    assert "list.csv is not in UTF-8; it is read as cp1252" in caplog.text


def test_columns_of_other_names_are_said(folder, caplog):
    caplog.set_level(logging.INFO)
    load_datalist(folder, num_classes=2, datalist=write(folder, text("file,label,patient,split")))

    assert "path in file, class in label, patient in patient, split in split" in caplog.text


def test_columns_are_named_by_settings(folder):
    settings = {
        "path_column": "Datei",
        "class_column": "Befund",
        "patient_column": "Fall",
        "split_column": "Teil",
    }
    listed = write(folder, text("Datei,Befund,Fall,Teil"))
    items = [dict(zip(settings.values(), fields(path), strict=True)) for path in PATHS]
    as_json = write(folder, json.dumps(items), "list.json")

    for datalist in (listed, as_json):
        assert sections(load_datalist(folder, num_classes=2, datalist=datalist, **settings)) == (
            EXPECTED
        )
        samples = list_samples(folder, datalist=datalist, section="val", **settings)
        assert [item["id"] for item in samples.items] == ["cat/2.png", "Müller, dog/2.png"]


def test_each_image_may_be_a_patient_by_its_path(folder):
    rows = [fields(path)[:2] for path in PATHS]
    listed = write(folder, text("path,class", rows=rows))

    datalist = load_datalist(folder, num_classes=2, datalist=listed, patient_column="path")

    assert {item["patient"] for item in datalist.training} <= set(PATHS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text("Kuva,Luokka,Potilas,split"), r"got no class, path, patient; .*\(Kuva, Luokka, Potilas, sp.*with class_column, path_column, patient_column"),
        (text("Bild,Befund,Diagnose,split"), r"one class in each row .*got the columns Diagnose, Befund; say .* with class_column"),
        (text("Bild,Befund,PatientenID,Fallnummer"), r"one patient in each row .*got the columns PatientenID, Fallnummer; say .* with patient_column"),
        (text("image,label,class name,split"), r"one class in each row .*got the columns label, class name; say .* with class_column"),
        (text("filename,image,patient,split"), r"one path in each row of .*got the columns image, filename; say .* with path_column"),
        (text("path,path,patient,split"), r"list.csv .* got the columns path, path, patient, split, not all"),
        (text() + "cat/4.png,cat\r\n", r"list.csv .* got 2 values in line 8 for 4 columns"),
        (text() + '"cat/4.png,cat,4,train', r"list.csv to be a CSV file .*unexpected end of data"),
        (text().encode("utf-16-le"), r"list.csv to be text in UTF-8, got zero bytes"),
        (text().encode() + b"\x81", r"list.csv to be text in UTF-8, got: 'utf-8' codec can't"),
        ("", r"list.csv to have the columns .*\(none\)"),
    ],
)  # fmt: skip
def test_other_lists_are_refused_by_name(folder, content, message):
    with pytest.raises(ValueError, match=message):
        load_datalist(folder, num_classes=2, datalist=write(folder, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"training": "\xff"}', r"list.json to be text in UTF-8"),
        (b"[" * 100_000, r"list.json to be JSON .*got: .*recursion"),
        (b'{"val": [{}], "validation": [{}]}', r"two names of one section among val, validation"),
        (b'{"labels": {"A": 0, "B": 0}, "training": [{}]}', r"one number for several classes"),
        (b'{"labels": {"0": "A", "1": "A"}, "training": [{}]}', r"the same name for several"),
        (b'{"training": [{"image": "a", "label": NaN, "patient": 1}]}', r"a label .*got \{.*nan"),
        (b'{"training": [{"image": "a", "label": true, "patient": 1}]}', r"a label .*got \{.*True"),
    ],
)
def test_other_json_is_refused_by_name(folder, content, message):
    with pytest.raises(ValueError, match=message):
        load_datalist(folder, num_classes=2, datalist=write(folder, content, "list.json"))


# --- paths that leave the folder ------------------------------------------------------------------


@pytest.fixture
def outside(folder, tmp_path_factory):
    image = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    Image.new("L", (3, 2)).save(image)
    (folder / "link.png").symlink_to(image)
    (folder / "linked").symlink_to(image.parent)
    return image


@pytest.mark.parametrize("kind", ["absolute", "..", "link", "linked folder", "backslashes"])
def test_paths_that_leave_the_folder_are_refused_unless_allowed(folder, outside, kind):
    path = {
        "absolute": str(outside),
        "..": os.path.relpath(outside, folder),
        "link": "link.png",
        "linked folder": "linked/secret.png",
        "backslashes": os.path.relpath(outside, folder).replace("/", "\\"),
    }[kind]
    listed = write(folder, text("path,class", rows=[("cat/1.png", "cat"), (path, "dog")]))

    with pytest.raises(ValueError, match=r"stay in dataset_dir.*got 1 that leave.*--allow_outside"):
        list_samples(folder, datalist=listed)
    samples = list_samples(folder, datalist=listed, allow_outside=True)
    assert outside.samefile(samples.items[1]["image"])


def test_links_within_the_folder_do_not_leave_it(folder):
    (folder / "link.png").symlink_to(folder / "cat" / "2.png")
    rows = [("cat/1.png", "cat"), ("link.png", "dog"), ("cat/../cat/3.png", "dog")]

    samples = list_samples(folder, datalist=write(folder, text("path,class", rows=rows)))

    assert [item["label"] for item in samples.items] == [0, 1, 1]


def test_a_pipe_is_refused_without_being_opened(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    listed = write(folder, text("path,class,patient", rows=[("cat/pipe.png", "cat", "1")]))

    for read in (list_samples, load_datalist):
        with pytest.raises(
            ValueError, match=r"a regular file or a folder, got 1 of another kind .*cat/pipe"
        ):
            read(folder, datalist=listed, num_classes=1)


def test_names_that_no_file_can_have_are_missing(folder):
    listed = write(folder, json.dumps([{"image": "a\0b", "label": 0}, {"image": "x" * 5000, "label": 0}]), "list.json")  # fmt: skip

    with pytest.raises(FileNotFoundError, match="got 2 missing"):
        list_samples(folder, datalist=listed)
