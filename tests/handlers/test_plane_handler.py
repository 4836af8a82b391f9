import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from monai_ima.data import load_plane
from monai_ima.handlers import PlaneHandler
from monai_ima.margins import MarginStore


@pytest.fixture(scope="module")
def samples():
    return load_plane("gaussians", training=30).training


def after(epochs):
    """What a checkpoint's handler does, which is the last of all."""
    return lambda engine: setattr(engine.state, "epoch", epochs)


NEW = after(0)


def run(samples, folder, *, epochs, go_on=NEW, margins=None, **arguments):
    """A run of that many epochs, gone on with after some."""
    engine = Engine(lambda engine, batch: None)
    engine.network = torch.nn.Linear(2, 2)
    with SummaryWriter(str(folder)) as writer:
        handler = PlaneHandler(
            samples,
            classes=("a", "b"),
            margins=margins,
            norm="l2",
            output_dir=folder,
            summary_writer=writer,
            **arguments,
        )
        handler.attach(engine)
        engine.add_event_handler(Events.STARTED, lambda: go_on(engine))
        engine.run([0], max_epochs=epochs)
    return handler


def epochs_drawn(folder):
    return sorted(int(path.stem.split("_")[1]) for path in (folder / "plane").iterdir())


def test_pictures_of_the_interval_and_the_end_make_an_animation(samples, tmp_path):
    run(samples, tmp_path, epochs=5, interval=2, margins=MarginStore(30, 0.1, 1.0))

    assert epochs_drawn(tmp_path) == [0, 2, 4, 5]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Images("plane")] == [0, 2, 4, 5]
    with Image.open(tmp_path / "plane" / "epoch_0005.png") as picture:
        size = picture.size
    with Image.open(tmp_path / "margins.gif") as animation:
        assert animation.n_frames == 4
        assert animation.size == size
        animation.seek(3)
        assert animation.info["duration"] > 1000  # the last one stays


def test_resumed_run_keeps_what_it_does_not_draw_again(samples, tmp_path):
    run(samples, tmp_path, epochs=4)
    kept = (tmp_path / "plane" / "epoch_0001.png").read_bytes()

    run(samples, tmp_path, epochs=3, go_on=after(2))

    assert epochs_drawn(tmp_path) == [0, 1, 2, 3]
    assert (tmp_path / "plane" / "epoch_0001.png").read_bytes() == kept


def test_resumed_run_that_is_refused_leaves_all_pictures(samples, tmp_path):
    run(samples, tmp_path, epochs=2)
    pictures = {path: path.read_bytes() for path in (tmp_path / "plane").iterdir()}

    def refuse(engine):
        raise ValueError("expected the same data")

    with pytest.raises(ValueError, match="the same data"):
        run(samples, tmp_path, epochs=3, go_on=refuse)

    assert {path: path.read_bytes() for path in (tmp_path / "plane").iterdir()} == pictures


def test_new_run_begins_anew(samples, tmp_path):
    run(samples, tmp_path, epochs=4)
    run(samples, tmp_path, epochs=2)

    assert epochs_drawn(tmp_path) == [0, 1, 2]
    with Image.open(tmp_path / "margins.gif") as animation:
        assert animation.n_frames == 3


def test_what_is_drawn_follows_the_margins(samples, tmp_path):
    pictures = []
    for delta in (0.1, 0.8):
        torch.manual_seed(0)
        run(samples, tmp_path, epochs=1, margins=MarginStore(30, delta, 1.0))
        pictures.append((tmp_path / "plane" / "epoch_0001.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_at_most_so_many_balls_are_shown(samples, tmp_path):
    assert len(run(samples, tmp_path, epochs=1, balls=7).shown) == 7
    assert len(run(samples, tmp_path, epochs=1, balls=70).shown) == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("a", "b", "c")}, r"samples \(N, 2\) of 2 classes, got \(30, 2\) of 3"),
        ({"interval": 0}, "interval and balls to be at least 1, got 0 and 60"),
        ({"balls": 0}, "got 1 and 0"),
    ],
)
def test_bad_arguments_are_refused(samples, tmp_path, arguments, message):
    settings = {"classes": ("a", "b"), "margins": None, "norm": "l2"} | arguments
    with pytest.raises(ValueError, match=message):
        PlaneHandler(samples, output_dir=tmp_path, summary_writer=None, **settings)
