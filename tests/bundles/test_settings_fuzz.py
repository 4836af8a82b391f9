"""Two thousand configs with wrong settings: right, or refused by name, and nothing is left."""

import logging
import random
import signal

import pytest
import torch
from fuzz import SMALL, changed, config_of, tried
from monai.bundle import ConfigParser

from monai_ima.data import (
    write_synthetic_ecg,
    write_synthetic_fashion,
    write_synthetic_oct,
    write_synthetic_svhn,
)
from monai_ima.networks import small_cnn
from monai_ima.settings import (
    ClassifierSettings,
    EcgSettings,
    EvaluationSettings,
    MoonsSettings,
    OctSettings,
    SmallImageSettings,
    wrong_values,
)

# What it goes through is seen by others as well, and measuring that doubles the time it takes.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("unmeasured")]
TRIALS = 400  # of each bundle
EVALUATION_TRIALS = 300
DATA = {
    "moons_ima": None,
    "oct_ima": lambda folder: write_synthetic_oct(
        folder, patients_per_class=3, images_per_patient=1, size=(32, 40)
    ),
    "ecg_ima": lambda folder: write_synthetic_ecg(folder, patients=8, beats_per_patient=50),
    "svhn_ima": lambda folder: write_synthetic_svhn(folder, training=60, test=20),
    "fashion_mnist_ima": lambda folder: write_synthetic_fashion(folder, training=60, test=20),
}
SCHEMAS = {
    "moons_ima": MoonsSettings,
    "oct_ima": OctSettings,
    "ecg_ima": EcgSettings,
    "svhn_ima": SmallImageSettings,
    "fashion_mnist_ima": SmallImageSettings,
}
OWN = {
    "moons_ima": {"training_samples": 20},
    "oct_ima": {"image_size": [32, 32], "fractions": [0.34, 0.33, 0.33]},
}


EVALUATIONS = {
    "moons_ima": (("train.json", "evaluate.json"), (MoonsSettings, EvaluationSettings)),
    "robustness_evaluation": (("evaluate.json",), (ClassifierSettings,)),
}


def is_named(trial):
    """Whether a message has the name of what was changed, or of the part that it belongs to."""
    for name in trial.changes:
        steps = name.split("::")
        if f"expected {name} to be" in trial.said:
            return True
        names = [steps[-1], *("::".join(steps[:n]) for n in range(1, len(steps)))]
        if any(each in trial.said for each in names if each not in ("train", "validate")):
            return True
    return False


@pytest.mark.parametrize("bundle", DATA)
def test_settings_are_right_or_refused_by_name_and_nothing_is_left(
    bundle, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.ERROR)
    data = DATA[bundle] and {"dataset_dir": str(DATA[bundle](tmp_path / "data"))}
    config = config_of(bundle, "train.json", **OWN.get(bundle, {}) | (data or {}) | SMALL)
    config["output_dir"] = "run"
    work = tmp_path / "work"
    (work / "run").mkdir(parents=True)
    (work / "run" / "model.pt").write_text("good")
    monkeypatch.chdir(work)
    each_is_right_or_refused(bundle, config, work, [SCHEMAS[bundle]], TRIALS)


def each_is_right_or_refused(bundle, config, work, schemas, count):
    draw = random.Random(bundle)
    trials = []
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    for _ in range(count):
        changes = changed(config, draw)
        signal.alarm(60)
        trials.append(tried(bundle, config, changes, work))
        signal.alarm(0)

    refused = [trial for trial in trials if trial.outcome.startswith("refused")]
    accepted = [trial for trial in trials if trial.outcome == "accepted"]
    assert accepted
    assert len(refused) > count / 2
    for trial in accepted:
        plain = {name: v for name, v in trial.values.items() if "::" not in name}
        for schema in schemas:
            assert wrong_values(schema, plain) == {}, trial
    left = [trial for trial in refused if trial.left]
    assert not left, left[0]
    obscure = [trial for trial in refused if not is_named(trial)]
    assert len(obscure) < count / 100, [(trial.changes, trial.said) for trial in obscure]


@pytest.mark.parametrize("bundle", EVALUATIONS)
def test_settings_of_evaluations_are_right_or_refused_by_name_and_nothing_is_left(
    bundle, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.ERROR)
    files, schemas = EVALUATIONS[bundle]
    own = {"output_dir": "run", **OWN.get(bundle, {})}
    work = tmp_path / "work"
    (work / "run").mkdir(parents=True)
    if bundle == "robustness_evaluation":
        data = DATA["oct_ima"](tmp_path / "data")
        network = small_cnn(num_classes=4)
        own |= {"dataset_dir": str(data), "checkpoint": str(tmp_path / "model.pt")}
        own |= {"network_def": {"_target_": "monai_ima.networks.small_cnn", "num_classes": 4}}
        own |= {"image_size": [32, 32]}
        torch.save(network.state_dict(), tmp_path / "model.pt")
    else:
        config = config_of(bundle, *files, **own)
        network = ConfigParser(config).get_parsed_content("network_def")
        torch.save(network.state_dict(), work / "run" / "model.pt")
    config = config_of(bundle, *files, **own)
    monkeypatch.chdir(work)
    each_is_right_or_refused(bundle, config, work, schemas, EVALUATION_TRIALS)
