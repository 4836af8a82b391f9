"""The commands, their help, and all of them from a wheel alone."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
from bundle_run import ROOT

from monai_ima.cli.main import COMMANDS, main

MODULES = "import sys; before = set(sys.modules); from monai_ima.cli.main import main"


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
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(*words):
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            capture_output=True, text=True, check=False, cwd=empty, env=environment,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert run("-c", "import monai_ima; print(monai_ima.__file__)").startswith(str(site))
    run("-m", "monai_ima", "new", "my_study", "--from", "moons_ima")
    small = {"training_samples": 100, "max_epochs": 1, "keep_interval": 1, "plane_interval": 9}
    small |= {"protocol": "screen", "device": "cpu"}
    flags = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    bundle = ("-m", "monai.bundle", "run", "--config_file")
    run(*bundle, "my_study/train.json", *flags)
    ce = "['my_study/train.json','my_study/objectives/ce.json']"
    run(*bundle, ce, *flags, "--delta", "0.1")
    cheap = ("--check_samples", "0", "--noise_draws", "0", "--auroc_steps", "0")
    for method in ("ima", "ce"):
        said = run("-m", "monai_ima", "evaluate", f"runs/my_study_{method}", *cheap)
        assert f"runs/my_study_{method}/evaluation/report.html" in said
    folders = [f"runs/my_study_{method}/evaluation" for method in ("ce", "ima")]
    assert "# 2 runs on the same 2000 samples" in run("-m", "monai_ima", "compare", *folders)
    selected = run("-m", "monai_ima", "select", "runs/my_study_ima", "--min-clean-accuracy", "0.1")
    assert re.search(r"model_selected\.pt  its weights", selected)
