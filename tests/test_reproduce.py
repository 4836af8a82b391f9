"""The figures of the comparison, by hand; and a whole run, cut off and gone on with."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_ima.data import write_synthetic_ecg

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "reproduce.py"))


def run(method, margins, labels=(0, 0, 0, 1), seed=0, eps=(0, 0.1, 0.2)):
    robust = [[float(m is None or m > e) for e in eps] for m in margins]
    balanced = [
        sum(
            sum(r[c] for r, y in zip(robust, labels, strict=True) if y == k) / labels.count(k)
            for k in (0, 1)
        )
        / 2
        for c in range(len(eps))
    ]
    curve = {"eps": list(eps), "balanced_accuracy": balanced}
    curve["accuracy"] = [sum(column) / len(robust) for column in zip(*robust, strict=True)]
    return {
        "method": method,
        "seed": seed,
        "seconds": 60,
        "labels": list(labels),
        "margins": margins,
        "curve": curve,
    }


def test_area_is_that_under_the_curve(script):
    example = run("ima", [None, 0.15, 0, 0.05])
    for accuracy in ("accuracy", "balanced_accuracy"):
        area = script["area"](script["per_sample"](example), script["weights"](example, accuracy))
        curve = torch.tensor(example["curve"][accuracy], dtype=torch.float64)
        eps = torch.tensor([0, 0.1, 0.2], dtype=torch.float64)
        assert area.item() == pytest.approx((torch.trapezoid(curve, eps) / 0.2).item())


def test_tables_have_a_line_a_method_and_ima_last(script):
    runs = [run("adv0.1", [0.05] * 4), run("ima", [None] * 4), run("ima", [0.15] * 4, seed=1)]
    lines = script["table"](runs, "accuracy").splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| method", "| ---", "| adv0.1", "| ima"]
    assert "1.000 ± 0.000 | 0.000 ± 0.000" in lines[2]
    assert "0.500 (0.000 to 1.000)" in lines[3]


def test_difference_of_areas_is_paired(script):
    runs = [run("ce", [0.05, 0.15, 0.25, 0]), run("ima", [0.15, 0.25, None, 0.05])]
    runs = [dict(one, seed=seed) for seed in (0, 1) for one in runs]
    (line,) = script["area_table"](runs, "accuracy").splitlines()[2:]
    # areas of the samples: 1/4, 3/4, 1, 0 against 3/4, 1, 1, 1/4
    assert line.startswith("| ce | 2 | +0.250 | ")
    low, high = (float(word) for word in line.split(" | ")[3].removesuffix(" |").split(" to "))
    assert low < 0.25 < high


def test_other_samples_are_not_paired(script):
    with pytest.raises(SystemExit, match="the same test samples"):
        script["area_table"]([run("ce", [0] * 4), run("ima", [0] * 4, (0, 1, 1, 1))], "accuracy")


def test_method_names_hold_the_strength(script):
    split = script["split_method"]
    assert split("adv0.05") == ("adv", ["--adv_eps", "0.05"])
    assert split("trades1") == ("trades", ["--trades_beta", "1"])
    assert split("ima") == ("ima", [])


@pytest.mark.slow
def test_cut_off_and_started_again_it_ends_with_the_same_table(tmp_path):
    beats = write_synthetic_ecg(tmp_path / "ecg", patients=12, beats_per_patient=60, seed=0)

    def command(name):
        folder = tmp_path / name
        return [
            *(sys.executable, "-W", "ignore", str(ROOT / "scripts" / "reproduce.py"), "ecg"),
            *(
                "--methods",
                "ce",
                "ima",
                "--output",
                str(folder),
                "--runs",
                str(tmp_path / f"{name}_runs"),
            ),
            *("--dataset_dir", str(beats), "--max_epochs", "3", "--epoch_size", "256"),
            *("--attack_steps", "2", "--margin_steps", "2", "--evaluation_per_class", "4"),
            *("--device", "cpu"),
        ]

    options = {"text": True, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "capture_output": True}
    straight = subprocess.run(command("straight"), check=True, **options).stdout
    broken = subprocess.Popen(
        command("broken"), env=options["env"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    checkpoint = tmp_path / "broken_runs/ecg/default_linf_ima_seed0/training/checkpoint.pt"
    while not checkpoint.exists() and broken.poll() is None:
        pass
    os.killpg(broken.pid, 9)
    broken.wait()
    assert not (tmp_path / "broken" / "default_linf_ima_seed0.json").exists()
    again = subprocess.run(command("broken"), check=True, **options).stdout

    def without_minutes(table):
        return [line.split(" | ")[:-1] for line in table.splitlines() if line.startswith("|")]

    assert without_minutes(again) == without_minutes(straight)
    first, second = (
        json.loads((tmp_path / name / "default_linf_ima_seed0.json").read_text())
        for name in ("straight", "broken")
    )
    assert first["margins"] == second["margins"]


@pytest.mark.parametrize("own", ["adv_eps", "trades_beta", "ddn_steps", "iaat_gamma"])
def test_an_evaluation_does_not_get_what_only_an_objective_knows(script, own):
    options = ["--norm", "l2", f"--{own}", "2", "--seed", "0"]
    assert script["given"](options) == ["--norm", "l2", "--seed", "0"]
