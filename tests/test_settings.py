import json
import math

import pytest
import torch
from bundle_run import ROOT, run_bundle
from pydantic import ValidationError

from monai_ima.settings import (
    ClassifierSettings,
    EcgSettings,
    EvaluationSettings,
    MoonsSettings,
    OctSettings,
    SmallImageSettings,
    TrainingSettings,
    VolumeSettings,
    names_of,
    unused_weights,
    wrong_method,
    wrong_together,
    wrong_values,
)

NAN = math.nan
TRAIN = ROOT / "bundles" / "moons_ima" / "train.json"


@pytest.mark.parametrize(
    ("schema", "name", "wrong", "right"),
    [
        (TrainingSettings, "max_epochs", [0, -1, 1e3, 1e308, 10**12, "3", True, None], [1, 300]),
        (TrainingSettings, "attack_steps", [0, 1e12, 10**12, "x"], [1, 100]),
        (TrainingSettings, "seed", [-1, 1.5, 2**32, "0", False], [0, 2**32 - 1]),
        (TrainingSettings, "learning_rate", [0, -1.0, NAN, math.inf, "x", 10**400], [1, 1e-3]),
        (TrainingSettings, "num_classes", [0, 1, 2.0], [2, 1000]),
        (TrainingSettings, "beta", [-0.1, 1.1, NAN, True], [0, 0.5, 1]),
        (TrainingSettings, "eps_max", [0, -1, NAN, 1e308], [0.3, 1]),
        (TrainingSettings, "noise_levels", [0.1, [], [0], [0.1, 0], [0, NAN], [-1, 1]], [[0, 0.1]]),
        (TrainingSettings, "noise_levels", [[0.1, 0.1], ["a"], [[1]]], [[0.1], (0.1, 0.2)]),
        (TrainingSettings, "norm", ["linff", "Linf", None, 2], ["linf", "l2"]),
        (TrainingSettings, "protocol", ["minimumnorm", None], ["paper", "strong"]),
        (TrainingSettings, "resume", ["yes", 1, None, ""], [True, False, "true", "False"]),
        (TrainingSettings, "amp", ["bf16", 1, None], [True, False, "true"]),
        (TrainingSettings, "tf32", ["no", 0, None], [True, False, "false"]),
        (TrainingSettings, "loop_form", ["fix", None, True], ["auto", "shrinking", "fixed"]),
        (ClassifierSettings, "loop_form", ["Fixed"], ["fixed"]),
        (TrainingSettings, "device", ["cuda:99", "l2", "meta", 0], ["cpu", torch.device("cpu")]),
        (TrainingSettings, "output_dir", ["", 5, None, "a\0b", "runs::1"], ["runs/a", "./5"]),
        (TrainingSettings, "method", ["", "a/b", 3], ["ima", "ima_2.1"]),
        (TrainingSettings, "batch_size", [0, -1, 1.0, None], [1, 512]),
        (TrainingSettings, "margin_interval", [0, -1], [1]),
        (TrainingSettings, "val_interval", [-1, 0.5], [0, 3]),
        (TrainingSettings, "best_by", ["acc", "", None], ["accuracy", "balanced_accuracy"]),
        (
            TrainingSettings,
            "class_weights",
            ["balancd", 1, [1], [1, 0], [1, -2], [1, NAN], [1, math.inf], ["a", "b"], True],
            [None, "balanced", [1, 3], (0.5, 2, 1)],
        ),
        (TrainingSettings, "eval_steps", [0, "3"], [None, 1]),
        (TrainingSettings, "optimizer", ["adam", 3, None, {}], ["$x", {"_target_": "x"}]),
        (
            OctSettings,
            "fractions",
            [[NAN, 0.5, 0.5], [1, 0, 0], [0.5, 0.5], 1],
            [[0.7, 0.15, 0.15]],
        ),
        (
            OctSettings,
            "image_size",
            [64, [0, 0], [8.5, 8], [], [1, 1, 1, 1], [10**6] * 2],
            [[64], (8, 8)],
        ),
        (OctSettings, "num_workers", [-1, 1000, 0.5], [0, 8]),
        (OctSettings, "resident", ["gpu", 1, None], ["auto", True, "false"]),
        (OctSettings, "cache_rate", [-1, 1.5, NAN], [0, 0.5, 1]),
        (
            OctSettings,
            "patient_pattern",
            ["(", "no group", 3, "(?P<patient>.+)::"],
            [None, "(?P<patient>.+)"],
        ),
        (OctSettings, "nan_value", [NAN, -1, 2], [None, 0, 0.5]),
        (OctSettings, "path_column", ["", 3, "Image ::"], [None, "Path", "Image #"]),
        (EcgSettings, "sampling", ["balancd", None], ["balanced", "shuffled"]),
        (OctSettings, "sampling", ["balancd", True], ["balanced", "shuffled"]),
        (VolumeSettings, "epoch_size", [0, 2.5], [None, 7]),
        (EcgSettings, "split", ["intra", None], ["random", "inter_patient"]),
        (EcgSettings, "training_per_class", [0, 1.5], [None, 7]),
        (SmallImageSettings, "image_size", [[8], [8, 8, 8]], [[8, 9]]),
        (MoonsSettings, "bounds", [[1, 0], [0, 0], [0], None, [0, math.inf]], [[-10, 10], (0, 1)]),
        (MoonsSettings, "training_samples", [0, 3, None], [2, 100]),
        (EvaluationSettings, "bounds", [[1, 0], 3], [None, [0.0, 1.0]]),
        (EvaluationSettings, "section", ["classes", None], ["validation"]),
        (EvaluationSettings, "evaluation_levels", [[0, 1], {"l3": [1]}, {}], [{"l2": [0, 1]}]),
        (EvaluationSettings, "positive_class", ["", 1, "Grade ::2"], [None, "DME", "Grade #2"]),
        (EvaluationSettings, "operating_specificity", [0, 1, None, "0.9"], [0.95]),
        (EvaluationSettings, "prevalence", [0, 1, NAN], [None, 0.01]),
        (
            EvaluationSettings,
            "units",
            ["mV", {"name": "mV"}, {"name": "", "per_unit": 2}, {"name": "mV", "per_unit": 0}],
            [None, {"name": "mV", "per_unit": 2.5}],
        ),
        (ClassifierSettings, "num_classes", [0, 1], [None, 2]),
        (ClassifierSettings, "noise_levels", [[0, 0.1], {"linf": 3}], [{"linf": [0, 0.1]}]),
    ],
)
def test_a_setting_is_right_or_named_with_what_was_expected(schema, name, wrong, right):
    for value in wrong:
        said = wrong_values(schema, {name: value})
        assert list(said) == [name], value
        assert said[name].startswith(f"expected {name} to be ")
        assert ", got " in said[name]
        assert "pydantic" not in said[name]
    for value in right:
        assert wrong_values(schema, {name: value}) == {}


def test_every_wrong_setting_is_named_at_once():
    wrong = {"max_epochs": 0, "beta": 0.5, "norm": "linff", "num_classes": 1e1}
    said = wrong_values(TrainingSettings, wrong)
    assert said == {
        "norm": "expected norm to be one of linf, l2, got 'linff'; did you mean linf?",
        "num_classes": (
            "expected num_classes to be a whole number from 2 to 1000000 (classes), got 10.0; "
            "write 10"
        ),
        "max_epochs": "expected max_epochs to be a whole number from 1 to 1000000 (epochs), got 0",
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"delta": 0.4, "eps_max": 0.3}, "expected delta"),
        ({"norm": "linf", "noise_levels": [0, 0.5, 2]}, "expected noise_levels within the bounds"),
        ({"evaluation_levels": {"linf": [0, 2]}, "bounds": [0, 1]}, "expected evaluation_levels"),
        ({"protocol": "strong", "eval_steps": None, "eval_restarts": 2}, "expected eval_restarts"),
        (
            {"class_weights": [1, 3], "num_classes": 4},
            "expected class_weights to be 4 numbers, one for each of num_classes=4 classes, got 2, [1, 3]",
        ),
        (
            {"class_weights": "balanced", "sampling": "balanced"},
            "expected class_weights other than balanced with sampling=balanced",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named(values, said):
    (found,) = wrong_together(values)
    assert found.startswith(said)


def test_settings_that_fit_each_other_pass():
    assert wrong_together({"delta": 0.3, "eps_max": 0.3, "norm": "linf", "noise_levels": [1]}) == []
    assert wrong_together({"norm": "l2", "noise_levels": [0, 2]}) == []  # depends on the size
    assert wrong_together({"norm": "linf", "noise_levels": [0, 9], "bounds": None}) == []
    assert wrong_together({"protocol": "paper", "eval_steps": 3, "eval_restarts": 2}) == []
    assert wrong_together({"class_weights": [1, 3], "num_classes": 2, "sampling": "balanced"}) == []
    assert wrong_together({"class_weights": "balanced", "num_classes": 4}) == []
    assert wrong_together({"class_weights": None, "num_classes": 4, "sampling": "balanced"}) == []


def test_weights_that_the_objective_does_not_take_are_named():
    (said,) = unused_weights("balanced", {"_target_": "mine.Objective", "sigma": 1})
    assert 'got mine.Objective without; add "class_weights": "@loss_weights"' in said
    assert unused_weights(None, {"_target_": "mine.Objective"}) == []
    assert unused_weights([1, 2], {"_target_": "mine.Objective", "class_weights": "@x"}) == []


def test_the_name_of_a_method_does_not_choose_it():
    (said,) = wrong_method("trades", "monai_ima.objectives.IMA")
    assert said.endswith("add bundles/objectives/trades.json to --config_file")
    assert wrong_method("ima", "monai_ima.objectives.IMA") == []
    assert wrong_method("mine", "monai_ima.objectives.IMA") == []
    assert wrong_method("trades", "mine.Objective") == []


@pytest.mark.parametrize(
    ("bundle", "file", "schemas"),
    [
        ("oct_ima", "train", [OctSettings]),
        ("ecg_ima", "train", [EcgSettings]),
        ("svhn_ima", "train", [SmallImageSettings]),
        ("volume_ima", "train", [VolumeSettings]),
        ("volume_ima", "evaluate", [VolumeSettings, EvaluationSettings]),
        ("fashion_mnist_ima", "train", [SmallImageSettings]),
        ("moons_ima", "train", [MoonsSettings]),
        ("oct_ima", "evaluate", [OctSettings, EvaluationSettings]),
        ("robustness_evaluation", "evaluate", [ClassifierSettings]),
    ],
)
def test_the_schema_of_a_bundle_has_every_setting(bundle, file, schemas):
    config = json.loads((ROOT / "bundles" / bundle / f"{file}.json").read_text())
    assert set(config) - names_of(*schemas) <= {"evaluation_imports"}
    for schema in schemas:
        with pytest.raises(ValidationError):
            schema.model_validate({"output_dir": 5, "bounds": 5})


def run(folder, **settings):
    small = {"device": "cpu", "training_samples": 20, "output_dir": folder}
    return run_bundle(TRAIN, **small | settings)


def test_what_is_refused_leaves_an_earlier_run_and_its_folder_alone(tmp_path):
    (tmp_path / "model.pt").write_text("good")
    ended = run(tmp_path, batch_size=-1, max_epochs="1e3", beta=7)
    last = ended.stderr.rstrip().splitlines()[-1]
    for said in ("batch_size to be", "got 1000.0; write 1000", "noisy samples, got 7"):
        assert said in last
    wrong = {"optimizer#weight_decayy": 1, "network_def#num_clases": 3, "network": "@batch_size"}
    wrong |= {"writer#_target_": "torch.utils.tensorboard.SummaryWriter"}
    wrong |= {"writer#purge_step": "x", "writer#filename_suffix": "../x"}
    ended = run(tmp_path / "new", **wrong)
    last = ended.stderr.rstrip().splitlines()[-1]
    assert "expected network to be a part of the config" in last
    assert "expected writer::purge_step to be a whole number from 0 on, or None, as " in last
    assert "expected writer::filename_suffix to be letters, digits, . _ and -, as " in last
    assert "did you mean optimizer::weight_decay?" in last
    assert "got network_def::num_clases; did you mean network_def::" in last
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert (tmp_path / "model.pt").read_text() == "good"


def test_an_objective_that_would_not_weigh_the_classes_is_rejected(tmp_path):
    own = tmp_path / "own.json"
    own.write_text('{"objective": {"_target_": "monai_ima.objectives.CrossEntropy"}}')
    settings = {"output_dir": tmp_path / "run", "class_weights": [1, 2, 3], "method": "ce"}
    ended = run_bundle(TRAIN, own, device="cpu", training_samples=20, **settings)
    last = ended.stderr.rstrip().splitlines()[-1]
    assert "expected an objective that takes class_weights, since the setting is [1, 2, 3]" in last
    assert "expected class_weights to be 2 numbers, one for each of num_classes=2" in last


def test_a_network_of_another_size_leaves_an_earlier_run_alone(tmp_path):
    (tmp_path / "model.pt").write_text("good")
    ended = run(tmp_path, **{"network_def#out_channels": 5})
    last = ended.stderr.rstrip().splitlines()[-1]
    assert "expected network_def to return a logit for each of num_classes=2 classes, got 5" in last
    ended = run(tmp_path, **{"network_def#in_channels": 7, "train#trainer#amp": "yes"})
    last = ended.stderr.rstrip().splitlines()[-1]
    assert "expected train::trainer::amp to be bool" in last
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
