"""The commands, their help, and all of them from a wheel alone."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
from bundle_run import ROOT, bundle_words, flags

from monai_ima.cli.main import COMMANDS, main

MODULES = "import sys; before = set(sys.modules); from monai_ima.cli.main import main"
# Run commands where this process is, and say which package that was and what they said.
RUN_ALL = """
import json, sys, monai_ima
from bundle_run import Command
said = [monai_ima.__file__]
for words in json.loads(sys.argv[1]):
    ended = Command(*words, folder=".").end()
    assert ended.returncode == 0, ended.stderr
    said.append(ended.stdout)
print(json.dumps(said))
"""


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        f"{MODULES}\ntry: main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    *text, torch_is_loaded = ended.stdout.splitlines()
    assert torch_is_loaded == "False"
    assert all(any(line.startswith(f"  {name} ") for line in text) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])

    assert f"\n    monai-ima {name} " in capsys.readouterr().out


def test_another_command_is_rejected(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compair"])

    assert "invalid choice: 'compair'" in capsys.readouterr().err


def test_without_a_command_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])

    assert "\n  datalist     split your images" in capsys.readouterr().out


@pytest.mark.slow
def test_all_of_it_works_from_a_wheel_alone(tmp_path):
    """Build, install, and in an empty folder: new, MONAI's command, evaluate, compare, select."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--no-deps", "-q", "-w", tmp_path / "dist", ROOT], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "monai_ima/bundles/objectives/ce.json" in names
    assert (
        "monai-ima = monai_ima.cli.main:main"
        in zipfile.ZipFile(wheel)
        .read(next(name for name in names if name.endswith("entry_points.txt")))
        .decode()
    )
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "-q", "--target", site, wheel], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    small = {"training_samples": 100, "max_epochs": 1, "keep_interval": 1, "plane_interval": 9}
    small |= {"protocol": "screen", "device": "cpu"}
    ce = ("my_study/train.json", "my_study/objectives/ce.json")
    cheap = flags({"section": "training", "check_samples": 0, "noise_draws": 0, "auroc_steps": 0})
    folders = [f"runs/my_study_{method}/evaluation" for method in ("ce", "ima")]
    commands = {
        ("monai_ima", "new", "my_study", "--from", "moons_ima"): "",
        ("monai.bundle", "run", "--config_file", ce[0], *flags(small)): "",
        ("monai.bundle", *bundle_words(*ce, **small, delta=0.1)): "",
        ("monai_ima", "evaluate", "runs/my_study_ima", *cheap): f"{folders[1]}/report.html",
        ("monai_ima", "evaluate", "runs/my_study_ce", *cheap): f"{folders[0]}/report.html",
        ("monai_ima", "compare", *folders): "# 2 runs on the same 100 samples",
        ("monai_ima", "select", "runs/my_study_ima", "--min-clean-accuracy", "0.1"): (
            "model_selected.pt  its weights"
        ),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN_ALL, json.dumps(list(commands))],
        capture_output=True, text=True, check=False, cwd=empty,
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'tests'}"},
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    file, *said = json.loads(ended.stdout)
    assert file.startswith(str(site))
    for text, expected in zip(said, commands.values(), strict=True):
        assert expected in text
