"""TensorBoard's file of a run begins with what the run logs."""

import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_ima.bundle import add_layout
from monai_ima.handlers import RunWriter

LAYOUT = "custom_scalars__config__"


def test_a_run_that_logs_nothing_leaves_no_file(tmp_path):
    writer = RunWriter(str(tmp_path))
    add_layout(writer)
    writer.flush()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_named(tmp_path):
    writer = RunWriter(str(tmp_path / "run"))
    writer.add_scalar("loss", 1, 1)
    writer.flush()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(
        FileNotFoundError, match=r"run to be there .* got no such folder: it was rem"
    ):
        writer.add_scalar("loss", 2, 2)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_drops_what_it_logs_again_and_keeps_the_layout_of_its_start(tmp_path):
    for purged, steps in ((None, (1, 2, 3)), (3, (3, 4))):
        writer = RunWriter(str(tmp_path), purge_step=purged)
        writer.filename_suffix = f".{steps[0]}"  # both are of this second and this process
        add_layout(writer)
        for step in steps:
            writer.add_scalar("loss", 10 * (purged or 0) + step, step)
        writer.close()

    log = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in log.Scalars("loss")] == [
        (1, 1),
        (2, 2),
        (3, 33),
        (4, 34),
    ]
    assert len(log.Tensors(LAYOUT)) == 1
