"""Each command, file and example of the documentation works, and each link leads somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import tomllib
import torch
from monai.networks.nets import DenseNet121
from pages import (
    IDS,
    PAGES,
    ROOT,
    bundle_run,
    commands,
    config_files,
    fences,
    settings_of,
    write_files,
)

from monai_ima.data import write_synthetic_ecg, write_synthetic_oct
from monai_ima.data_report import write_datalists

each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)
HOW_TO = sorted((ROOT / "docs" / "how_to").glob("add_*.md"))
# A run takes seconds with these, where it has the setting and the command does not give it.
SHORT = {
    "max_epochs": 1,
    "attack_steps": 1,
    "margin_steps": 1,
    "bisections": 1,
    "protocol": "screen",
    "eval_steps": 1,
    "training_samples": 40,
    "validation_samples": 10,
    "test_samples": 10,
    "training_per_class": 8,
    "evaluation_per_class": 4,
    "epoch_size": 40,
    "check_samples": 0,
    "noise_draws": 0,
    "auroc_steps": 0,
    "device": "cpu",
}
SMALL_DATA = {
    "oct_ima": "FOLDER",
    "ecg_ima": "data/ecg",
    "fashion_mnist_ima": "$monai_ima.data.write_synthetic_fashion('data/f', training=80, test=20, seed=0)",
    "volume_ima": "$monai_ima.data.write_synthetic_volumes('data/v', patients_per_class=5, seed=0)",
    "svhn_ima": "$monai_ima.data.write_synthetic_svhn('data/s', training=80, test=20, seed=0)",
}
WITHOUT = {  # commands whose inputs a page cannot bring
    "THEIRS": "a bundle of somebody else, in tests/bundles/test_evaluate.py",
    "paper.json": "the paper's size needs a GPU",
}


@each_page
def test_every_linked_file_exists(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_files(page, tmp_path)
    names = {}
    for fence in fences(page):
        if fence.language == "python" and not fence.name:
            exec(fence.text, names)  # noqa: S102  our own pages
        elif fence.language == "json":
            json.loads(fence.text)


def test_examples_of_the_readme_and_of_margins_say_what_comes_out():
    names, margin = {}, {}
    (example,) = [fence.text for fence in fences(ROOT / "README.md") if fence.language]
    exec(example, names)  # noqa: S102
    assert names["attacked"].success.shape == names["boundary"].distance.shape == (8,)
    assert names["boundary"].success.dtype == torch.bool
    (example,) = [fence.text for fence in fences(ROOT / "docs" / "margin.md") if fence.language]
    exec(example, margin)  # noqa: S102
    assert margin["curve"].accuracy.tolist() == [0.75, 0.5, 0.25]


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_what_is_added_takes_less_than_thirty_lines(page):
    lengths = [fence.text.count("\n") for fence in fences(page) if fence.name]
    assert lengths
    assert max(lengths) < 30


@each_page
def test_commands_are_of_what_there_is(page, tmp_path):
    write_files(page, tmp_path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    every_setting = {
        name
        for path in (*ROOT.glob("bundles/*/*.json"), *ROOT.glob("bundles/objectives/*.json"))
        for name in json.loads(path.read_text())
    }
    for words in map(started_by_python, commands(page)):
        flags = {word[2:].split("=")[0] for word in words if re.match(r"--\w", word)}
        match words:
            case ["python", "-m", "monai.bundle", "run", *_]:
                files = [where_it_is(name, tmp_path) for name in config_files(bundle_run(words))]
                if None not in files:
                    config = settings_of(files)
                    known = config.keys() | set(
                        re.findall(r"(?:@|given\(')(\w+)", json.dumps(config))
                    )
                    assert flags - known == {"config_file"}, words
                else:
                    assert without_inputs(words), words
            case ["python", script, *_] if script.startswith("scripts/"):
                text = (ROOT / script).read_text()
                known = {flag for flag in flags if f'"--{flag}"' in text}
                assert flags - known - {"config_file"} <= every_setting, words
            case ["monai-ima", command, *_]:
                text = (ROOT / "monai_ima" / "cli" / f"{command.replace('-', '_')}.py").read_text()
                known = {flag for flag in flags if f'"--{flag}"' in text}
                assert flags - known <= every_setting, words
            case ["pip", "install", "-c", "constraints.txt", "-e", target]:
                assert set(re.findall(r"\w+", target)) <= extras.keys(), words
            case _:
                assert words[0] in {
                    *("cp", "pre-commit", "pytest", "sphinx-build", "tensorboard"),
                }, words


def started_by_python(words):
    """A command that torchrun starts in several processes, as it is in one."""
    return ["python", *words[words.index("-m") :]] if words[0] == "torchrun" else words


def without_inputs(words):
    return any(word in " ".join(words) for word in WITHOUT)


def where_it_is(name, folder):
    """A config file of the page, of the repository, copied from there, or of a run."""
    if (run := re.fullmatch(r"runs/(\w+)/config.json", name)) is not None:
        name = f"bundles/{run[1]}/train.json"
    copied = ROOT / "bundles" / "oct_ima" / name.removeprefix("my_study/")
    for path in (folder / name, ROOT / name, copied):
        if path.exists():
            return path
    return None


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """What the pages take for granted: a clone, a folder of images, of volumes, of beats; weights."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "bundles").symlink_to(ROOT / "bundles")
    images = write_synthetic_oct(
        folder / "FOLDER", patients_per_class=6, images_per_patient=1, seed=0
    )
    rows = ["path,class,patient,split"]
    for path in sorted(images.glob("*/*")):
        patient = path.stem.split("-")[1]
        split = {0: "val", 1: "test"}.get(int(re.sub(r"\D", "", patient)) % 3, "train")
        rows.append(f"{path.relative_to(images)},{path.parent.name},{path.stem},{split}")
    (images / "list.csv").write_text("\n".join(rows))
    write_datalists(images, folder / "lists" / "FOLDER")
    for number in range(16):
        path = folder / "VOLUMES" / "ab"[number % 2] / f"{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = np.random.default_rng(number).random((12, 12, 8)) + number % 2
        nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), np.eye(4)), path)
    write_synthetic_ecg(folder / "data" / "ecg", seed=0)
    torch.save(
        DenseNet121(spatial_dims=2, in_channels=1, out_channels=4).state_dict(),
        folder / "model.pt",
    )
    return folder


@pytest.fixture(scope="module")
def ran(workplace):
    """What went wrong with each MONAI command, by its words; each is run once, in one folder."""
    shutil.copytree(ROOT / "bundles" / "oct_ima", workplace / "my_study")
    jobs = {}
    for page in PAGES:
        write_files(page, workplace)
        for fence in fences(page):
            if "np.savez" in fence.text:  # the data of the page's command
                subprocess.run([sys.executable, "-c", fence.text], cwd=workplace, check=True)
        for words in commands(page):
            run = bundle_run(words)
            if run is not None and not without_inputs(words):
                jobs.setdefault(tuple(words), [*words, *shortened(run, workplace)])
    asked, answer = workplace / "jobs.json", workplace / "wrong.json"
    asked.write_text(json.dumps(list(jobs.values())))
    driver = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "pages.py")]
    subprocess.run(
        [*driver, str(asked), str(answer)],
        cwd=workplace,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return dict(zip(jobs, json.loads(answer.read_text()), strict=True))


def shortened(run, folder):
    """The settings to add for a run to take seconds."""
    files = [where_it_is(name, folder) for name in config_files(run)]
    known = settings_of(files)
    used = set(re.findall(r"@(\w+)", json.dumps(known)))
    names = (SHORT.keys() & known.keys() & used) - run.keys()
    if known.get("sampling") == "shuffled":  # which draws no more than there are
        names -= {"epoch_size"}
    short = {name: SHORT[name] for name in sorted(names)}
    if known.get("image_size") == [64, 64] and "image_size" not in run:
        short["image_size"] = [32, 32]
    bundle = files[0].parent.name
    if (
        bundle in SMALL_DATA
        and str(known["dataset_dir"]).startswith("$")
        and not ({"dataset_dir", "datalist_file"} & run.keys())
    ):
        short["dataset_dir"] = SMALL_DATA[bundle]
    return [text for name, value in short.items() for text in (f"--{name}", str(value))]


@pytest.mark.slow
@each_page
def test_every_bundle_command_runs(page, ran):
    for words in commands(page):
        assert ran.get(tuple(words), "") == "", words


def test_the_drawing_of_the_layers_is_what_is_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers, pure = contracts["contracts"]
    picture = ElementTree.parse(ROOT / "docs" / "images" / "layers.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    boxes = picture.findall(f"{space}rect")[1:]
    names = [text.text for text in picture.findall(f"{space}text") if "class" not in text.attrib]
    shown = [
        (float(box.get("y")), box.get("fill"), name)
        for box, name in zip(boxes, names, strict=False)
    ]
    rows = {}
    for height, _, name in shown:
        rows.setdefault(height, []).append(name)
    assert [" | ".join(row) for _, row in sorted(rows.items())] == layers["layers"]
    coloured = {f"monai_ima.{name}" for _, fill, name in shown if fill == "#d9e8f5"}
    assert coloured == set(pure["source_modules"])
