"""Which epoch is chosen, by hand; and whole commands on two moons."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from bundle_run import ROOT, run_bundle, run_command
from PIL import Image

from monai_ima.bundle import prepare_output_dir, summary
from monai_ima.cli.main import main
from monai_ima.handlers import folder_lock, kept_weights
from monai_ima.selection import EpochCurve, choose
from monai_ima.selection_report import curves_table, evaluated

TRAIN = ROOT / "bundles" / "moons_ima" / "train.json"
BUNDLES = ("ecg_ima", "fashion_mnist_ima", "moons_ima", "oct_ima", "svhn_ima", "volume_ima")
# Levels so large that a model which tells the moons apart falls, and one that cannot does not.
SETTINGS = {
    "training_samples": 200,
    "noise_levels": [0.1, 3, 6],
    "max_epochs": 5,
    "delta": 0.1,
    "plane_interval": 9,
    "eval_steps": 2,
    "protocol": "screen",
    "device": "cpu",
}

in_process = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "moons"
    ended = run_bundle(TRAIN, **SETTINGS, keep_interval=2, output_dir=folder)
    assert ended.returncode == 0, ended.stderr
    assert f"{folder / 'kept_weights'}  weights of 3 epochs" in ended.stdout
    return folder


@pytest.fixture(scope="module")
def selected(trained, tmp_path_factory):
    """The run with a choice, of which epoch 2 answers the same to all: half right in any noise."""
    folder = tmp_path_factory.mktemp("selected") / "moons"
    shutil.copytree(trained, folder)
    path = kept_weights(folder)[2]
    torch.save({k: v * 0 for k, v in torch.load(path, weights_only=True).items()}, path)
    ended = run_command("select", *words(folder, 0.4))
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


@pytest.fixture
def run(selected, tmp_path):
    """A copy to play with."""
    folder = tmp_path / "moons"
    shutil.copytree(selected[0], folder)
    return folder


def words(folder, threshold, *more, config=TRAIN, **overrides):
    flags = [
        text for name, value in (SETTINGS | overrides).items() for text in (f"--{name}", str(value))
    ]
    asked = [str(folder), "--min-clean-accuracy", str(threshold), "--config_file", str(config)]
    return [*asked, *flags, *more]


@pytest.fixture
def select(monkeypatch, capsys, undrawn):
    """Give the command in this process: what it prints, on both streams, and how it ends."""

    def call(*arguments, **overrides):
        monkeypatch.chdir(ROOT)
        code = 0
        try:
            main(["select", *words(*arguments, **overrides)])
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_what_is_rejected_moves_nothing(trained):
    before = sorted(trained.iterdir())
    settings = {name: value for name, value in SETTINGS.items() if name != "delta"}
    for name, interval in {"keep_interval": -1, "val_interval": 1.5, "margin_interval": 0}.items():
        ended = run_bundle(TRAIN, **settings, **{name: interval}, output_dir=trained)
        assert ended.returncode
        assert f"expected {name} to be a whole number from " in ended.stderr
    assert sorted(trained.iterdir()) == before


# The choice


@pytest.mark.parametrize(
    ("epochs", "threshold", "chosen"),
    [
        ({2: (0.95, 0.4), 4: (0.92, 0.6), 6: (0.88, 0.7)}, 0.9, 4),
        ({2: (0.95, 0.4), 4: (0.92, 0.6), 6: (0.88, 0.7)}, 0.93, 2),
        ({2: (0.95, 0.4), 4: (0.92, 0.6), 6: (0.88, 0.7)}, 0.5, 6),
        ({2: (0.95, 0.4), 4: (0.92, 0.6), 6: (0.88, 0.7)}, 0.96, None),
        ({3: (0.9, 0.6), 5: (0.95, 0.6), 7: (0.95, 0.6)}, 0.9, 5),  # equal areas, equal models
        ({1: (0.9, 0.3)}, 0.9, 1),  # at least, not more than
        ({1: (sum([1.0, 0.9, 0.8]) / 3, 0.3), 2: (0.8999, 0.4)}, 0.9, 1),  # as rounded
    ],
)
def test_the_largest_area_above_the_threshold_is_chosen(epochs, threshold, chosen):
    assert choose(epochs, threshold) == chosen
    assert choose(dict(reversed(epochs.items())), threshold) == chosen


def test_area_is_the_mean_balanced_accuracy_up_to_the_last_level():
    model = EpochCurve(1, "linf", [0, 1, 4], [1.0, 0.5, 0.1], [0.0] * 3, 10, "paper", 3, "")

    assert model.balanced_area == pytest.approx((0.75 * 1 + 0.3 * 3) / 4)


def test_example_of_the_page_is_the_result_file():
    example = json.loads((ROOT / "results" / "selection" / "ecg.json").read_text())
    models = [
        EpochCurve(**{name: value for name, value in model.items() if name != "area"})
        for model in example["test"]
    ]
    page = (ROOT / "docs" / "selection.md").read_text()
    shown = curves_table(example["epoch"], models)
    assert {(m.protocol, m.protocol_version) for m in models} == {("paper", 3)}
    assert f"{shown}\n\n{evaluated(example['version'], models[0])}\n" in page
    threshold = example["min_clean_accuracy"]
    assert models[0].accuracy[0] > threshold
    validation = {m["epoch"]: (m["accuracy"][0], m["area"]) for m in example["validation"]}
    assert choose(validation, threshold) == example["epoch"]
    assert choose(validation, 0.88) is None


# Whole commands


def test_as_a_command(selected):
    """Where half of all is accuracy enough, the model that no noise can change is chosen."""
    folder, stdout = selected
    report = json.loads((folder / "selection.json").read_text())
    assert (report["epoch"], report["last_epoch"]) == (2, 5)
    validation = {model["epoch"]: model for model in report["validation"]}
    assert list(validation) == [2, 4, 5]
    assert [validation[2][name] for name in ("accuracy", "area")] == [[0.5] * 4, 0.5]
    for epoch in (4, 5):
        assert validation[epoch]["accuracy"][0] > 0.9
        assert validation[epoch]["area"] < 0.5
    assert [model["epoch"] for model in report["test"]] == [2, 5]
    assert_same_weights(folder / "model_selected.pt", kept_weights(folder)[2])
    with Image.open(folder / "selection.png") as figure:
        assert figure.width > 1000
    assert "| 2 | 0.500 | 0.500 | 0.500 |" in stdout
    assert "Epoch 2 is the most robust of the kept epochs" in stdout
    assert "| selected, epoch 2 | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |" in stdout
    assert "| last, epoch 5 |" in stdout
    assert f"{folder / 'model_selected.pt'}  its weights" in stdout


def assert_same_weights(*files):
    first, second = (torch.load(file, weights_only=True) for file in files)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_choice_sees_the_validation_set_alone(selected):
    folder, _ = selected
    found = {
        (path.parent.parent.name, path.parent.name): json.loads(path.read_text())
        for path in folder.glob("selection/*/*/robustness.json")
    }
    expected = [("test", 2), ("test", 5), *(("validation", epoch) for epoch in (2, 4, 5))]
    assert sorted(found) == [(section, f"epoch_{epoch:04}") for section, epoch in expected]
    for (section, _), report in found.items():
        assert report["settings"]["section"] == section
        attack = report["attack"]
        assert attack["protocol"] == {"test": "minimum_norm", "validation": "screen"}[section]
        assert attack["steps"] == 100  # the protocol's, not those of the training's own curve
        (curve,) = report["curves"]
        assert (curve["norm"], curve["eps"]) == ("linf", [0, 0.1, 3, 6])
        assert report["checks"] == []


def when_attacked(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("selection/*/*/progress.records")}


@in_process
def test_another_threshold_is_another_model_and_attacks_nothing_again(run, select):
    before = when_attacked(run)

    code, out, _ = select(run, 0.9)

    report = json.loads((run / "selection.json").read_text())
    areas = {model["epoch"]: model["area"] for model in report["validation"]}
    assert code == 0
    assert report["epoch"] == (4 if areas[4] >= areas[5] else 5)
    assert_same_weights(run / "model_selected.pt", kept_weights(run)[report["epoch"]])
    assert ("It is the last epoch." in out) == (report["epoch"] == 5)
    assert len(before) == 5
    assert before.items() <= when_attacked(run).items()
    shown = run / "selection" / "test" / f"epoch_{report['epoch']:04}" / "progress.records"
    assert when_attacked(run).keys() == {*before, shown}


@in_process
def test_where_no_epoch_is_accurate_enough_nothing_is_selected(run, select):
    code, _, err = select(run, 0.99999)

    assert code == 1
    assert "No kept epoch has a balanced clean accuracy of 0.99999 on the" in err
    assert "Nothing is selected: lower --min-clean-accuracy" in err
    assert not [*run.glob("selection.*"), *run.glob("model_selected.pt")]


@in_process
def test_a_call_that_was_cut_off_goes_on(run, select):
    before, figures = when_attacked(run), json.loads((run / "selection.json").read_text())
    shutil.rmtree(run / "selection" / "validation" / "epoch_0004")
    for name in ("selection.json", "model_selected.pt"):
        (run / name).unlink()

    assert select(run, 0.4)[0] == 0

    assert json.loads((run / "selection.json").read_text()) == figures
    assert_same_weights(run / "model_selected.pt", kept_weights(run)[2])
    again = [path.parent.name for path, time in when_attacked(run).items() if before[path] != time]
    assert again == ["epoch_0004"]


def test_a_resumed_training_keeps_what_an_uninterrupted_one_does(trained, tmp_path):
    settings = SETTINGS | {"keep_interval": 2, "output_dir": tmp_path}
    assert run_bundle(TRAIN, **settings | {"max_epochs": 3}).returncode == 0
    assert list(kept_weights(tmp_path)) == [2, 3]
    ended = run_bundle(TRAIN, **settings, resume=True)

    assert ended.returncode == 0, ended.stderr
    assert list(kept_weights(tmp_path)) == [2, 3, 4, 5]
    for epoch, path in kept_weights(trained).items():
        first, second = (
            torch.load(p, weights_only=True) for p in (path, kept_weights(tmp_path)[epoch])
        )
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_folder_of_the_run_is_enough(run, undrawn):
    chosen = json.loads((run / "selection.json").read_text())
    main(["select", str(run), "--min-clean-accuracy", "0.4"])
    assert json.loads((run / "selection.json").read_text()) == chosen


# Refusals


@pytest.mark.parametrize("threshold", [0, 1, 90, -0.5, "nan"])
def test_what_is_no_accuracy_is_rejected(run, select, threshold):
    code, _, err = select(run, threshold)

    assert code == 2
    assert "expected --min-clean-accuracy between 0 and 1, got" in err


@in_process
@pytest.mark.parametrize(
    ("more", "overrides", "message"),
    [
        (["--seed"], {}, "expected settings of the bundle as --NAME VALUE"),
        ([], {"config": "nowhere.json"}, "there is no nowhere.json; expected the config files"),
        (["--section", "test"], {}, "expected settings of the training, got --section"),
        (["--output_dir", "elsewhere"], {}, "expected RUN alone to name the run"),
        (["--seed", "7"], {}, "was trained with, got another training data;"),
        (["--norm", "l2"], {}, "was trained with, got another norm;"),
    ],
)
def test_bad_words_are_rejected_with_a_message(run, select, more, overrides, message):
    code, _, err = select(run, 0.5, *more, **overrides)

    assert code == 2
    assert err.splitlines()[-1].startswith("monai-ima select: ")
    assert message in err


def test_a_run_without_kept_weights_is_told_the_setting(run, select):
    shutil.rmtree(run / "kept_weights")

    code, _, err = select(run, 0.5)

    assert code == 2
    assert f"there are no kept weights in {run}" in err
    assert "--keep_interval 1" in err


# The folder of a run, and the bundles


def test_a_run_that_went_on_without_keeping_is_rejected(run, select):
    path = run / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | {"epoch": 7}, path)

    code, _, refusal = select(run, 0.9)

    assert code == 2
    assert "is at epoch 7 and they end at 5; train anew with --keep_interval" in refusal


def test_other_levels_than_those_of_the_training_are_rejected(run, select):
    code, _, refusal = select(run, 0.9, noise_levels=[0.1, 3])

    assert code == 2
    assert "was trained with, [0.0, 0.1, 3.0, 6.0], got [0.0, 0.1, 3.0]" in refusal


def test_a_new_training_moves_what_was_kept_and_selected_aside(run, tmp_path):
    prepare_output_dir(run)

    assert kept_weights(run) == {}
    assert not [*run.glob("*select*")]
    attic = run / "previous-1"
    assert list(kept_weights(attic)) == [2, 4, 5]
    for name in ("model_selected.pt", "selection.json", "selection.png", "selection/test"):
        assert (attic / name).exists()


def test_the_end_of_a_training_says_what_was_kept_only_if_it_was(run):
    assert "monai-ima select" in summary(run)
    shutil.rmtree(run / "kept_weights")
    assert "monai-ima select" not in summary(run)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_each_bundle_keeps_weights_before_its_checkpoint_says_that_the_epoch_is_done(bundle):
    config = json.loads((ROOT / "bundles" / bundle / "train.json").read_text())

    assert config["keep_interval"] == 0
    assert config["weights_keeper"]["interval"] == "@keep_interval"
    names = [handler.get("handler") for handler in config["train"]["handlers"]]
    assert names[-2:] == ["@weights_keeper", "@checkpoint"]


def test_a_run_that_another_command_is_in_is_left_alone(run, select):
    """A training that goes on in it, or another selection."""
    lock = "import runpy, sys; runpy.run_path(sys.argv[1])['lock_folder'](sys.argv[2], 'RUN')"
    process = subprocess.Popen(
        [sys.executable, "-c", lock + "; print(); input()", folder_lock.__file__, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    before = sorted(run.rglob("*"))
    found = select(run, 0.4)
    process.communicate("\n")
    assert f"expected no other command in {run}, got process {process.pid} on" in str(found)
    assert sorted([*run.rglob("*"), run / ".lock"]) == before
