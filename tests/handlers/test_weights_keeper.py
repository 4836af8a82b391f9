import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader

from monai_ima.engines import RobustTrainer
from monai_ima.handlers import WeightsKeeper, kept_weights, weights_keeper as module
from monai_ima.objectives import CrossEntropy


def trainer(network, handlers, *, epochs, first=1):
    data = [{"image": torch.rand(3), "label": index % 2, "index": index} for index in range(4)]
    engine = RobustTrainer(
        objective=CrossEntropy(),
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(data, batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        train_handlers=handlers,
    )
    engine.state.epoch = first - 1
    engine.state.iteration = 2 * (first - 1)
    return engine


@pytest.mark.parametrize(
    ("interval", "epochs", "kept"),
    [(0, 5, []), (1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (2, 4, [2, 4]), (7, 2, [2])],
)
def test_weights_of_the_interval_and_of_the_last_epoch_are_kept(tmp_path, interval, epochs, kept):
    network = nn.Linear(3, 2)

    trainer(network, [WeightsKeeper(network, tmp_path, interval)], epochs=epochs).run()

    assert list(kept_weights(tmp_path)) == kept
    assert (tmp_path / module.KEPT).exists() == bool(kept)


def test_each_file_has_the_weights_of_its_epoch(tmp_path):
    network, after = nn.Linear(3, 2), []

    class Noting:
        def attach(self, engine):
            engine.add_event_handler(
                Events.EPOCH_COMPLETED, lambda: after.append(network.weight.detach().clone())
            )

    trainer(network, [Noting(), WeightsKeeper(network, tmp_path, 1)], epochs=3).run()

    files = kept_weights(tmp_path)
    for weight, path in zip(after, files.values(), strict=True):
        state = torch.load(path, weights_only=True)
        assert set(state) == {"weight", "bias"}
        assert torch.equal(state["weight"], weight)
    assert not torch.equal(after[0], after[2])


def test_a_run_that_goes_on_keeps_what_it_has_and_the_epochs_in_order(tmp_path):
    network = nn.Linear(3, 2)
    trainer(network, [WeightsKeeper(network, tmp_path, 4)], epochs=8).run()
    before = {epoch: path.read_bytes() for epoch, path in kept_weights(tmp_path).items()}

    trainer(network, [WeightsKeeper(network, tmp_path, 4)], epochs=13, first=9).run()

    assert list(kept_weights(tmp_path)) == [4, 8, 12, 13]
    assert all(kept_weights(tmp_path)[epoch].read_bytes() == old for epoch, old in before.items())


def test_what_a_kill_leaves_is_not_taken_for_weights(tmp_path, monkeypatch):
    network = nn.Linear(3, 2)

    def killed(content, path, run):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_sealed", killed)
    monkeypatch.setattr("pathlib.Path.unlink", lambda self, missing_ok: None)  # nor tidied up
    with pytest.raises(KeyboardInterrupt):
        WeightsKeeper(network, tmp_path, 1)(trainer(network, [], epochs=1, first=2))

    assert len(list((tmp_path / module.KEPT).iterdir())) == 1
    assert kept_weights(tmp_path) == {}


@pytest.mark.parametrize("interval", [-1, 1.5, "x"])
def test_an_interval_that_is_none_is_refused(tmp_path, interval):
    with pytest.raises(ValueError, match=f"interval to be a whole number >= 0, got {interval!r}"):
        WeightsKeeper(nn.Linear(3, 2), tmp_path, interval)
