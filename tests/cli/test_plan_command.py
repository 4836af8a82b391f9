"""The command: from a datalist to a plan, and to a bundle that trains with it."""

import json

import nibabel
import numpy as np
import pytest
from bundle_run import run_bundle
from PIL import Image

from monai_ima.cli.main import main

QUICK = ["--image_size", "[32,32]", "--max_epochs", "4", "--batch_size", "8"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A list of images in a folder, of two classes that differ in brightness."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    for label, name in enumerate("AB"):
        (folder / "images" / name).mkdir(parents=True)
        for patient in range(30):
            values = 100 + 40 * label + rng.normal(0, 6, (40, 44))
            path = folder / "images" / name / f"{name}-{patient}{label}-1.png"
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
    words = ["datalist", str(folder / "images"), "--output", str(folder / "lists")]
    main([*words, "--fractions", "0.5", "0.4", "0.1"])
    return folder / "lists" / "datalist.json"


def test_a_datalist_becomes_a_bundle_that_trains(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    main(["plan", str(study), "--write", "my_study", *QUICK, "--optimizer#weight_decay", "0.01"])

    said = capsys.readouterr().out
    assert said.startswith(
        "oct_ima\n\n  data          30 training, 24 validation and 6 test samples"
    )
    assert "grey levels of 255" in said
    assert said.endswith("python -m monai.bundle run --config_file my_study/train.json\n")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert json.loads((tmp_path / "my_study" / "plan.json").read_text()) == plan
    # 6 of the 256 grey levels, which the resizing to 32 x 32 has made less
    assert 0.3 * 6 / 255 < plan["reference_noise"] < 6 / 255
    config = json.loads((tmp_path / "my_study" / "train.json").read_text())
    assert {name: config[name] for name in plan["proposal"]} == plan["proposal"]
    assert config["dataset_dir"] == str(study.parents[1] / "images")
    assert config["datalist_file"] == str(study)
    levels = json.loads((tmp_path / "my_study" / "evaluate.json").read_text())["evaluation_levels"]
    assert levels["linf"] == "@noise_levels"
    assert levels["l2"][-1] == 1.5
    ended = run_bundle(tmp_path / "my_study" / "train.json", output_dir=tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["eps_max"] == plan["proposal"]["eps_max"]
    assert record["settings"]["delta"] == plan["proposal"]["delta"]
    assert record["parts"]["optimizer"]["weight_decay"] == 0.01


def test_too_few_validation_samples_are_rejected_before_any_training(study, tmp_path, capsys):
    words = ["datalist", str(study.parent.parent / "images"), "--output", str(tmp_path)]
    main([*words, "--fractions", "0.8", "0.1", "0.1"])

    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(tmp_path / "datalist.json"), *QUICK])

    said = capsys.readouterr().err
    assert "validation samples for a median margin, got 6; take a larger share" in said
    assert "training the plain network" not in said


def test_without_a_bundle_it_says_how_to_train(study, tmp_path, capsys):
    output = tmp_path / "there" / "p.json"
    main(["plan", str(study), "--output", str(output), "--noise_levels", "[0,0.01]", *QUICK])

    said = capsys.readouterr().out
    command = said.splitlines()[-1]
    assert "oct_ima/train.json --dataset_dir " in command
    assert "--noise_levels '[0, 0.01]'" in command
    assert command.endswith("--eps_max 0.04 --delta 0.02")
    assert json.loads(output.read_text())["reasons"]["noise_levels"].startswith("given, where")


def test_volumes_have_the_bundle_that_they_need(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / "volumes" / "AB"[number % 2] / f"A-{number}-1.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.random((32, 32, 32), dtype=np.float32) / 10
        values[: 16 + 8 * (number % 2)] += 0.5
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    main(["datalist", "volumes", "--fractions", "0.5", "0.4", "0.1"])

    main(["plan", "lists/volumes/datalist.json", "--max_epochs", "3"])

    said = capsys.readouterr().out
    assert "\nvolume_ima\n\n" in said
    assert "32 x 32 x 32 voxels" in said


def test_a_bundle_of_ones_own_is_planned_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["new", "mine", "--from", "moons_ima"])

    main(["plan", "--bundle", "mine", "--norm", "l2", "--training_samples", "60"])

    said = capsys.readouterr().out
    assert "\nmine\n\n" in said
    assert " in L2, their" in said
    assert "--config_file mine/train.json --norm l2 --training_samples 60 --eps_max " in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected a DATALIST, or --bundle, got neither"),
        (["no.json"], "got no.json: no such file"),
        (["list.csv"], "expected a datalist that monai-ima datalist has written"),
        (["moved.json"], "say --dataset_dir FOLDER where they are now"),
        (["--bundle", "mine"], "there is no mine/train.json"),
        (["--bundle", "mine", "--write", "other"], "which is yours already"),
        (["--bundle", "moons_ima", "--epochs"], "as --NAME VALUE, got --epochs"),
        (["--bundle", "moons_ima", "--delta", "0.1"], "give --max_epochs instead"),
        (["--bundle", "moons_ima", "--eps_maxx", "1"], "did you mean"),
    ],
)
def test_what_cannot_be_planned_is_said(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("path,class\na.png,A\n")
    moved = {
        "labels": {"0": "A"},
        "settings": {"dataset_dir": "gone"},
        "bundle": "oct_ima",
        "bundle_settings": {"num_classes": 2},
        "training": [{"image": "a"}],
    }
    (tmp_path / "moved.json").write_text(json.dumps(moved))

    with pytest.raises(SystemExit, match="2"):
        main(["plan", *words])

    assert said in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_nothing_is_planned_for_a_folder_that_is_taken(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study").mkdir()
    (tmp_path / "my_study" / "notes.txt").touch()

    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(study), "--write", "my_study", *QUICK])

    ended = capsys.readouterr()
    assert "expected a new folder, got" in ended.err
    assert "training the plain network" not in ended.err
