import json
import subprocess
import sys

import pytest
import torch
from bundle_run import ROOT
from folders import contents
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.transforms import Compose

from monai_ima.bundle import (
    allow_tf32,
    check_settings,
    check_single_process,
    claim_folder,
    evaluation_summary,
    flag,
    given,
    prepare_output_dir,
    say_errors_last,
    summary,
)
from monai_ima.data import LoadIntensityd
from monai_ima.robustness import RobustnessCurve

FILES = ("model.pt", "model_best.pt", "checkpoint.pt", "robustness.csv")


def test_summary_holds_every_level_and_every_file(tmp_path):
    curve = RobustnessCurve(
        torch.tensor([0, 0.025, 0.2]),
        torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]).bool(),
        torch.tensor([0, 1, 0, 1]),
        "linf",
    )
    report = {"curves": [{"epoch": 2, "eps": [9]}, {"epoch": 4, **curve.to_dict()}]}
    report["classes"] = ["healthy", "ill"]
    (tmp_path / "robustness.json").write_text(json.dumps(report))
    lines = summary(tmp_path).splitlines()
    words = [line.split() for line in lines]

    assert ["eps", "(linf)", "accuracy", "95", "%", "interval"] in words
    assert ["0", "0.750", "0.301", "to", "0.954"] in words
    assert ["0.025", "0.500", "0.150", "to", "0.850"] in words
    assert ["0.2", "0.250", "0.046", "to", "0.699"] in words
    assert ["area", f"{curve.auc():.3f}", "(n", "=", "4,", "epoch", "4)"] in words
    assert set(FILES) <= {line.split()[0].removeprefix(f"{tmp_path}/") for line in lines if line}
    assert lines[-1] == f"tensorboard --logdir {tmp_path}"


def evaluation_report(*checks, median=0.0312, norms=("linf",)):
    curve = {"eps": [0, 0.025], "accuracy": [0.75, 0.5], "low": [0.3, 0.15], "high": [0.95, 0.85]}
    curve["per_class"] = [[1.0, 1.0], [0.5, 0.0]]
    return {
        "classes": ["healthy", "ill"],
        "attack": {"protocol": "paper", "description": "100-step PGD"},
        "curves": [
            {**curve, "norm": norm, "auc": 0.625, "n": 4, "median_margin": median} for norm in norms
        ],
        "checks": [
            {"name": name, "norm": "linf", "passed": passed, "verdict": f"{name} was looked at"}
            for name, passed in checks
        ],
    }


def end_of_evaluation(folder, report):
    (folder / "robustness.json").write_text(json.dumps(report))
    return evaluation_summary(str(folder)).splitlines()


def test_evaluation_summary_holds_each_curve_and_where_the_report_is(tmp_path):
    checks = (("strong", True), ("monotone", True), ("black_box", None))
    lines = end_of_evaluation(tmp_path, evaluation_report(*checks, norms=("linf", "l2")))
    words = [line.split() for line in lines]

    assert "paper: 100-step PGD" in lines
    for norm in ("linf", "l2"):
        assert ["eps", f"({norm})", "accuracy", "95", "%", "interval"] in words
    assert words.count(["0.025", "0.500", "0.150", "to", "0.850"]) == 2
    assert words.count(["area", "0.625", "(n", "=", "4)"]) == 2
    assert words.count(["median", "margin", "0.0312"]) == 2
    assert "checks: none failed, 2 passed, 1 not run" in lines
    assert "  linf black_box: black_box was looked at" in lines
    assert not [line for line in lines if "DO NOT TRUST" in line]
    assert lines[-2].startswith(f"{tmp_path / 'report.html'}  ")
    assert lines[-1] == f"tensorboard --logdir {tmp_path}"


def test_evaluation_summary_has_the_intervals_over_patients_where_they_are_known(tmp_path):
    report = evaluation_report()
    report["curves"][0] |= {"patient_low": [0.2, 0.1], "patient_high": [1.0, 0.9]}
    words = [line.split() for line in end_of_evaluation(tmp_path, report)]
    assert ["0.025", "0.500", "0.100", "to", "0.900"] in words
    heading = ["eps", "(linf)", "accuracy", "95", "%", "interval", "over", "patients"]
    assert heading in words


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [([0.75, 0.5], "margin above all levels"), ([0, 0], "of no sample: none is correct")],
)
def test_evaluation_summary_of_no_median(tmp_path, accuracy, said):
    report = evaluation_report(median=None)
    report["curves"][0]["accuracy"] = accuracy
    assert f"      median  {said}" in end_of_evaluation(tmp_path, report)


def test_evaluation_summary_shouts_which_checks_failed(tmp_path):
    checks = (("large_eps", False), ("strong", True), ("black_box", False), ("monotone", None))
    lines = end_of_evaluation(tmp_path, evaluation_report(*checks))

    shout = lines.index("DO NOT TRUST THIS CURVE: 2 checks failed, 1 passed, 1 not run")
    assert lines[shout + 1 : shout + 4] == [
        "  linf large_eps: large_eps was looked at",
        "  linf black_box: black_box was looked at",
        "  linf monotone: monotone was looked at",
    ]
    assert not [line for line in lines if "none failed" in line or "strong" in line]


def test_evaluation_summary_does_not_count_what_was_not_run_as_passed(tmp_path):
    skipped = [(name, None) for name in ("large_eps", "strong", "black_box")]
    report = evaluation_report(("logits", True), *skipped)
    for check in report["checks"]:
        if check["passed"] is None:
            check["verdict"] = "not run: 0 of 64 samples are correctly classified"
    lines = end_of_evaluation(tmp_path, report)
    head = lines.index("ONLY 1 of 4 checks were run: none failed, 1 passed, 3 not run")
    assert lines[head + 1] == (
        "  linf large_eps, linf strong, linf black_box: not run: 0 of 64 samples are correctly "
        "classified"
    )


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((), "no checks were made"),
        (
            (("strong", None), ("monotone", None)),
            "NO CHECK WAS RUN, of 2: nothing says whether to believe the curve",
        ),
    ],
)
def test_evaluation_summary_says_that_nothing_was_checked_or_lost(tmp_path, checks, said):
    lines = end_of_evaluation(tmp_path, evaluation_report(*checks, median=None))
    assert said in lines
    assert ["median", "margin", "above", "all", "levels"] in [line.split() for line in lines]


@pytest.mark.parametrize(("words", "commands"), [(evaluation_summary, 1), (summary, 3)])
def test_commands_can_be_copied_where_the_folder_has_a_blank(tmp_path, words, commands):
    folder = tmp_path / "our study"
    folder.mkdir()
    report = evaluation_report(("strong", True)) | {"settings": {}}
    (folder / "robustness.json").write_text(json.dumps(report))
    starts = tuple(f"{name} '{folder}'" for name in ("monai-ima evaluate", "monai-ima export"))
    tensorboard = f"tensorboard --logdir '{folder}'"

    lines = [x for x in words(str(folder)).splitlines() if x.startswith((*starts, tensorboard))]

    assert len(lines) == commands
    assert lines[-1] == tensorboard


@pytest.mark.parametrize("words", [evaluation_summary, summary])
def test_each_class_has_a_line_with_its_sensitivity_at_each_level(tmp_path, words):
    report = evaluation_report(("strong", True))
    report["classes"] = ["healthy", "drusen", "early", "late", "unseen"]
    report["curves"][0]["per_class"] = [[1.0, 0.75], [0.0, 0.0], [None, None], [0.5, 0.0]]
    (tmp_path / "robustness.json").write_text(json.dumps(report))
    lines = [line.split() for line in words(str(tmp_path)).splitlines()]

    head = lines.index(["sensitivity", "0", "0.025", "at", "eps", "(linf)"])
    assert lines[head + 1 : head + 5] == [
        ["healthy", "1.000", "0.750"],
        ["drusen", "0.000", "0.000", "never", "recognised"],
        ["late", "0.500", "0.000"],
        ["without", "a", "sample:", "early,", "unseen"],
    ]


def test_of_many_classes_the_least_recognised_have_a_line(tmp_path):
    report = evaluation_report(("strong", True))
    report["classes"] = [f"c{place}" for place in range(30)]
    report["curves"][0]["per_class"] = [[(place + 1) / 30, 0.0] for place in range(30)][::-1]
    (tmp_path / "robustness.json").write_text(json.dumps(report))
    lines = [line.split() for line in summary(tmp_path).splitlines()]

    assert [line[0] for line in lines if len(line) == 3 and line[0][0] == "c"] == [
        f"c{place}" for place in range(10, 30)
    ]
    assert ["of", "30", "classes,", "the", "20", "least", "recognised"] in lines


FINDING = {
    "name": "one_class",
    "verdict": "every prediction is DME",
    "advice": "Look",
    "figures": {},
}


@pytest.mark.parametrize("words", [evaluation_summary, summary])
def test_what_speaks_against_the_clean_answers_comes_first(tmp_path, words):
    for findings in ([], [FINDING]):
        report = evaluation_report(("strong", True)) | {"clean_findings": findings, "settings": {}}
        (tmp_path / "robustness.json").write_text(json.dumps(report))
        lines = words(str(tmp_path)).splitlines()
        said = ["", "CLEAN ACCURACY FIRST: the classifier or its data are in doubt"]
        assert (lines[:2] == said) == bool(findings)
        assert ("  every prediction is DME. Look." in lines) == bool(findings)


# The folder of a run


def leave_a_run(folder, content):
    for name in (*FILES, "robustness.json", "robustness.png", "events.out.tfevents.1.host"):
        (folder / name).write_text(content)


def test_a_new_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "runs" / "new"

    assert prepare_output_dir(str(folder)) == folder
    assert list(folder.iterdir()) == []


def test_files_of_earlier_runs_are_moved_aside_and_others_stay(tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.pt.txt").write_text("mine")
    for content in ("first", "second"):
        leave_a_run(tmp_path, content)
        prepare_output_dir(tmp_path)

    found = contents(tmp_path)
    assert {found.pop("notes.txt"), found.pop("model.pt.txt")} == {b"mine"}
    assert len(found) == 14
    for name, content in found.items():
        assert name.startswith({b"first": "previous-1/", b"second": "previous-2/"}[content])
    assert f"{tmp_path} held a run; its files are now in {tmp_path}/previous-2" in caplog.text


def test_a_resumed_run_keeps_its_files(tmp_path):
    leave_a_run(tmp_path, "going on")
    before = contents(tmp_path)

    prepare_output_dir(tmp_path, resume=True)

    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_to_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("mine")

    for folder in (tmp_path / "file" / "run", tmp_path / "file"):
        with pytest.raises(OSError, match=rf"written to, got {folder}: .*--output_dir"):
            claim_folder(folder)
    assert contents(tmp_path) == {"file": b"mine"}


# Several processes

BUNDLES = ROOT / "bundles"
CONFIGS = sorted([*BUNDLES.glob("*/train.json"), *BUNDLES.glob("*/evaluate.json")])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_config_looks_for_several_processes_before_anything_else(config):
    assert json.loads(config.read_text())["initialize"][:2] == [
        "$monai_ima.bundle.say_errors_last()",  # so that this is the last line
        "$monai_ima.bundle.check_single_process()",
    ]


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_passes(monkeypatch, size):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    check_single_process()


# Mistyped settings

CONFIG = {
    "imports": ["$import monai_ima"],
    "max_epochs": 20,
    "noise_levels": [0.1, 0.2],
    "beta": 0.5,  # read by some methods only
    "_note": "not a setting",
    "train": {"epochs": "@max_epochs", "levels": "$len(@noise_levels)"},
    "initialize": ["$monai_ima.bundle.check_settings(monai_ima.settings.TrainingSettings)"],
    "run": ["$@train::epochs", "$@train::levels"],
}


def initialize(tmp_path, *overrides, **settings):
    """As ``monai.bundle run initialize --config_file a.json,b.json --key value`` does."""
    files = []
    for number, config in enumerate((CONFIG, *overrides)):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(config))
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(settings)
    return parser.get_parsed_content("initialize")


@pytest.mark.parametrize(
    ("override", "settings"),
    [
        ({}, {}),
        ({"max_epochs": 3}, {"beta": 1}),
        ({"train::epochs": 4, "run": ["$@train::epochs + @max_epochs + @train::levels"]}, {}),
        ({"extra": 1, "run": ["$@extra", "$@train::epochs", "$@train::levels"]}, {}),
        ({"+noise_levels": [0.3]}, {"_comment": 1}),
    ],
)
def test_known_settings_pass(tmp_path, override, settings):
    assert initialize(tmp_path, override, **settings) == [None]


@pytest.mark.parametrize(
    ("override", "settings", "message"),
    [
        ({}, {"max_epoch": 3}, "got max_epoch; did you mean max_epochs"),
        ({"noise_level": [0.1]}, {}, "got noise_level; did you mean noise_levels"),
        ({"bta": 1}, {"zmax_epochs": 1}, "got bta; did you mean beta"),
        ({"bta": 1}, {"zmax_epochs": 1}, "got zmax_epochs; did you mean max_epochs"),
        ({"train::epoch": 1}, {}, "got train::epoch; did you mean train::epochs"),
        ({"beta": 7, "max_epochs": 0}, {}, "weight of the noisy samples, got 7; and expected max_"),
        (
            {"beta": "@max_epoch"},
            {},
            "expected beta to refer to what the config has, got @max_epoch; did",
        ),
    ],
)
def test_a_mistyped_setting_is_named_with_the_nearest_known(tmp_path, override, settings, message):
    with pytest.raises(RuntimeError) as error:
        initialize(tmp_path, override, **settings)

    cause = cause_of(error.value)
    assert type(cause) is ValueError
    assert message in str(cause)


def cause_of(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return error


LAYERED = {
    "noise_levels": {"linf": [0.1, 0.2]},
    "initialize": [
        "$monai_ima.bundle.check_settings(monai_ima.settings.ClassifierSettings, likeness=0.85)"
    ],
}


@pytest.mark.parametrize("key", ["epochs", "alpha", "postprocessing", "val_interval", "ckpt_dir"])
def test_keys_of_another_bundle_are_its_own_affair(tmp_path, key):
    assert initialize(tmp_path, LAYERED, **{key: 1}) == [None]


@pytest.mark.parametrize(
    ("key", "meant"), [("max_epoch", "max_epochs"), ("noise_level", "noise_levels")]
)
def test_keys_that_are_all_but_known_are_mistyped(tmp_path, key, meant):
    with pytest.raises(RuntimeError) as error:
        initialize(tmp_path, LAYERED, **{key: 1})
    assert f"got {key}; did you mean {meant}? Known are " in str(cause_of(error.value))


def test_functions_of_a_config_say_so_outside_of_one():
    for function in (check_settings, lambda: given("network_def")):
        with pytest.raises(RuntimeError, match="in a MONAI config only"):
            function()


# What another file gives


def given_in_config(tmp_path, expression, **settings):
    return initialize(tmp_path, {"initialize": [f"$monai_ima.bundle.{expression}"]}, **settings)[0]


def test_what_is_given_is_resolved(tmp_path):
    layers = {
        "count": "@max_epochs",
        "net": {"_target_": "torch.nn.Flatten"},
        "part": {"a": "$6 * 7"},
    }
    for expression, expected in (
        ("given('count')", 20),
        ("given('count', None)", 20),
        ("given('part::a')", 42),
        ("given('beta')", 0.5),
    ):
        assert given_in_config(tmp_path, expression, **layers) == expected
    network = given_in_config(tmp_path, "given('net', None)", **layers)
    assert isinstance(network, torch.nn.Flatten)


def test_what_nobody_gives_is_the_default_or_an_error_with_the_way_out(tmp_path):
    assert given_in_config(tmp_path, "given('network_def', None)") is None
    assert given_in_config(tmp_path, "given('network_def', @beta)") == 0.5
    with pytest.raises(RuntimeError) as error:
        given_in_config(tmp_path, "given('dataset_dir')")
    cause = cause_of(error.value)
    assert type(cause) is ValueError
    assert str(cause) == (
        "expected a dataset_dir, got none; add --dataset_dir ..., or a file that has it to "
        "--config_file"
    )


# Errors


def test_the_first_cause_is_the_last_line():
    program = """
from monai_ima.bundle import say_errors_last

say_errors_last()
try:
    try:
        raise ValueError("expected beta from 0 to 1, got 7")
    except ValueError as error:
        raise KeyError("wrapped") from error
except KeyError as error:
    raise RuntimeError("wrapped again") from error
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "RuntimeError: wrapped again" in ended.stderr  # the traceback is there as well
    assert ended.stderr.splitlines()[-1].endswith("expected beta from 0 to 1, got 7")
    assert "wrapped" not in ended.stderr.splitlines()[-1]


# Words of the command line


@pytest.mark.parametrize(("value", "expected"), [("true", True), (True, True), ("False", False)])
def test_a_flag_is_read_from_a_word(value, expected):
    assert flag("resume", value) is expected


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_any_other_word_is_refused(value):
    with pytest.raises(ValueError, match="expected resume to be true or false, got"):
        flag("resume", value)


def test_an_error_in_a_loading_process_is_said_in_its_own_words(tmp_path, capsys):
    (tmp_path / "broken.png").write_text("not an image")
    dataset = Dataset([{"image": str(tmp_path / "broken.png")}], Compose([LoadIntensityd("image")]))
    say_errors_last()

    with pytest.raises(RuntimeError, match="worker process") as caught:
        next(iter(DataLoader(dataset, num_workers=2)))
    sys.excepthook(caught.type, caught.value, caught.tb)

    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith(f"Stopped: DataError: cannot read {tmp_path / 'broken.png'} as an image")
    assert last.endswith("replace the file or take it out of the data set")


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_for_convolutions_and_products(allowed):
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        allow_tf32(allowed)
        assert [place.allow_tf32 for place in places] == [allowed, allowed]
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value
