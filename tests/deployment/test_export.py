"""The bundle that a run is exported as, by MONAI's own commands."""

import json
import shutil
import zipfile

import monai.bundle
import numpy as np
import pytest
import torch
from bundle_run import Command, run_command
from exported import CLASSES, SHAPES, a_case, rows

from monai_ima.deployment import export_run
from monai_ima.networks import load_classifier
from monai_ima.report import markdown_text

pytestmark = pytest.mark.filterwarnings(
    "ignore:parsing config_file:UserWarning", "ignore::DeprecationWarning"
)

TEXT, NUMBER, TABLE = {"type": "string"}, {"type": "number"}, {"type": "object"}
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        "type": TEXT,
        "format": TEXT,
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "dtype": TEXT,
        "value_range": {"type": "array", "items": NUMBER},
        "is_patch_data": {"type": "boolean"},
        "channel_def": TABLE,
    },
}
# what MONAI's schema of 2024-07-25 demands
SCHEMA = {
    "type": "object",
    "required": [
        *("schema", "version", "monai_version", "pytorch_version", "numpy_version"),
        *("required_packages_version", "task", "description", "authors", "copyright"),
        "network_data_format",
    ],
    "properties": {
        **dict.fromkeys(
            (
                *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task"),
                *("description", "authors", "copyright", "data_source", "data_type"),
                *("image_classes", "label_classes", "pred_classes", "intended_use"),
            ),
            TEXT,
        ),
        **dict.fromkeys(("changelog", "required_packages_version", "eval_metrics"), TABLE),
        "references": {"type": "array", "items": TEXT},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "additionalProperties": TENSOR},
                "outputs": {"type": "object", "additionalProperties": TENSOR},
            },
        },
    },
}
CONFIGS = ("--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json")


def metadata(folder):
    return json.loads((folder / "configs" / "metadata.json").read_text())


def monai_bundle(folder, *words):
    """One of MONAI's commands, from the folder of the bundle."""
    ended = Command("monai.bundle", *words, folder=folder).end()
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def network(folder):
    """As the bundle's config defines it, with the bundle's weights."""
    parser = monai.bundle.ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    return load_classifier(
        parser.get_parsed_content("network_def"), checkpoint=folder / "models" / "model.pt"
    )


def test_layout_is_that_of_monais_specification(bundle):
    kind, folder, _ = bundle
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found >= {
        "LICENSE",
        "configs/inference.json",
        "configs/logging.conf",
        "configs/metadata.json",
        "docs/README.md",
        "models/model.pt",
    }
    with zipfile.ZipFile(folder.with_suffix(".zip")) as archive:
        assert f"{kind}/configs/metadata.json" in archive.namelist()


def test_metadata_are_those_of_this_model(bundle):
    kind, folder, _ = bundle
    described = metadata(folder)
    form = described["network_data_format"]
    image, pred = form["inputs"]["image"], form["outputs"]["pred"]
    assert (image["num_channels"], *image["spatial_shape"]) == SHAPES[kind]
    assert image["value_range"] == [0, 1]
    names = monai.bundle.ConfigParser(pred["channel_def"]).get_parsed_content()
    assert list(names.values()) == CLASSES[kind]
    assert pred["num_channels"] == len(CLASSES[kind])
    assert pred["type"] == "logits"
    whole = json.dumps(described) + (folder / "docs" / "README.md").read_text()
    if kind != "beats":  # whose classes are those of the bundle that it was trained by
        assert "DRUSEN" not in whole
        assert "Kermany" not in whole


def test_verify_metadata(bundle, tmp_path):
    pytest.importorskip("jsonschema")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    said = monai_bundle(
        bundle[1], "verify_metadata", "--meta_file", CONFIGS[1], "--filepath", schema
    )
    assert "metadata is verified with no error" in said


def test_verify_net_in_out(bundle):
    said = monai_bundle(bundle[1], "verify_net_in_out", "network_def", *CONFIGS)
    assert "verified with no error" in said


def test_weights_are_those_of_the_run(bundle):
    _, folder, where = bundle
    own = torch.load(folder / "models" / "model.pt", weights_only=True)
    runs = torch.load(where / "run" / "model.pt", weights_only=True)
    assert own.keys() == runs.keys()
    assert all(torch.equal(own[name], runs[name]) for name in own)


def test_run_writes_class_and_probabilities(bundle, tmp_path):
    kind, folder, where = bundle
    case = a_case(kind, where)
    monai_bundle(
        folder, "run", "--config_file", CONFIGS[3], "--dataset_dir", case, "--output_dir", tmp_path
    )
    row = rows(tmp_path)[0]
    assert row["id"].startswith(str(case))
    shares = [float(row[f"probability of {name}"]) for name in CLASSES[kind]]
    assert sum(shares) == pytest.approx(1)
    assert row["prediction"] == CLASSES[kind][int(np.argmax(shares))]
    assert "margin_linf" not in row


def test_run_writes_the_margins_that_predict_writes(bundle, tmp_path):
    kind, folder, where = bundle
    case = a_case(kind, where)
    words = ("--dataset_dir", case, "--output_dir", tmp_path / "run", "--norms", "['linf','l2']")
    monai_bundle(folder, "run", "--config_file", CONFIGS[3], *words)
    ended = run_command("predict", folder, case, "--output", tmp_path / "predict")
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "run") == rows(tmp_path / "predict")


def test_workflow_has_the_properties_of_inference(bundle, monkeypatch):
    kind, folder, where = bundle
    monkeypatch.chdir(folder)
    workflow = monai.bundle.ConfigWorkflow(
        "configs/inference.json",
        workflow_type="infer",
        logging_file=False,
        dataset_dir=str(a_case(kind, where)),
        device="cpu",
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    sample = workflow.dataset[0]["image"]
    assert tuple(sample.shape) == SHAPES[kind]


def test_load_of_the_local_folder(bundle, monkeypatch):
    kind, folder, _ = bundle
    monkeypatch.chdir(folder)
    loaded = monai.bundle.load(
        kind, bundle_dir=str(folder.parent), workflow_type="inference", device="cpu"
    ).eval()
    inputs = torch.rand(2, *SHAPES[kind])
    assert torch.equal(loaded(inputs), network(folder)(inputs))


def test_ckpt_export_gives_the_same_logits(bundle, tmp_path):
    kind, folder, _ = bundle
    words = ("--filepath", tmp_path / "model.ts", "--ckpt_file", "models/model.pt", *CONFIGS)
    monai_bundle(folder, "ckpt_export", "network_def", *words)
    inputs = torch.rand(2, *SHAPES[kind])
    exported, described, _ = monai.bundle.load(
        tmp_path.name, bundle_dir=str(tmp_path.parent), model_file="model.ts", load_ts_module=True
    )
    with torch.no_grad():
        assert (exported(inputs) - network(folder)(inputs)).abs().max() < 1e-5
    pred = described["network_data_format"]["outputs"]["pred"]
    names = monai.bundle.ConfigParser(pred["channel_def"]).get_parsed_content()
    assert list(names.values()) == CLASSES[kind]


def test_onnx_export_gives_the_same_logits(bundle, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    kind, folder, _ = bundle
    words = ("--filepath", tmp_path / "model.onnx", "--ckpt_file", "models/model.pt", *CONFIGS)
    monai_bundle(folder, "onnx_export", "network_def", *words)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    inputs = torch.rand(1, *SHAPES[kind])
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        assert np.abs(found - network(folder)(inputs).numpy()).max() < 1e-5


def test_model_card_has_the_data_and_the_figures(bundle):
    kind, folder, where = bundle
    card = (folder / "docs" / "README.md").read_text()
    report = json.loads((where / "run" / "robustness.json").read_text())
    curve = report["curves"][-1]
    assert "not for clinical use" in card
    names = " | ".join(map(markdown_text, CLASSES[kind]))
    assert f"| samples | {names} | all | patients |" in card
    assert f"{curve['n']} samples" in card
    assert "**No check of the attack was run**" in card
    for accuracy, low, high in zip(curve["accuracy"], curve["low"], curve["high"], strict=True):
        assert f"| {accuracy:.3f} | {low:.3f} to {high:.3f} |" in card
    if kind != "beats":
        sections = json.loads((where / "run" / "run.json").read_text())["sections"]
        ids, patients = (sections["training"][name] for name in ("ids", "patients"))
        counts = [sum(id_.startswith(f"{name}/") for id_ in ids) for name in CLASSES[kind]]
        row = " | ".join(map(str, [*counts, len(ids), len(set(patients))]))
        assert f"| training | {row} |" in card
        assert "No patient is on two sides." in card
    steps = {
        "two_classes": "read in grey, pictures with the whole range of their bits from 0 (black)",
        "rgb": "values from 0 to 255 become 0.0 to 1.0, beyond which they are cut off",
        "volumes": "resized to 16 x 16 x 16",
        "beats": "2 steps, below",
    }
    assert steps[kind] in card
    assert ("grey levels of 255" in card) == (kind in ("two_classes", "rgb"))
    share = "percent of the image's brightness range (darkest to brightest value)"
    assert (share in card) == (kind == "volumes")
    if kind == "beats":
        assert report["settings"]["warning"] in card
        assert "in brackets in percent of the signal's range" in card
        assert "187 values, 1.5 seconds" in card
        assert "- V: premature or an escape beat, from the ventricles\n- F: fusion" in card
        assert "unclassified\n\n*To be completed" in card
    assert ("but it may have seen others of the same patients" in card) == (kind == "beats")


def test_figures_are_those_of_an_evaluation_of_the_same_weights(tmp_path_factory):
    from exported import trained

    run = trained("two_classes", tmp_path_factory.mktemp("evaluated"))
    # few steps, and a level that no training curve has
    words = ("--eval_steps", "2", "--noise_levels", "[0,0.017]", "--check_samples", "1")
    assert run_command("evaluate", run, *words).returncode == 0
    assert run_command("export", run, "--margin-samples", "4").returncode == 0
    card = (run / "bundle" / "docs" / "README.md").read_text()
    assert "By evaluation on the test samples" in card
    assert "| 0.017 (4.33 grey levels of 255) |" in card
    assert "L2, in units of the input" in card
    checks = json.loads((run / "evaluation" / "robustness.json").read_text())["checks"]
    ran = sum(check["passed"] is not None for check in checks)
    assert ran < len(checks)
    assert f"Only {ran} of {len(checks)} checks of the attack were run" in card

    # of the same run, but of other weights
    ended = run_command("export", run, "--checkpoint", "model_best.pt", "--margin-samples", "4")
    best, last = (torch.load(run / f"{n}.pt", weights_only=True) for n in ("model_best", "model"))
    assert ended.returncode == 0, ended.stderr
    if any(not torch.equal(best[name], last[name]) for name in best):
        assert "Not measured" in (run / "bundle" / "docs" / "README.md").read_text()


def test_what_a_person_has_completed_is_kept_by_the_next_export(bundle, tmp_path, caplog):
    kind, _, where = bundle
    if kind != "two_classes":
        return
    folder = export_run(where / "run", tmp_path / "model", margin_samples=2)
    export_run(where / "run", folder, margin_samples=2)
    assert not list(folder.rglob("*earlier*"))
    assert caplog.text == ""
    card = folder / "docs" / "README.md"
    card.write_text(card.read_text().replace("to be completed", "from three hospitals"))
    for _ in range(2):
        export_run(where / "run", folder, margin_samples=2)
        assert "three hospitals" in (folder / "docs" / "README.earlier.md").read_text()
        assert "three hospitals" not in card.read_text()
    assert (
        "docs/README.md of an earlier export was changed, and is kept as docs/README.earlier"
        in (caplog.text)
    )


def test_what_cannot_be_exported_is_said(bundle, tmp_path):
    kind, _, where = bundle
    if kind != "two_classes":
        return
    ended = run_command("export", tmp_path)
    assert ended.returncode == 2
    assert "there is no config.json" in ended.stderr

    (tmp_path / "thesis.doc").touch()
    ended = run_command("export", where / "run", "--output", tmp_path)
    assert ended.returncode == 2
    assert "holds something else" in ended.stderr
    assert (tmp_path / "thesis.doc").exists()

    other = tmp_path / "data"
    shutil.copytree(where / "data", other)
    next((other / "CNV").iterdir()).unlink()
    ended = run_command(
        "export", where / "run", "--output", tmp_path / "new", "--dataset_dir", other
    )
    assert ended.returncode == 2
    assert "the data have changed since" in ended.stderr
    assert not (tmp_path / "new").exists()
