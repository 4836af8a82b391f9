"""Who does what a message advises gets on: the settings are read from the message and given."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from ast import literal_eval
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from bundle_run import ROOT, bundle_words
from monai.bundle import ConfigWorkflow
from PIL import Image
from torch import nn

from monai_ima.cli.main import main
from monai_ima.data_report import write_datalists
from monai_ima.errors import RejectedError
from monai_ima.evaluate_run import evaluate_run
from monai_ima.networks import small_cnn
from monai_ima.selection import Trained

BUNDLES = ROOT / "bundles"
OCT, MOONS = (BUNDLES / name / "train.json" for name in ("oct_ima", "moons_ima"))
ANY = BUNDLES / "robustness_evaluation" / "evaluate.json"
CLASSES = ("CNV", "DME", "NORMAL")
IMAGES = {"num_classes": 3, "image_size": [16, 16], "fractions": [0.5, 0.25, 0.25]}
NETWORK = {"_target_": "monai_ima.networks.small_cnn", "num_classes": 3}
POINTS = {
    "training_samples": 20,
    "batch_size": 5,
    "attack_steps": 1,
    "margin_steps": 1,
    "eval_steps": 1,
    "protocol": "screen",
    "plane": None,
    "max_epochs": 1,
}


@pytest.fixture(autouse=True)
def as_a_command(monkeypatch):
    monkeypatch.chdir(ROOT)


def started(files, settings):
    """The command, to where the first iteration would be."""
    workflow = ConfigWorkflow([str(f) for f in files], logging_file=False, **settings)
    workflow.initialize()
    return workflow


def refusal(call, *arguments, **settings):
    """What is said of a command that should not start."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  MONAI's, of which the cause is looked at
        call(*arguments, **settings)
    error = caught.value
    while error.__cause__ is not None and not (
        isinstance(error, ValueError | OSError) and str(error).startswith("expected")
    ):
        error = error.__cause__
    return str(error)


# --- data -----------------------------------------------------------------------------------------


def png(path, size=(16, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.arange(size[0] * size[1]) % 256).astype(np.uint8).reshape(size)).save(path)


def class_folders(folder, names="{name}-{patient}-1.png", size=(16, 16)):
    for name in CLASSES:
        for patient in range(4):
            png(folder / name / names.format(name=name, patient=patient), size)
    return folder


def table(folder, columns, rows=None):
    """The images of class folders in a CSV file, in these columns."""
    class_folders(folder)
    with (folder.parent / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for name in CLASSES:
            for patient in range(4):
                path = f"{name}/{name}-{patient}-1.png"
                held = {"path": path, "class": name, "patient": f"p{patient}"}
                writer.writerow(
                    (rows or list)([held[kind] for kind in ("path", "class", "patient")])
                )
    return folder, folder.parent / "list.csv"


def nifti(folder, value):
    for name in CLASSES:
        for patient in range(4):
            path = folder / name / f"{name}-{patient}-1.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.arange(64, dtype=np.float32).reshape(8, 8)
            values[0, 0] = value
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return folder


def advised(said, *names):
    """Whether a message names these settings, behind what it found."""
    advice = said[said.rindex(", got") :]
    for name in names:
        assert re.search(rf"\b{name}\b", advice), said


def reads(*names, kind=str, **patterns):
    """Take from a message, which names some settings, the values that patterns find in it."""

    def act(said):
        if names:
            advised(said, *names)
        values = {name: re.findall(pattern, said) for name, pattern in patterns.items()}
        return {name: kind(value) for name, (value,) in values.items()}

    return act


def gives(text="", *names, **settings):
    """Give settings that a message asks for by its text, or by their names."""

    def act(said):
        assert text in said
        if names:
            advised(said, *names)
        return settings

    return act


# --- training on images ---------------------------------------------------------------------------


def other_names(folder):
    wrong = {"dataset_dir": class_folders(folder, "{patient}.png")}
    return wrong, reads("patient_pattern", patient_pattern=r"another patient, '([^']+)'")


def patients_in_folders(folder):
    """The same message's second advice."""

    def act(said):
        assert "a folder for each patient" in said
        for path in list(folder.rglob("*.png")):
            png(path.parent / path.stem / path.name)
            path.unlink()
        return {}

    return {"dataset_dir": class_folders(folder, "{patient}.png")}, act


def listed_in_a_file(folder):
    """The third."""

    def act(said):
        advised(said, "datalist_file")
        shutil.rmtree(folder)
        return {"datalist_file": table(folder, ("path", "class", "patient"))[1]}

    return {"dataset_dir": class_folders(folder, "{patient}.png")}, act


def no_class_folders(folder):
    png(folder / "a.png")

    def act(said):
        advised(said, "datalist_file")
        return {"datalist_file": table(folder, ("path", "class", "patient"))[1]}

    return {"dataset_dir": folder}, act


def other_columns(folder):
    root, file = table(folder, ("Kuva", "Luokka", "Potilas"))

    def act(said):
        names = ["path_column", "class_column", "patient_column"]
        advised(said, *names)
        (columns,) = re.findall(r"which of its columns \(([^)]+)\)", said)
        return dict(zip(names, columns.split(", "), strict=True))

    return {"dataset_dir": root, "datalist_file": file}, act


def two_columns_of_paths(folder):
    root, file = table(folder, ("file", "class", "patient", "image"), lambda row: [*row, "x"])

    def act(said):
        (columns,) = re.findall(r"got the columns ([^;]+);", said)
        (name,) = re.findall(r"with (\w+_column)", said)
        (of_files,) = set(columns.split(", ")) & {"file"}
        return {name: of_files}

    return {"dataset_dir": root, "datalist_file": file}, act


def paths_that_leave(folder):
    _, file = table(folder / "a", ("path", "class", "patient"))
    (folder / "b").mkdir()

    def leaving(text):
        return re.sub(r"^(?=[A-Z])", "../a/", text, flags=re.MULTILINE)

    file.write_text(leaving(file.read_text()))
    return {"dataset_dir": folder / "b", "datalist_file": file}, settings_in


def settings_in(said):
    """All ``--NAME VALUE`` of a message."""
    found = dict(re.findall(r"--(\w+) (true|false|\w+)\b", said))
    assert found, said
    return found


def thin_images(folder):
    return {"dataset_dir": class_folders(folder, size=(4, 60))}, settings_in


def missing_values(folder):
    wrong = {"dataset_dir": nifti(folder, np.nan), "num_classes": 3}
    return wrong, gives("from 0 (black) to 1", "nan_value", nan_value=0)


def another_number_of_classes(folder):
    wrong = {"dataset_dir": class_folders(folder), "num_classes": 4}
    return wrong, reads("num_classes", num_classes=r", got (\d+):", kind=int)


def the_folder_above(folder):
    root = class_folders(folder / "data" / "CNV")
    advice = "give as dataset_dir the folder whose folders are the classes, or the right"
    wrong = {"dataset_dir": folder / "data", "patient_pattern": "(?P<patient>.+)"}
    return wrong, gives(advice, dataset_dir=root)


def two_patients_a_class(folder):
    class_folders(folder)
    for path in folder.glob("*/*-[23]-1.png"):
        path.unlink()

    def act(said):
        assert "(three at least)" in said
        for name in CLASSES:
            png(folder / name / f"{name}-2-1.png")
        return {}

    return {"dataset_dir": folder}, act


def no_patients_in_a_table(folder):
    """Where each image is another's, their paths are patients."""
    root, file = table(folder, ("path", "class"), lambda row: row[:2])

    def act(said):
        assert "which of its columns (path, class) they are with patient_column" in said
        return {"patient_column": "path"}

    return {"dataset_dir": root, "datalist_file": file}, act


def volumes(folder):
    for name in CLASSES:
        for patient in range(4):
            path = folder / name / f"{name}-{patient}-1.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng(patient).random((20, 24, 18), dtype=np.float32)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return folder


def volumes_as_pictures(folder):
    def act(said):
        (name,) = re.findall(r"volumes for (\w+)", said)
        return {"files": [BUNDLES / name / "train.json"], "image_size": [16, 16, 16]}

    return {"dataset_dir": volumes(folder)}, act


def volumes_by_settings(folder):
    """The same message's second advice."""

    def act(said):
        (count,) = re.findall(
            r"give image_size (\d) numbers, and network_def their spatial_dims", said
        )
        return {"image_size": [16] * int(count), "network_def#spatial_dims": int(count)}

    return {"dataset_dir": volumes(folder)}, act


def coloured(folder):
    for path in class_folders(folder).rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    return folder


OWN = {
    "_target_": "Compose",
    "transforms": [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
        {"_target_": "ScaleIntensityd", "keys": "image"},
        {"_target_": "Resized", "keys": "image", "spatial_size": "@image_size"},
        {"_target_": "EnsureTyped", "keys": "image", "track_meta": False},
    ],
}


def channels_of_an_own_preprocessing(folder):
    def act(said):
        (shape,) = re.findall(r"expected network_def to take inputs of the shape \(1, (\d),", said)
        return {"network_def#in_channels": int(shape)}

    return {"dataset_dir": coloured(folder), "preprocessing": OWN}, act


def transparent_pixels(folder):
    for path in class_folders(folder).rglob("*.png"):
        image = Image.open(path).convert("LA")
        image.putpixel((1, 1), (200, 0))
        image.save(path)

    def act(said):
        assert "transparent pixels; save it without transparency" in said
        for path in folder.rglob("*.png"):
            Image.open(path).convert("L").save(path)
        return {}

    return {"dataset_dir": folder}, act


def a_file_for_a_folder(folder):
    class_folders(folder)
    (folder.parent / "taken").touch()
    wrong = {"dataset_dir": folder, "output_dir": folder.parent / "taken"}
    return wrong, gives("choose another with --output_dir", output_dir=folder.parent / "free")


def near_name(folder):
    def act(said):
        (name,) = re.findall(r"did you mean (\w+)\?", said)
        return {name: 4, "batch_sise": ...}

    return {"dataset_dir": class_folders(folder), "batch_sise": 4}, act


def near_word(folder):
    wrong = {"dataset_dir": class_folders(folder), "protocol": "papr"}
    return wrong, reads(protocol=r"did you mean (\w+)\?")


def whole_number(folder):
    wrong = {"dataset_dir": class_folders(folder), "max_epochs": 3.0}
    return wrong, reads(max_epochs=r"; write (\d+)", kind=int)


def restarts_without_random_starts(folder):
    wrong = {"dataset_dir": class_folders(folder), "eval_restarts": 2}
    return wrong, reads(protocol=r"choose the protocol (\w+)")


def levels_beyond_the_bounds(folder):
    pattern = r"where ([\d.]+) reaches every valid input; correct noise_levels"
    wrong = {"dataset_dir": class_folders(folder), "noise_levels": [0, 2.0]}
    return wrong, reads(noise_levels=pattern, kind=lambda most: [0, float(most) / 2])


def a_method_by_its_name(folder):
    wrong = {"dataset_dir": class_folders(folder), "method": "trades"}
    return wrong, reads(files=r"add (\S+) to --config_file", kind=lambda file: [ROOT / file])


TRAINING = (
    *(other_names, patients_in_folders, listed_in_a_file, no_class_folders, other_columns),
    *(two_columns_of_paths, paths_that_leave, thin_images, missing_values),
    *(another_number_of_classes, the_folder_above, a_file_for_a_folder, near_name, near_word),
    *(whole_number, restarts_without_random_starts, levels_beyond_the_bounds),
    *(a_method_by_its_name, two_patients_a_class, no_patients_in_a_table, volumes_as_pictures),
    *(volumes_by_settings, channels_of_an_own_preprocessing, transparent_pixels),
)


@pytest.mark.parametrize("case", TRAINING, ids=lambda case: case.__name__)
def test_a_training_on_images_starts_as_advised(case, tmp_path):
    does_as_advised(case, tmp_path, [OCT], IMAGES)


def starts(tmp_path, files=(OCT,), **settings):
    """The workflow of a command that should start, whose images are in ``data`` unless said."""
    common = IMAGES | {"device": "cpu", "output_dir": tmp_path / "run"}
    common["dataset_dir"] = tmp_path / "data"
    return started(files, {name: plain(value) for name, value in (common | settings).items()})


def first_image(workflow):
    return workflow.parser.get_parsed_content("train::dataset")[0]["image"]


def test_colour_is_kept_as_the_log_says(tmp_path, caplog):
    coloured(tmp_path / "data")
    assert len(first_image(starts(tmp_path))) == 1
    (said,) = [each for each in caplog.messages if "becomes grey" in each]
    assert len(first_image(starts(tmp_path, **settings_in(said)))) == 3


def test_12_bits_are_scaled_as_the_data_report_says(tmp_path):
    folder = class_folders(tmp_path / "data")
    for number, path in enumerate(folder.rglob("*.png")):
        levels = np.random.default_rng(number).integers(0, 4096, (16, 16), dtype=np.uint16)
        Image.fromarray(levels).save(path)
    assert first_image(starts(tmp_path)).max() < 0.1
    written = write_datalists(folder, tmp_path / "lists")
    (finding,) = [each for each in written.findings if "nearly black" in each.title]
    (values,) = re.findall(r'--intensity_range "(\[[^"]+\])"', finding.to_do)
    brightened = first_image(starts(tmp_path, intensity_range=literal_eval(values)))
    assert 0.9 < brightened.max() <= 1


def command_of_datalist(capsys, *words):
    """The config and the settings of the training that the command ends with."""
    main(["datalist", *map(str, words), "--fractions", "0.5", "0.25", "0.25"])
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:4] == ["python", "-m", "monai.bundle", "run"]
    names, values = (words[place::2] for place in (4, 5))
    settings = dict(zip((name.removeprefix("--") for name in names), values, strict=True))
    config = settings.pop("config_file")
    read = {name: json.loads(v) if v[0] in "[tf0123456789" else v for name, v in settings.items()}
    return ROOT / config, read


def trained_on(config, settings, folder):
    few = IMAGES if config == OCT else {"batch_size": 2}
    given = few | settings | {"output_dir": str(folder / "run"), "num_workers": 0}
    return first_image(started([config], given))


def test_the_command_of_datalist_keeps_colour_where_there_is_colour(tmp_path, capsys):
    for path in class_folders(tmp_path / "data").rglob("*.png"):
        Image.merge("RGB", [Image.open(path), *[Image.new("L", (16, 16), 90)] * 2]).save(path)
    config, settings = command_of_datalist(capsys, tmp_path / "data", "--output", tmp_path / "l")
    assert config == OCT
    assert settings["colour"] is True
    image = trained_on(config, settings, tmp_path)
    assert len(image) == 3
    assert (image[0] - image[1]).abs().max() > 0.05


def test_the_command_of_datalist_has_one_channel_for_grey_files_of_three(tmp_path, capsys):
    for path in class_folders(tmp_path / "data").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    config, settings = command_of_datalist(capsys, tmp_path / "data", "--output", tmp_path / "l")
    assert "colour" not in settings
    assert len(trained_on(config, settings, tmp_path)) == 1


def test_the_command_of_datalist_has_the_range_that_its_report_advises(tmp_path, capsys):
    folder = class_folders(tmp_path / "data")
    for number, path in enumerate(folder.rglob("*.png")):
        levels = np.random.default_rng(number).integers(0, 4096, (16, 16), dtype=np.uint16)
        Image.fromarray(levels).save(path)
    (finding,) = [
        each
        for each in write_datalists(folder, tmp_path / "first").findings
        if "nearly black" in each.title
    ]
    (values,) = re.findall(r'--intensity_range "(\[[^"]+\])"', finding.to_do)
    words = (folder, "--output", tmp_path / "l", "--intensity_range", values)
    config, settings = command_of_datalist(capsys, *words)
    page = (tmp_path / "l" / "data_report.html").read_text("utf-8")
    assert "nearly black:" not in page
    assert 0.9 < trained_on(config, settings, tmp_path).max() <= 1


def test_floats_of_any_scale_are_read_with_the_option_that_datalist_names(tmp_path, capsys):
    folder = tmp_path / "data"
    for path in class_folders(folder).rglob("*.png"):
        levels = np.linspace(-1000, 3000, 256, dtype=np.float32).reshape(16, 16)
        Image.fromarray(levels).save(path.with_suffix(".tif"))
        path.unlink()
    with pytest.raises(SystemExit):
        main(["datalist", str(folder), "--output", str(tmp_path / "l")])
    page = (tmp_path / "l" / "data_report.html").read_text("utf-8")
    assert "got -1000 to 3000; say with --intensity_range what becomes 0 and 1" in page
    words = (folder, "--output", tmp_path / "l", "--intensity_range", "[-1000, 3000]")
    config, settings = command_of_datalist(capsys, *words)
    assert 0.9 < trained_on(config, settings, tmp_path).max() <= 1


def test_the_command_of_datalist_resizes_what_a_square_would_cut(tmp_path, capsys):
    folder = class_folders(tmp_path / "data", size=(16, 80))
    config, settings = command_of_datalist(capsys, folder, "--output", tmp_path / "l")
    assert settings["crop"] is False
    assert trained_on(config, settings, tmp_path).shape == (1, 16, 16)


def test_the_command_of_datalist_takes_whole_volumes(tmp_path, capsys):
    """Axes as scanners have them, front to back first; 4 mm slices; 160 mm at most."""
    folder = tmp_path / "data"
    affine = np.array([[0, 0, 4.0, 0], [2.0, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]])
    for name in CLASSES:
        for patient in range(4):
            path = folder / name / f"{name}-{patient}-1.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.full((80, 50, 10), 50, np.int16)
            values[0, 0, 0] = values[-1, -1, -1] = 900  # corners, which a crop would lose
            nibabel.save(nibabel.Nifti1Image(values, affine), path)
    config, settings = command_of_datalist(capsys, folder, "--output", tmp_path / "l")
    assert settings["spacing"] == [2.5, 2.5, 2.5]
    assert settings["image_size"] == [16, 64, 40]
    settings["intensity_range"] = "minmax"
    image = trained_on(config, settings, tmp_path)[0]
    assert image.shape == (16, 64, 40)
    corners = torch.nonzero(image > 0.1)
    assert (corners.amax(0) - corners.amin(0)).tolist() == [14, 63, 39]


def test_grey_images_beside_coloured_ones_are_trained_on(tmp_path):
    for path in list(class_folders(tmp_path / "data").rglob("*.png"))[::2]:
        Image.open(path).convert("RGB").save(path)
    starts(tmp_path)
    assert len(first_image(starts(tmp_path, colour=True))) == 3


def test_a_network_of_monai_takes_three_channels_of_an_own_preprocessing(tmp_path):
    coloured(tmp_path / "data")
    network = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 3}
    network |= {"block_config": [2, 2], "init_features": 8, "growth_rate": 4}
    workflow = starts(tmp_path, preprocessing=OWN, network_def=network, image_size=[32, 32])
    assert len(first_image(workflow)) == 3


@pytest.mark.parametrize("name", ["amp", "train#trainer#amp"])
def test_mixed_precision_is_switched_on_by_either_name(tmp_path, name):
    class_folders(tmp_path / "data")
    assert starts(tmp_path, **{name: True}).parser.get_parsed_content("train::trainer").amp


def test_dicom_is_read_by_a_reader_of_monai_where_the_config_has_one(tmp_path):
    """A list of it, too: what another transform reads is not opened before."""
    pytest.importorskip("pydicom")
    from dicom_files import write_dicom

    _, file = table(tmp_path / "data", ("path", "class", "patient"))
    for number, path in enumerate(list((tmp_path / "data").rglob("*.png"))):
        levels = np.random.default_rng(number).integers(0, 999, (16, 16), dtype=np.uint16)
        place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        write_dicom(path.with_suffix(".dcm"), levels, PixelSpacing=[1, 1], **place)
        path.unlink()
    file.write_text(file.read_text().replace(".png", ".dcm"))
    own = json.loads(json.dumps(OWN))
    own["transforms"][0]["reader"] = "PydicomReader"
    for given_ in ({}, {"datalist_file": file}):
        assert first_image(starts(tmp_path, **given_)).shape == (1, 16, 16)
        assert first_image(starts(tmp_path, preprocessing=own, **given_)).shape == (1, 16, 16)
    torch.save(small_cnn(num_classes=3).state_dict(), tmp_path / "model.pt")
    evaluated = {"network_def": NETWORK, "checkpoint": tmp_path / "model.pt", "fractions": ...}
    settings = IMAGES | evaluated | {"dataset_dir": tmp_path / "data", "transforms": own}
    settings = {name: plain(value) for name, value in settings.items() if value is not ...}
    assert started([ANY], settings | {"output_dir": str(tmp_path / "evaluated"), "device": "cpu"})


WITHOUT_EINOPS = """
import runpy, sys
sys.modules["einops"] = None
runpy.run_module("monai.bundle", run_name="__main__")
"""


def test_a_package_that_a_network_needs_is_named(tmp_path):
    """MONAI's ViT, whose message is Python's alone; with einops it starts."""
    class_folders(tmp_path / "data")
    network = {"_target_": "ViT", "in_channels": 1, "img_size": [16, 16], "patch_size": [8, 8]}
    network |= {"spatial_dims": 2, "classification": True, "num_classes": 3, "num_heads": 2}
    network |= {"hidden_size": 8, "mlp_dim": 8, "num_layers": 1}
    settings = IMAGES | {"device": "cpu", "dataset_dir": tmp_path / "data", "network_def": network}
    words = bundle_words(OCT, **settings, output_dir=tmp_path / "run")
    command = [sys.executable, "-c", WITHOUT_EINOPS, *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "pip install einops" in ended.stderr.splitlines()[-1]
    pytest.importorskip("einops", reason="MONAI's ViT needs it")
    starts(tmp_path, network_def=network)


def does_as_advised(case, tmp_path, files, common):
    wrong, act = case(tmp_path / "data")
    settings = common | {"device": "cpu", "output_dir": tmp_path / "run"} | wrong
    said = refusal(started, files, {k: plain(v) for k, v in settings.items()})
    advice = settings | act(said)
    files = [*files, *advice.pop("files", [])]
    advice = {k: plain(v) for k, v in advice.items() if v is not ...}
    assert started(files, advice)


def plain(value):
    return str(value) if hasattr(value, "parts") else value


# --- evaluating any classifier --------------------------------------------------------------------


def given(folder, content=None, **settings):
    """The settings of an evaluation that would work but for these."""
    class_folders(folder)
    file = folder.parent / "model.pt"
    torch.save(small_cnn(num_classes=3).state_dict() if content is None else content, file)
    return {"dataset_dir": folder, "checkpoint": file} | settings


def two_sets_of_weights(folder):
    states = {name: small_cnn(num_classes=3).state_dict() for name in ("raw", "ema")}

    def act(said):
        advised(said, "raw", "ema")
        (name,) = re.findall(r"setting (checkpoint_key)", said)
        return {name: "ema"}

    return given(folder, states), act


def weights_of_a_part(folder):
    whole = nn.ModuleDict({"eye": small_cnn(num_classes=3), "ear": nn.Linear(2, 2)})

    def act(said):
        (prefix,) = re.findall(r"below '([^']+)' fit", said)
        (name,) = re.findall(r"setting (checkpoint_prefix)", said)
        return {name: prefix}

    return given(folder, whole.state_dict()), act


def no_data(folder):
    advice = "add --dataset_dir ..., or a file that has it to --config_file"
    return {"checkpoint": given(folder)["checkpoint"]}, gives(advice, dataset_dir=folder)


def one_class_alone(folder):
    settings = given(folder)
    for name in CLASSES[1:]:
        shutil.rmtree(folder / name)
    return settings, gives("", "classes", classes=list(CLASSES))


def bounds_that_are_none(folder):
    return given(folder, bounds="None"), gives("'$None'", bounds="$None")


def no_such_section(folder):
    for section in ("train", "val"):
        class_folders(folder / section)

    def act(said):
        (names,) = re.findall(r"those in \S+, ([\w, ]+), got", said)
        return {"section": names.split(", ")[-1]}

    settings = given(folder)
    for name in CLASSES:
        shutil.rmtree(folder / name)
    return settings | {"section": "test"}, act


def numbers_that_are_no_class(folder):
    settings = given(folder)
    file = table(folder, ("path", "class", "patient"), lambda row: [row[0], "7", row[2]])[1]
    wrong = settings | {"datalist_file": file, "num_classes": 3}
    return wrong, gives("", "num_classes", classes=["5", "6", "7"])


def a_number_for_a_prefix(folder):
    states = {f"0.{name}": value for name, value in small_cnn(num_classes=3).state_dict().items()}
    act = reads(checkpoint_prefix=r'--checkpoint_prefix "(\'[^"]+\')"', kind=literal_eval)
    return given(folder, states, checkpoint_prefix=0.0), act


EVALUATION = (
    *(two_sets_of_weights, weights_of_a_part, no_data, one_class_alone, bounds_that_are_none),
    *(no_such_section, numbers_that_are_no_class, a_number_for_a_prefix),
)


@pytest.mark.parametrize("case", EVALUATION, ids=lambda case: case.__name__)
def test_an_evaluation_of_any_classifier_starts_as_advised(case, tmp_path):
    own = {"network_def": NETWORK, "image_size": [16, 16]}
    does_as_advised(case, tmp_path, [ANY], own)


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A run of points, and what started it."""
    settings = POINTS | {"device": "cpu", "output_dir": str(tmp_path / "run")}
    started([MOONS], settings).run()
    return SimpleNamespace(folder=tmp_path / "run", settings=settings)


def test_nothing_to_resume_from(tmp_path):
    settings = POINTS | {"device": "cpu", "output_dir": str(tmp_path / "run"), "resume": True}
    workflow = started([MOONS], settings)
    said = refusal(workflow.run)
    assert "set output_dir to the folder of the run, or leave resume out" in said
    del settings["resume"]
    started([MOONS], settings).run()
    started([MOONS], settings | {"resume": True, "max_epochs": 2}).run()


def test_an_evaluation_takes_the_settings_of_its_run(run, tmp_path):
    other = {"device": "cpu", "checkpoint": str(run.folder / "model.pt"), "training_samples": 20}
    other |= {"output_dir": str(tmp_path / "e"), "network_def#act": "tanh"}
    said = refusal(started, [MOONS, BUNDLES / "moons_ima" / "evaluate.json"], other)
    (files,) = re.findall(r'--config_file "(\[[^"]+\])"', said)
    assert started(literal_eval(files), {"device": "cpu"})


def test_a_bundle_that_was_moved(run, undrawn):
    said = refusal(evaluate_run, run.folder, bundle_root="nowhere")
    assert "add --bundle_root FOLDER" in said
    moved = shutil.copytree(BUNDLES / "moons_ima", run.folder.parent / "moved")
    cheap = {"check_samples": 0, "noise_draws": 0, "auroc_steps": 0, "eval_steps": 2}
    assert evaluate_run(run.folder, bundle_root=str(moved), **cheap).is_dir()


def test_a_choice_among_no_epochs(run):
    with pytest.raises(RejectedError) as caught:
        Trained.read(run.folder)
    (name,) = re.findall(r"--(keep_interval) 1 or more", str(caught.value))
    started([MOONS], run.settings | {name: 1}).run()
    assert Trained.read(run.folder).weights
