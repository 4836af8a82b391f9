"""What holds of every objective, and where one becomes another."""

import copy
import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from linear import linear_model
from models import FORMS, InPlace, Returning
from monai.bundle import ConfigParser
from torch import nn

from monai_ima import objectives
from monai_ima.margins import MarginStore
from monai_ima.objectives import (
    IAAT,
    IMA,
    MMA,
    TRADES,
    CrossEntropy,
    DDNAdversarial,
    Objective,
    StandardAdversarial,
)

SAMPLES, CLASSES, EPS = 9, 3, 0.5
SHAPES = [(1, 30), (2, 5, 7), (1, 4, 5, 3)]
NORMS = ["linf", "l2"]
WIDE = (-1e3, 1e3)
BUNDLES = Path(__file__).resolve().parents[2] / "bundles"

# Name of the config file, class, and passes through the network in train mode.
METHODS = {
    "ce": (CrossEntropy, 1),
    "adv": (StandardAdversarial, 2),
    "trades": (TRADES, 2),
    "ddn": (DDNAdversarial, 1),
    "iaat": (IAAT, 1),
    "mma": (MMA, 2),
    "ima": (IMA, 2),
}
REMEMBERING = ["iaat", "mma", "ima"]
every_method = pytest.mark.parametrize("method", METHODS)
every_norm = pytest.mark.parametrize("norm", NORMS)


def margins(samples=SAMPLES):
    return MarginStore(samples, delta=0.05, eps_max=EPS)


def made(method, norm="l2", samples=SAMPLES, **options):
    """An objective for inputs in any range, with defaults where it has them."""
    kind, _ = METHODS[method]
    needed = {
        "norm": norm,
        "eps": EPS,
        "bounds": WIDE,
        "beta": 0.3,
        "gamma": 0.1,
        "margins": margins(samples),
        "num_samples": samples,
        "warmup": 0,
        "steps": 5,
    } | options
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in needed.items() if name in known})


def refuse_empty(_, arguments):
    """Some layers do."""
    assert len(arguments[0]) > 0


def batch(shape=(1, 30), correct="some", count=SAMPLES):
    """Samples of which a linear model classifies some, all or none as they are labelled."""
    model = linear_model(shape, classes=CLASSES)
    model.register_forward_pre_hook(refuse_empty)
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(2))
    labels = model(inputs).argmax(dim=1)
    wrong = {"all": slice(0), "some": slice(0, None, 3), "none": slice(None)}[correct]
    labels[wrong] = (labels[wrong] + 1) % CLASSES
    return model, inputs, labels, torch.arange(count).flip(0)


def test_every_objective_is_in_the_contract():
    kinds = {getattr(objectives, name) for name in objectives.__all__}
    trained = {kind for kind in kinds if issubclass(kind, Objective)} - {Objective}
    assert trained == {kind for kind, _ in METHODS.values()}


@pytest.mark.parametrize(
    ("method", "norm"),
    [(method, norm) for method in METHODS for norm in NORMS if (method, norm) != ("ddn", "linf")],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("correct", ["some", "none", "all"])
@pytest.mark.parametrize("count", [SAMPLES, 1])
def test_loss_and_gradients_are_finite(method, norm, shape, correct, count):
    model, inputs, labels, index = batch(shape, correct, count)
    objective = made(method, norm)
    result = objective(model, inputs, labels, index)
    assert all(parameter.grad is None for parameter in model.parameters())
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert result.loss.shape == ()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert set(result.terms) == set(objective.terms)
    assert all(term.shape == () and not term.requires_grad for term in result.terms.values())
    torch.testing.assert_close(result.logits, model(inputs))
    torch.testing.assert_close(
        result.terms["loss_clean"], nn.functional.cross_entropy(model(inputs), labels).detach()
    )


@every_method
def test_mixed_precision_is_for_the_losses_and_not_for_the_attack(method):
    model, inputs, labels, index = batch()
    modes = {True: set(), False: set()}
    model.register_forward_hook(lambda module, _, out: modes[module.training].add(out.dtype))
    gradients = {}
    for is_mixed in (False, True):
        torch.manual_seed(0)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            result = made(method)(model, inputs, labels, index)
        result.loss.backward()
        assert result.loss.dtype == torch.float32
        gradients[is_mixed] = torch.cat([each.grad.flatten() for each in model.parameters()])
    assert modes[True] == {torch.float32, torch.bfloat16}
    assert modes[False] <= {torch.float32}
    assert torch.cosine_similarity(gradients[True], gradients[False], dim=0) > 0.99


@every_method
def test_network_stays_as_it_is_and_its_statistics_see_no_attack(method):
    model = nn.Sequential(
        nn.BatchNorm1d(1), nn.Sequential(nn.Dropout(0.5), nn.Flatten()), nn.Linear(30, CLASSES)
    )
    model.train()
    model[1].eval()  # frozen by the user
    model[2].bias.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    inputs, labels = torch.rand(SAMPLES, 1, 30), torch.arange(SAMPLES) % CLASSES
    made(method)(model, inputs, labels, torch.arange(SAMPLES))
    assert [module.training for module in model] == [True, False, True]
    assert [p.requires_grad for p in model[2].parameters()] == [True, False]
    assert model[0].num_batches_tracked == METHODS[method][1]
    assert all(
        torch.equal(model.state_dict()[name], before[name]) for name in before if "0" not in name
    )


@every_method
@pytest.mark.parametrize("correct", ["all", "none"])
def test_network_sees_valid_inputs_only(method, correct):
    model, inputs, labels, index = batch(correct=correct)
    low, high = (bound.item() for bound in inputs.aminmax())
    seen = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    made(method, bounds=(low, high))(model, inputs, labels, index)
    assert all(low - 1e-6 <= each.min() and each.max() <= high + 1e-6 for each in seen)


@pytest.mark.parametrize("method", REMEMBERING)
def test_what_is_remembered_is_part_of_the_state(method):
    model, inputs, labels, index = batch(correct="some")
    first, second = made(method), made(method)
    fresh = copy.deepcopy(first.state_dict())
    first(model, inputs, labels, index)
    if method == "ima":
        first.update_margins(model, inputs, labels, index)
    changed = [not torch.equal(value, first.state_dict()[name]) for name, value in fresh.items()]
    assert all(changed)
    second.load_state_dict(first.state_dict())
    losses = []
    for objective in (first, second):
        torch.manual_seed(1)
        losses.append(objective(model, inputs, labels, index).loss)
    assert torch.equal(*losses)
    with pytest.raises(RuntimeError, match="size mismatch"):
        made(method, samples=SAMPLES + 1).load_state_dict(first.state_dict())


@pytest.mark.parametrize("method", REMEMBERING)
def test_sample_of_another_training_set_is_refused(method):
    model, inputs, labels, index = batch(correct="all")
    with pytest.raises(IndexError, match="expected sample indices from 0 to 8, got 1 to 9"):
        made(method)(model, inputs, labels, index + 1)


@pytest.mark.parametrize("method", [method for method in METHODS if method not in REMEMBERING])
def test_nothing_else_is_remembered(method):
    assert made(method).state_dict() == {}


# Identities


def loss_of(objective, samples):
    torch.manual_seed(3)  # where a random start is the same
    return objective(*samples).loss


@every_norm
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("trades", {"beta": 0.0}),
        ("adv", {"eps": 0.0}),
        ("adv", {"clean_weight": 1.0}),
        ("ima", {"beta": 0.0}),
        ("iaat", {"eps": 0.0, "gamma": 0.0}),
    ],
)
def test_is_ce(method, options, norm):
    samples = batch()
    expected = loss_of(CrossEntropy(), samples)
    torch.testing.assert_close(loss_of(made(method, norm, **options), samples), expected)


def test_ddn_of_length_0_is_ce():
    samples = batch()
    torch.testing.assert_close(
        loss_of(made("ddn", eps=0.0), samples), loss_of(CrossEntropy(), samples)
    )


@every_norm
def test_iaat_in_its_warm_up_is_adv_of_the_correct_samples(norm):
    samples = batch(correct="all")
    adv = loss_of(made("adv", norm, clean_weight=0.0), samples)
    assert torch.equal(loss_of(made("iaat", norm, warmup=1), samples), adv)


def test_iaat_with_a_fixed_radius_is_adv():
    """Of wrong samples too; the linear model makes every random start end in the same corner."""
    model, inputs, labels, index = batch()
    model, labels = linear_model((1, 30)), labels % 2
    adv = made("adv", "linf", clean_weight=0.0)(model, inputs, labels, index).loss
    iaat = made("iaat", "linf", beta=0.0)
    torch.testing.assert_close(iaat(model, inputs, labels, index).loss, adv)
    assert torch.equal(iaat.radii, torch.full((SAMPLES,), EPS))


@every_norm
def test_ima_without_a_correct_sample_is_a_share_of_ce(norm):
    samples = batch(correct="none")
    expected = 0.7 * loss_of(CrossEntropy(), samples)
    torch.testing.assert_close(loss_of(made("ima", norm), samples), expected)


@every_norm
def test_mma_without_a_correct_sample_is_ce(norm):
    samples = batch(correct="none")
    expected = loss_of(CrossEntropy(), samples)
    torch.testing.assert_close(loss_of(made("mma", norm), samples), expected)


# Weights of the classes


@every_method
def test_a_loss_with_weights_is_the_mean_of_what_each_sample_has_alone_times_its_weight(method):
    """Misclassified, correct and noisy samples, and TRADES' divergence, are all of their classes."""
    model, inputs, labels, index = batch()
    model, inputs = model.double(), inputs.double()  # a small divergence is all rounding otherwise
    weights = torch.tensor([0.5, 3.0, 1.25]).double()
    assert len(labels.unique()) == CLASSES
    alone = []
    for row in torch.arange(SAMPLES).split(1):
        torch.manual_seed(3)
        alone.append(made(method)(model, inputs[row], labels[row], index[row]).loss)
    by_hand = (
        sum(weights[label] * loss for label, loss in zip(labels, alone, strict=True)) / SAMPLES
    )
    torch.manual_seed(3)
    weighed = made(method, class_weights=weights.tolist())
    result = weighed(model, inputs, labels, index)
    torch.testing.assert_close(result.loss, by_hand)
    assert (result.loss - torch.stack(alone).mean()).abs() > 0.01
    clean = nn.functional.cross_entropy(model(inputs), labels, reduction="none")
    torch.testing.assert_close(
        result.terms["loss_clean"], (weights[labels] * clean).mean().detach()
    )


@every_method
@pytest.mark.parametrize("mixed", [False, True], ids=["", "mixed precision"])
def test_weights_of_one_change_nothing(method, mixed):
    network, inputs, labels, _ = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        plain, weighed = (
            result_and_gradients(method, network, network, inputs, labels, **weights)
            for weights in ({}, {"class_weights": [1, 1, 1]})
        )
    assert_same(plain, weighed)


@pytest.mark.parametrize("method", REMEMBERING)
def test_weights_are_no_part_of_what_is_remembered(method):
    samples = batch()
    plain, weighed = made(method), made(method, class_weights=[1, 2, 3])
    for objective in (plain, weighed):
        loss_of(objective, samples)
    state = weighed.state_dict()
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())


@every_method
def test_weights_follow_the_precision_of_the_network(method):
    model, inputs, labels, index = batch()
    result = made(method, class_weights=[1, 2, 3])(model.double(), inputs, labels, index)
    assert result.loss.dtype == torch.float64


# The border


@every_method
@pytest.mark.parametrize("weights", [[1, 0, 1], [1, -1, 1], [1, float("nan"), 1], [[1, 1, 1]], []])
def test_weights_are_finite_numbers_above_0(method, weights):
    with pytest.raises(ValueError, match="class_weights to be finite numbers > 0, one for each"):
        made(method, class_weights=weights)


@every_method
@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1]])
def test_there_is_a_weight_for_each_class(method, weights):
    with pytest.raises(RuntimeError, match="weight tensor should be defined"):
        made(method, class_weights=weights)(*batch())


def test_ddn_refuses_linf():
    with pytest.raises(ValueError, match="expected norm 'l2', got 'linf'; DDN is an attack in L2"):
        made("ddn", "linf")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("adv", {"eps": -0.1}, "eps to be finite and not negative, got -0.1"),
        ("adv", {"clean_weight": 2}, "clean_weight from 0 to 1, got 2"),
        ("trades", {"beta": -1}, "beta to be finite and not negative, got -1"),
        ("trades", {"eps": float("inf")}, "eps to be finite and not negative, got inf"),
        ("ddn", {"eps": float("nan")}, "eps to be finite and not negative, got nan"),
        ("iaat", {"eps": -1.0}, "eps to be finite and not negative, got -1.0"),
        ("iaat", {"gamma": -1.0}, "gamma to be finite and not negative, got -1.0"),
        ("iaat", {"beta": 1.1}, "beta from 0 to 1, got 1.1"),
        ("ima", {"beta": "x"}, "beta from 0 to 1, got 'x'"),
        ("trades", {"beta": "x"}, "beta to be finite and not negative, got 'x'"),
        ("adv", {"eps": True}, "eps to be finite and not negative, got True"),
        ("iaat", {"warmup": 0.5}, "warmup to be a whole number >= 0, got 0.5"),
        ("iaat", {"num_samples": 0}, "num_samples to be a whole number >= 1, got 0"),
        ("mma", {"bisections": 3}, "bisections to be a whole number >= 4, got 3"),
    ],
)
def test_bad_options_are_refused(method, options, message):
    with pytest.raises(ValueError, match=message):
        made(method, **options)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "ce"])
def test_bad_norm_and_steps_are_refused(method):
    with pytest.raises(ValueError, match="expected steps to be a whole number >= 1, got 0"):
        made(method, steps=0)
    with pytest.raises(ValueError, match="got 'l7'"):
        made(method, norm="l7")


# The bundles


def parsed(bundle, method, **overrides):
    """A bundle's config under a method's, on a data set of seven samples."""
    files = [bundle / "train.json", BUNDLES / "objectives" / f"{method}.json"]
    config = ConfigParser.load_config_files([str(file) for file in files]) | overrides
    parser = ConfigParser(config)
    for part in ("train", "validate", "robustness"):
        parser[f"{part}::dataset"] = f"${[0] * 7}"
    parser["datalist"] = SimpleNamespace(
        training=[{"label": label} for label in (0, 1, 1, 1)], warning="", test_shares=()
    )
    return parser


def test_every_method_has_a_config():
    assert {path.stem for path in (BUNDLES / "objectives").glob("*.json")} == set(METHODS)


@every_method
@pytest.mark.parametrize(
    "bundle", sorted(path.parent for path in BUNDLES.glob("*_ima/train.json")), ids=lambda b: b.name
)
def test_every_bundle_takes_every_method(bundle, method):
    parser = parsed(bundle, method, norm="l2", eps_max=0.25)
    objective = parser.get_parsed_content("objective")
    kind, _ = METHODS[method]
    assert type(objective) is kind
    assert parser.get_parsed_content("method") == method
    if method in REMEMBERING:
        remembered = objective.radii if method == "iaat" else objective.margins
        assert len(remembered) == 7
    if method != "ce":
        assert objective.settings.keys() >= {"steps"}
    if method == "trades":
        bounds = json.loads((bundle / "train.json").read_text()).get("bounds", [0, 1])
        assert list(objective.bounds) == bounds
        assert (objective.eps, objective.beta, objective.norm.name) == (0.25, 6, "l2")


@every_method
@pytest.mark.parametrize("bundle", ["oct_ima", "ecg_ima"])
@pytest.mark.parametrize(
    ("setting", "expected"),
    [(None, None), ("balanced", [2.0, 2 / 3]), ([1, 3], [1.0, 3.0])],
    ids=["none", "balanced", "a list"],
)
def test_the_weights_of_a_bundle_reach_every_method(method, bundle, setting, expected):
    norm = {"norm": "l2"}
    parser = parsed(BUNDLES / bundle, method, **norm, num_classes=2, class_weights=setting)
    weights = parser.get_parsed_content("objective").class_weights
    assert parser.get_parsed_content("settings")["class_weights"] == setting
    if expected is None:
        assert weights is None
    else:
        torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize(
    ("method", "key", "default", "other"),
    [
        ("adv", "adv_eps", 0.02, 0.05),
        ("trades", "trades_beta", 6, 1),
        ("ddn", "ddn_steps", 100, 3),
        ("iaat", "iaat_eps", 0.02, 0.01),
        ("iaat", "iaat_gamma", 0.02 * 1.9 / 8, 0.001),
        ("iaat", "iaat_beta", 0.1, 0.5),
        ("iaat", "iaat_warmup", 1, 3),
        ("mma", "delta", 0.002, 0.005),
    ],
)
def test_what_a_method_is_set_to_is_in_the_settings(method, key, default, other):
    """A result says it, and a checkpoint of one setting is refused by a run with another."""
    bundle = BUNDLES / "oct_ima"
    norm = {"norm": "l2"} if method == "ddn" else {}
    parser = parsed(bundle, method, **norm)
    settings = [parser.get_parsed_content("settings")]
    parser = parsed(bundle, method, **norm, **{key: other})
    settings.append(parser.get_parsed_content("settings"))
    name = key.removeprefix(f"{method}_")
    assert [each["objective"][name] for each in settings] == [pytest.approx(default), other]


@every_method
@pytest.mark.parametrize("correct", ["one", "none", "all"])
def test_batch_norm_sees_whole_batches(method, correct):
    # One value a channel, as the last map of a ResNet on small images has: a batch of one would be
    # refused, and a few correct samples would have statistics of their own.
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    inputs = torch.rand(SAMPLES, 1, 30, generator=torch.Generator().manual_seed(2))
    given = model.train()(inputs).argmax(dim=1)
    labels = given if correct == "all" else (given + 1) % CLASSES
    if correct == "one":
        labels = labels.index_copy(0, torch.tensor([4]), given[4:5])
    seen = []
    model[2].register_forward_hook(
        lambda layer, arguments, _: seen.append(len(arguments[0])) if layer.training else None
    )
    result = made(method)(model, inputs, labels, torch.arange(SAMPLES))
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert seen == [SAMPLES] * METHODS[method][1]


# Models as they come


def result_and_gradients(method, network, model, inputs, labels, **options):
    """What an objective makes of a model, and the gradients of the network in it."""
    torch.manual_seed(3)
    network.zero_grad()
    index = torch.arange(len(inputs))
    result = made(method, **options)(model, inputs, labels, index)
    result.loss.backward()
    return result, [parameter.grad for parameter in network.parameters()]


def assert_same(found, expected):
    (result, gradients), (other, others) = found, expected
    assert torch.equal(result.loss, other.loss)
    assert torch.equal(result.logits, other.logits)
    assert result.terms == other.terms
    assert all(torch.equal(*pair) for pair in zip(gradients, others, strict=True))


@every_method
@pytest.mark.parametrize("form", ["tuple", "dictionary", "one logit"])
def test_what_a_network_returns_makes_no_difference(method, form):
    network, inputs, labels, _ = batch()
    returned, meant = FORMS[form]
    labels = labels % meant(torch.zeros(1, 3)).shape[1]
    arguments = (inputs, labels)
    assert_same(
        result_and_gradients(method, network, Returning(network, returned), *arguments),
        result_and_gradients(method, network, Returning(network, meant), *arguments),
    )


@every_method
def test_a_network_may_change_its_inputs(method):
    network, inputs, labels, _ = batch()
    before = inputs.clone()
    with_shift = Returning(network, lambda z: z)
    with_shift.register_forward_pre_hook(lambda _, arguments: arguments[0] - 0.5)
    assert_same(
        result_and_gradients(method, network, InPlace(network), inputs, labels),
        result_and_gradients(method, network, with_shift, inputs, labels),
    )
    assert torch.equal(inputs, before)


@every_method
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_inputs_follow_the_precision_of_the_network(method, dtype):
    network, inputs, labels, _ = batch()
    inputs = inputs.to(dtype).float()
    result, gradients = result_and_gradients(method, network.to(dtype), network, inputs, labels)
    assert result.logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(
        result.logits, network(inputs.to(dtype)).to(result.logits), rtol=0, atol=0
    )
    assert all(gradient.dtype == dtype and gradient.isfinite().all() for gradient in gradients)
    if dtype == torch.float64:
        network, *_ = batch()
        single, _ = result_and_gradients(method, network, network, inputs, labels)
        torch.testing.assert_close(result.loss.float(), single.loss, rtol=1e-4, atol=1e-5)


@every_method
def test_labels_are_integers_of_any_width_in_a_row_or_a_column(method):
    network, inputs, labels, _ = batch()
    expected = result_and_gradients(method, network, network, inputs, labels)
    for given in (labels.to(torch.uint8), labels.to(torch.int16)[:, None]):
        assert_same(result_and_gradients(method, network, network, inputs, given), expected)


def test_margins_take_labels_in_a_column():
    model, inputs, labels, index = batch()
    first, second = made("ima"), made("ima")
    crossed = first.update_margins(model, inputs, labels, index)
    again = second.update_margins(model, inputs, labels.to(torch.uint8)[:, None], index)
    assert torch.equal(crossed, again)
    assert torch.equal(first.margins.margins, second.margins.margins)


@every_method
def test_a_vision_transformer_of_monai_learns(method):
    """It returns a tuple."""
    pytest.importorskip("einops", reason="MONAI's ViT needs it")
    from monai.networks.nets import ViT

    network = ViT(
        in_channels=1, img_size=(8, 8), patch_size=(4, 4), hidden_size=8, mlp_dim=8, num_layers=1,
        num_heads=1, classification=True, num_classes=CLASSES, spatial_dims=2,
    )  # fmt: skip
    inputs = torch.rand(SAMPLES, 1, 8, 8)
    labels = torch.arange(SAMPLES) % CLASSES
    result, _ = result_and_gradients(method, network, network, inputs, labels)
    assert result.logits.shape == (SAMPLES, CLASSES)
    assert network.classification_head[0].weight.grad.abs().sum() > 0
