"""Killed anywhere, a training or an evaluation ends as one that was left alone, to the last bit."""

import logging
import random
import shutil
import time

import pytest
from bundle_run import ROOT, Command, bundle_words, flags, run_bundle
from killable import Point, run_killed
from left import left
from same import same

_logger = logging.getLogger(__name__)
TRAIN = ROOT / "bundles" / "moons_ima" / "train.json"
TRAINING = {
    "training_samples": 60,
    "batch_size": 20,
    "max_epochs": 4,
    "plane_interval": 2,
    "keep_interval": 2,
    "robust_interval": 2,
    "attack_steps": 2,
    "margin_steps": 2,
    "eval_steps": 2,
    "device": "cpu",
}
EVALUATION = {
    "section": "training",  # of 60 samples
    "protocol": "screen",
    "evaluation_levels": "{'linf': [0.1, 0.2], 'l2': [0.1, 0.3]}",
    "chunk_size": 20,
    "evaluation_batch_size": 20,
    "check_samples": 10,
    "noise_draws": 1,
    "auroc_steps": 1,
}


class Killed:
    """A command in a folder: left alone once, then killed at other times.

    Args:
        folder: of what it leaves.
        words: of the command line.
        resumed: further words when it goes on from ``checkpoint.pt``.
    """

    def __init__(self, folder, words, resumed=()):
        self.folder, self.words, self.resumed = folder, words, resumed
        self.finish()
        self.alone = left(folder)
        shutil.rmtree(folder)

    def next_words(self):
        for path in self.folder.glob("events.out.tfevents.*"):
            # TensorBoard takes files of one second in any order
            time.sleep(max(0, int(path.name.split(".")[3]) + 1 - time.time()))
        return [*self.words, *(self.resumed if (self.folder / "checkpoint.pt").exists() else ())]

    def finish(self):
        ended = Command(*self.next_words()).end()
        assert ended.returncode == 0, ended.stderr

    def kill(self, point):
        """Kill it at a point; whether it was within the call, for one of these points."""
        ended, is_within = run_killed(point, *self.next_words())
        assert ended.returncode == -9, (point, ended.stderr)
        return is_within

    def check_end(self):
        """Let it end, and compare what it leaves."""
        self.finish()
        killed = left(self.folder)
        shutil.rmtree(self.folder)
        assert killed.keys() == self.alone.keys()
        different = [name for name in killed if not same(killed[name], self.alone[name])]
        assert different == []


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / "run"
    words = bundle_words(TRAIN, **TRAINING, output_dir=folder)
    return Killed(folder, ["monai.bundle", *words], ["--resume", "true"])


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    run = tmp_path_factory.mktemp("evaluation") / "run"
    assert run_bundle(TRAIN, **TRAINING | {"max_epochs": 1}, output_dir=run).returncode == 0
    return Killed(run / "evaluation", ["monai_ima", "evaluate", run, *flags(EVALUATION)])


CHECKPOINT = ".checkpoint.pt."
IN_TRAINING = {
    "in an iteration": Point("torch.optim.Adam.step", call=8),
    "in the margin pass": Point("monai_ima.margins.MarginStore.update", call=3),
    "the checkpoint is not on the disk": Point("os.fsync", call=2, of=CHECKPOINT),
    "the checkpoint is not renamed": Point("pathlib.Path.replace", call=3, of=CHECKPOINT),
    "the folder is not on the disk": Point(
        "pathlib.Path.replace", call=3, of=CHECKPOINT, when="after"
    ),
    "the curve is newer than the checkpoint": Point(
        "pathlib.Path.replace", call=2, of=".model.pt."
    ),
}
IN_EVALUATION = {
    "between two chunks": Point(
        "monai_ima.handlers.evaluation_progress.Progress.add", call=2, when="after"
    ),
    "in a record": Point("os.fsync", call=2, of="progress.records", when="torn"),
    "in the report": Point("pathlib.Path.replace", of=".robustness.json."),
}


@pytest.mark.parametrize("place", IN_TRAINING)
def test_a_training_that_was_killed_ends_as_if_it_was_not(training, place):
    training.kill(IN_TRAINING[place])
    training.check_end()


@pytest.mark.parametrize("place", IN_EVALUATION)
def test_an_evaluation_that_was_killed_ends_as_if_it_was_not(evaluation, place):
    evaluation.kill(IN_EVALUATION[place])
    evaluation.check_end()


# --- at any time ----------------------------------------------------------------------------------

# Where a phase begins, its calls in a start, and about how many seconds each takes.
PHASES = {
    "training": ("monai_ima.engines.RobustTrainer._iteration", 4, 0.02),
    "margin pass": ("monai_ima.handlers.MarginUpdateHandler.__call__", 2, 0.02),
    "checkpoint": ("monai_ima.handlers.RunCheckpoint.save", 2, 0.03),
    "evaluation": ("monai_ima.handlers.RobustnessEvaluation.batch_seen", 3, 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(4))
@pytest.mark.parametrize("phase", PHASES)
def test_killed_twice_at_random_it_ends_as_if_it_was_not(training, evaluation, phase, trial):
    command = evaluation if phase == "evaluation" else training
    name, calls, seconds = PHASES[phase]
    draws = random.Random(f"{phase} {trial}")
    for _ in range(2):
        point = Point(name, draws.randint(1, calls), when="within", delay=draws.uniform(0, seconds))
        _logger.info("killed %s %s", "within" if command.kill(point) else "after", point)
    command.check_end()
