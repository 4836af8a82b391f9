"""What is captured on a real device is what a CPU finds; skipped where there is no CUDA device."""

import pytest
import torch
from test_contract import cases, run, takes
from test_forms import batch, network
from torch import nn

from monai_ima.attacks import SampleDraws, loop_form, pgd
from monai_ima.robustness import closest_errors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@cases()
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_replays_find_what_a_cpu_finds(attack, norm, dimensions, recwarn):
    models = {"cpu": network(dimensions), "cuda": network(dimensions).cuda()}
    for count in (21, 17, 30, 25):  # called, captured, replayed, replayed
        inputs, labels = batch(dimensions, count)
        labels = torch.where(labels == 1, labels, models["cpu"](inputs).argmax(dim=1))
        eps = torch.linspace(0.02, 0.6 if norm == "linf" else 2, count, dtype=torch.float64)
        expected, captured = (
            run(
                attack,
                model,
                inputs.to(device),
                labels.to(device),
                eps=eps.to(device),
                norm=norm,
                random_start=True,
                generator=torch.Generator().manual_seed(0),
            )
            for device, model in models.items()
        )
        assert torch.equal(captured.success.cpu(), expected.success)
        differ = (captured.inputs.cpu() - expected.inputs).abs().flatten(1).amax(dim=1) > 1e-6
        # A random search that meets the same height again goes by the last digit.
        assert differ.sum() <= (1 if attack.__name__ == "square" else 0)
        assert not takes(attack, "eps") or 0 < expected.success.sum() < count
    assert not recwarn


def test_a_network_that_asks_the_device_is_attacked_all_the_same():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network(2)

        def forward(self, inputs):
            return self.network(inputs) + float(inputs.sum() > 1e9)

    model, (inputs, labels) = Asking().cuda(), batch(2, 21)

    def attacked():
        generator = torch.Generator().manual_seed(0)
        options = {"eps": 0.3, "norm": "linf", "generator": generator}
        return pgd(model, inputs.cuda(), labels.cuda(), **options).inputs

    first = attacked()
    with pytest.warns(UserWarning, match="cannot be captured"):
        second = attacked()
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(attacked(), first)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_random_numbers_are_those_of_a_cpu(kind):
    like, samples = torch.empty(500, 3, 17), torch.arange(500)
    there = getattr(SampleDraws(3, samples.cuda(), 2), kind)(like.cuda()).cpu()
    here = getattr(SampleDraws(3, samples, 2), kind)(like)
    torch.testing.assert_close(there, here, rtol=1e-6, atol=0 if kind == "uniform" else 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("protocol", ["minimum_norm", "paper", "screen", "strong", "blackbox"])
def test_an_evaluation_finds_what_a_cpu_finds(protocol, norm):
    model, (inputs, _) = network(2), batch(2, 40)
    labels = model(inputs).argmax(dim=1)
    eps = {"linf": [0.05, 0.1, 0.2], "l2": [0.2, 0.4, 0.8]}[norm]
    options = {"eps": eps, "norm": norm, "protocol": protocol}
    here = closest_errors(model, inputs, labels, **options).margins
    there = closest_errors(model.cuda(), inputs.cuda(), labels.cuda(), **options).margins.cpu()
    differ = ~torch.isclose(there, here, rtol=1e-3, atol=1e-6)
    assert differ.sum() <= (1 if protocol == "blackbox" else 0)


def test_the_other_form_is_at_hand_on_a_gpu():
    model, (inputs, labels) = network(2).cuda(), batch(2, 21)
    results = []
    for form in ("shrinking", "fixed"):
        generator = torch.Generator().manual_seed(0)
        with loop_form(form):
            options = {"eps": 0.3, "norm": "linf", "generator": generator}
            results.append(pgd(model, inputs.cuda(), labels.cuda(), **options))
    assert torch.equal(results[0].success, results[1].success)
    torch.testing.assert_close(results[0].inputs, results[1].inputs, rtol=0, atol=1e-6)
