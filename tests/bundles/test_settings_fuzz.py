"""Two thousand configs with wrong settings: right, or refused by name, and nothing is left."""

import logging
import random
import signal

import pytest
from fuzz import SMALL, changed, config_of, tried

from monai_ima.data import (
    write_synthetic_ecg,
    write_synthetic_fashion,
    write_synthetic_oct,
    write_synthetic_svhn,
)
from monai_ima.settings import (
    EcgSettings,
    MoonsSettings,
    OctSettings,
    SmallImageSettings,
    wrong_values,
)

TRIALS = 400  # of each bundle
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


@pytest.mark.filterwarnings("ignore")
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
    draw = random.Random(bundle)
    trials = []
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    for _ in range(TRIALS):
        changes = changed(config, draw)
        signal.alarm(60)
        trials.append(tried(bundle, config, changes, work))
        signal.alarm(0)

    refused = [trial for trial in trials if trial.outcome.startswith("refused")]
    accepted = [trial for trial in trials if trial.outcome == "accepted"]
    assert accepted
    assert len(refused) > TRIALS / 2
    for trial in accepted:
        plain = {name: v for name, v in trial.values.items() if "::" not in name}
        assert wrong_values(SCHEMAS[bundle], plain) == {}, trial
    # TensorBoard's writer is built last, in the folder of the run, and checks its arguments itself
    left = [trial for trial in refused if trial.left and "writer::purge_step" not in trial.changes]
    assert not left, left[0]
    obscure = [trial for trial in refused if not is_named(trial)]
    assert len(obscure) < TRIALS / 100, obscure
