import copy

import pytest
import torch
import torch.nn.functional as F
from ignite.metrics import Accuracy
from linear import linear_model
from models import Returning
from monai.handlers import from_engine
from torch.utils.data import DataLoader

from monai_ima.engines import RobustTrainer
from monai_ima.margins import MarginStore
from monai_ima.objectives import IMA, CrossEntropy

SHAPE = (1, 2, 3)


@pytest.fixture
def network():
    return linear_model(SHAPE, classes=3)


def samples(count):
    images, labels = torch.rand(count, *SHAPE), torch.randint(3, (count,))
    return [
        {"image": image, "label": label, "index": index}
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def trainer(network, data, *, batch_size, learning_rate=0.1, epochs=1, objective=None, **kwargs):
    return RobustTrainer(
        objective=objective or CrossEntropy(),
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(data, batch_size=batch_size),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9),
        **kwargs,
    )


def stacked(data):
    return torch.stack([s["image"] for s in data]), torch.stack([s["label"] for s in data])


def same_weights(network, other):
    return all(
        torch.equal(mine, its)
        for mine, its in zip(network.parameters(), other.parameters(), strict=True)
    )


def test_steps_equal_the_same_steps_by_hand(network):
    data, by_hand = samples(6), copy.deepcopy(network)
    start = copy.deepcopy(network)

    trainer(network, data, batch_size=4, epochs=2).run()

    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for batch in (data[:4], data[4:]) * 2:
        inputs, labels = stacked(batch)
        optimizer.zero_grad()
        F.cross_entropy(by_hand(inputs), labels).backward()
        optimizer.step()
    assert same_weights(network, by_hand)
    assert not same_weights(network, start)


def test_train_loss_is_the_mean_over_samples_when_the_last_batch_is_smaller(network):
    data = samples(9)
    engine = trainer(network, data, batch_size=4, learning_rate=0)
    engine.run()

    inputs, labels = stacked(data)
    expected = F.cross_entropy(network(inputs), labels).item()
    assert engine.state.metrics["train_loss"] == pytest.approx(expected, rel=1e-6)
    assert engine.state.metrics["train_loss_clean"] == pytest.approx(expected, rel=1e-6)


def test_every_term_of_the_objective_is_a_metric(network):
    objective = IMA(MarginStore(5, delta=0.1, eps_max=0.2), norm="linf", beta=0.25, steps=3)
    engine = trainer(network, samples(5), batch_size=4, objective=objective)
    engine.run()

    found = engine.state.metrics
    assert set(found) == {"train_loss", *(f"train_{term}" for term in IMA.terms)}
    assert found["train_loss_clean"] == pytest.approx(
        found["train_loss_wrong"] + found["train_loss_correct"]
    )
    assert found["train_loss"] == pytest.approx(
        0.75 * found["train_loss_clean"] + 0.25 * found["train_loss_noisy"]
    )


@pytest.mark.parametrize("name", ["loss_function", "inferer", "iteration_update", "compile"])
def test_arguments_without_a_meaning_are_refused(network, name):
    with pytest.raises(ValueError, match=f"takes an objective, not {name}; leave {name} out"):
        trainer(network, samples(2), batch_size=2, **{name: F.cross_entropy})


def test_two_accumulated_batches_equal_one_of_both(network):
    data, whole = samples(12), copy.deepcopy(network)

    trainer(network, data, batch_size=3, accumulation_steps=2).run()
    trainer(whole, data, batch_size=6).run()

    for mine, its in zip(network.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


def test_an_epoch_s_last_batch_steps_even_where_it_accumulates_alone(network):
    data, by_hand = samples(9), copy.deepcopy(network)

    trainer(network, data, batch_size=3, accumulation_steps=2).run()

    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for batch, share in ((data[:6], 1), (data[6:], 0.5)):
        inputs, labels = stacked(batch)
        optimizer.zero_grad()
        (share * F.cross_entropy(by_hand(inputs), labels)).backward()
        optimizer.step()
    for mine, its in zip(network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("amp", [True, False])
def test_amp_is_for_training_and_not_for_the_attack(network, amp):
    dtypes = {
        True: set(),
        False: set(),
    }  # of the logits in train mode, and in an attack's eval mode
    network[1].register_forward_hook(
        lambda module, _, logits: dtypes[module.training].add(logits.dtype)
    )
    objective = IMA(MarginStore(8, delta=0.2, eps_max=0.5), norm="l2", beta=0.5, steps=3)

    trainer(
        network,
        samples(8),
        batch_size=4,
        objective=objective,
        amp=amp,
        amp_kwargs={"dtype": torch.bfloat16},
    ).run()

    assert dtypes == {True: {torch.bfloat16 if amp else torch.float32}, False: {torch.float32}}
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("device", "dtype", "is_scaled"),
    [
        ("cpu", torch.bfloat16, False),
        ("cuda", torch.bfloat16, False),
        ("cuda", torch.float16, True),
        ("cuda", None, True),  # torch's own choice
    ],
)
def test_gradients_are_scaled_where_they_underflow(network, monkeypatch, device, dtype, is_scaled):
    kwargs = {"dtype": dtype} if dtype else {}
    engine = trainer(network, samples(4), batch_size=2, amp=True, amp_kwargs=kwargs)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: f"for {device}")
    monkeypatch.setattr("monai.engines.workflow.Workflow.run", lambda self: None)
    engine.state.device = torch.device(device)
    engine.run()
    assert engine.scaler == ("for cuda" if is_scaled else None)


@pytest.mark.parametrize(
    ("device", "dtype", "said"),
    [("meta", torch.bfloat16, "got meta"), ("cpu", torch.float64, r"in torch.float64, got cpu")],
)
def test_a_mixed_precision_that_torch_has_not_is_rejected(network, device, dtype, said):
    options = {"train_data_loader": [], "network": network, "max_epochs": 1, "optimizer": None}
    options |= {"amp": True, "amp_kwargs": {"dtype": dtype}}
    with pytest.raises(ValueError, match=f"expected amp on a device.*{said}.*leave amp out"):
        RobustTrainer(objective=CrossEntropy(), device=torch.device(device), **options)


def test_a_loss_that_is_not_finite_stops_before_the_step(network):
    data = samples(6)
    data[5]["image"] = torch.full(SHAPE, torch.nan)
    weights = []
    network[0].register_forward_hook(lambda *_: weights.append(copy.deepcopy(network[1].weight)))

    with pytest.raises(FloatingPointError, match="finite loss, got nan at epoch 1, iteration 3"):
        trainer(network, data, batch_size=2).run()

    assert len(weights) == 3
    assert torch.equal(network[1].weight, weights[2])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, dict), ({"decollate": True}, list), ({"postprocessing": lambda sample: sample}, list)],
)
def test_batches_are_taken_apart_where_that_is_asked_for(network, options, kind):
    engine = trainer(network, samples(4), batch_size=2, **options)
    engine.run()
    assert type(engine.state.output) is kind
    assert "train_loss_clean" in engine.state.metrics


def test_a_batch_without_index_is_refused_by_that_name(network):
    data = [{"image": s["image"], "label": s["label"]} for s in samples(2)]

    with pytest.raises(ValueError, match="index, the sample's place"):
        trainer(network, data, batch_size=2).run()


def test_the_network_is_trained_in_train_mode(network):
    modes = []
    network[1].register_forward_hook(lambda module, *_: modes.append(module.training))

    trainer(network.eval(), samples(4), batch_size=2).run()

    assert modes == [True, True]


def test_any_output_and_labels_in_a_column_of_bytes(network):
    data, plain = samples(6), copy.deepcopy(network)
    columns = [sample | {"label": sample["label"].to(torch.uint8)[None]} for sample in data]
    accuracy = Accuracy(output_transform=from_engine(["pred", "label"]))
    engine = trainer(
        Returning(network, lambda logits: (logits, None)),
        columns,
        batch_size=4,
        key_train_metric={"accuracy": accuracy},
    )
    expected = trainer(plain, data, batch_size=4)
    engine.run()
    expected.run()
    assert same_weights(network, plain)
    assert engine.state.metrics["train_loss"] == expected.state.metrics["train_loss"]
    assert 0 <= engine.state.metrics["accuracy"] <= 1
