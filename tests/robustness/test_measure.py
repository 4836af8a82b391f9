"""What an evaluation reports, against a calculation by hand."""

import json

import pytest
import torch
from linear import exact_distance, linear_model
from scipy.stats import binomtest
from torch import nn

import monai_ima.robustness.measure as measure_module
from monai_ima.attacks import get_norm
from monai_ima.robustness import (
    BlackBox,
    CountingModel,
    Paper,
    Screen,
    closest_errors,
    noise_levels,
)
from monai_ima.robustness.measure import Measure, given_class, probabilities

EPS = [0.1, 0.2, 0.4]


def predicted(model, inputs):
    return probabilities(model, inputs).argmax(dim=1)


def measure(norm="linf", protocol=None, *, eps=EPS, bounds=(0.0, 1.0), **settings):
    return Measure(
        eps=noise_levels(eps),
        norm=get_norm(norm),
        protocol=protocol or Screen(steps=20),
        bounds=bounds,
        **{"seed": 0, "batch_size": 4, "noise_draws": 3, "auroc_steps": 5} | settings,
    )


class Thirds(nn.Module):
    """Three classes by the only value: below 0.3, up to 0.8, above."""

    def forward(self, inputs):
        (value,) = inputs.flatten(1).unbind(dim=1)
        return torch.stack([0.3 - value, 0.4 * (value - 0.3), 1.4 * value - 0.92], dim=1)


VALUES = torch.tensor([0.05, 0.25, 0.35, 0.57, 0.77, 0.95, 0.5, 0.9])[:, None]
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 0, 1])
PATIENTS = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])
MARGINS = torch.tensor([0.25, 0.05, 0.05, 0.23, 0.03, 0.15, 0, 0]).double()


@pytest.fixture(scope="module")
def thirds():
    """What is asked of each sample, and what is made of it."""
    asked = measure(auroc_steps=40)
    answers, errors = asked(Thirds(), VALUES, LABELS, torch.arange(8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_module, "ENOUGH_PATIENTS", 3)  # so few are enough here
        summary = asked.summary(answers, LABELS, predicted(Thirds(), VALUES), 3, PATIENTS)
    return answers, errors, summary


def test_the_boundaries_of_the_example_are_where_its_margins_say():
    shifted = torch.tensor([[0.299], [0.301], [0.799], [0.801]])
    assert predicted(Thirds(), shifted).tolist() == [0, 1, 1, 2]
    assert predicted(Thirds(), VALUES).tolist() == [0, 0, 1, 1, 1, 2, 1, 2]


def test_answers_are_one_row_a_sample(thirds):
    answers, errors, _ = thirds

    torch.testing.assert_close(answers["margins"], MARGINS, atol=2e-3, rtol=0)
    assert torch.equal(answers["margins"], errors.margins)
    assert answers["broken_as"].tolist() == [1, 1, 0, 2, 2, 1, 1, 2]
    assert torch.equal(
        answers["broken_as"], given_class(Thirds(), errors.inputs, LABELS, errors.margins)
    )
    assert not answers["zero_gradient"].any()
    assert answers["probabilities"].shape == (8, 4, 3)
    assert answers["uniform"].shape == answers["gaussian"].shape == (8, 4)
    assert {len(values) for values in answers.values()} == {8}


def test_curve_and_classes_by_hand(thirds):
    _, _, summary = thirds

    assert summary["eps"] == [0, 0.1, 0.2, 0.4]
    assert summary["accuracy"] == [6 / 8, 3 / 8, 2 / 8, 0]
    assert summary["per_class"] == [
        pytest.approx(row)
        for row in ([2 / 3, 1 / 3, 1 / 3, 0], [3 / 4, 1 / 4, 1 / 4, 0], [1, 1, 0, 0])
    ]
    assert summary["balanced_accuracy"] == pytest.approx(
        [(2 / 3 + 3 / 4 + 1) / 3, (1 / 3 + 1 / 4 + 1) / 3, (1 / 3 + 1 / 4) / 3, 0]
    )
    area = (0.1 * (6 + 3) / 2 + 0.1 * (3 + 2) / 2 + 0.2 * (2 + 0) / 2) / 8 / 0.4
    assert summary["auc"] == pytest.approx(area)
    assert summary["auc_low"] < area < summary["auc_high"]
    assert (summary["norm"], summary["n"]) == ("linf", 8)


def test_specificity_counts_the_class_that_an_error_was_given(thirds):
    _, _, summary = thirds
    # Samples that a class is not theirs, and those of them that are taken for it, level by level:
    # 0: 0.35 from 0.1 on. 1: 0.5; 0.25 from 0.1 on, 0.95 from 0.2, 0.05 at 0.4.
    # 2: 0.9; 0.77 from 0.1 on, 0.57 at 0.4.
    assert summary["specificity"] == [
        pytest.approx([1, 4 / 5, 4 / 5, 4 / 5]),
        pytest.approx([3 / 4, 2 / 4, 1 / 4, 0]),
        pytest.approx([6 / 7, 5 / 7, 5 / 7, 4 / 7]),
    ]


def test_positive_predictive_value_and_confusion_count_the_class_that_an_error_was_given(thirds):
    _, _, summary = thirds

    assert summary["confusion"] == [
        [[2, 1, 0], [0, 3, 1], [0, 0, 1]],
        [[1, 2, 0], [1, 1, 2], [0, 0, 1]],
        [[1, 2, 0], [1, 1, 2], [0, 1, 0]],
        [[0, 3, 0], [1, 0, 3], [0, 1, 0]],
    ]
    assert summary["positive_predictive_value"] == [
        pytest.approx([1, 1 / 2, 1 / 2, 0]),
        pytest.approx([3 / 4, 1 / 3, 1 / 4, 0]),
        pytest.approx([1 / 2, 1 / 3, 0, 0]),
    ]
    counts = torch.tensor(summary["confusion"]).double()
    sensitivity = counts.diagonal(dim1=1, dim2=2) / counts.sum(dim=2)
    torch.testing.assert_close(sensitivity.T, torch.tensor(summary["per_class"]).double())


def test_of_many_classes_no_confusion_is_listed():
    """Each level has the square of their number; samples.csv has all that it is made of."""
    asked = measure()
    answers, _ = asked(Thirds(), VALUES, LABELS, torch.arange(8))
    found = {
        classes: asked.summary(answers, LABELS, predicted(Thirds(), VALUES), classes, PATIENTS)
        for classes in (100, 101)
    }
    assert len(found[100]["confusion"][0]) == 100
    assert found[101]["confusion"] is None


def test_median_margin_is_the_lower_one_of_the_correct_samples(thirds):
    assert thirds[2]["median_margin"] == pytest.approx(0.05, abs=2e-3)


def test_intervals_by_patient_hold_the_curve_and_need_patients(thirds):
    answers, _, summary = thirds
    for low, accuracy, high in zip(
        summary["patient_low"], summary["accuracy"], summary["patient_high"], strict=True
    ):
        assert 0 <= low <= accuracy <= high <= 1
    # Drawn three times: the last patient, with one of three right; the first, with both.
    assert (summary["patient_low"][0], summary["patient_high"][0]) == (pytest.approx(1 / 3), 1)

    few = measure().summary(answers, LABELS, predicted(Thirds(), VALUES), 3, PATIENTS)
    alone = measure().summary(answers, LABELS, predicted(Thirds(), VALUES), 3, None)
    assert few == alone  # three patients are too few for an interval
    assert (alone["patient_low"], alone["patient_high"]) == (None, None)
    assert alone["auc_low"] < alone["auc"] < alone["auc_high"]
    assert alone["auc_low"] != summary["auc_low"]
    same = ("accuracy", "low", "high", "auc", "specificity", "auroc", "white_noise")
    assert {n: alone[n] for n in same} == {n: summary[n] for n in same}


def test_auroc_falls_from_its_clean_value(thirds):
    answers, _, summary = thirds
    torch.testing.assert_close(
        answers["probabilities"][:, 0], Thirds()(VALUES).softmax(dim=1), atol=0, rtol=0
    )
    # Pairs that a class ranks rightly, clean. 0: 0.5 is below 0.35. 2: all; 1 by its own scores.
    own = Thirds()(VALUES).softmax(dim=1)[:, 1]
    ranked = (own[LABELS == 1][:, None] > own[LABELS != 1]).double().mean()
    assert summary["auroc"][0] == pytest.approx(float(14 / 15 + ranked + 1) / 3)
    assert all(a >= b for a, b in zip(summary["auroc"], summary["auroc"][1:], strict=False))
    assert summary["auroc"][-1] < 0.3
    assert summary["auroc_steps"] == 40


def test_auroc_is_of_attacks_that_go_on_behind_the_boundary():
    """A step that ended at the crossing would leave probabilities near one half."""
    model = linear_model((3,)).double()
    inputs, labels = torch.randn(7, 3).double(), torch.arange(7) % 2
    answers, _ = measure(bounds=None, eps=[2.0])(model, inputs, labels, torch.arange(7))

    slope = model[1].weight[1 - labels] - model[1].weight[labels]
    ends = inputs + 2 * slope.sign()
    torch.testing.assert_close(answers["probabilities"][:, 1], model(ends).softmax(dim=1))


def test_white_noise_shares_by_hand():
    """Flips counted by hand; of the correct samples only, over three draws."""
    model, asked = Thirds(), measure()
    answers, _ = asked(model, VALUES, LABELS, torch.arange(8))
    correct = predicted(model, VALUES) == LABELS
    for noise in ("uniform", "gaussian"):
        answers[noise] = torch.zeros(8, 4, dtype=torch.long)
        answers[noise][6:] = 3  # the misclassified ones, always
    answers["uniform"][0] = torch.tensor([0, 0, 1, 3])
    answers["uniform"][4] = torch.tensor([0, 1, 2, 3])

    shares = asked.summary(answers, LABELS, predicted(model, VALUES), 3, None)["white_noise"]
    assert correct.sum() == 6
    assert shares["draws"] == 3
    assert shares["uniform"]["samples"] == pytest.approx([0, 1 / 6, 2 / 6, 2 / 6])
    assert shares["uniform"]["draws"] == pytest.approx([0, 1 / 18, 3 / 18, 6 / 18])
    assert shares["gaussian"] == {"samples": [0] * 4, "draws": [0] * 4}


def test_passes_are_those_through_the_model():
    """Two samples stand at both levels through every step of both starts of both losses, one never did."""
    inputs, labels = torch.tensor([[0.1], [0.5], [0.9]]), torch.tensor([0, 1, 1])

    def model(inputs):
        return torch.cat([1 - 2 * inputs, 2 * inputs - 1.01], dim=1)

    protocol, counted = Paper(steps=10), CountingModel(model)
    closest_errors(counted, inputs, labels, eps=[0.01, 0.02], norm="linf", protocol=protocol)
    asked = measure(protocol=protocol, eps=[0.01, 0.02])
    answers, _ = asked(model, inputs, labels, torch.arange(3))
    summary = asked.summary(answers, labels, predicted(model, inputs), 2, None)

    assert answers["margins"].tolist() == [float("inf"), 0, float("inf")]
    assert summary["gradients"] == pytest.approx(2 * 2 * 2 * 2 * 10 / 3) == counted.gradients / 3
    assert summary["forwards"] == pytest.approx(counted.forwards / 3)


def test_what_is_not_asked_for_is_not_there():
    asked = measure(noise_draws=0, auroc_steps=0)
    answers, _ = asked(Thirds(), VALUES, LABELS, torch.arange(8))
    summary = asked.summary(answers, LABELS, predicted(Thirds(), VALUES), 3, None)

    assert set(answers) == {"margins", "broken_as", "forwards", "gradients", "zero_gradient"}
    assert (summary["white_noise"], summary["auroc"], summary["auroc_steps"]) == (None, None, 0)


def test_zero_gradients_are_counted_among_the_correct_samples():
    """The gradient is zero where the only value is below one half."""

    def flat(inputs):
        height = (inputs[:, 0] - 0.5).relu()
        return torch.stack([0.1 - height, height], dim=1)

    inputs, labels = torch.tensor([[0.1], [0.2], [0.3], [0.9]]), torch.tensor([0, 0, 1, 1])
    asked = measure()
    answers, _ = asked(flat, inputs, labels, torch.arange(4))
    summary = asked.summary(answers, labels, predicted(flat, inputs), 2, None)

    assert answers["zero_gradient"].tolist() == [True, True, True, False]
    assert summary["zero_gradients"] == 2


def test_a_class_without_samples_has_no_numbers_and_json_none():
    labels, rows = LABELS[:5], torch.arange(5)
    asked = measure()
    answers, _ = asked(Thirds(), VALUES[:5], labels, rows)
    summary = asked.summary(answers, labels, predicted(Thirds(), VALUES[:5]), 4, None)

    assert summary["per_class"][2:] == [[None] * 4] * 2
    assert summary["balanced_accuracy"][0] == 1
    assert summary["specificity"][2][:2] == pytest.approx([1, 4 / 5])
    assert summary["specificity"][3] == [1] * 4
    json.dumps(summary, allow_nan=False)


def test_one_class_alone_has_no_specificity_and_no_auroc():
    labels = torch.tensor([0, 0])
    asked = measure()
    answers, _ = asked(Thirds(), VALUES[:2], labels, torch.arange(2))
    summary = asked.summary(answers, labels, predicted(Thirds(), VALUES[:2]), 3, None)

    assert summary["specificity"] == [[None] * 4, pytest.approx([1, 0.5, 0.5, 0]), [1] * 4]
    assert summary["positive_predictive_value"] == [[1, 1, 1, None], [None, 0, 0, 0], [None] * 4]
    assert summary["auroc"] == [None] * 4
    json.dumps(summary, allow_nan=False)


def test_nobody_correct():
    labels = (LABELS + 1) % 3
    labels[6:] = 0
    asked = measure()
    answers, _ = asked(Thirds(), VALUES, labels, torch.arange(8))
    summary = asked.summary(answers, labels, predicted(Thirds(), VALUES), 3, None)

    assert summary["accuracy"] == [0] * 4
    assert summary["auc"] == summary["auc_low"] == 0
    assert summary["auc_high"] == summary["high"][0] < 0.4
    assert summary["median_margin"] is None
    assert summary["white_noise"] is None
    assert (summary["gradients"], summary["zero_gradients"]) == (0, 0)
    assert summary["forwards"] == 1  # the clean ones
    json.dumps(summary, allow_nan=False)


def test_most_samples_standing_have_no_median_margin():
    asked = measure(protocol=Paper(steps=5), eps=[0.01, 0.04])
    answers, _ = asked(Thirds(), VALUES, LABELS, torch.arange(8))
    summary = asked.summary(answers, LABELS, predicted(Thirds(), VALUES), 3, None)

    assert summary["accuracy"] == [6 / 8, 6 / 8, 5 / 8]
    assert summary["median_margin"] is None


def test_a_black_box_takes_no_gradient():
    def steps(inputs):
        assert not inputs.requires_grad
        return Thirds()((100 * inputs).round() / 100)

    asked = measure(protocol=BlackBox(50))
    answers, _ = asked(steps, VALUES, LABELS, torch.arange(8))
    summary = asked.summary(answers, LABELS, predicted(steps, VALUES), 3, None)

    assert not asked.takes_gradients
    assert not {"zero_gradient", "probabilities"} & set(answers)
    assert (summary["gradients"], summary["zero_gradients"], summary["auroc"]) == (0, None, None)
    assert summary["accuracy"] == [6 / 8, 3 / 8, 2 / 8, 0]
    assert summary["forwards"] > 1
    assert summary["white_noise"]["draws"] == 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(3,), (1, 5), (2, 3, 4), (1, 2, 3, 2)])
def test_the_curve_of_a_linear_model_is_exact(norm, shape):
    model = linear_model(shape, classes=3).double()
    inputs, labels = torch.randn(30, *shape).double(), torch.arange(30) % 3
    distance = exact_distance(model, inputs, labels, norm)
    eps = distance[distance > 0].quantile(torch.tensor([0.25, 0.5, 0.75]).double()) * 1.001
    asked = measure(norm, Screen(steps=100), eps=eps.tolist(), bounds=None, noise_draws=1)
    answers, _ = asked(model, inputs, labels, torch.arange(30))
    summary = asked.summary(answers, labels, predicted(model, inputs), 3, None)

    exact = (distance[:, None] > noise_levels(eps.tolist())).double().mean(dim=0)
    assert summary["accuracy"] == pytest.approx(exact.tolist(), abs=1 / 30 + 1e-9)
    assert summary["norm"] == norm


def test_answers_do_not_depend_on_what_else_is_asked_about():
    """Of the passes, which are shared out, and the last digits, which are the hardware's, they do."""
    model = linear_model((2, 3), classes=3).double()
    inputs, labels, index = torch.rand(9, 2, 3).double(), torch.arange(9) % 3, torch.arange(9)
    asked = measure(protocol=Paper(steps=5), batch_size=3)
    whole, _ = asked(model, inputs, labels, index)
    parts = [asked(model, inputs[rows], labels[rows], rows)[0] for rows in index.split(4)]

    for name in set(whole) - {"forwards", "gradients"}:
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])
    other, _ = asked(model, inputs, labels, index + 100)
    assert not torch.equal(other["uniform"], whole["uniform"])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("freeze", [False, True])
def test_torchscript_is_attacked_by_its_gradients(freeze, tmp_path):
    model = nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)
    ).eval()
    inputs = torch.rand(8, 1, 6)
    labels = model(inputs).argmax(dim=1)
    scripted = torch.jit.script(model)
    torch.jit.save(torch.jit.freeze(scripted) if freeze else scripted, tmp_path / "model.ts")
    loaded = torch.jit.load(tmp_path / "model.ts")
    modes = [freeze or module.train().training for module in loaded.modules()]
    answers, _ = measure(eps=[0.05, 0.4])(loaded, inputs, labels, torch.arange(8))
    expected, _ = measure(eps=[0.05, 0.4])(model, inputs, labels, torch.arange(8))

    assert answers["margins"].isfinite().any()
    for name, values in expected.items():
        torch.testing.assert_close(answers[name], values, msg=name)
    assert [freeze or module.training for module in loaded.modules()] == modes
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_the_model_is_left_as_found_and_asked_in_eval_mode():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 2))
    inputs, labels = torch.rand(5, 1, 3), torch.arange(5) % 2
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(
        probabilities(model, inputs)[:1], probabilities(model, inputs[:1])
    )  # no sample has a say in another's answer
    measure()(model, inputs, labels, torch.arange(5))

    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_identity_is_plain_and_tells_settings_apart():
    settings = [
        {}, {"norm": "l2"}, {"eps": [0.1]}, {"protocol": Screen(steps=21)}, {"seed": 1},
        {"batch_size": 5}, {"noise_draws": 4}, {"auroc_steps": 0}, {"bounds": None},
        {"protocol": Paper(steps=20)}, {"protocol": Paper(steps=20, restarts=1)},
    ]  # fmt: skip
    identities = [json.dumps(measure(**one).identity, sort_keys=True) for one in settings]
    assert len(set(identities)) == len(settings)
    assert json.dumps(measure().identity, sort_keys=True) == identities[0]


def test_identity_tells_versions_of_a_protocol_apart(monkeypatch):
    now = measure(protocol=Screen(steps=9)).identity
    monkeypatch.setattr(Screen, "version", Screen.version + 1)
    assert measure(protocol=Screen(steps=9)).identity != now


def test_an_error_on_the_boundary_is_never_given_its_own_label():
    def tie(x):
        return torch.zeros(len(x), 3)

    margins = torch.tensor([0.1, 0.0, torch.inf], dtype=torch.float64)
    given = given_class(tie, torch.rand(3, 2), torch.tensor([0, 1, 0]), margins)
    assert given.tolist() == [1, 0, 0]


@pytest.mark.parametrize("patients", [None, torch.arange(20) // 2])
def test_intervals_of_a_model_that_is_always_right_are_not_certain(patients):
    """Of ten patients that are all classified correctly, a fourth of all may be misclassified."""
    labels = torch.zeros(20, dtype=torch.long)
    answers = {
        "margins": torch.full((20,), torch.inf).double(),
        "broken_as": labels,
        "forwards": torch.ones(20),
        "gradients": torch.ones(20),
    }
    found = measure(noise_draws=0).summary(answers, labels, labels, 2, patients)
    units = 20 if patients is None else 10
    wilson = binomtest(units, units).proportion_ci(method="wilson")
    assert (found["auc"], found["auc_high"]) == (1, 1)
    assert found["auc_low"] == pytest.approx(wilson.low, abs=1e-6)
    if patients is not None:
        assert found["patient_low"] == pytest.approx([wilson.low] * 4, abs=1e-6)
        assert found["patient_high"] == [1] * 4
