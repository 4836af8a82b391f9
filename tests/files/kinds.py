"""Every kind of file that the product reads: valid ones, who reads them, and what was promised."""

from __future__ import annotations

import csv
import functools
import gzip
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from bundle_run import ROOT
from monai.bundle import ConfigWorkflow
from nibabel import Nifti1Image, save as save_nifti
from PIL import Image
from same import same
from undrawn import leave_undrawn
from wfdb_record import heartbeat, write_record

from monai_ima.data import (
    list_samples,
    load_datalist,
    load_fashion_mnist,
    load_svhn,
    write_synthetic_ecg,
    write_synthetic_fashion,
    write_synthetic_svhn,
)
from monai_ima.data.ecg import load_ecg, load_ecg_beats, write_ecg_beats
from monai_ima.data.images import LoadIntensityd, count_channels
from monai_ima.evaluate_run import evaluate_run, evaluation_workflow
from monai_ima.evaluation import read_evaluation
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.evaluation_progress import Progress
from monai_ima.handlers.run_record import read_record
from monai_ima.networks import load_classifier, weights_fingerprint
from monai_ima.networks.sealed_file import save_sealed

MOONS = ROOT / "bundles" / "moons_ima"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        trials: how many mutants are tried.
        files: names of those that are mutated, one in each trial.
        write: fills an empty folder with a valid data set.
        read: the product's reader, given the folder.
        broken: what a result is that should have been refused, given it, that of the valid files
            and the folder; empty if it is as promised.
        is_text: whether lines and fields are mutated as well.
        pack: what unpacks a file and packs its content again, so that the mutants are not all
            caught by the checksum of the packing; None where there is none.
    """

    trials: int
    files: tuple[str, ...]
    write: Callable
    read: Callable
    broken: Callable
    is_text: bool = False
    pack: tuple[Callable, Callable] | None = None


def equal(result, valid, folder):
    """A file with a digest is as it was written, or refused."""
    return "" if same(result, valid) else "another content than was written"


# --- images ---------------------------------------------------------------------------------------


def pixels(*shape):
    return np.random.default_rng(0).random(shape)


def image(name, **options):
    """A kind of a file that PIL writes."""

    def write(folder):
        values = options.get("values", (pixels(12, 16) * 255).astype(np.uint8))
        saving = {key: value for key, value in options.items() if key != "values"}
        Image.fromarray(values).save(folder / name, **saving)

    return write


def nifti(name, *shape):
    def write(folder):
        save_nifti(Nifti1Image((pixels(*shape) * 999).astype(np.int16), np.eye(4)), folder / name)

    return write


def grey(name):
    def read(folder):
        channels = count_channels(folder / name)
        return channels, LoadIntensityd("image")({"image": str(folder / name)})["image"].as_tensor()

    return read


def no_grey_values(result, valid, folder):
    channels, values = result
    if channels < 1:
        return f"{channels} channels"
    if values.dtype != torch.float32 or values.ndim not in (3, 4) or len(values) != 1:
        return f"{values.dtype} of {tuple(values.shape)}"
    if not ((values >= 0) & (values <= 1)).all():
        return f"values from {values.min()} to {values.max()}"
    return ""


def of_images(trials, name, write, **more):
    return Kind(trials, (name,), write, grey(name), no_grey_values, **more)


# --- lists of samples -----------------------------------------------------------------------------

CLASSES = ("CNV", "DME", "NORMAL")


def listed():
    return [
        {"path": f"{name}/{name}-{patient}-1.png", "class": name, "patient": f"p{patient}"}
        for name in CLASSES
        for patient in range(4)
    ]


def images_of_list(folder):
    picture = Image.fromarray((pixels(4, 4) * 255).astype(np.uint8))
    for row in listed():
        path = folder / row["path"]
        path.parent.mkdir(exist_ok=True)
        picture.save(path)


def table(name, delimiter):
    def write(folder):
        images_of_list(folder)
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, listed()[0], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(listed())

    return write


def decathlon(name):
    def write(folder):
        images_of_list(folder)
        items = [
            {"image": row["path"], "label": CLASSES.index(row["class"]), "patient": row["patient"]}
            for row in listed()
        ]
        content = {"labels": dict(enumerate(CLASSES)), "training": items}
        (folder / name).write_text(json.dumps(content, indent=1))

    return write


def list_in(name):
    def read(folder):
        given = {"datalist": folder / name}
        samples = list_samples(folder, **given)
        data = load_datalist(
            folder, **given, num_classes=3, patient_pattern=None, fractions=(0.5, 0.25, 0.25)
        )
        split = [*data.training, *data.validation, *data.test]
        return (samples.classes, samples.items), (data.classes, split)

    return read


def not_as_listed(name):
    """Whether paths and labels are others than the file itself has."""

    def broken(result, valid, folder):
        content = (folder / name).read_bytes()
        for classes, items in result:
            for item in items:
                if not (folder / item["id"]).is_file():
                    return f"no file {item['id']}"
                if not 0 <= item["label"] < len(classes):
                    return f"the label {item['label']}"
                found = said(content, item["id"], classes)
                if name.endswith("csv") and classes[item["label"]] not in found:
                    return f"{item} of which the file says {found}"
                if name.endswith("json") and item["label"] not in found:
                    return f"{item} of which the file says {found}"
        return ""

    return broken


def said(content, path, classes):
    """What stands beside a path in a file."""
    code = next(
        (c for m, c in ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16")) if content[:4].startswith(m)),
        "utf-8-sig",
    )  # fmt: skip
    text = content.decode(code, errors="replace")
    if "training" in text and text.lstrip()[:1] in "{[":
        items = [
            item
            for items in json.loads(text).values()
            if isinstance(items, list)
            for item in items
            if isinstance(item, dict) and str(item.get("image")).replace("\\", "/") == path
        ]
        labels = [item["label"] for item in items]
        return [classes.index(label) if label in classes else int(label) for label in labels]
    return " ".join(line for line in text.splitlines() if path in line.replace("\\", "/"))


def of_list(trials, name, write):
    return Kind(trials, (name,), write, list_in(name), not_as_listed(name), is_text=True)


# --- tensors --------------------------------------------------------------------------------------


def no_samples(shape, classes):
    def broken(data, valid, folder):
        for part in (data.training, data.validation, data.test):
            if part.inputs.shape[1:] != shape or len(part.inputs) != len(part.labels):
                return f"inputs of {tuple(part.inputs.shape)} for {len(part.labels)} labels"
            if not ((part.inputs >= 0) & (part.inputs <= 1)).all():
                return "inputs that are not from 0 to 1"
            if not ((part.labels >= 0) & (part.labels < classes)).all():
                return f"labels from {part.labels.min()} to {part.labels.max()}"
        return ""

    return broken


def all_of(data):
    return [
        (part.inputs, part.labels, part.ids) for part in (data.training, data.validation, data.test)
    ]


def in_place(write):
    """As the writers of whole folders want it: the folder is not there yet."""

    def fill(folder):
        folder.rmdir()
        write(folder)

    return fill


IDX = tuple(
    f"{part}-{what}-ubyte.gz"
    for part in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
)


def kaggle(folder):
    rng = np.random.default_rng(0)
    for name, count in (("mitbih_train", 40), ("mitbih_test", 10)):
        rows = np.column_stack([rng.random((count, 187)), np.arange(count) % 5])
        np.savetxt(folder / f"{name}.csv", rows, delimiter=",", fmt="%.4f")


def records(folder):
    write_record(
        folder,
        "100",
        {"V5": heartbeat(6, seed=1), "MLII": heartbeat(6, seed=3)},
        [(18, "+"), *((300 * k, s) for k, s in enumerate("NAVNQFN", start=1))],
    )
    write_record(
        folder, "201", {"MLII": heartbeat(4, seed=4)}, [(300, "N"), (600, "V"), (900, "N")]
    )


def cut(folder):
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        forms = ("kachuee", "kaggle", "centred")
        assert all(write_ecg_beats(folder, Path(scratch) / form, form=form) for form in forms)
        return [load_ecg_beats(Path(scratch) / form) for form in forms]


def no_beats(result, valid, folder):
    for beats in result:
        if beats.beats.shape != (len(beats.labels), 187) or not len(beats.labels):
            return f"beats of {beats.beats.shape}"
        if not ((beats.beats >= 0) & (beats.beats <= 1)).all():
            return "values that are not from 0 to 1"
        if (beats.positions < 0).any():
            return "a position before the record"
    return ""


def beats_in(folder):
    beats = load_ecg_beats(folder)
    return {name: np.array(value).tolist() for name, value in vars(beats).items()}


# --- runs -----------------------------------------------------------------------------------------

POINTS = {
    "attack_steps": 1,
    "margin_steps": 1,
    "eval_steps": 1,
    "protocol": "screen",
    "training_samples": 20,
    "batch_size": 5,
    "margin_interval": 1,
    "plane": None,
    "max_epochs": 1,
    "device": "cpu",
}
CHEAP = {"check_samples": 0, "noise_draws": 0, "auroc_steps": 0, "eval_steps": 2}


@functools.cache
def trained():
    """A run with its evaluation."""
    folder = Path(tempfile.mkdtemp(prefix="trained-"))
    hook = sys.excepthook
    workflow = ConfigWorkflow(
        str(MOONS / "train.json"), logging_file=False, **POINTS, output_dir=str(folder / "run")
    )
    workflow.initialize()
    workflow.run()
    with pytest.MonkeyPatch.context() as patch:
        leave_undrawn(patch)
        evaluate_run(folder / "run", **CHEAP)
    sys.excepthook = hook
    return folder / "run"


def of_run(*names):
    def write(folder):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(trained() / name, folder / name)

    return write


def tiny(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def saved(name, **options):
    return lambda folder: torch.save(tiny().state_dict(), folder / name, **options)


def weights(name, *, is_script=False):
    def read(folder):
        if is_script:
            return weights_fingerprint(load_classifier(torchscript=folder / name))
        return weights_fingerprint(load_classifier(tiny(seed=1), checkpoint=folder / name))

    return read


def script(folder):
    torch.jit.script(tiny()).save(str(folder / "model.ts"))


def anything(result, valid, folder):
    """Without a checksum any weights that fit are as good as others."""
    return ""


def progress(folder):
    found = Progress.read(folder / "progress.records")
    if found is None:
        raise ValueError(Said.last)
    return found.finished, found.answers


class Said(logging.Handler):
    """The last warning, for a reader that says so in the log what it does not take up."""

    last = ""

    def emit(self, record):
        Said.last = record.getMessage()


def not_a_beginning(result, valid, folder):
    """Of a file that is cut short or damaged, what stands before that is taken up."""
    finished, answers = result
    whole = {name: values[:finished] for name, values in valid[1].items()}
    return "" if finished <= valid[0] and same(answers, whole) else "other answers"


def config(folder):
    workflow = evaluation_workflow([folder / "config.json"], output_dir=str(folder), **CHEAP)
    parser = workflow.parser
    return (
        weights_fingerprint(parser.get_parsed_content("network")),
        [sample["id"] for sample in parser.get_parsed_content("samples").samples],
    )


def another_run(result, valid, folder):
    if result[0] != valid[0]:
        return "other weights"
    return "" if set(result[1]) <= set(valid[1]) else "samples that the run has not for a test"


def evaluation(folder):
    found = read_evaluation(folder, "one")
    return vars(found) | {"curves": {n: vars(curve) for n, curve in found.curves.items()}}


GZIP = (gzip.decompress, functools.partial(gzip.compress, compresslevel=1, mtime=0))
ECG = {"patients": 8, "beats_per_patient": 50}

KINDS = {
    "png": of_images(400, "a.png", image("a.png")),
    "png of 16 bits": of_images(
        300, "a.png", image("a.png", values=(pixels(12, 16) * 65535).astype(np.uint16))
    ),
    "png in colours": of_images(
        200, "a.png", image("a.png", values=(pixels(12, 16, 3) * 255).astype(np.uint8))
    ),
    "jpeg": of_images(600, "a.jpg", image("a.jpg")),
    "bmp": of_images(400, "a.bmp", image("a.bmp")),
    "tiff": of_images(500, "a.tif", image("a.tif")),
    "tiff packed": of_images(300, "a.tif", image("a.tif", compression="tiff_lzw")),
    "tiff of floats": of_images(
        300, "a.tif", image("a.tif", values=pixels(12, 16).astype(np.float32))
    ),
    "nifti": of_images(500, "a.nii", nifti("a.nii", 6, 5, 4)),
    "nifti packed": of_images(400, "a.nii.gz", nifti("a.nii.gz", 6, 5), pack=GZIP),
    "list, commas": of_list(600, "list.csv", table("list.csv", ",")),
    "list, tabs": of_list(300, "list.csv", table("list.csv", "\t")),
    "list, json": of_list(600, "list.json", decathlon("list.json")),
    "beats": Kind(
        600,
        ("beats.npy", "beats.csv", "sha256.json"),
        in_place(lambda folder: write_synthetic_ecg(folder, **ECG)),
        beats_in,
        equal,
        is_text=True,
    ),
    "settings of beats": Kind(
        200,
        ("ecg_beats.json",),
        in_place(lambda folder: write_synthetic_ecg(folder, **ECG)),
        lambda folder: write_synthetic_ecg(folder, **ECG),
        equal,
        is_text=True,
    ),
    "idx": Kind(
        500,
        IDX,
        in_place(lambda folder: write_synthetic_fashion(folder, training=30, test=10)),
        load_fashion_mnist,
        no_samples((1, 28, 28), 10),
        pack=GZIP,
    ),
    "mat": Kind(
        500,
        ("train_32x32.mat", "test_32x32.mat"),
        in_place(lambda folder: write_synthetic_svhn(folder, training=30, test=10)),
        load_svhn,
        no_samples((3, 32, 32), 10),
    ),
    "records": Kind(
        800,
        ("100.hea", "100.dat", "100.atr", "201.hea", "201.atr"),
        records,
        cut,
        no_beats,
        is_text=True,
    ),
    "kaggle": Kind(
        400,
        ("mitbih_train.csv", "mitbih_test.csv"),
        kaggle,
        lambda folder: load_ecg(folder, num_classes=5),
        no_samples((1, 187), 5),
        is_text=True,
    ),
    "checkpoint": Kind(
        500, ("checkpoint.pt",), of_run("checkpoint.pt", "model.pt"), read_run_checkpoint, equal
    ),
    "weights of a run": Kind(
        200,
        ("model.pt",),
        lambda folder: save_sealed(tiny().state_dict(), folder / "model.pt"),
        weights("model.pt"),
        equal,
    ),
    "weights": Kind(200, ("model.pt",), saved("model.pt"), weights("model.pt"), equal),
    "weights, old": Kind(
        200,
        ("model.pt",),
        saved("model.pt", _use_new_zipfile_serialization=False),
        weights("model.pt"),
        anything,
    ),
    "safetensors": Kind(
        300,
        ("model.safetensors",),
        lambda folder: safetensors.torch.save_file(
            tiny().state_dict(), folder / "model.safetensors"
        ),
        weights("model.safetensors"),
        anything,
    ),
    "torchscript": Kind(150, ("model.ts",), script, weights("model.ts", is_script=True), equal),
    "progress": Kind(
        300,
        ("progress.records",),
        lambda folder: shutil.copy(
            trained() / "evaluation" / "progress.records", folder / "progress.records"
        ),
        progress,
        not_a_beginning,
    ),
    "run record": Kind(
        300,
        ("run.json",),
        of_run("run.json"),
        lambda folder: vars(read_record(folder)),
        equal,
        is_text=True,
    ),
    "config of a run": Kind(
        150,
        ("config.json",),
        of_run("config.json", "run.json", "model.pt"),
        config,
        another_run,
        is_text=True,
    ),
    "evaluation": Kind(
        400,
        ("robustness.json", "samples.csv"),
        lambda folder: [
            shutil.copy(trained() / "evaluation" / name, folder / name)
            for name in ("robustness.json", "samples.csv")
        ],
        evaluation,
        equal,
        is_text=True,
    ),
}
