import copy
import csv
import json
import math
import random
import re
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from ignite.engine import Engine, Events
from linear import exact_distance, linear_model
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import RandGaussianNoised
from same import same
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from monai_ima import __version__
from monai_ima.bundle import summary
from monai_ima.engines import RobustTrainer
from monai_ima.handlers import (
    EpochSeedHandler,
    MarginUpdateHandler,
    RobustnessCurveHandler,
    RobustnessReport,
    RunCheckpoint,
    ValidateAtEnd,
    WeightsKeeper,
)
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.state_file import UnreadableStateError, read_state, write_state
from monai_ima.margins import MarginStore
from monai_ima.networks import load_classifier
from monai_ima.networks.sealed_file import is_as_sealed
from monai_ima.objectives import IMA, CrossEntropy
from monai_ima.report import as_image
from monai_ima.robustness import Paper, area_under, closest_errors

CPU = torch.device("cpu")
SHAPE = (1, 4, 5)


def dataset(images, labels):
    return [
        {"image": image, "label": label, "index": index}
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def trainer(network, data, handlers, *, epochs=1, objective=None, learning_rate=0.0):
    return RobustTrainer(
        objective=objective or CrossEntropy(),
        device=CPU,
        max_epochs=epochs,
        train_data_loader=DataLoader(data, batch_size=3, shuffle=True),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9),
        train_handlers=handlers,
    )


def evaluator(network, data, handlers=(), **kwargs):
    return SupervisedEvaluator(
        device=CPU,
        val_data_loader=DataLoader(data, batch_size=4),
        network=network,
        val_handlers=list(handlers),
        **kwargs,
    )


def report_of(curve_handler, folder, **settings):
    own = {"class_names": ["healthy", "ill"], "settings": {}}
    own |= {"summary_writer": Mock(spec=SummaryWriter)}
    return RobustnessReport(curve_handler, folder, **own | settings)


# Margins


def threshold_at_half():
    """Class 1 where the only value is above 0.5: the distance to the boundary is plain to see."""
    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0], [1.0]]))
        network.bias.copy_(torch.tensor([0.5, 0.0]))
    return network


@pytest.mark.parametrize(
    ("interval", "epochs", "updates"), [(1, 1, 1), (1, 3, 3), (2, 3, 1), (2, 1, 0)]
)
def test_margins_grow_by_delta_at_every_update(interval, epochs, updates):
    objective = IMA(MarginStore(5, delta=0.01, eps_max=0.2), norm="linf", beta=0.5)
    data = dataset(torch.full((5, 1), 0.1), torch.zeros(5).long())
    handler = MarginUpdateHandler(objective, DataLoader(data, batch_size=2), interval)

    trainer(threshold_at_half(), data, [handler], epochs=epochs).run()

    torch.testing.assert_close(objective.margins.margins, torch.full((5,), 0.01 * (1 + updates)))


@pytest.mark.parametrize("margin_update", ["pass", "step"])
def test_margin_metrics_by_hand(margin_update):
    #                       met at 0.15, not met, at the bound, misclassified
    values = torch.tensor([[0.35], [0.9], [0.01], [0.7]])
    labels = torch.tensor([0, 1, 0, 0])
    margins = MarginStore(4, delta=0.1, eps_max=0.5)
    margins.margins.copy_(torch.tensor([0.3, 0.2, 0.45, 0.4]))
    objective = IMA(margins, norm="linf", beta=0.5, bisections=20, margin_update=margin_update)
    data, writer = dataset(values, labels), Mock(spec=SummaryWriter)
    loader = DataLoader([data[index] for index in (0, 3, 2, 1)], batch_size=3)
    if margin_update == "step":
        objective(threshold_at_half(), values, labels, torch.arange(4))
        loader = [{"not": "read"}]
    engine = trainer(
        threshold_at_half(), data, [MarginUpdateHandler(objective, loader, summary_writer=writer)]
    )
    engine.run()

    expected = torch.tensor([0.15, 0.3, 0.5, 0.1])
    torch.testing.assert_close(margins.margins, expected)
    found = {name: engine.state.metrics[name] for name in engine.state.metrics if "margin" in name}
    assert found == pytest.approx(
        {
            "margin/mean": 1.05 / 4,
            "margin/q05": 0.1 + 0.15 * 0.05,
            "margin/q95": 0.3 + 0.85 * 0.2,
            "margin/crossed_fraction": 1 / 4,
            "margin/at_bound_fraction": 1 / 4,
        },
        abs=1e-6,
    )
    (name, histogram, epoch), _ = writer.add_histogram.call_args
    assert (name, epoch) == ("margin/histogram", 1)
    torch.testing.assert_close(histogram, expected)


@pytest.mark.parametrize("margin_update", ["pass", "step"])
def test_a_boundary_nearer_than_delta_for_most_samples_is_warned_of_once(caplog, margin_update):
    """Of five correct samples three are nearer; the misclassified one does not count."""
    values = torch.tensor([[0.48], [0.46], [0.58], [0.2], [0.7], [0.4]])
    labels = torch.tensor([0, 0, 1, 0, 1, 1])
    for delta, warn, warns in ((0.1, True, True), (0.1, False, False), (0.05, True, False)):
        caplog.clear()
        margins = MarginStore(6, delta=delta, eps_max=0.4)
        objective = IMA(margins, norm="linf", beta=0.5, bisections=20, margin_update=margin_update)
        data = dataset(values, labels)
        handler = MarginUpdateHandler(objective, DataLoader(data, batch_size=4), warn=warn)
        engine = SimpleNamespace(
            state=SimpleNamespace(metrics={}, epoch=4, device=CPU),
            network=threshold_at_half(),
            prepare_batch=trainer(threshold_at_half(), data, []).prepare_batch,
        )
        for _ in range(2):
            if margin_update == "step":
                objective(threshold_at_half(), values, labels, torch.arange(6))
            handler(engine)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * warns
        if warns:
            assert (
                "after epoch 4 the decision boundary is nearer than delta = 0.1 for 3 of 5 correctly "
                "classified training samples, at a median distance of 0.08."
            ) in caplog.text
            assert "set --delta 0.04, half of that distance" in caplog.text
            assert "--eps_max 0.16 is smaller by as much" in caplog.text


def test_margins_that_no_objective_measures_are_not_updated():
    engine = Engine(lambda *_: None)
    MarginUpdateHandler(CrossEntropy(), [{"not": "read"}]).attach(engine)
    engine.run([0])
    assert not engine.state.metrics


def test_a_margin_interval_below_one_is_refused():
    with pytest.raises(ValueError, match="interval of at least 1 epoch, got 0"):
        MarginUpdateHandler(Mock(spec=IMA), [], interval=0)


# When to validate


@pytest.mark.parametrize(
    ("interval", "due"), [(0, [7]), (1, [1, 2, 3, 4, 5, 6, 7]), (2, [2, 4, 6, 7]), (3, [3, 6, 7])]
)
def test_validation_is_due_every_interval_and_after_the_last_epoch(interval, due):
    network, data = linear_model(SHAPE), dataset(torch.rand(3, *SHAPE), torch.arange(3) % 2)
    validator, epochs = evaluator(network, data), []
    validator.add_event_handler(Events.COMPLETED, lambda engine: epochs.append(engine.state.epoch))

    trainer(network, data, [ValidateAtEnd(validator, interval)], epochs=7).run()

    assert epochs == due


def test_a_negative_validation_interval_is_refused():
    with pytest.raises(ValueError, match="interval of 0 or more epochs, got -1"):
        ValidateAtEnd(evaluator(linear_model(SHAPE), []), -1)


# Seeds


def drawn(seed, epochs, *, after=0, noise=0):
    """Samples with their augmentation, in the order of each epoch of a run continued after one."""
    torch.rand(noise)
    orders = {}
    data = Dataset(
        dataset(torch.zeros(9, *SHAPE), torch.arange(9) % 2),
        RandGaussianNoised("image", prob=1.0),
    )

    def note(engine):
        index, sums = engine.state.batch["index"], engine.state.batch["image"].flatten(1).sum(dim=1)
        order = list(zip(index.tolist(), sums.tolist(), strict=True))
        orders.setdefault(engine.state.epoch, []).extend(order)

    engine = trainer(linear_model(SHAPE), data, [EpochSeedHandler(seed)], epochs=epochs)
    engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", after))
    engine.add_event_handler(Events.ITERATION_COMPLETED, note)
    engine.run()
    return orders


def test_two_runs_draw_the_same_orders_and_a_continued_one_goes_on_with_them():
    straight = drawn(7, epochs=5)

    assert list(straight) == [1, 2, 3, 4, 5]
    assert all(sorted(i for i, _ in order) == list(range(9)) for order in straight.values())
    assert len({tuple(order) for order in straight.values()}) == 5
    assert drawn(7, epochs=5, noise=3) == straight
    assert drawn(7, epochs=5, after=3, noise=4) == {epoch: straight[epoch] for epoch in (4, 5)}
    assert drawn(8, epochs=5) != straight


# Checkpoints


class Run:
    """A small IMA run that can be stopped and resumed; its validation metric is given."""

    def __init__(self, folder, *, resume=False, scores=(), **identity):
        self.network = linear_model(SHAPE, classes=3)
        self.margins = MarginStore(8, delta=0.02, eps_max=0.3)
        objective = IMA(self.margins, norm="l2", beta=0.5, steps=3, margin_steps=5)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(8, *SHAPE, generator=generator)
        data = dataset(images, linear_model(SHAPE, classes=3, seed=1)(images).argmax(dim=1))
        self.validator = Engine(lambda *_: None)
        self.scores = scores
        self.checkpoint = RunCheckpoint(
            folder,
            network=self.network,
            state={"objective": objective},
            identity={"norm": "l2", "seed": 0} | identity,
            evaluator=self.validator,
            key_metric="score",
            resume=resume,
        )
        handlers = [
            EpochSeedHandler(0),
            MarginUpdateHandler(objective, DataLoader(data, batch_size=4)),
            SimpleNamespace(
                attach=lambda engine: engine.add_event_handler(
                    Events.EPOCH_COMPLETED, self.validate
                )
            ),
            self.checkpoint,
        ]
        self.trainer = trainer(self.network, data, handlers, objective=objective, learning_rate=0.1)
        self.checkpoint.objects["optimizer"] = self.trainer.optimizer

    def validate(self, engine):
        score = dict(enumerate(self.scores, start=1)).get(engine.state.epoch)
        if score is not None:
            self.validator.state.epoch = engine.state.epoch
            self.validator.state.metrics = {"score": score}

    def to(self, epoch):
        self.trainer.state.max_epochs = epoch
        self.trainer.run()
        return self


def load(path):
    return torch.load(path, weights_only=True)


def assert_same(states, others):
    assert same(dict(states), dict(others))


def test_a_run_leaves_its_last_weights_its_best_and_a_checkpoint(tmp_path):
    folder = tmp_path / "new" / "run"
    run, weights = Run(folder, scores=[None, 0.7, 0.5, 0.7, 0.6]), {}

    def keep(engine):
        weights[engine.state.epoch] = copy.deepcopy(run.network.state_dict())

    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, keep)
    run.to(5)

    files = {"model.pt", "model_best.pt", "checkpoint.pt"}
    assert {path.name for path in folder.iterdir()} == files
    assert_same(load(folder / "model.pt"), weights[5])
    assert_same(load(folder / "model_best.pt"), weights[2])  # as good is not better
    checkpoint = load(folder / "checkpoint.pt")
    assert checkpoint["epoch"] == 5
    assert checkpoint["best"] == {"value": 0.7, "epoch": 2}
    assert checkpoint["identity"] == {"norm": "l2", "seed": 0}
    assert_same(checkpoint["objects"]["network"], weights[5])
    assert torch.equal(checkpoint["objects"]["objective"]["margins.margins"], run.margins.margins)
    assert checkpoint["objects"]["optimizer"]["state"][0]["momentum_buffer"].shape == (3, 20)


def test_a_resumed_run_ends_where_the_uninterrupted_one_ends(tmp_path):
    scores = [0.1, 0.9, 0.3, 0.2]
    straight = Run(tmp_path / "straight", scores=scores).to(4)
    Run(tmp_path / "resumed", scores=scores).to(2)
    resumed = Run(tmp_path / "resumed", scores=scores, resume=True).to(4)

    assert (resumed.trainer.state.epoch, resumed.trainer.state.iteration) == (4, 12)
    assert_same(resumed.network.state_dict(), straight.network.state_dict())
    assert torch.equal(resumed.margins.margins, straight.margins.margins)
    assert len(straight.margins.margins.unique()) > 2
    for name in ("model.pt", "model_best.pt"):
        assert_same(load(tmp_path / "resumed" / name), load(tmp_path / "straight" / name))
    assert load(tmp_path / "resumed" / "checkpoint.pt")["best"] == {"value": 0.9, "epoch": 2}


def test_resuming_a_finished_run_trains_no_more(tmp_path):
    finished = Run(tmp_path).to(2)
    again = Run(tmp_path, resume=True).to(2)

    assert_same(again.network.state_dict(), finished.network.state_dict())
    assert again.trainer.state.epoch == 2


def test_nothing_to_resume_from_is_said_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.pt to resume from, found none; set"):
        Run(tmp_path, resume=True).to(1)


def test_the_checkpoint_of_another_run_is_refused_naming_the_difference(tmp_path):
    Run(tmp_path).to(1)
    other = Run(tmp_path, resume=True, seed=5)
    before = copy.deepcopy(other.network.state_dict())

    with pytest.raises(ValueError, match=r"same seed as in .*checkpoint\.pt, 0, got 5; resume"):
        other.to(2)
    assert_same(other.network.state_dict(), before)


@pytest.mark.parametrize("text", ["", '{"curves": [{"epoch"', "[]", '{"curves": [3]}', "{}"])
def test_damaged_curves_are_rejected_before_an_epoch_is_spent(tmp_path, text):
    (tmp_path / "robustness.json").write_text(text)
    report = report_of(RobustnessCurveHandler([0.1], "linf"), tmp_path)
    with pytest.raises(ValueError, match=r"robustness\.json to hold the curves of this run so far"):
        report.attach(Engine(lambda *_: None))


# Damaged checkpoints


def altered(change):
    """An intact checkpoint of other content."""

    def write(path):
        content = load(path)
        changed = change(content)
        torch.save(content if changed is None else changed, path)

    return write


def margins(value):
    def change(content):
        content["objects"]["objective"]["margins.margins"][3] = value

    return altered(change)


BAD_CHECKPOINTS = {
    "empty": (lambda path: path.write_bytes(b""), "got an empty file;"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:900]), "was cut short;"),
    "other": (lambda path: path.write_text("hello"), "got a file of another kind;"),
    "zeroed": (
        lambda path: path.write_bytes(
            path.read_bytes()[:800] + bytes(400) + path.read_bytes()[1200:]
        ),
        "got a damaged file;",
    ),
    "weights": (
        lambda path: path.write_bytes(path.with_name("model.pt").read_bytes()),
        "got a file without epoch, best, identity, objects, of another kind or of an older",
    ),
    "a tensor": (altered(lambda _: torch.zeros(3)), "got a file of another kind;"),
    "older": (altered(lambda content: content.pop("best") and None), "got a file without best,"),
    "newer": (altered(lambda content: content.update(format=2)), "got a file of format 2, where"),
    "an epoch before the first": (altered(lambda c: c.update(epoch=-3)), "of epoch -3 and best"),
    "half an epoch": (altered(lambda c: c.update(epoch=1.5)), "of epoch 1.5 and best"),
    "a best to come": (
        altered(lambda c: c.update(best={"value": 0.5, "epoch": 9})),
        "of epoch 2 and best {'value': 0.5, 'epoch': 9};",
    ),
    "a large margin": (margins(1e6), "from delta=0.02 to eps_max=0.3, got 1 of 8 others"),
    "a small margin": (margins(0.01), "from delta=0.02 to eps_max=0.3, got 1 of 8 others"),
    "no margin": (margins(math.nan), "from delta=0.02 to eps_max=0.3, got 1 of 8 others"),
    "another network": (
        altered(lambda c: c["objects"]["network"].popitem() and None),
        "with another state: Error(s) in loading state_dict",
    ),
    "no network": (
        altered(lambda c: c["objects"].pop("network") and None),
        "with another state: 'network'",
    ),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_what_is_no_checkpoint_is_named_with_the_way_out(tmp_path, case):
    Run(tmp_path, scores=[0.5, 0.6]).to(2)
    damage, message = BAD_CHECKPOINTS[case]
    damage(tmp_path / "checkpoint.pt")

    with pytest.raises(ValueError, match=re.escape(message)) as error:
        Run(tmp_path, resume=True).to(3)
    assert str(error.value).startswith(
        f"expected {tmp_path / 'checkpoint.pt'} to be the checkpoint"
    )
    assert str(error.value).endswith(
        f"The weights in {tmp_path / 'model.pt'} are intact and can be evaluated"
    )


def test_the_last_good_weights_are_named(tmp_path):
    Run(tmp_path, scores=[0.5, 0.6]).to(2)
    keeper = WeightsKeeper(linear_model(SHAPE), tmp_path, interval=1)
    for epoch in (1, 2):
        keeper(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
    for name, good in (
        ("checkpoint.pt", "model.pt"),
        ("model.pt", "model_best.pt"),
        ("model_best.pt", "kept_weights/epoch_0002.pt"),
        ("kept_weights/epoch_0002.pt", "kept_weights/epoch_0001.pt"),
    ):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-200])
        with pytest.raises(
            ValueError, match=rf"was cut short; .* weights in \S+/{good} are intact"
        ):
            Run(tmp_path, resume=True).to(3)
    (tmp_path / "kept_weights" / "epoch_0001.pt").unlink()
    with pytest.raises(ValueError, match=r"previous-1, -2, \.\.\.$"):
        Run(tmp_path, resume=True).to(3)


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.pt"])
def test_of_a_thousand_flipped_bits_in_the_files_of_a_run_none_is_loaded(tmp_path, name):
    Run(tmp_path).to(1)
    path = tmp_path / name
    content = path.read_bytes()

    def read():
        if name == "model.pt":
            return load_classifier(linear_model(SHAPE, classes=3), checkpoint=path)
        return read_run_checkpoint(tmp_path)

    assert read()
    number = random.Random(0)
    for place in number.choices(range(len(content)), k=500):
        flipped = content[place] ^ 1 << number.randrange(8)
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        with pytest.raises(ValueError, match=rf"{name}\b.*(damaged|cut short|another kind)"):
            read()


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "of torch"])
def test_of_a_hundred_files_with_four_kilobytes_zeroed_none_is_loaded(tmp_path, sealed):
    path, state = tmp_path / "checkpoint.pt", {"weights": torch.rand(20_000)}
    write_state(path, state) if sealed else torch.save(state, path)
    content = path.read_bytes()
    number = random.Random(0)
    for place in number.choices(range(len(content) - 4096), k=100):
        path.write_bytes(content[:place] + bytes(4096) + content[place + 4096 :])
        with pytest.raises(UnreadableStateError):
            read_state(path, ["weights"])


def test_what_is_sealed_is_read_by_torch_alone_and_what_is_not_sealed_by_its_checksums(tmp_path):
    Run(tmp_path).to(1)
    path = tmp_path / "model.pt"
    weights = load(path)
    assert is_as_sealed(path) is True
    torch.save(weights, path)
    assert is_as_sealed(path) is None  # as of earlier versions, or of others
    assert_same(
        load_classifier(linear_model(SHAPE, classes=3), checkpoint=path).state_dict(), weights
    )


@pytest.mark.parametrize("old", [b"whole", None])
def test_an_interrupted_writer_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "file.png"
    if old is not None:
        path.write_bytes(old)

    def write(unfinished):
        assert unfinished.suffix == ".png"  # savefig reads the format from it
        unfinished.write_bytes(b"ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, write)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {} if old is None else {"file.png": old}
    )


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    run = Run(tmp_path).to(1)
    save = torch.save

    def full_disk(content, path):
        save(content, path)
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        run.to(2)

    assert load(tmp_path / "checkpoint.pt")["epoch"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "checkpoint.pt"}


# Robustness


@pytest.fixture(scope="module")
def linear_data():
    network = linear_model(SHAPE)
    images = torch.rand(21, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network[1].bias -= network(images).mean(dim=0)  # so that both classes occur
        labels = network(images).argmax(dim=1)
    labels[:2] = 1 - labels[:2]
    return network, images, labels


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_curve_of_a_stock_evaluator_is_exact_for_a_linear_model(linear_data, norm):
    network, images, _ = linear_data
    images = 2 * images - 0.5  # beyond the default bounds
    labels = network(images).argmax(dim=1)
    labels[:2] = 1 - labels[:2]
    distance = exact_distance(network, images, labels, norm)
    between = distance.sort().values.unfold(0, 2, 1).mean(dim=1)
    eps = between[[7, 18]].tolist()
    handler = RobustnessCurveHandler(
        eps, norm, protocol="paper", bounds=(-10, 10), restarts=1, tag="robust"
    )
    engine = evaluator(network, dataset(images, labels), [handler])
    engine.run()

    curve = handler.curve
    assert torch.equal(curve.labels, labels)
    assert ((distance[:, None] / curve.eps[1:] - 1).abs() > 1e-3).all()
    assert torch.equal(curve.robust, distance[:, None] > curve.eps)
    assert engine.state.metrics == pytest.approx(
        {
            "robust/eps_0": (distance > 0).double().mean().item(),
            **{f"robust/eps_{e:g}": (distance > e).double().mean().item() for e in eps},
            "robust/auc": curve.auc(),
            "robust/balanced_auc": area_under(curve.per_class.mean(dim=0), curve.eps).item(),
        }
    )


def test_classes_of_very_different_size_count_alike_and_have_metrics_of_their_own():
    """Nine healthy at 0.3 from the boundary, one ill at 0.1; of a third class there is no sample."""
    values, labels = torch.tensor([[0.2]] * 9 + [[0.6]]), torch.tensor([0] * 9 + [1])
    names = {"class_names": ["healthy", "ill", "other"], "class_tag": "found"}
    handler = RobustnessCurveHandler([0.2], "linf", protocol="screen", **names)
    engine = evaluator(threshold_at_half(), dataset(values, labels), [handler])
    engine.run()
    assert engine.state.metrics == pytest.approx(
        {
            "robust_accuracy/eps_0": 1.0,
            "robust_accuracy/eps_0.2": 0.9,
            "robust_accuracy/auc": 0.95,
            "robust_accuracy/balanced_auc": 0.75,
            "found/healthy/eps_0": 1.0,
            "found/healthy/eps_0.2": 1.0,
            "found/ill/eps_0": 1.0,
            "found/ill/eps_0.2": 0.0,
        }
    )


def test_each_evaluation_meets_the_same_attack(linear_data):
    network, images, labels = linear_data
    handler = RobustnessCurveHandler(
        [0.02, 0.04], "linf", protocol="paper", steps=1, restarts=1, seed=3
    )
    engine = evaluator(network, dataset(images, labels), [handler])
    curves = []
    for epoch in (1, 2):
        engine.run(epoch)
        curves.append(handler.curve.robust)

    settings = {"norm": "linf", "protocol": Paper(steps=1, restarts=1), "seed": 3}
    expected = closest_errors(network, images, labels, eps=handler.eps, **settings).margins
    assert torch.equal(curves[0], expected[:, None] > handler.eps)
    assert torch.equal(curves[1], curves[0])


@pytest.fixture(scope="module")
def reported(linear_data, tmp_path_factory):
    """A report of three evaluations: at epochs 1 and 2, and again at 2 with a better network."""
    network, images, _ = linear_data
    curve_handler = RobustnessCurveHandler(
        [0.01, 0.05], "linf", protocol="paper", steps=5, restarts=1, seed=4
    )
    folder, writer = tmp_path_factory.mktemp("runs") / "run", Mock(spec=SummaryWriter)
    settings = {"beta": 0.5, "warning": "patient 7 is in training and test"}
    report = report_of(curve_handler, folder, settings=settings, summary_writer=writer)
    curves = []
    for epoch, right in ((1, 5), (2, 9), (2, 15)):
        said = network(images).argmax(dim=1)
        given = torch.where(torch.arange(21) < right, said, 1 - said)
        evaluator(network, dataset(images, given), [curve_handler, report]).run(epoch)
        curves.append(curve_handler.curve)
    return folder, curves, writer


def test_report_keeps_earlier_epochs_and_replaces_the_same_one(reported):
    folder, (first, _, last), _ = reported
    with (folder / "robustness.csv").open(newline="") as file:
        header, *rows = csv.reader(file)

    assert header == ["epoch", "norm", "eps", "accuracy", "low", "high", "n"]
    assert [[*row[:1], *map(float, row[2:])] for row in rows] == [
        pytest.approx([epoch, eps, accuracy, low, high, 21])
        for epoch, curve in (("1", first), ("2", last))
        for eps, accuracy, (low, high) in zip(
            curve.eps.tolist(), curve.accuracy.tolist(), curve.interval.tolist(), strict=True
        )
    ]
    assert {row[1] for row in rows} == {"linf"}
    assert [float(row[3]) for row in rows if row[2] == "0.0"] == pytest.approx([5 / 21, 15 / 21])


def test_report_holds_curves_and_settings(reported):
    folder, (first, _, last), _ = reported
    report = json.loads((folder / "robustness.json").read_text())

    assert report["curves"] == [{"epoch": 1, **first.to_dict()}, {"epoch": 2, **last.to_dict()}]
    assert report["classes"] == ["healthy", "ill"]
    assert report["settings"] == {"beta": 0.5, "warning": "patient 7 is in training and test"}
    attack = report["attack"]
    assert [attack[name] for name in ("norm", "steps", "restarts", "seed", "bounds")] == (
        ["linf", 5, 1, 4, [0, 1]]
    )
    assert (attack["protocol"], attack["version"]) == ("paper", Paper.version)
    assert report["versions"] == {"monai_ima": __version__}


def test_the_last_words_of_a_run_repeat_the_warning_of_its_settings(reported, tmp_path):
    folder, *_ = reported
    assert "WARNING: patient 7 is in training and test" in summary(folder).splitlines()

    report = json.loads((folder / "robustness.json").read_text())
    report["settings"]["warning"] = ""
    (tmp_path / "robustness.json").write_text(json.dumps(report))
    assert "WARNING" not in summary(tmp_path)


def test_a_network_that_predicts_one_class_is_said_to(linear_data, tmp_path, caplog):
    network, images, _ = linear_data
    curve_handler = RobustnessCurveHandler([0.01], "linf", protocol="screen", steps=2)
    report = report_of(curve_handler, tmp_path)
    verdict = (
        "every prediction is ill, though 10 of 21 samples are not: a model that gives every case one "
        "answer is of no use, whatever its accuracy"
    )
    for network_, names in ((nn.Sequential(network, Shifted()), ["one_class"]), (network, [])):
        labels = torch.arange(21) % 2 if names else network(images).argmax(dim=1)
        labels[20] = 1 if names else labels[20]
        caplog.clear()
        evaluator(network_, dataset(images, labels), [curve_handler, report]).run()
        findings = json.loads((tmp_path / "robustness.json").read_text())["clean_findings"]
        assert [finding["name"] for finding in findings] == names
        assert (f"CLEAN ACCURACY FIRST: {verdict}. Likely causes: " in caplog.text) == bool(names)
        assert (verdict in summary(tmp_path)) == bool(names)


class Shifted(nn.Module):
    def forward(self, logits):
        return logits + torch.tensor([0.0, 1e3])


def test_a_network_that_is_random_has_no_curve(linear_data):
    network, images, labels = linear_data
    network = nn.Sequential(Noisy(), network)
    handler = RobustnessCurveHandler([0.01], "linf", protocol="screen", steps=2)
    with pytest.raises(ValueError, match="the model is random"):
        evaluator(network, dataset(images, labels), [handler]).run()


class Noisy(nn.Module):
    def forward(self, inputs):
        return inputs + 0.001 * torch.randn_like(inputs)


def test_report_draws_a_figure_and_tensorboard_images(reported):
    folder, _, writer = reported

    assert {path.name for path in folder.iterdir()} == {
        f"robustness.{kind}" for kind in ("csv", "xlsx", "json", "png")
    }
    assert (folder / "robustness.png").read_bytes().startswith(b"\x89PNG")
    shown = [(call.args[0], call.args[2]) for call in writer.add_image.call_args_list]
    assert shown == [
        (f"robustness/{what}", epoch) for epoch in (1, 2, 2) for what in ("curve", "examples")
    ]
    for call in writer.add_image.call_args_list:
        assert call.args[1].std() > 1  # not a blank page


def test_a_report_without_its_curve_says_where_to_put_it(linear_data, tmp_path):
    network, images, labels = linear_data
    report = report_of(RobustnessCurveHandler([0.1], "l2"), tmp_path)

    with pytest.raises(RuntimeError, match="curve's handler before its report"):
        evaluator(network, dataset(images, labels), [report]).run()


@pytest.mark.parametrize("shape", [(3,), (1, 9), (1, 4, 5), (3, 4, 5), (1, 4, 5, 6)], ids=str)
def test_a_report_leaves_the_network_as_found_and_takes_any_shape(tmp_path, shape):
    network = nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (1, -1)), nn.BatchNorm1d(1), linear_model(shape)
    )
    images, labels = torch.rand(6, *shape), torch.tensor([0, 1] * 3)
    curve = RobustnessCurveHandler([0.05], "linf", protocol="paper", steps=2, restarts=1)
    report = report_of(curve, tmp_path)
    evaluator(network.train(), dataset(images, labels), [curve, report]).run()

    shown = [call.args[0] for call in report.summary_writer.add_image.call_args_list]
    can_be = len(shape) > 1  # points of a plane have no picture of their own
    assert shown == ["robustness/curve", "robustness/examples"][: 1 + can_be]
    assert network[2].num_batches_tracked == 0
    assert all(module.training for module in network.modules())


def test_inputs_without_a_range_are_reported_too(tmp_path):
    network, images = linear_model((1, 4, 5)), torch.randn(6, 1, 4, 5)
    labels = network(images).argmax(dim=1)
    curve = RobustnessCurveHandler([0.05], "linf", protocol="screen", steps=2, bounds=None)
    evaluator(network, dataset(images, labels), [curve, report_of(curve, tmp_path)]).run()

    assert json.loads((tmp_path / "robustness.json").read_text())["attack"]["bounds"] is None


@pytest.mark.parametrize("orientation", [None, "RAS"])
def test_planes_of_a_volume_have_the_names_of_the_report(tmp_path, monkeypatch, orientation):
    figures = []

    def keep(figure):
        figures.append(figure)
        return as_image(figure)

    monkeypatch.setattr(sys.modules[RobustnessReport.__module__], "as_image", keep)
    shape = (1, 4, 5, 6)
    network, images = linear_model(shape), torch.rand(6, *shape)
    labels = network(images).argmax(dim=1)
    curve = RobustnessCurveHandler([0.05], "linf", protocol="paper", steps=2, restarts=1)
    report = report_of(curve, tmp_path, orientation=orientation)
    evaluator(network, dataset(images, labels), [curve, report]).run()

    names = {
        axes.get_ylabel().partition("\n")[0] for row in figures[-1].subfigs for axes in row.axes
    }
    said = {"axial", "coronal", "sagittal"}
    assert names & said == (said if orientation else set())
    assert any(name.startswith("plane") for name in names) == (orientation is None)


def test_margins_of_more_samples_than_a_quantile_of_torch_takes():
    margins = MarginStore(2**24 + 2, delta=0.1, eps_max=0.3)
    margins.margins[: len(margins) // 2] = 0.3
    objective = IMA(margins, norm="linf", beta=0.5, margin_update="step")
    engine = SimpleNamespace(state=SimpleNamespace(metrics={}, epoch=1))
    MarginUpdateHandler(objective, [])(engine)
    found = [engine.state.metrics[f"margin/{name}"] for name in ("q05", "q95")]
    assert found == pytest.approx([0.1, 0.3])
