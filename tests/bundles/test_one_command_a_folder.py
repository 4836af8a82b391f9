"""Whole commands in a folder in which another one is."""

import signal

import pytest
from bundle_run import ROOT, run_bundle, start_bundle
from folders import contents

MOONS = ROOT / "bundles" / "moons_ima"
TRAIN = MOONS / "train.json"
SETTINGS = {
    "training_samples": 60,
    "plane_interval": 900,
    "attack_steps": 2,
    "margin_steps": 2,
    "eval_steps": 20,
    "check_samples": 0,
    "noise_draws": 0,
    "auroc_steps": 0,
    "evaluation_batch_size": 100,
    "device": "cpu",
}
OF_EVALUATIONS = ("check_samples", "noise_draws", "auroc_steps", "evaluation_batch_size")
TRAINING = {name: value for name, value in SETTINGS.items() if name not in OF_EVALUATIONS}
TRAINING |= {"max_epochs": 1000}


@pytest.fixture
def stopped():
    """Start a command, and stop it when a file is there: all it has open stays open."""
    started = []

    def start(configs, awaited, **settings):
        command = start_bundle(*configs, **settings)
        started.append(command)
        command.wait_for(awaited)
        command.send_signal(signal.SIGSTOP)
        return command

    yield start
    for command in started:
        command.kill()


@pytest.mark.slow
def test_the_second_command_in_a_folder_ends_with_the_first_one_s_files_as_they_were(
    tmp_path, stopped
):
    run = tmp_path / "run"
    training = stopped([TRAIN], run / "checkpoint.pt", **TRAINING, output_dir=run)
    before = contents(run)
    assert [path for path in before if path.startswith("events")]
    for more in ({}, {"resume": "true"}):
        ended = run_bundle(TRAIN, **TRAINING | more, output_dir=run)
        assert ended.returncode != 0
        (last,) = ended.stderr.splitlines()[-1:]
        assert last.startswith(
            f"Stopped: FolderInUseError: expected no other command in {run}, got process "
            f"{training.pid} on "
        )
        assert last.endswith("or choose another folder with --output_dir")
        assert contents(run) == before

    both, settings = [TRAIN, TRAIN.with_name("evaluate.json")], SETTINGS | {"output_dir": run}
    folder = run / "evaluation"  # below a training that runs
    evaluating = stopped(both, folder / "progress.records", **settings)
    before = contents(run)
    ended = run_bundle(*both, **settings)
    assert ended.returncode != 0
    (last,) = ended.stderr.splitlines()[-1:]
    assert f"no other command in {folder}, got process {evaluating.pid} on " in last
    assert last.endswith("or choose another folder with --evaluation_dir")
    assert contents(run) == before

    evaluating.send_signal(signal.SIGCONT)
    assert evaluating.end().returncode == 0
    assert (folder / "report.html").exists()
    assert not [path for path in folder.rglob("*") if path.name.startswith((".", "previous"))]
    training.kill()  # and its folder is free again
    ended = run_bundle(TRAIN, **TRAINING | {"max_epochs": 1}, output_dir=run)
    assert ended.returncode == 0, ended.stderr
    assert (run / "previous-1" / "checkpoint.pt").exists()
