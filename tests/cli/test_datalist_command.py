"""The command: what it says, in the words of its own options, and how it ends."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from monai_ima.cli.main import main
from monai_ima.cli.settings import settings_values
from monai_ima.planning.datalist_settings import datalist_settings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "AB":
        (tmp_path / "my study" / name).mkdir(parents=True)
        for patient in range(4):
            image = Image.linear_gradient("L").rotate(9 * patient + 45 * (name == "B"))
            image.save(tmp_path / "my study" / name / f"{name}-{patient}{ord(name)}-1.png")
    return tmp_path / "my study"


def test_it_says_what_was_found_and_how_to_go_on(folder, capsys):
    main(["datalist", str(folder), "--seed", "1"])

    said = capsys.readouterr().out
    assert said.startswith("8 images of 8 patients, 2 classes\n\n  A  training 2, validation 1, te")
    assert "note  fewer than 10 patients" in said
    assert "lists/my study/data_report.html  what to do" in said
    assert "monai-ima plan 'lists/my study/datalist.json'  proposes eps_max" in said
    words = shlex.split(said.splitlines()[-1])
    assert words[words.index("--datalist_file") + 1] == "lists/my study/datalist.json"
    assert words[words.index("--num_classes") + 1] == "2"


def test_folds_come_with_a_loop_over_all_of_them(folder, capsys):
    main(["datalist", str(folder), "--folds", "4", "--output", "folds"])

    *_, first, body, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("for k in 0 1 2 3; do", "done")
    assert "--datalist_file folds/fold_$k.json" in body
    assert body.endswith("--output_dir runs/fold_$k")


@pytest.mark.parametrize("name", ["2024", "study #1", "$HOME's @ 5%", "it's"])
def test_commands_can_be_copied_whatever_a_folder_is_called(folder, name, capfd):
    """Each as a shell has it, up to what MONAI makes of its settings."""
    folder.rename(folder.parent / name)
    path = Path(name) / "datalist.json"
    main(["datalist", name, "--output", name])
    *_, plan, _, _, train = capfd.readouterr().out.splitlines()
    path.unlink()
    main(["datalist", name, "--output", name, "--folds", "4"])
    *_, loop, body, done = capfd.readouterr().out.splitlines()

    def read(line):
        """The settings with which a bundle is run."""
        (folder.parent / "shown.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))")
        shown = line.replace("python -m monai.bundle", f"{sys.executable} shown.py")
        ended = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
        for words in map(json.loads, ended.stdout.splitlines()):
            settings = settings_values(words[3:])
            parser = ConfigParser(settings)
            yield {key: parser.get_parsed_content(key) for key in settings}

    (settings,) = read(train)
    assert settings == {"dataset_dir": name, "datalist_file": str(path), "num_classes": 2}
    folds = [Path(settings["datalist_file"]) for settings in read(f"{loop}\n{body}\n{done}")]
    assert folds == [Path(name, f"fold_{number}.json") for number in range(4)]
    folds[0].rename(path)
    _, word = shlex.split(plan.partition("  proposes")[0].removeprefix("monai-ima "))
    _, settings = datalist_settings(Path(word))
    found = ConfigParser(settings).get_parsed_content("")
    assert Path(found["dataset_dir"]).resolve() == Path(name).resolve()
    assert Path(found["datalist_file"]).resolve() == path.resolve()


def test_a_problem_leaves_the_report_and_ends_with_an_error(folder, capsys):
    (folder / "A" / "A-9-1.png").write_bytes(b"no image")

    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder), "--output", "out"])

    ended = capsys.readouterr()
    assert "MEND  1 file that cannot be read" in ended.out
    assert "no list was written: mend what out/data_report.html shows first" in ended.err
    assert (folder.parent / "out" / "data_report.html").exists()
    assert not (folder.parent / "out" / "datalist.json").exists()
    main(["datalist", str(folder), "--output", "out", "--leave-out-unreadable"])
    assert "LOOK  1 file that cannot be read, left out" in capsys.readouterr().out


def test_what_is_missing_is_said_in_the_words_of_the_command(folder, capsys):
    table = folder / "list.tsv"
    table.write_text("path\tclass\nA/A-065-1.png\tA")

    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder), "--table", str(table)])

    said = capsys.readouterr().err
    assert "got no patient; add them, or say which of its columns (path, class)" in said
    assert "with --patient_column; where patients are not known, --patients each-image" in said
    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder), "--table", str(table.with_name("other.csv"))])
    assert "expected --table to be a file, got" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder), "--patients", "each-image", "--patient_pattern", "x"])


def test_names_without_a_patient_lead_to_what_works(folder, capsys):
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        path.rename(path.with_name(f"{number}.png"))

    with pytest.raises(SystemExit, match="2"):
        main(["datalist", str(folder)])

    said = capsys.readouterr().err
    assert "give a --patient_pattern that fits" in said
    assert "--patients each-image" in said
    main(["datalist", str(folder), "--patients", "each-image"])
    assert "LOOK  patients are not known" in capsys.readouterr().out


def test_a_bundle_that_is_there_is_left_alone(folder, capsys):
    """It may be made from another bundle, or of other data."""
    (folder.parent / "my_study").mkdir()
    (folder.parent / "my_study" / "train.json").write_text("{}")
    (folder.parent / "my_study_2").touch()

    main(["datalist", str(folder)])

    *_, made, command = capsys.readouterr().out.splitlines()
    assert made == "monai-ima new my_study_3 --from oct_ima"
    assert "--config_file my_study_3/train.json" in command


def test_volumes_come_with_the_bundle_that_they_need(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        path = tmp_path / "volumes" / "AB"[number % 2] / f"A-{number}-1.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).random((6, 5, 4), dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)

    main(["datalist", "volumes"])

    said = capsys.readouterr().out
    words = shlex.split(said.splitlines()[-1])
    assert words[words.index("--config_file") + 1] == "my_study/train.json"
    assert "monai-ima new my_study --from volume_ima\n" in said


def test_a_table_of_volumes_from_a_german_excel(tmp_path, monkeypatch, capsys):
    """Semicolons, decimal commas, umlauts in cp1252; what is ambiguous is named with its option."""
    monkeypatch.chdir(tmp_path)
    lines = ["Bilddatei;Größe (ml);Diagnose;Patientennummer;Aufteilung"]
    for number in range(12):
        name = f"images/hippocampus_{number:03}.nii.gz"
        path = tmp_path / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).random((6, 5, 4), dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        section = ("Training", "Validierung", "Test")[number // 2 % 3]
        diagnosis = ("gesund", "verkürzt")[number % 2]
        lines.append(f"{name};3,{number:02};{diagnosis};{number};{section}")
    table = tmp_path / "study" / "Tabelle.csv"
    table.write_bytes("\r\n".join(lines).encode("cp1252"))

    main(["datalist", "study", "--table", str(table), "--output", "lists"])

    assert "gesund    training 2, validation 2, test 2" in capsys.readouterr().out
    written = json.loads((tmp_path / "lists" / "datalist.json").read_text("utf-8"))
    of_training = {(item["image"], item["patient"]) for item in written["training"]}
    numbers = (0, 1, 6, 7)
    assert of_training == {(f"images/hippocampus_{n:03}.nii.gz", str(n)) for n in numbers}

    table.write_bytes(table.read_bytes().replace(b"Gr\xf6\xdfe (ml)", b"Befund", 1))
    with pytest.raises(SystemExit, match="2"):
        main(["datalist", "study", "--table", str(table), "--output", "lists"])
    assert "got the columns Diagnose, Befund; say which it is with --class_column" in (
        capsys.readouterr().err
    )
    main(
        [
            "datalist",
            "study",
            "--table",
            str(table),
            "--output",
            "lists",
            "--class_column",
            "Diagnose",
        ]
    )
